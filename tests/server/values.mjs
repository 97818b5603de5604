// The values of a request's body reach PostgreSQL as they were sent: a scalar as its text, which the column's type
// reads, a document as JSON. lite would make numbers, booleans and documents of strings, and floats of all numbers.
import { keep, kept } from "./filters.mjs";
import { raw } from "./types.mjs";

/** A text that neither lite nor the driver takes for anything else. */
class Text {
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
  toJSON() {
    return this.text;
  }
}

const isArray = (type) => /^_|\[\]$/.test(type);

/** The JSON text with tokens for the numbers that JavaScript would change; any other text as it is. */
export function withoutLoss(text) {
  let lossy = false;
  const guard = (_, value, { source }) => {
    if (typeof value !== "number" || String(value) === source) return value;
    lossy = true;
    return keep(source);
  };
  try {
    const value = JSON.parse(text, guard);
    return lossy ? JSON.stringify(value) : text;
  } catch {
    return text;
  }
}

/** The JSON of a parsed value, with its numbers put back. */
function json(value) {
  return JSON.stringify(value, (_, item) => {
    const sent = kept(item);
    return sent === undefined ? item : JSON.rawJSON(sent);
  });
}

/** The value as a parameter of the type. */
export function asSent(value, type = "") {
  if (value === null) return value;
  if (/^jsonb?$/.test(type)) return raw(json(value));
  if (Array.isArray(value) && isArray(type)) return elements(value);
  const text = typeof value === "object" ? json(value) : (kept(value) ?? String(value));
  // The driver takes an array's text for what it is, and nothing but a string.
  return isArray(type) ? text : new Text(text);
}

const elements = (values) => values.map((one) => (Array.isArray(one) ? elements(one) : asSent(one)));

/** The value as an argument of a function; from a URL it is a text, whatever the type. */
export function asArgument(value, type, isText) {
  return isText && /^jsonb?$/.test(type) ? raw(kept(value) ?? value) : asSent(value, type);
}
