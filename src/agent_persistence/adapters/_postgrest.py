"""The PostgREST codec: calls to requests, responses to rows or errors. Pure; it moves no bytes.

Wire rules: https://docs.postgrest.org/en/v14/references/api/tables_views.html (filters, logical operators, quoting),
…/preferences.html (Prefer) and …/errors.html (codes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from pydantic_core import from_json, to_json

from agent_persistence.exceptions import AdapterError, ConflictError, FailureState, ValidationError
from agent_persistence.filters import AllOf, AnyOf, Comparison, Filter, Not, Operator, TextQuery, fold
from agent_persistence.identifiers import RESERVED
from agent_persistence.ordering import Order
from agent_persistence.records import Record, Row, distinct

REST_PATH: Final = "/rest/v1/"
MAX_TARGET: Final = 60_000
"""Bytes of path and query: httpx refuses a URL above 65,536, gateways often a shorter one, with 414."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent: `target` is the raw path and query below the project's URL."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


# --- requests ---------------------------------------------------------------------------------------------------------

_JSON: Final = ("Content-Type", "application/json")


def render_insert(table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None) -> Request:
    """One POST, which is one statement: all rows or none.

    Without `on_conflict` (None) a conflict is an error; with it the row is merged, by the primary key if it is empty.
    """
    prefer = ["return=representation"]
    parameters = []
    if on_conflict is not None:
        prefer.append("resolution=merge-duplicates")
        if on_conflict:
            parameters.append(("on_conflict", _names(on_conflict)))
    if any(record.keys() != records[0].keys() for record in records):
        prefer += ["missing=default", "handling=strict"]
        parameters.append(("columns", _names(distinct(name for record in records for name in record))))
    body = to_json(records[0] if len(records) == 1 else list(records))
    return Request("POST", _target(table, parameters), (_JSON, ("Prefer", ", ".join(prefer))), body)


def render_select(
    table: str,
    filters: Filter | None,
    *,
    select: Sequence[str] | None = None,
    order: Sequence[Order] = (),
    limit: int | None = None,
    offset: int = 0,
) -> Request:
    return Request("GET", _fitting(table, target_of(table, filters, select, order, limit, offset)))


def target_of(
    table: str,
    filters: Filter | None,
    select: Sequence[str] | None,
    order: Sequence[Order],
    limit: int | None,
    offset: int,
) -> str:
    """The path and query of a select."""
    parameters = [("select", _names(select) if select else "*"), *_filter_parameters(filters)]
    if order:
        parameters.append(("order", ",".join(f"{_name(k.column)}.{'desc' if k.descending else 'asc'}" for k in order)))
    if limit is not None:
        parameters.append(("limit", str(limit)))
    if offset:
        parameters.append(("offset", str(offset)))
    return _target(table, parameters)


def _fitting(table: str, target: str) -> str:
    if len(target) > MAX_TARGET:
        raise ValidationError(
            table,
            f"the filters need a URL of {len(target)} bytes, at most {MAX_TARGET} can be sent; ask for fewer values",
        )
    return target


def render_count(table: str, filters: Filter | None) -> Request:
    """A page of no rows, whose Content-Range tells how many there are."""
    request = render_select(table, filters, limit=0)
    return replace(request, headers=(("Prefer", "count=exact"),))


def render_update(table: str, changes: Record, filters: Filter, *, max_affected: int | None = None) -> Request:
    return _change("PATCH", table, filters, max_affected, body=to_json(changes))


def render_delete(table: str, filters: Filter, *, max_affected: int | None = None) -> Request:
    return _change("DELETE", table, filters, max_affected)


def _change(method: str, table: str, filters: Filter, max_affected: int | None, body: bytes = b"") -> Request:
    """`limit` would be ignored here since PostgREST 13; `max-affected` is enforced, and rolls back, when strict."""
    prefer = "return=representation"
    if max_affected is not None:
        prefer += f", handling=strict, max-affected={max_affected}"
    headers = (_JSON, ("Prefer", prefer)) if body else (("Prefer", prefer),)
    return Request(method, _fitting(table, _target(table, _filter_parameters(filters))), headers, body)


