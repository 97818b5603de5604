"""Filters as functions over rows, with SQL's three truth values: True, False and None for unknown."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import AdapterError
from agent_persistence.filters import AllOf, AnyOf, Comparison, Filter, Not, Operator

Predicate: TypeAlias = Callable[[Mapping[str, Any]], bool | None]
Cast: TypeAlias = Callable[[str, Any], Any]
"""Brings an operand into the form in which the column's values are stored."""

_COMPARE: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}


def predicate(tree: Filter, cast: Cast) -> Predicate:
    """The filter as a function of a row."""
    match tree:
        case Comparison():
            return _comparison(tree, cast)
        case AllOf(terms):
            return _all([predicate(term, cast) for term in terms])
        case AnyOf(terms):
            return _any([predicate(term, cast) for term in terms])
        case Not(term):
            return _not(predicate(term, cast))


def _all(terms: list[Predicate]) -> Predicate:
    def holds(row: Mapping[str, Any]) -> bool | None:
        verdict: bool | None = True
        for term in terms:
            part = term(row)
            if part is False:
                return False
            if part is None:
                verdict = None
        return verdict

    return holds


def _any(terms: list[Predicate]) -> Predicate:
    def holds(row: Mapping[str, Any]) -> bool | None:
        verdict: bool | None = False
        for term in terms:
            part = term(row)
            if part is True:
                return True
            if part is None:
                verdict = None
        return verdict

    return holds


def _not(term: Predicate) -> Predicate:
    def holds(row: Mapping[str, Any]) -> bool | None:
        part = term(row)
        return None if part is None else not part

    return holds


def _comparison(leaf: Comparison, cast: Cast) -> Predicate:
    column = leaf.column or ""
    match leaf.operator:
        case Operator.IS_NULL:
            return lambda row: row.get(column) is None
        case Operator.NOT_NULL:
            return lambda row: row.get(column) is not None
        case Operator.IS_TRUE:
            return lambda row: row.get(column) is True
        case Operator.IS_FALSE:
            return lambda row: row.get(column) is False
        case Operator.IN | Operator.NOT_IN:
            operands = [cast(column, operand) for operand in leaf.operand]
            return _member(column, operands, wanted=leaf.operator is Operator.IN)
        case Operator.LIKE | Operator.ILIKE:
            return _pattern(column, leaf.operand, ignore_case=leaf.operator is Operator.ILIKE)
        case _:
            return _ordered(column, _COMPARE[leaf.operator], cast(column, leaf.operand))


def _ordered(column: str, compare: Callable[[Any, Any], bool], operand: Any) -> Predicate:
    def holds(row: Mapping[str, Any]) -> bool | None:
        value = row.get(column)
        if value is None:
            return None
        try:
            return compare(value, operand)
        except TypeError:
            raise AdapterError(
                f"{column} holds {type(value).__name__} and is compared with {type(operand).__name__}",
                status=404,
                code="42883",
            ) from None

    return holds


def _member(column: str, operands: list[Any], *, wanted: bool) -> Predicate:
    if not operands:
        return lambda row: not wanted

    def holds(row: Mapping[str, Any]) -> bool | None:
        value = row.get(column)
        return None if value is None else (value in operands) is wanted

    return holds


def _pattern(column: str, pattern: str, *, ignore_case: bool) -> Predicate:
    matches = re.compile(like_to_regex(pattern), re.DOTALL | (re.IGNORECASE if ignore_case else 0)).fullmatch

    def holds(row: Mapping[str, Any]) -> bool | None:
        value = row.get(column)
        if value is None:
            return None
        if not isinstance(value, str):
            raise AdapterError(f"{column} is not text; patterns match text only", status=404, code="42883")
        return matches(value) is not None

    return holds


def like_to_regex(pattern: str) -> str:
    """The SQL pattern as a regular expression: % is any text, _ one character, a backslash makes the next literal."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        match character:
            case "%":
                parts.append(".*")
            case "_":
                parts.append(".")
            case "\\":
                parts.append(re.escape(next(characters)))
            case _:
                parts.append(re.escape(character))
    return "".join(parts)
