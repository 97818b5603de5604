"""The other half of the PostgREST codec: responses to rows or errors. Pure; it moves no bytes.

Wire rules: https://docs.postgrest.org/en/v14/references/errors.html (codes and statuses) and
…/api/preferences.html (what Prefer makes the server return).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import repeat
from typing import Any, Final

from agent_persistence.adapters._expected import Key
from agent_persistence.adapters._json import read_json
from agent_persistence.adapters._postgrest import MisdeliveredError, Response
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState, ValidationError
from agent_persistence.operations import Page
from agent_persistence.records import Row


def parse_rows(
    response: Response,
    verb: str,
    table: str,
    *,
    expected: int | None = None,
    keys: Sequence[Key] = (),
) -> list[Row]:
    """The rows of the response, `expected` of them if given; or the error that the response is.

    `keys` are what rows are known by to answer the request: one of each row, or one of all rows.
    MisdeliveredError where a row has another value, or none.
    """
    if not 200 <= response.status < 300:
        raise parse_error(response, verb, table)
    rows = _json(response)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AdapterError(
            f"{verb} on {table}: HTTP {response.status} without the JSON rows that PostgREST would send",
            state=_confirmed(response, verb),
            status=response.status,
            hint="does SUPABASE_URL point at a Supabase project, or at a proxy or captive portal?",
        )
    wrong_number = expected is not None and len(rows) != expected
    if keys and not all(map(Key.is_in, repeat(keys[0]) if len(keys) == 1 else keys, rows)):
        raise _of_another_call(response, f"{verb} on {table}: HTTP {response.status} with the rows of another call")
    if wrong_number and any(key.values for key in keys):
        raise _of_another_call(response, f"{verb} on {table}: {expected} row(s) were sent, {len(rows)} came back")
    if wrong_number:
        raise AdapterError(
            f"{verb} on {table}: {expected} row(s) were sent, {len(rows)} came back",
            state=_confirmed(response, verb),
            status=response.status,
        )
    return rows


def _of_another_call(response: Response, text: str) -> MisdeliveredError:
    return MisdeliveredError(
        text,
        state=FailureState.AMBIGUOUS,
        status=response.status,
        hint="something between here and the database answers a request twice, or the wrong one",
    )


def parse_page(response: Response, verb: str, table: str, *, keys: Sequence[Key] = ()) -> Page:
    """The rows of the response, and the total in its Content-Range. A page behind the last row is an error of its own
    (416, PGRST103)."""
    if response.status == 416:
        return Page([], _total(response))
    return Page(parse_rows(response, verb, table, keys=keys), _total(response))


def parse_nothing(response: Response, verb: str, table: str) -> None:
    """Nothing, where the response confirms a write without telling its rows; or the error that the response is."""
    if response.status in (200, 201, 204) and (not response.body or _is_json(response)):
        return
    parse_rows(response, verb, table)


def applies(response: Response, preference: str, verb: str, table: str) -> bool:
    """Whether the server says that it applied the preference; or the error that the response is.

    PGRST122 is the refusal of a preference that it does not know.
    """
    if not 200 <= response.status < 300:
        error = parse_error(response, verb, table)
        if error.code == "PGRST122":
            return False
        raise error
    return preference in re.split(r"\s*,\s*", response.headers.get("preference-applied", "").strip())


def _confirmed(response: Response, verb: str) -> FailureState:
    """What a success without usable rows says: PostgREST answers in JSON, captive portals and proxies do not."""
    return FailureState.APPLIED if verb in _PRIVILEGE and _is_json(response) else FailureState.AMBIGUOUS


def parse_count(response: Response, table: str) -> int:
    """The total behind the slash of Content-Range (RFC 9110, section 14.4)."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "count", table)
    total = _total(response)
    if total is None:
        raise AdapterError(
            f"count on {table}: the server did not tell a total", state=FailureState.AMBIGUOUS, status=response.status
        )
    return total


def _total(response: Response) -> int | None:
    found = re.fullmatch(r"(?:\*|\d+-\d+)/(\d+)", response.headers.get("content-range", ""))
    return None if found is None else int(found.group(1))