CALL_BY_URL: Final = 2048
"""Bytes of arguments above which a call goes by POST."""


def render_call(function: str, arguments: Record, *, may_write: bool) -> Request:
    """GET, which the server runs in a read-only transaction; POST for functions that write.

    POST too where a URL would not do: arguments that are long, that are null, or that PostgREST would read there as a
    parameter of its own (`limit`) or as a filter of the result (`eq.x`).
    """
    if not may_write:
        parameters = [(name, _argument(value)) for name, value in arguments.items()]
        target = _target(function, parameters, below="rpc/")
        if len(target) <= CALL_BY_URL and all(map(_is_argument, arguments, arguments.values())):
            return Request("GET", target)
    return Request("POST", _target(function, (), below="rpc/"), (_JSON,), to_json(arguments))


_LIKE_A_FILTER = re.compile(r"(not\.)?[a-z]+(\([a-z_]+\))?\.")


def _is_argument(name: str, value: Any) -> bool:
    return value is not None and name not in RESERVED and not _LIKE_A_FILTER.match(_argument(value))


def _argument(value: Any) -> str:
    """A function's argument in the URL; arrays as PostgreSQL writes them, documents as JSON."""
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return _array(value)
    return _raw(value)


def render_openapi() -> Request:
    return Request("GET", REST_PATH, (("Accept", "application/openapi+json"),))


def _target(name: str, parameters: Iterable[tuple[str, str]], *, below: str = "") -> str:
    """The path of a table, or of a function below `rpc/`, which no character of its name can leave."""
    if name in ("", ".", ".."):
        raise ValidationError(name, "this is a path, not a name")
    query = "&".join(f"{quote(key, safe='.')}={quote(value, safe=_SAFE)}" for key, value in parameters)
    path = f"{REST_PATH}{below}{quote(name, safe='')}"
    return f"{path}?{query}" if query else path


_SAFE: Final = "(),:*"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name(column: str) -> str:
    return column if _PLAIN_NAME.fullmatch(column) else _quoted(column)


def _names(columns: Iterable[str]) -> str:
    return ",".join(map(_name, columns))


def _filter_parameters(filters: Filter | None) -> Iterator[tuple[str, str]]:
    """Conditions that must all hold, one parameter each; at this level values are raw, quotes would be literal."""
    filters = None if filters is None else fold(filters)
    for term in filters.terms if isinstance(filters, AllOf) else () if filters is None else (filters,):
        match term:
            case Comparison(column=str(column)) if _PLAIN_NAME.fullmatch(column) and column not in RESERVED:
                yield column, _condition(term, _raw)
            case Not(Comparison(column=str(column)) as leaf) if (
                _PLAIN_NAME.fullmatch(column) and column not in RESERVED
            ):
                yield column, f"not.{_condition(leaf, _raw)}"
            case AnyOf(terms):
                yield "or", _group(terms)
            case _:
                yield "and", _group((term,))


def _logic(term: Filter) -> str:
    """A condition inside parentheses, where reserved characters are protected by quotes."""
    match term:
        case Comparison(column=column):
            return f"{_name(column or '')}.{_condition(term, _protected)}"
        case AllOf(terms):
            return f"and{_group(terms)}"
        case AnyOf(terms):
            return f"or{_group(terms)}"
        case Not(Comparison(column=column) as leaf):
            return f"{_name(column or '')}.not.{_condition(leaf, _protected)}"
        case Not(Not(term)):
            return _logic(term)
        case Not(term):
            return f"not.{_logic(term)}"


def _group(terms: Iterable[Filter]) -> str:
    return f"({','.join(map(_logic, terms))})"


