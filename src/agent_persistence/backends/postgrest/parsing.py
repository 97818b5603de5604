"""The other half of the PostgREST codec: responses to rows. Pure; it moves no bytes.

Wire rules: https://docs.postgrest.org/en/v14/references/api/preferences.html (what Prefer makes the server return).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agent_persistence.backends.postgrest.expected import RowKey
from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.server_texts import WRITING_VERBS
from agent_persistence.backends.transport.messages import MisdeliveredError, Response
from agent_persistence.exceptions import (
    AdapterError,
    FailureState,
    RowsDroppedError,
    ValidationError,
)
from agent_persistence.operations import Result
from agent_persistence.query.records import Row


def parse_rows(
    response: Response,
    verb: str,
    table: str,
    *,
    expected: int | None = None,
    keys: Sequence[RowKey] = (),
) -> list[Row]:
    """The rows of the response, `expected` of them if given; or the error that the response is.

    `keys` are what rows are known by to answer the request: one of each row, or one of all rows.
    MisdeliveredError where a row has another value, or none.
    """
    if not 200 <= response.status < 300:
        raise parse_error(response, verb, table)
    rows = response.json()
    if not isinstance(rows, list) or not {*map(type, rows)} <= {dict}:
        raise AdapterError(
            f"{verb} on {table}: HTTP {response.status} without the JSON rows that PostgREST would send",
            state=_confirmed(response, verb),
            status=response.status,
            hint="does SUPABASE_URL point at a Supabase project, or at a proxy or captive portal?",
        )
    if keys and not _answer(rows, keys):
        raise _of_another_call(response, f"{verb} on {table}: HTTP {response.status} with the rows of another call")
    if expected is not None and len(rows) < expected and _total(response) == len(rows):
        raise RowsDroppedError(verb, table, sent=expected, stored=len(rows), rows=rows, status=response.status)
    if expected is not None and len(rows) != expected:
        wrong = f"{verb} on {table}: {expected} row(s) were sent, {len(rows)} came back"
        if any(key.values for key in keys):
            raise _of_another_call(response, wrong)
        raise AdapterError(wrong, state=_confirmed(response, verb), status=response.status)
    return rows


def parse_added(response: Response, verb: str, table: str, *, sent: int, keys: Sequence[RowKey]) -> list[Row]:
    """The rows that were stored of those sent; an AdapterError where their number does not say that these are all."""
    rows = parse_rows(response, verb, table, keys=keys)
    if len(rows) > sent or (len(rows) < sent and _total(response) != len(rows)):
        raise AdapterError(
            f"{verb} on {table}: {sent} row(s) were sent, {len(rows)} came back, and the server does not confirm that"
            " it stored no other",
            state=_confirmed(response, verb),
            status=response.status,
        )
    return rows


def _answer(rows: Sequence[Row], keys: Sequence[RowKey]) -> bool:
    """Whether the rows have the values of the keys, in their order; some keys may have no row."""
    if len(keys) == 1:
        return all(map(keys[0].is_in, rows))
    left = iter(keys)
    return all(any(key.is_in(row) for key in left) for row in rows)


def _of_another_call(response: Response, text: str) -> MisdeliveredError:
    return MisdeliveredError(
        text,
        state=FailureState.AMBIGUOUS,
        status=response.status,
        hint="something between here and the database answers a request twice, or the wrong one",
    )


def parse_query(response: Response, verb: str, table: str, *, keys: Sequence[RowKey] = ()) -> Result:
    """The rows of the response as a result."""
    return Result(parse_rows(response, verb, table, keys=keys))


def parse_page(response: Response, verb: str, table: str, *, keys: Sequence[RowKey] = ()) -> Result:
    """The rows of the response, and the total in its Content-Range. A page behind the last row is an error of its own
    (416, PGRST103)."""
    if response.status == 416:
        return Result([], total=_total(response))
    return Result(parse_rows(response, verb, table, keys=keys), total=_total(response))


def parse_unshown(response: Response, verb: str, table: str) -> Result:
    """No rows, where the response confirms a change of which none were asked for; or the error that it is."""
    parse_stored(response, verb, table, sent=0)
    return Result([])


def parse_stored(response: Response, verb: str, table: str, sent: int) -> int:
    """How many rows are stored, where the response confirms a write without listing them; or the error that it is.

    A server that does not count, though `count=exact` asked for it, is taken to have stored what was `sent`.
    MisdeliveredError where there is JSON, which no answer to `return=minimal` has.
    """
    if response.status not in (200, 201, 204) or (response.body and not response.is_json):
        parse_rows(response, verb, table)
    if response.body:
        raise _of_another_call(response, f"{verb} on {table}: HTTP {response.status} with rows that nobody asked for")
    counted = _total(response)
    return sent if counted is None else counted


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
    return FailureState.APPLIED if verb in WRITING_VERBS and response.is_json else FailureState.AMBIGUOUS


def parse_count(response: Response, table: str) -> Result:
    """The number of rows that the response reports, or the error that it is."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "count", table)
    total = _total(response)
    if total is None:
        raise AdapterError(
            f"count on {table}: the server did not tell a total", state=FailureState.AMBIGUOUS, status=response.status
        )
    return Result(total)


def _total(response: Response) -> int | None:
    found = re.fullmatch(r"(?:\*|\d+-\d+)/(\d+)", response.headers.get("content-range", ""))
    return None if found is None else int(found.group(1))


def parse_value(response: Response, function: str, *, may_write: bool = False) -> Any:
    """What the function returned: any JSON value, or None for no content. Rows that the server has cut are refused."""
    if not 200 <= response.status < 300:
        raise parse_error(response, "call", function)
    if response.status == 204:
        return None
    value = response.json()
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
    """The table's columns in the OpenAPI description, or None where it does not list them, or not to this key."""
    if response.status == 429 or response.status >= 500:
        raise parse_error(response, "get_columns", table)
    try:
        return list(response.json()["definitions"][table]["properties"]) if response.status == 200 else None
    except (KeyError, TypeError):
        return None