def parse_value(response: Response, function: str, *, may_write: bool = False) -> Any:
    """What the function returned: any JSON value, or None for no content. Rows that the server has cut are refused."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "call", function)
    if response.status == 204:
        return None
    value = _json(response)
    if value is None and response.body.strip() != b"null":
        raise AdapterError(
            f"call on {function}: HTTP {response.status} without the JSON that PostgREST would send",
            state=FailureState.AMBIGUOUS,
            status=response.status,
        )
    total = _total(response)
    if isinstance(value, list) and response.status == 206 and total is not None and len(value) < total:
        cut = f"the server sent {len(value)} of {total} rows, as many as its max-rows allows"
        if may_write:
            raise AdapterError(f"call on {function}: {cut}", state=FailureState.APPLIED, status=response.status)
        raise ValidationError(function, f"{cut}; give the function a limit, or let it return one JSON array")
    return value


def parse_columns(response: Response, table: str) -> list[str] | None:
    """The table's columns in the OpenAPI description, or None where it does not tell, or not to this key."""
    if response.status == 429 or response.status >= 500:
        raise parse_error(response, "get_columns", table)
    try:
        return list(_json(response)["definitions"][table]["properties"]) if response.status == 200 else None
    except (KeyError, TypeError):
        return None


def parse_error(response: Response, verb: str, table: str, *, now: datetime | None = None) -> AdapterError:
    """The error that a response is: its class by the code, its state by the tables below."""
    body = _json(response)
    told = {name: text for name, text in body.items() if isinstance(text, str)} if isinstance(body, dict) else {}
    code = _code(told.get("code")) or _proxy_status_code(response)
    message = told.get("message", "")
    about: dict[str, Any] = {
        "state": _state(response.status, code),
        "status": response.status,
        "code": code,
        "hint": _hint(response.status, code, message, told.get("hint"), verb, table),
        "retry_after_s": retry_after_s(response.headers.get("retry-after"), now or datetime.now(UTC)),
    }
    summary = _summary(response.status, code, message, error_texts=response.error_texts)
    text, about["column"] = f"{verb} on {table}: {summary}", named_column(summary)
    if code and code.startswith("23"):
        found = _CONSTRAINT.search(text)
        return ConflictError(text, constraint=found.group(1) if found else None, **about)
    return AdapterError(text, **about)


_STATE_BY_CODE: Final = {
    "40001": FailureState.RETRYABLE,
    "40P01": FailureState.RETRYABLE,
    "55P03": FailureState.RETRYABLE,
    "53": FailureState.RETRYABLE,
    "PGRST000": FailureState.RETRYABLE,
    "PGRST002": FailureState.RETRYABLE,
    "PGRST003": FailureState.RETRYABLE,
    "57014": FailureState.REJECTED,
    "57P01": FailureState.AMBIGUOUS,
    "PGRST001": FailureState.AMBIGUOUS,
    "08": FailureState.AMBIGUOUS,
}
"""By SQLSTATE, its class of two characters, or PostgREST's code; any other code: the statement was rolled back."""

_STATE_BY_STATUS: Final = {
    408: FailureState.AMBIGUOUS,
    425: FailureState.AMBIGUOUS,
    429: FailureState.RETRYABLE,
    540: FailureState.REJECTED,
}


def _state(status: int, code: str | None) -> FailureState:
    """The code decides where there is one: 503 and 504 are sent both before and after a statement has run."""
    if code:
        known = _STATE_BY_CODE.get(code) or _STATE_BY_CODE.get(code[:2] if len(code) == 5 else "")
        if known:
            return known
        if status not in _STATE_BY_STATUS and status not in (502, 503, 504):
            return FailureState.REJECTED
    return _STATE_BY_STATUS.get(status, FailureState.REJECTED if 300 <= status < 500 else FailureState.AMBIGUOUS)


