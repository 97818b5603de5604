"""Comparisons in tables that nobody declared: JSON values as they were given."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from agent_persistence.backends.memory import patterns
from agent_persistence.backends.memory.documents import containing, contains
from agent_persistence.backends.memory.refusals import NoSuchOperatorError
from agent_persistence.backends.memory.textsearch import text_test
from agent_persistence.query.predicates import Comparison, Operator

ValueTest: TypeAlias = Callable[[Any], bool]

_COMPARE: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}
_PATTERN: Final[dict[Operator, Callable[[str], ValueTest]]] = {
    Operator.LIKE: patterns.like,
    Operator.ILIKE: patterns.ilike,
    Operator.MATCH: lambda pattern: patterns.regex(pattern, ignore_case=False),
    Operator.IMATCH: lambda pattern: patterns.regex(pattern, ignore_case=True),
}


def value_test(leaf: Comparison, column: str) -> ValueTest:
    """The comparison as a test of values that are not NULL; 42883 where Python has no such comparison."""
    operand: Any = list(leaf.operand) if isinstance(leaf.operand, tuple) else leaf.operand
    match leaf.operator:
        case Operator.IN:
            return lambda value: value in operand
        case Operator.NOT_IN:
            return lambda value: value not in operand
        case Operator.LIKE | Operator.ILIKE | Operator.MATCH | Operator.IMATCH:
            return _of_text(_PATTERN[leaf.operator](operand), leaf.operator, column)
        case Operator.CONTAINS:
            return containing(operand)
        case Operator.CONTAINED_BY:
            return lambda value: contains(operand, value)
        case Operator.OVERLAPS:
            return lambda value: any(contains(value, [item]) for item in operand if item is not None)
        case Operator.TEXT_SEARCH:
            return _of_text(text_test(operand), leaf.operator, column)
        case _:
            return _ordered(_COMPARE[leaf.operator], operand, leaf.operator, column)


def _of_text(test: ValueTest, kind: Operator, column: str) -> ValueTest:
    def holds(value: Any) -> bool:
        if not isinstance(value, str):
            raise NoSuchOperatorError("42883", kind.function, column)
        return test(value)

    return holds


def _ordered(compare: Callable[[Any, Any], bool], operand: Any, kind: Operator, column: str) -> ValueTest:
    def holds(value: Any) -> bool:
        try:
            return compare(value, operand)
        except TypeError:
            raise NoSuchOperatorError("42883", kind.function, column) from None

    return holds


def rank(value: Any) -> tuple[int, Any]:
    """A sort key over JSON values: numbers, text, booleans, the rest by its text, NULL last."""
    match value:
        case None:
            return (9, 0)
        case bool():
            return (2, value)
        case int() | float():
            return (0, value)
        case str():
            return (1, value)
        case _:
            return (3, str(value))
