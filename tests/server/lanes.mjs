// Connections that outlive the loss of their backend. lite's own dialect reserves connections of a pool, and the driver
// crashes the process when a reserved one is closed by the server in mid transaction.
import { PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from "kysely";
import postgres from "postgres";
import { withQuotes } from "./names.mjs";

const LANES = 10;
const WRITES = new Set(["INSERT", "UPDATE", "DELETE", "MERGE"]);

/** One connection. A lost one is replaced between transactions, never within one, and not reused: the driver would
 * raise the old connection's last error on the new one. */
class Lane {
  constructor(open) {
    this.open = open;
    this.connect();
  }
  connect() {
    this.driver?.end({ timeout: 0 });
    this.lost = false;
    const driver = this.open(() => {
      if (this.driver === driver) this.lost = true;
    });
    this.driver = driver;
  }
  async executeQuery({ sql, parameters }) {
    if (this.lost) throw Object.assign(new Error("connection lost"), { code: "CONNECTION_CLOSED" });
    try {
      const result = await this.driver.unsafe(withQuotes(sql), [...parameters]);
      const numAffectedRows = WRITES.has(result.command) ? BigInt(result.count) : undefined;
      return { numAffectedRows, rows: [...result] };
    } catch (error) {
      if (error.name !== "PostgresError") this.lost = true;
      throw error;
    }
  }
}

class LaneDriver {
  waiting = [];
  constructor(url, types) {
    const options = { max: 1, backoff: 0, types, connection: { TimeZone: "UTC" }, onnotice: () => {} };
    const open = (onclose) => postgres(url, { ...options, onclose });
    this.free = Array.from({ length: LANES }, () => new Lane(open));
  }
  async init() {}
  async destroy() {}
  async acquireConnection() {
    const lane = this.free.pop() ?? (await new Promise((resolve) => this.waiting.push(resolve)));
    if (lane.lost) lane.connect();
    return lane;
  }
  async releaseConnection(lane) {
    const next = this.waiting.shift();
    if (next) next(lane);
    else this.free.push(lane);
  }
  async beginTransaction(lane) {
    await lane.executeQuery({ sql: "begin", parameters: [] });
  }
  async commitTransaction(lane) {
    await lane.executeQuery({ sql: "commit", parameters: [] });
  }
  /** A lost connection has been rolled back by the server. */
  async rollbackTransaction(lane) {
    if (!lane.lost) await lane.executeQuery({ sql: "rollback", parameters: [] }).catch(() => {});
  }
}

/** A dialect of kysely for the database. */
export function lanes(url, types) {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new LaneDriver(url, types),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}