_CONSTRAINT = re.compile(r'constraint "([^"]+)"')
_COLUMN: Final = re.compile(r"""(?:column "|the '|column (?:\w+\.)?)(\w+)(?:"|' column| does not exist)""")
_NAME: Final = r'"?[\w$.?*() ,\[\]]{1,100}"?'
_TOLD: Final = {
    "23502": (
        "a NOT NULL column has no value",
        r'null value in column "\w+" of relation "\w+" violates not-null constraint',
    ),
    "23503": (
        "a foreign key is violated",
        r'(insert or update|update or delete) on table "\w+" violates foreign key constraint "\w+"( on table "\w+")?',
    ),
    "23505": ("a unique value exists already", r'duplicate key value violates unique constraint "\w+"'),
    "23P01": ("an exclusion is violated", r'conflicting key value violates exclusion constraint "\w+"'),
    "23514": ("a check is violated", r'new row for relation "\w+" violates check constraint "\w+"'),
    "22P02": (
        "a value is not valid input for its type",
        r"invalid input syntax for type [a-z ]+|invalid input value for enum \w+",
    ),
    "22003": ("a number is out of its type's range", r"[a-z ]+ out of range"),
    "22001": ("a text is too long", r"value too long for type [a-z ]+\(\d+\)"),
    "22007": ("a value is not valid input for its type", r"invalid input syntax for type [a-z ]+"),
    "22008": (
        "a date or time is out of range",
        r"(date/time field value|interval field value|timestamp|interval|date|time) out of range( for [a-z ]+)?",
    ),
    "22P05": ("a text holds a character that cannot be stored", "unsupported Unicode escape sequence"),
    "22000": (
        "a value is refused",
        r"expected \d{1,5} dimensions, not \d{1,5}|different (vector|halfvec|sparsevec) dimensions \d{1,5} and \d{1,5}",
    ),
    "2201B": (
        "a regular expression is not valid",
        (
            r"invalid regular expression: ((parentheses \(\)|brackets \[\]|braces \{\}) not balanced"
            r"|invalid (repetition count\(s\)|character range|escape \\ sequence|backreference number|character class"
            r"|collating element|embedded option)|quantifier operand invalid|regular expression is too complex)"
        ),
    ),
    "25006": (
        "the transaction is read-only",
        r"cannot execute ([A-Z]+( [A-Z]+)*|[a-z_]+\(\)) in a read-only transaction",
    ),
    "42501": (
        "not allowed for the role of the key",
        r'permission denied for [a-z ]+ \w+|new row violates row-level security policy( "[\w ]+")? for table "\w+"',
    ),
    "42703": ("a column does not exist", rf"column {_NAME}( of relation {_NAME})? does not exist"),
    "42804": (
        "a value is not of its column's type",
        (
            rf'column "\w+" is of type {_NAME} but (default )?expression is of type {_NAME}'
            rf"|argument of [A-Z ]{{1,30}} must be (of )?type {_NAME}, not type {_NAME}"
        ),
    ),
    "428C9": (
        "a column takes no value",
        r'cannot insert a non-DEFAULT value into column "\w+"|column "\w+" can only be updated to DEFAULT',
    ),
    "42P01": ("a table does not exist", rf"relation {_NAME} does not exist"),
    "42P10": (
        "no unique constraint on these columns",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    ),
    "42883": ("no such function or operator", r"(function|operator) [\w$.,() =~*<>!@&|\[\]]{1,100} does not exist"),
    "55000": (
        "an object is not in the state that this needs",
        (
            r'cannot (insert into|update|delete from) view "\w+"|materialized view "\w+" has not been populated'
            r'|cannot (update|delete from) table "\w+" because it does not have a replica identity and publishes \w+'
            r'|currval of sequence "\w+" is not yet defined in this session'
        ),
    ),
    "57014": ("the statement was cancelled", "canceling statement due to (statement timeout|user request)"),
    "PGRST102": ("the request's body is refused", r"[\w ,']{1,100}"),
    "PGRST116": ("not exactly one row", r"[\w ,()]{1,100}"),
    "PGRST124": ("more rows than max_affected", r"[\w -]{1,100}"),
    "PGRST202": ("no such function", rf"Could not find the function {_NAME} .{{0,60}}in the schema cache"),
    "PGRST203": (
        "several functions fit",
        r'Could not choose the best candidate function between: [\w$., ()\[\]=>"]{1,400}',
    ),
    "PGRST204": ("no such column", r"Could not find the '\w+' column of '\w+' in the schema cache"),
    "PGRST205": ("no such table", r"Could not find the table '[\w.]+' in the schema cache"),
}
"""By code: our words, and the form of PostgreSQL's or PostgREST's own message, which holds names and no values.

A trigger may raise any text under any code, so that only a message of exactly this form is repeated.
"""


def _summary(status: int, code: str | None, message: str, *, error_texts: bool) -> str:
    if code is None:
        return _GATEWAY.get(status, ("HTTP {} without a PostgREST error", ""))[0].format(status)
    return f"{described(code, message, error_texts=error_texts)} (HTTP {status}, {code})"


_GATEWAY: Final = {
    402: ("the project's quota is used up (HTTP {})", "see the project's usage and billing"),
    540: ("the project is paused (HTTP {})", "restore it in the dashboard"),
}
"""By status, what the gateway of hosted Supabase says before the request reaches PostgREST, and what helps."""


def described(code: str, message: str, *, error_texts: bool = False) -> str:
    """PostgreSQL's or PostgREST's own message where it is known to hold names alone, else our words for the code.

    `error_texts` lets pass what the database's author wrote, in a RAISE of plpgsql, whatever that holds.
    """
    if error_texts and message and (code == "P0001" or code.startswith("PT")):
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[:_LONGEST_TEXT])
    words, form = _TOLD.get(code, ("the server's text is left out, because it may hold row content", ""))
    own = re.match(form, message) if form else None
    return own.group() if own and (own.end() == len(message) or message[own.end()] == ":") else words


