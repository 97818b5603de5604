"""A unit of work as one call of a function, and its answer as values. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from agent_persistence.backends.installation import FUNCTION
from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.postgrest.rendering import render_call
from agent_persistence.backends.texts import array_text, text_of
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.units import (
    NOT_EXPECTED,
    NOT_UNDERSTOOD,
    OTHER_CONTENT,
    Applied,
    document_of,
    not_installed,
    other_content,
    unmet,
    unreadable,
)
from agent_persistence.exceptions import AdapterError, FailureState, PersistenceError
from agent_persistence.operations import Unit
from agent_persistence.query.predicates import Comparison

_NOT_THERE: Final = frozenset({"PGRST202", "42883", "42P01", "3F000", "42501"})
"""Codes of a function, a table or a schema that there is not, or that the role may not use."""


def render_unit(unit: Unit) -> Request:
    """The unit in the body of one POST, which is one transaction."""
    return render_call(FUNCTION, {"unit": document_of(unit, _operand)}, by_url=False)


def _operand(leaf: Comparison) -> str:
    return array_text(leaf.operand) if isinstance(leaf.operand, tuple) else text_of(leaf.operand)


def parse_unit(response: Response, unit: Unit) -> list[Any]:
    """The value of each part, or the error that the response is."""
    if not 200 <= response.status < 300:
        raise _refused(response, unit)
    answer = response.json()
    if answer is None:
        if response.is_json:
            raise unreadable(unit)
        raise AdapterError(
            f"{unit.verb} on {unit.table}: HTTP {response.status} without the JSON that PostgREST would send",
            state=FailureState.AMBIGUOUS,
            status=response.status,
        )
    return Applied.of(answer, unit).values(unit)


def _refused(response: Response, unit: Unit) -> PersistenceError:
    body = response.json()
    fields = body if isinstance(body, dict) else {}
    code, index = fields.get("code"), _place(fields.get("hint"), unit)
    if code == OTHER_CONTENT:
        return other_content(unit)
    if code == NOT_UNDERSTOOD:
        return not_installed(unit, f"a function {FUNCTION} of this release")
    if index is None:
        if code in _NOT_THERE:
            return not_installed(unit, f"the function {FUNCTION} that a unit of work needs here")
        return parse_error(response, unit.verb, unit.table)
    part = unit.parts[index]
    if code == NOT_EXPECTED:
        found = re.match("[0-9]+", str(fields.get("message")))
        return unmet(part, index, None if found is None else int(found[0]), status=response.status)
    error = parse_error(response, part.operation.verb, part.operation.table)
    error.part = index
    return error


def _place(hint: object, unit: Unit) -> int | None:
    """The part that the function names as the one that failed."""
    found = re.fullmatch("operation ([0-9]{1,9})", hint) if isinstance(hint, str) else None
    return int(found[1]) if found is not None and int(found[1]) < len(unit.parts) else None
