// Filter values reach PostgreSQL as the text that was sent, as with PostgREST; lite would guess numbers, booleans and
// nulls from them. Each value is replaced in the URL by a token without special characters, and put back where lite
// has parsed the request. The grammar is that of PostgREST's QueryParams.hs.
import { randomBytes } from "node:crypto";
import { withPlainTable, withoutQuotes } from "./names.mjs";
import { raw } from "./types.mjs";

const MARK = `t${randomBytes(6).toString("hex")}x`;
const NAMES = new Set(["select", "order", "on_conflict", "columns"]);
const RESERVED = new Set(["select", "order", "limit", "offset", "on_conflict", "columns", "apikey"]);
const LOGICAL = /(^|\.)(and|or)$/;
const SCALAR = "eq|neq|gt|gte|lt|lte|like|ilike|match|imatch";
const WHOLE = "isdistinct|cs|cd|ov|sl|sr|nxl|nxr|adj";
const OPERATOR = new RegExp(`((?:not\\.)?)(?:(${SCALAR}|${WHOLE})|((?:${SCALAR})\\((?:any|all)\\))|(in))\\.`, "y");
const ELEMENT = /"((?:[^"\\]|\\.)*)"(?=[,)])|([^,)]*)/sy;
const VALUE = /"((?:[^"\\]|\\.)*)"(?=[,)])|(\{[^{}]*\})|([^,)]*)/sy;
const OTHER = /(?:not\.)?\w+(?:\(\w*\))?\./y;
const ANY_FILTER = new RegExp(`^(not\\.)?((${SCALAR}|${WHOLE}|in|is)(\\((any|all)\\))?|(ph|pl|w)?fts(\\(\\w+\\))?)\\.`);
const PATH = /^(?:((?!not\.(?:and|or)$).+?)\.)?((?:not\.)?(?:and|or)|[^.]+)$/;
const GROUP = /\s*((?:not\.)?(?:and|or))\s*\(/y;
const FIELD = /\s*((?:"(?:[^"\\]|\\.)*"|[^".,()])+)\./y;

/** A token for a text; it reads as an ordinary word wherever lite looks at it. */
export const keep = (text) => MARK + Buffer.from(text).toString("hex");
const unescaped = (quoted) => quoted.replace(/\\(.)/gs, "$1");

/** A text that is read from left to right; what does not fit is left to lite, which answers with the parse error. */
class Reader {
  at = 0;
  constructor(text) {
    this.text = text;
  }
  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }
  expect(pattern) {
    const found = this.match(pattern);
    if (!found) throw new SyntaxError(`unexpected text at ${this.at}`);
    return found;
  }
}

/** The elements of `(a,"b,c")`; the list of one empty element is PostgREST's empty list. */
function list(reader) {
  const elements = [];
  reader.expect(/\s*\(\s*/y);
  do {
    const [, quoted, plain] = reader.expect(ELEMENT);
    elements.push(quoted === undefined ? plain : unescaped(quoted));
  } while (reader.match(/,/y));
  reader.expect(/\)\s*/y);
  return elements.length === 1 && elements[0] === "" ? [] : elements;
}

/** `operator.value` with tokens for the values; other operators (is, fts) stay as they are. */
function operation(reader, readValue) {
  const found = reader.match(OPERATOR);
  if (!found) return (reader.match(OTHER)?.[0] ?? "") + readValue().all;
  const [, not, plain, quantified, inList] = found;
  if (inList) return `${not}in.(${list(reader).map(keep).join(",")})`;
  const { text } = readValue();
  const value = /^i?like/.test(plain ?? quantified) ? text.replaceAll("*", "%") : text;
  return plain ? `${not}${plain}.${keep(value)}` : `${not}${quantified}.{${keep(value)}}`;
}

/** Below `and` and `or` a value ends at a comma or parenthesis, unless it is quoted or an array. */
function nestedValue(reader) {
  const [all, quoted, array, plain] = reader.expect(VALUE);
  return { all, text: quoted === undefined ? (array ?? plain) : unescaped(quoted) };
}

function tree(reader) {
  const group = reader.match(GROUP);
  if (group) return `${group[1]}(${branches(reader)})`;
  const field = reader.expect(FIELD)[1];
  return `${withoutQuotes(field)}.${operation(reader, () => nestedValue(reader))}`;
}

function branches(reader) {
  const found = [];
  do found.push(tree(reader));
  while (reader.match(/\s*,\s*/y));
  reader.expect(/\s*\)\s*/y);
  return found.join(",");
}

/** One parameter's value with tokens. At the top level a value is everything after the operator, quotes included. */
function parameter(key, value) {
  const reader = new Reader(value);
  const rest = () => ({ all: value.slice(reader.at), text: value.slice(reader.at) });
  try {
    if (!LOGICAL.test(key)) return operation(reader, rest);
    reader.expect(/\s*\(/y);
    const conditions = branches(reader);
    reader.expect(/$/y);
    return `(${conditions})`;
  } catch (error) {
    if (error instanceof SyntaxError) return value;
    throw error;
  }
}

/** The URL with tokens. What lite does not hold together, filters on one column and several `or`, becomes one `and`.
 * A parameter of a function call that is no filter is an argument, and as much a text as a filter's value. */
export function withTokens(url) {
  const result = new URL(url);
  const isCall = url.pathname.includes("/rpc/");
  const seen = new Set();
  const together = new Map();
  result.search = "";
  result.pathname = withPlainTable(url.pathname);
  for (const [name, given] of url.searchParams) {
    const key = withoutQuotes(name);
    const sent = NAMES.has(key) ? withoutQuotes(given) : given;
    const isArgument = isCall && !RESERVED.has(key) && !ANY_FILTER.test(sent) && !LOGICAL.test(key);
    const value = isArgument ? keep(sent) : RESERVED.has(key) ? sent : parameter(key, sent);
    if (seen.has(key) && !RESERVED.has(key) && !isArgument) {
      const [, path = "", field] = PATH.exec(key);
      const condition = LOGICAL.test(field) ? `${field}${value}` : `${field}.${value}`;
      together.set(path, [...(together.get(path) ?? []), condition]);
    } else result.searchParams.append(key, value);
    seen.add(key);
  }
  for (const [path, conditions] of together)
    result.searchParams.append(path ? `${path}.and` : "and", `(${conditions.join(",")})`);
  return result;
}

/** The text that a token stands for; undefined for any other value. */
export function kept(value) {
  if (typeof value !== "string" || !value.startsWith(MARK)) return undefined;
  return Buffer.from(value.slice(MARK.length), "hex").toString();
}

function restored(value, isDocument) {
  if (Array.isArray(value)) return value.map((item) => restored(item, isDocument));
  const sent = kept(value);
  if (sent === undefined) return value;
  return isDocument ? raw(sent) : sent;
}

/** lite's tree of conditions with the values that were sent; `isDocument(column)` tells the json columns. */
export function withValues(where, isDocument, column) {
  if (Array.isArray(where)) return where.map((part) => withValues(part, isDocument, column));
  if (where === null || typeof where !== "object") return restored(where, isDocument(column));
  const entries = Object.entries(where).map(([key, value]) => {
    if (/^\$\w+(Any|All)$/.test(key) && Array.isArray(value)) return [key, restored(value[0], false)];
    if (key.startsWith("$") && Array.isArray(value) && !/^\$(and|or)$/.test(key))
      return [key, restored(value, isDocument(column))];
    return [key, withValues(value, isDocument, key.startsWith("$") ? column : key)];
  });
  return Object.fromEntries(entries);
}
