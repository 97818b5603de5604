// Names of tables and columns reach PostgreSQL as they were sent, as with PostgREST; lite reads neither quotes around a
// name outside of `select` nor characters beyond ASCII in a path. Each such name is replaced in the URL by a token, and
// put back where lite has parsed the request. The grammar is that of pFieldName in PostgREST's QueryParams.hs.
import { randomBytes } from "node:crypto";

const MARK = `n${randomBytes(6).toString("hex")}x`;
const TOKEN = new RegExp(`${MARK}([0-9a-f]+)`, "g");
const QUOTED = /"((?:[^"\\]|\\.)*)"/gs;
const PLAIN = /^[A-Za-z_]\w*$/;
const SIMPLE = /^(?!.* as )[\p{L}\w][\p{L}\w -]*$/u;

const keep = (name) => MARK + Buffer.from(name).toString("hex");

/** The text with a token for each name in quotes. */
export const withoutQuotes = (text) => text.replace(QUOTED, (_, name) => keep(name.replace(/\\(.)/gs, "$1")));

/** The path with a token for a table whose name is no plain word. */
export function withPlainTable(path) {
  const found = /^(.*\/rest\/v1\/)([^/]+)$/.exec(path);
  const table = found && decodeURIComponent(found[2]);
  return found && !PLAIN.test(table) ? found[1] + keep(table) : path;
}

const sent = (hex) => Buffer.from(hex, "hex").toString();

/** A name that stands for a token, and any other text as it is. */
export const nameOf = (text) => text.replace(TOKEN, (_, hex) => sent(hex));

/** What lite has parsed, with the names that it looks up: those of the table, of the columns of records, and all that
 * its statements would not take for more than one name. */
export function withNames({ from, $meta, ...ast }) {
  const columns = $meta?.columns?.map(nameOf);
  return { ...plain(ast), ...(from && { from: nameOf(from) }), $meta: { ...$meta, ...(columns && { columns }) } };
}

function plain(value) {
  if (typeof value === "string") return value.replace(TOKEN, (token, hex) => (SIMPLE.test(sent(hex)) ? sent(hex) : token));
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [plain(key), plain(part)]));
}

/** The statement with the names that are left, quoted as a name or as a text. */
export function withQuotes(sql) {
  const named = sql.replace(new RegExp(`"${TOKEN.source}"`, "g"), (_, hex) => `"${sent(hex).replaceAll('"', '""')}"`);
  return named.replace(TOKEN, (_, hex) => sent(hex).replaceAll("'", "''"));
}
