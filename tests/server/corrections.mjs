// Where lite differs from PostgREST so that a correct client would look wrong. README.md lists every one of these.
import { sql } from "kysely";
import { refusal } from "./errors.mjs";
import { withTokens, withValues } from "./filters.mjs";
import { nameOf, withNames } from "./names.mjs";
import { asArgument, asSent, withoutLoss } from "./values.mjs";

/** Thrown to roll back a request that was answered with an error. */
class RolledBack extends Error {
  constructor(response) {
    super("rolled back");
    this.response = response;
  }
}

/** A refused request leaves nothing behind, and its SQLSTATE comes back as PostgREST returns it. */
function correctErrors(connection) {
  const withContext = connection.withContext.bind(connection);
  connection.withContext = async (vars, work, options) => {
    try {
      return await withContext(
        vars,
        async (db) => {
          const result = await work(db);
          if (result instanceof Response && result.status >= 400) throw new RolledBack(result);
          return result;
        },
        options,
      );
    } catch (error) {
      if (error instanceof RolledBack) return error.response;
      const response = refusal(error);
      if (!response) throw error;
      return response;
    }
  };
}

/** The request's role and claims, in one statement where lite sends five. */
function quickenContext(connection) {
  connection.applyJwtSessionContext = async (db, { auth }) => {
    const settings = {
      role: auth?.role || "anon",
      "request.jwt.claim.role": auth?.role || "anon",
      "request.jwt.claim.sub": String(auth?.uid ?? ""),
      "request.jwt.claims": JSON.stringify(auth?.jwt ?? {}),
    };
    const calls = Object.entries(settings).map(([name, value]) => sql`set_config(${sql.lit(name)}, ${value}, true)`);
    await sql`select ${sql.join(calls)}`.execute(db);
  };
}

/** The column's type; PostgreSQL names an array's with an underscore, lite by its elements. */
const typeOf = ({ pg_type, type }) => pg_type ?? type;

/** Records as they were sent. Keys that `columns` names and a record lacks are NULL, or the column's default where the
 * request prefers that; a record that names no column at all is made of defaults. */
function correctRecords(ast, tableColumns) {
  if (!ast.values) return;
  const byDefault = sql`default`;
  const missing = ast.$meta?.missing === "default" ? byDefault : null;
  const absent = Object.fromEntries((ast.$meta?.columns ?? []).map((name) => [name, missing]));
  const empty = ["insert", "upsert"].includes(ast.type) ? { [tableColumns[0]?.name]: byDefault } : {};
  const types = Object.fromEntries(tableColumns.map(({ name, ...column }) => [name, typeOf(column)]));
  const fill = (record) => {
    if (record === null || typeof record !== "object" || Array.isArray(record)) return record;
    const sent = Object.entries(record).map(([name, value]) => [name, asSent(value, types[name])]);
    const whole = { ...absent, ...Object.fromEntries(sent) };
    return Object.keys(whole).length ? whole : empty;
  };
  ast.values = Array.isArray(ast.values) ? ast.values.map(fill) : fill(ast.values);
}

function correctArguments(ast, functions) {
  if (ast.type !== "rpc" || !ast.args || Array.isArray(ast.args)) return;
  const names = Object.keys(ast.args);
  const fits = ({ name, arg_names }) => name === ast.function && names.every((one) => arg_names.includes(one));
  const known = functions.find(fits) ?? { arg_names: [], arg_types: [] };
  const argument = (name) => {
    const type = known.arg_types[known.arg_names.indexOf(name)] ?? "";
    return [name, asArgument(ast.args[name], type, ast.httpMethod === "GET")];
  };
  ast.args = Object.fromEntries(names.map(argument));
}

/** Whether a filter's column is a document, by the columns it may be one of. */
function documentsAmong(columns) {
  const names = new Set(columns.filter((one) => /^jsonb?$/.test(typeOf(one))).map(({ name }) => name));
  return (column = "") => names.has(nameOf(column)) || /->(?!>)[^>]*$/.test(column);
}

function correctFilters(ast, tableColumns, allColumns) {
  if (ast.where) ast.where = withValues(ast.where, documentsAmong(tableColumns));
  if (ast.select) ast.select = withValues(ast.select, documentsAmong(allColumns));
}

function correctRequests(connection) {
  const onPostgrestAST = connection.onPostgrestAST.bind(connection);
  connection.onPostgrestAST = async (parsed, vars) => {
    const ast = await onPostgrestAST(withNames(parsed), vars);
    const { columns, functions } = await connection.introspect({ useCache: true });
    const { from, schema = "public" } = ast;
    const tableColumns = columns.filter((column) => column.table === from && column.schema === schema);
    correctFilters(ast, tableColumns, columns);
    correctRecords(ast, tableColumns);
    correctArguments(ast, functions);
    return ast;
  };
}

async function correctRequest(request) {
  const { method, headers } = request;
  const hasBody = !["GET", "HEAD", "OPTIONS"].includes(method);
  const isJson = /json/.test(headers.get("content-type") ?? "json");
  const body = hasBody ? Buffer.from(await request.arrayBuffer()) : undefined;
  const exact = body?.length && isJson ? withoutLoss(body.toString()) : body;
  return new Request(withTokens(new URL(request.url)), { method, headers, body: exact });
}

/** The error's code in a header, for there is no body after HEAD; and no path that shows the tokens of our URL. */
async function correctHeaders(response, again) {
  response.headers.delete("Content-Location");
  if (response.status < 400 || !response.headers.get("Content-Type")?.includes("json")) return response;
  const { code } = await (response.body ? response.clone() : await again()).json();
  if (code) response.headers.set("Proxy-Status", `PostgREST; error=${code}`);
  return response;
}

/** The application's fetch, corrected. */
export function correct(app, connection) {
  correctErrors(connection);
  correctRequests(connection);
  quickenContext(connection);
  return async (request) => {
    const sent = await correctRequest(request);
    return correctHeaders(await app.fetch(sent), () => app.fetch(new Request(sent, { method: "GET" })));
  };
}
