"""Responses that are errors: their class by the code, their state by the tables below. Pure.

Wire rules: https://docs.postgrest.org/en/v14/references/errors.html (codes and statuses).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from agent_persistence.backends.server_texts import described, error_class, named_column, remedy_of
from agent_persistence.backends.transport.messages import Response
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState


def parse_error(response: Response, verb: str, table: str, *, now: datetime | None = None) -> AdapterError:
    """The error that a response is: its class by the code, its state by the tables below."""
    body = response.json()
    fields = {name: text for name, text in body.items() if isinstance(text, str)} if isinstance(body, dict) else {}
    code = _code(fields.get("code")) or _proxy_status_code(response)
    message = fields.get("message", "")
    about: dict[str, Any] = {
        "state": _state(response.status, code),
        "status": response.status,
        "code": code,
        "hint": _hint(response.status, code, message, fields.get("hint"), verb, table),
        "retry_after_s": retry_after_s(response.headers.get("retry-after"), now or datetime.now(UTC)),
    }
    summary = _summary(response.status, code, message, error_texts=response.error_texts)
    text, about["column"] = f"{verb} on {table}: {summary}", named_column(summary)
    if code and code.startswith("23"):
        found = _CONSTRAINT.search(text)
        return ConflictError(text, constraint=found.group(1) if found else None, **about)
    return error_class(code, response.status, message)(text, **about)


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
    "57P02": FailureState.AMBIGUOUS,
    "57P03": FailureState.RETRYABLE,
    "57P05": FailureState.AMBIGUOUS,
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


def _summary(status: int, code: str | None, message: str, *, error_texts: bool) -> str:
    if code is None:
        return _GATEWAY.get(status, ("HTTP {} without a PostgREST error", ""))[0].format(status)
    return f"{described(code, message, error_texts=error_texts)} (HTTP {status}, {code})"


_GATEWAY: Final = {
    402: ("the project's quota is used up (HTTP {})", "see the project's usage and billing"),
    540: ("the project is paused (HTTP {})", "restore it in the dashboard"),
}
"""By status, what the gateway of hosted Supabase says before the request reaches PostgREST, and what helps."""


def _hint(status: int, code: str | None, message: str, hint: str | None, verb: str, table: str) -> str | None:
    remedy = remedy_of(code, message, verb, table) if code else None
    if hint and re.fullmatch(r"Perhaps you meant [\w .,:'\"()]{1,200}", hint):
        return f"{hint.rstrip('.')}; {remedy}" if remedy else hint
    if remedy:
        return remedy
    if code == "22P02" and verb in _FILTERED and re.match("invalid input syntax for type json", message):
        return _NO_JSON
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


_FILTERED: Final = frozenset({"query", "read", "count", "update", "delete"})
_NO_JSON: Final = (
    "a json or jsonb column is compared with JSON; contains([…]) is sent as an array unless the adapter's schema="
    " declares the column as jsonb"
)


def _code(text: str | None) -> str | None:
    """A SQLSTATE or a code of PostgREST's; what a gateway calls a code is none."""
    return text if text and re.fullmatch(r"[0-9A-Z]{5}|PGRST[0-9A-Z]{3}", text, re.ASCII) else None


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