_CONSTANT: Final = {
    Operator.IS_NULL: "is.null",
    Operator.NOT_NULL: "not.is.null",
    Operator.IS_TRUE: "is.true",
    Operator.IS_FALSE: "is.false",
}
_WIRE: Final = {Operator.NE: "neq", Operator.CONTAINS: "cs", Operator.CONTAINED_BY: "cd", Operator.OVERLAPS: "ov"}
_SEARCH: Final = {"plain": "plfts", "phrase": "phfts", "websearch": "wfts", "tsquery": "fts"}


def _condition(leaf: Comparison, text: Any) -> str:
    if leaf.operator in _CONSTANT:
        return _CONSTANT[leaf.operator]
    if leaf.operator in (Operator.IN, Operator.NOT_IN):
        if leaf.operand == ("",):  # PostgREST reads in.("") as the empty list
            return f"{'neq' if leaf.operator is Operator.NOT_IN else 'eq'}.{text('')}"
        members = ",".join(map(_protected, leaf.operand))
        return f"{'not.' if leaf.operator is Operator.NOT_IN else ''}in.({members})"
    operand = leaf.operand
    if isinstance(operand, TextQuery):
        config = f"({operand.config})" if operand.config else ""
        return f"{_SEARCH[operand.kind]}{config}.{text(operand.text)}"
    if isinstance(operand, tuple):
        operand = _array(operand)
    elif isinstance(operand, dict):
        operand = to_json(operand).decode()
    return f"{_WIRE.get(leaf.operator, leaf.operator)}.{text(operand)}"


def _array(items: Iterable[Any]) -> str:
    """An array as PostgreSQL writes it, `{"a","b,c"}`; its elements are quoted as those of a list are."""
    return "{" + ",".join("null" if item is None else _protected(item) for item in items) + "}"


def _raw(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _protected(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else to_json(value).decode()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- responses --------------------------------------------------------------------------------------------------------


def parse_rows(response: Response, verb: str, table: str, *, expected: int | None = None) -> list[Row]:
    """The rows of the response, `expected` of them if given; or the error that the response is."""
    if not 200 <= response.status < 300:
        raise parse_error(response, verb, table)
    rows = _json(response)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AdapterError(
            f"{verb} on {table}: HTTP {response.status} without the JSON rows that PostgREST would send",
            state=FailureState.AMBIGUOUS,
            status=response.status,
            hint="does SUPABASE_URL point at a Supabase project, or at a proxy or captive portal?",
        )
    if expected is not None and len(rows) != expected:
        raise AdapterError(
            f"{verb} on {table}: {expected} row(s) were sent, {len(rows)} came back",
            state=FailureState.AMBIGUOUS,
            status=response.status,
        )
    return rows


def parse_count(response: Response, table: str) -> int:
    """The total behind the slash of Content-Range (RFC 9110, section 14.4)."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "count", table)
    found = re.fullmatch(r"(?:\*|\d+-\d+)/(\d+)", response.headers.get("content-range", ""))
    if found is None:
        raise AdapterError(
            f"count on {table}: the server did not tell a total", state=FailureState.AMBIGUOUS, status=response.status
        )
    return int(found.group(1))


def parse_value(response: Response, function: str) -> Any:
    """What the function returned: any JSON value, or None for no content."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "call", function)
    if not response.body:
        return None
    value = _json(response)
    if value is None and response.body.strip() != b"null":
        raise AdapterError(
            f"call on {function}: HTTP {response.status} without the JSON that PostgREST would send",
            state=FailureState.AMBIGUOUS,
            status=response.status,
        )
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
        "retry_after_s": _retry_after_s(response.headers.get("retry-after"), now or datetime.now(UTC)),
    }
    text = f"{verb} on {table}: {_summary(response.status, code, message)}"
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
    "22P02": ("a value is not valid input for its type", r"invalid input syntax for type [a-z ]+"),
    "22003": ("a number is out of its type's range", r"[a-z ]+ out of range"),
    "22001": ("a text is too long", r"value too long for type [a-z ]+\(\d+\)"),
    "22007": ("a value is not valid input for its type", r"invalid input syntax for type [a-z ]+"),
    "42501": (
        "not allowed for the role of the key",
        r'permission denied for [a-z ]+ \w+|new row violates row-level security policy( "[\w ]+")? for table "\w+"',
    ),
    "42703": ("a column does not exist", rf"column {_NAME}( of relation {_NAME})? does not exist"),
    "42P01": ("a table does not exist", rf"relation {_NAME} does not exist"),
    "42P10": (
        "no unique constraint on these columns",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    ),
    "42883": ("no such function or operator", r"(function|operator) [\w$.,() =~*<>!@&|\[\]]{1,100} does not exist"),
    "57014": ("the statement was cancelled", "canceling statement due to statement timeout"),
    "PGRST102": ("the request's body is refused", r"[\w ,']{1,100}"),
    "PGRST116": ("not exactly one row", r"[\w ,()]{1,100}"),
    "PGRST124": ("more rows than max_affected", r"[\w -]{1,100}"),
    "PGRST202": ("no such function", rf"Could not find the function {_NAME} .{{0,60}}in the schema cache"),
    "PGRST204": ("no such column", r"Could not find the '\w+' column of '\w+' in the schema cache"),
    "PGRST205": ("no such table", r"Could not find the table '[\w.]+' in the schema cache"),
}
"""By code: our words, and the form of PostgreSQL's or PostgREST's own message, which holds names and no values.

A trigger may raise any text under any code, so that only a message of exactly this form is repeated.
"""