def named_column(text: str) -> str | None:
    """The column that a message of `described` names."""
    found = _COLUMN.search(text)
    return found and found[1]


_LONGEST_TEXT: Final = 500
_PRIVILEGE: Final = {
    "write": "SELECT, INSERT",
    "batch_write": "SELECT, INSERT",
    "upsert": "SELECT, INSERT, UPDATE",
    "update": "SELECT, UPDATE",
    "delete": "SELECT, DELETE",
    "bulk_write": "INSERT",
}


def _hint(status: int, code: str | None, message: str, told: str | None, verb: str, table: str) -> str | None:
    remedy = remedy_of(code, message, verb, table) if code else None
    if told and re.fullmatch(r"Perhaps you meant [\w .,:'\"()]{1,200}", told):
        return f"{told.rstrip('.')}; {remedy}" if remedy else told
    if remedy:
        return remedy
    if code is None and status in _GATEWAY:
        return _GATEWAY[status][1]
    if status == 401:
        return "the API key or access token was refused; check SUPABASE_SERVICE_KEY or SUPABASE_KEY"
    if 300 <= status < 400 and code is None:
        return "redirects are never followed; set SUPABASE_URL to the address it redirects to, if you trust it"
    if status == 404 and code is None:
        return "is SUPABASE_URL the project's base URL? /rest/v1 is added to it"
    if status == 414:
        return "the filter does not fit into a URL; ask for fewer values at a time"
    return None


def remedy_of(code: str, message: str, verb: str, table: str) -> str | None:
    """What helps against the code, where that is known."""
    if code == "57014" and "statement timeout" in message:
        return "the statement ran into a statement_timeout: the role's own, or that of the call's deadline"
    if code != "42501":
        return _REMEDIES.get(code)
    if "row-level security" in message:
        told = f"a row-level security policy of {table} refuses this row for the role of the key"
        return told + _RETURNED if verb in ("write", "batch_write") else told
    right = f"EXECUTE ON FUNCTION {table}" if verb == "call" else f"{_PRIVILEGE.get(verb, 'SELECT')} ON {table}"
    return f"the role of the key lacks a right; grant it with: GRANT {right} TO <role>;"


_RETURNED: Final = (
    "; where the role may insert the row and not see it, nothing can be returned: use bulk_write, or leave the table"
    " out of the read list of the TablePolicy"
)
_RELOAD: Final = "if it was just made or changed, run: notify pgrst, 'reload schema'"
_REMEDIES: Final = {
    "23505": "to change the row that exists, use upsert with on_conflict",
    "57014": "it was cancelled: by an administrator, by a caller that went away, or by a timeout",
    "25006": "a function in call only reads; one that writes is named in call_write",
    "428C9": "the database makes this value itself; leave the column out",
    "PGRST202": _RELOAD,
    "PGRST203": "rename an argument or the function, so that the names of the arguments decide",
    "PGRST204": _RELOAD,
    "PGRST205": _RELOAD,
    "40001": "the transaction met a concurrent one; trying again is safe",
    "40P01": "the transaction met a deadlock; trying again is safe",
    "53300": "the database has no connections left",
    "PGRST000": "the server cannot reach its database",
    "PGRST001": "the server lost its database during the request",
    "PGRST002": "the server cannot read its database's schema yet",
    "PGRST003": "the server's pool of database connections is exhausted",
    "PGRST301": "the access token is not valid for this project",
    "PGRST303": "the access token is not valid; it may have expired",
}


def _code(told: str | None) -> str | None:
    """A SQLSTATE or a code of PostgREST's; what a gateway calls a code is none."""
    return told if told and re.fullmatch(r"[0-9A-Z]{5}|PGRST[0-9A-Z]{3}", told, re.ASCII) else None


def _proxy_status_code(response: Response) -> str | None:
    found = re.fullmatch(r"PostgREST; error=(\w+)", response.headers.get("proxy-status", ""))
    return _code(found.group(1)) if found else None


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, section 10.2.3): a number or a date; nonsense is None."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        seconds = (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def _json(response: Response) -> Any:
    if not _is_json(response):
        return None
    try:
        return read_json(response.body)
    except ValueError:
        return None


def _is_json(response: Response) -> bool:
    return "json" in response.headers.get("content-type", "")
