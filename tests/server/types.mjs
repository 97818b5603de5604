// How PostgreSQL's values become JSON, and requests' values PostgreSQL's: as PostgREST has it, which is to_json's way.
import { randomUUID } from "node:crypto";

const RAW = `raw-${randomUUID()}-`;

/** A string that reaches a json parameter as it is, not quoted once more. */
export const raw = (text) => RAW + text;

const same = (value) => value;

/** A number that JSON.stringify prints with the digits PostgreSQL printed; NaN and the infinities stay strings. */
function exact(text) {
  const number = Number(text);
  if (!Number.isFinite(number)) return text;
  return String(number) === text ? number : JSON.rawJSON(text);
}

const float = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);
const iso = (text) => text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
const revive = (_, value, { source }) => (typeof value === "number" ? exact(source) : value);

const scalar = (oids, parse, serialize = String) => ({ to: oids[0], from: oids, serialize, parse });
const isRaw = (value) => typeof value === "string" && value.startsWith(RAW);
const stringify = (value) => (isRaw(value) ? value.slice(RAW.length) : JSON.stringify(value));
const document = (oid) => scalar([oid], (text) => JSON.parse(text, revive), stringify);

export const types = {
  // The driver's own boolean turns every string into false, so that `is_active=eq.t` would find the false rows.
  boolean: scalar([16], (text) => text === "t"),
  bytea: scalar([17], same),
  bigint: scalar([20], exact),
  float: scalar([701, 700], float),
  date: scalar([1082], same),
  json: document(114),
  jsonb: document(3802),
  timestamp: scalar([1114], iso),
  timestamptz: scalar([1184], iso),
  numeric: scalar([1700], exact),
};
