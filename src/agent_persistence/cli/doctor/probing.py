"""One table over REST: whether it is there, which columns it has, and what the key's role may do with it.

Reads ask for no row. Writes, only if they are asked for, are statements that touch none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.postgrest import failures, parsing, rendering
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.cli.rest import Rest
from agent_persistence.exceptions import AdapterError
from agent_persistence.query.predicates import AllOf, Comparison, Operator

_MISSING_TABLE: Final = ("PGRST205", "42P01")
_MISSING_COLUMN: Final = ("42703", "PGRST204")
DENIED: Final = "42501"
_NAMED: Final = re.compile(r"column \"?(?:\w+\.)*(\w+)\"?(?: of relation \S+)? does not exist|the '(\w+)' column")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What reading showed: whether the table is there, columns it lacks, and columns that may not be read.

    `denied` is None where that is all of them; `denied_schema` says that it is for want of the schema. `error` is a
    failure of another kind.
    """

    exists: bool = True
    missing: tuple[str, ...] = ()
    denied: tuple[str, ...] | None = ()
    denied_schema: bool = False
    error: AdapterError | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: AdapterError
    column: str | None
    """The column that the server says is missing."""


async def probe_reading(rest: Rest, table: str, columns: Sequence[str]) -> ProbeResult:
    """Ask for no row of these columns, or of all, leaving out those that are missing, until an answer comes."""
    wanted, missing = list(columns), list[str]()
    while True:
        request = rendering.render_select(table, None, select=wanted or None, limit=0)
        refusal = await _refusal(rest, request, "query", table)
        code = None if refusal is None else refusal.error.code
        if refusal is None:
            return ProbeResult(missing=tuple(missing))
        if code in _MISSING_TABLE:
            return ProbeResult(exists=False)
        if code == DENIED:
            denied = await _denied(rest, table, wanted)
            return ProbeResult(missing=tuple(missing), denied=denied, denied_schema="for schema" in str(refusal.error))
        if code not in _MISSING_COLUMN or refusal.column not in wanted:
            return ProbeResult(missing=tuple(missing), error=refusal.error)
        wanted.remove(refusal.column)
        missing.append(refusal.column)
        if not wanted:
            return ProbeResult(missing=tuple(missing))


async def _denied(rest: Rest, table: str, columns: Sequence[str]) -> tuple[str, ...] | None:
    """Those of the columns that may not be read; None where it is all of them."""
    denied = []
    for column in columns:
        request = rendering.render_select(table, None, select=[column], limit=0)
        refusal = await _refusal(rest, request, "query", table)
        if refusal is not None and refusal.error.code == DENIED:
            denied.append(column)
    return None if len(denied) == len(columns) else tuple(denied)


async def gives_a_row(rest: Rest, table: str, columns: Sequence[str]) -> bool | AdapterError:
    """Whether a row comes when one is asked for; what is in it is not looked at."""
    response = await rest.ask(rendering.render_select(table, None, select=list(columns)[:1] or None, limit=1))
    try:
        return bool(parsing.parse_rows(response, "query", table))
    except AdapterError as error:
        return error


async def probe_writing(
    rest: Rest, table: str, rights: Collection[str], columns: Sequence[str]
) -> dict[str, AdapterError]:
    """By right ("insert", "update", "delete"), the error with which the server refuses a statement without rows.

    An insertion of an empty list, and a change of the rows of which a column is both NULL and not: a trigger of the
    whole statement would run, nothing else does.
    """
    empty = dict.fromkeys(columns)
    nowhere = AllOf((Comparison(Operator.IS_NULL, column=columns[0]), Comparison(Operator.NOT_NULL, column=columns[0])))
    requests: dict[str, Request] = {
        "insert": rendering.render_question(table, [empty, dict(list(empty.items())[1:])]),
        "update": rendering.render_update(table, empty, nowhere, returning=()),
        "delete": rendering.render_delete(table, nowhere, returning=()),
    }
    errors = {}
    for right in rights:
        refusal = await _refusal(rest, requests[right], right, table)
        if refusal is not None:
            errors[right] = refusal.error
    return errors


async def _refusal(rest: Rest, request: Request, verb: str, table: str) -> _Refusal | None:
    """What the server refuses; None where it does not."""
    response = await rest.ask(request)
    if 200 <= response.status < 300:
        return None
    return _Refusal(failures.parse_error(response, verb, table), _missing_column(response))


def _missing_column(response: Response) -> str | None:
    try:
        body = read_json(response.body)
    except ValueError:
        return None
    found = _NAMED.search(str(body.get("message"))) if isinstance(body, dict) else None
    return None if found is None else found[1] or found[2]
