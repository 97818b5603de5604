// PostgreSQL's errors as PostgREST answers them: Error.hs, mapSQLtoHTTP. The longest prefix that fits decides.

const STATUS = {
  "08": 503, "09": 500, "0L": 403, "0P": 403, 23503: 409, 23505: 409, 25006: 405, 21: 500, 25: 500, 28: 403, "2D": 500,
  38: 500, 39: 500, "3B": 500, 40: 500, 53400: 500, 53: 503, 54: 500, 55: 500, "57P01": 503, 57: 500, 58: 500, F0: 500,
  HV: 500, P0001: 400, P0: 500, XX: 500, 42883: 404, "42P01": 404, "42P17": 500,
};
/** What lite answers as PostgREST does. */
const LISTED = /^(22(?!023)|42(?!P01)|23502|25006|PT|PGRST)/;
const DRIVER_LOST = new Set(["CONNECTION_CLOSED", "CONNECTION_DESTROYED", "CONNECTION_ENDED", "ECONNRESET", "EPIPE"]);
const DRIVER_NEVER = new Set(["ECONNREFUSED", "CONNECT_TIMEOUT"]);

/** The HTTP status of a SQLSTATE. */
function status({ code, message }) {
  if (code === "22023" && /^role.*does not exist$/.test(message)) return 401;
  return STATUS[code] ?? STATUS[code.slice(0, 2)] ?? 400;
}

function answer(httpStatus, code, message, details = null, hint = null) {
  const headers = httpStatus === 503 ? { "Retry-After": "0" } : {};
  return Response.json({ code, details, hint, message }, { status: httpStatus, headers });
}

/** The response to an error of the database or its driver; null for what lite answers as PostgREST does. */
export function refusal(error) {
  if (DRIVER_NEVER.has(error?.code))
    return answer(503, "PGRST000", "Database connection error. Retrying the connection.");
  if (DRIVER_LOST.has(error?.code)) return answer(503, "PGRST001", "Database client error. Retrying the connection.");
  if (error?.name !== "PostgresError" || LISTED.test(error.code)) return null;
  return answer(status(error), error.code, error.message, error.detail, error.hint);
}