def _summary(status: int, code: str | None, message: str) -> str:
    if code is None:
        return f"HTTP {status} without a PostgREST error"
    words, form = _TOLD.get(code, ("the server's text is left out, because it may hold row content", ""))
    own = re.match(form, message) if form else None
    told = own.group() if own and (own.end() == len(message) or message[own.end()] == ":") else words
    return f"{told} (HTTP {status}, {code})"


_PRIVILEGE: Final = {
    "write": "SELECT, INSERT",
    "batch_write": "SELECT, INSERT",
    "upsert": "SELECT, INSERT, UPDATE",
    "update": "SELECT, UPDATE",
    "delete": "SELECT, DELETE",
}


def _hint(status: int, code: str | None, message: str, told: str | None, verb: str, table: str) -> str | None:
    if code == "42501":
        if "row-level security" in message:
            return f"a row-level security policy of {table} refuses this row for the role of the key"
        right = f"EXECUTE ON FUNCTION {table}" if verb == "call" else f"{_PRIVILEGE.get(verb, 'SELECT')} ON {table}"
        return f"the role of the key lacks a right; grant it with: GRANT {right} TO <role>;"
    if told and re.fullmatch(r"Perhaps you meant [\w .,:'\"()]{1,200}", told):
        return told
    if code in _REMEDIES:
        return _REMEDIES[code]
    if status == 401:
        return "the API key or access token was refused; check SUPABASE_SERVICE_KEY or SUPABASE_KEY"
    if 300 <= status < 400 and code is None:
        return "redirects are never followed; set SUPABASE_URL to the address it redirects to, if you trust it"
    if status == 404 and code is None:
        return "is SUPABASE_URL the project's base URL? /rest/v1 is added to it"
    if status == 414:
        return "the filter does not fit into a URL; ask for fewer values at a time"
    return None


_REMEDIES: Final = {
    "23505": "to change the row that exists, use upsert with on_conflict",
    "57014": "the statement ran into the statement_timeout of the key's role",
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


def _retry_after_s(value: str | None, now: datetime) -> float | None:
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
    if "json" not in response.headers.get("content-type", ""):
        return None
    try:
        return from_json(response.body)
    except ValueError:
        return None
