// Serves the REST interface of @supabase/lite on 127.0.0.1 and prints one JSON line, {"port": n}, once it answers.
// The first line of stdin is the configuration. Every further line asks for the schema to be read again and is
// answered by one line; so does `NOTIFY pgrst`, without an answer. The process ends when stdin closes, so that it cannot
// outlive its parent.
import { createInterface } from "node:readline";
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { jwtVerify } from "jose";
import { Kysely } from "kysely";
import postgres from "postgres";
import { correct } from "./corrections.mjs";
import { lanes } from "./lanes.mjs";
import { types } from "./types.mjs";

// stdout is for our answers alone; whatever lite and its driver have to say goes to the log.
console.log = console.info = console.error;
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const config = JSON.parse((await lines.next()).value);

const connection = createPostgresConnection({ url: config.database_url });
connection.kysely = new Kysely({ dialect: lanes(config.database_url, types) });
// lite would GRANT ALL to every role on the first request; the roles and their grants are the schema's business here.
connection.rlsState = "active";

const keys = {
  [config.anon_key]: { type: "publishable", claims: { role: "anon" } },
  [config.service_key]: { type: "secret", claims: { role: "service_role" } },
};

const secret = new TextEncoder().encode(config.jwt_secret);

/** The role a key stands for: one of the two keys, or a legacy JWT signed with the secret; null for any other. */
async function resolver(key) {
  if (key in keys) return keys[key];
  const token = await jwtVerify(key, secret, { algorithms: ["HS256"] }).catch(() => null);
  return token && { type: token.payload.role === "service_role" ? "secret" : "publishable", claims: token.payload };
}

/** lite looks a token's user up before it serves a table; PostgREST knows no users, and neither does this server. */
async function withoutUsers(context, next) {
  context.set("authService", { repo: { findUserById: async () => null } });
  await next();
}

const app = new App({
  connection,
  api: { schemas: config.schemas, max_rows: config.max_rows, pg_safe_update: true },
  auth: { enabled: false, jwt_secret: config.jwt_secret },
  db: { migrations: { enabled: false } },
  studio: { enabled: false },
  options: { server: { admin: false, apiKeys: { resolver }, middlewares: [withoutUsers] } },
});
await app.ensureSystemSchema();
await connection.introspect();
const fetch = correct(app, connection);

let reloaded = Promise.resolve();

/** The schema is read again, after whoever asked before has been served. */
function reload() {
  reloaded = reloaded.catch(() => {}).then(async () => {
    await connection.clearSchemaCache();
    await connection.introspect();
  });
  return reloaded;
}

await postgres(config.database_url, { max: 1, onnotice: () => {} }).listen("pgrst", (told) => {
  if (told === "" || told === "reload schema") reload().catch(console.error);
});

// Longer than clients keep a connection, so that no test meets one that closes under it.
const serverOptions = { keepAliveTimeout: 65_000 };
serve({ fetch, hostname: "127.0.0.1", port: 0, serverOptions }, ({ port }) => answer({ port }));

for await (const _ of lines) {
  await reload();
  answer({ reloaded: true });
}
process.exit(0);
