"""Filters as functions over rows, with SQL's three truth values: True, False and None for unknown.

Operands are read by the column's type, once and before any row is looked at, so that what PostgreSQL refuses when it
parses a statement is refused here over an empty table too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agent_persistence.backends.base import ASK_POSTGRES
from agent_persistence.backends.memory import patterns
from agent_persistence.backends.memory.documents import containing, contains, document
from agent_persistence.backends.memory.refusals import NoSuchOperatorError, TwinCannotTellError
from agent_persistence.backends.memory.textsearch import text_test
from agent_persistence.backends.memory.types import PgType, sent
from agent_persistence.backends.memory.untyped import value_test
from agent_persistence.exceptions import UnsupportedOperationError
from agent_persistence.query.predicates import AllOf, AnyOf, Comparison, Exists, Filter, Not, Operator

Row: TypeAlias = Mapping[str, Any]
Predicate: TypeAlias = Callable[[Row], bool | None]
ValueTest: TypeAlias = Callable[[Any], bool]
TypeOf: TypeAlias = Callable[[str], PgType]

_ORDERING: Final = frozenset({Operator.EQ, Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_COMPARING: Final = _ORDERING | {Operator.IN, Operator.NOT_IN}
_TEXT_ONLY: Final = frozenset({Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH})
_CONTAINMENT: Final = frozenset({Operator.CONTAINS, Operator.CONTAINED_BY, Operator.OVERLAPS})


def predicate(tree: Filter, type_of: TypeOf, related: Callable[[Exists], Predicate]) -> Predicate:
    """The filter as a function of a row; `related` makes one of a condition on related rows."""
    match tree:
        case Comparison():
            try:
                return _comparison(tree, type_of(tree.column or ""))
            except TwinCannotTellError as problem:
                raise UnsupportedOperationError("filters", tree.capability, str(problem), ASK_POSTGRES) from None
        case AllOf(terms):
            return _all([predicate(term, type_of, related) for term in terms])
        case AnyOf(terms):
            return _any([predicate(term, type_of, related) for term in terms])
        case Not(term):
            return _not(predicate(term, type_of, related))
        case Exists():
            return related(tree)


def _all(terms: list[Predicate]) -> Predicate:
    def holds(row: Row) -> bool | None:
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
    def holds(row: Row) -> bool | None:
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
    def holds(row: Row) -> bool | None:
        part = term(row)
        return None if part is None else not part

    return holds


def _comparison(leaf: Comparison, kind: PgType) -> Predicate:
    column = leaf.column or ""
    if leaf.operand is None and leaf.operator in _ORDERING:
        return lambda row: None  # what a unit of work compares with may turn out to be NULL
    if leaf.capability == "ranges":
        raise TwinCannotTellError("ranges")
    if kind.kind == "any":
        return _untyped(leaf, column)
    if leaf.operator not in _NULL_TESTS:
        check_operator(leaf.operator, column, kind)
    if isinstance(leaf.operand, tuple) and leaf.operator in _ORDERING:
        return _unless_null(column, _same_list(leaf, kind))
    if leaf.operator in _ORDERING and kind.key is None:
        return _compared(leaf.operator, column, kind.read(sent(leaf.operand)))
    return _constant(leaf, column) or _unless_null(column, _value_test(leaf, kind))


_NULL_TESTS: Final = frozenset({Operator.IS_NULL, Operator.NOT_NULL})


def check_operator(operator: Operator, column: str, kind: PgType) -> None:
    """Refuse an operator that PostgreSQL does not have for the type, with its code for that."""
    if kind.kind in ("unknown", "refused") or (kind.kind == "scalar" and operator not in _COMPARING):
        raise TwinCannotTellError(f"{operator.function} on {column}, which has a type that it does not know")
    code = _missing(operator, kind.kind)
    if code is not None:
        raise NoSuchOperatorError(code, operator.function, column)


def _missing(operator: Operator, kind: str) -> str | None:
    if operator in (Operator.IS_TRUE, Operator.IS_FALSE):
        return None if kind == "boolean" else "42804"
    if operator in _TEXT_ONLY:
        return None if kind == "text" else "42883"
    if operator in _CONTAINMENT:
        if kind == "array" or (kind == "jsonb" and operator is not Operator.OVERLAPS):
            return None
        return "42725" if operator is Operator.CONTAINED_BY else "42883"
    if operator in (Operator.IN, Operator.NOT_IN) and kind == "array":
        return "42704"  # `= ANY (…)` would need an array of arrays
    return "42883" if kind == "json" and operator is not Operator.TEXT_SEARCH else None


def _constant(leaf: Comparison, column: str) -> Predicate | None:
    """The comparisons that are never unknown."""
    match leaf.operator:
        case Operator.IN | Operator.NOT_IN if not leaf.operand:
            return lambda row: leaf.operator is Operator.NOT_IN
        case Operator.IS_NULL:
            return lambda row: row.get(column) is None
        case Operator.NOT_NULL:
            return lambda row: row.get(column) is not None
        case Operator.IS_TRUE:
            return lambda row: row.get(column) is True
        case Operator.IS_FALSE:
            return lambda row: row.get(column) is False
        case _:
            return None


def _compared(operator: Operator, column: str, operand: Any) -> Predicate:
    """A comparison of values that compare as they are stored; one function call a row."""
    match operator:
        case Operator.EQ:
            return lambda row: None if (value := row[column]) is None else value == operand
        case Operator.NE:
            return lambda row: None if (value := row[column]) is None else value != operand
        case Operator.GT:
            return lambda row: None if (value := row[column]) is None else value > operand
        case Operator.GTE:
            return lambda row: None if (value := row[column]) is None else value >= operand
        case Operator.LT:
            return lambda row: None if (value := row[column]) is None else value < operand
        case _:
            return lambda row: None if (value := row[column]) is None else value <= operand


def _unless_null(column: str, test: ValueTest) -> Predicate:
    return lambda row: None if (value := row[column]) is None else test(value)


def _value_test(leaf: Comparison, kind: PgType) -> ValueTest:
    """The comparison as a test of values that are not NULL."""
    match leaf.operator:
        case Operator.IN | Operator.NOT_IN:
            return _member(leaf, kind)
        case Operator.LIKE:
            return patterns.like(leaf.operand)
        case Operator.ILIKE:
            return patterns.ilike(leaf.operand)
        case Operator.MATCH | Operator.IMATCH:
            return patterns.regex(leaf.operand, ignore_case=leaf.operator is Operator.IMATCH)
        case Operator.CONTAINS | Operator.CONTAINED_BY | Operator.OVERLAPS:
            return _document_test(leaf) if kind.kind == "jsonb" else _array_test(leaf, kind)
        case Operator.TEXT_SEARCH if kind.kind != "text":
            raise TwinCannotTellError("searching columns that are not text")
        case Operator.TEXT_SEARCH:
            return text_test(leaf.operand)
        case _:
            return _by_key(leaf, kind)


def _by_key(leaf: Comparison, kind: PgType) -> ValueTest:
    key = kind.key or _itself
    compare = _compared(leaf.operator, "", key(kind.read(sent(leaf.operand))))
    return lambda value: compare({"": key(value)}) is True


def _same_list(leaf: Comparison, kind: PgType) -> ValueTest:
    """An array compared with a list, a document with a list as JSON."""
    if kind.kind not in ("jsonb", "array"):
        raise TwinCannotTellError("comparing a list with what is neither an array nor a document")
    key = kind.key or _itself
    wanted = kind.read(sent(list(leaf.operand))) if kind.kind == "jsonb" else _array_operand(leaf.operand, kind)
    compare = _compared(leaf.operator, "", key(wanted))
    return lambda value: compare({"": key(value)}) is True


def _member(leaf: Comparison, kind: PgType) -> ValueTest:
    key = kind.key or _itself
    members = frozenset(key(kind.read(sent(operand))) for operand in leaf.operand)
    if leaf.operator is Operator.NOT_IN:
        return lambda value: key(value) not in members
    return lambda value: key(value) in members


def _itself(value: Any) -> Any:
    return value


def _document_test(leaf: Comparison) -> ValueTest:
    operand = document(list(leaf.operand) if isinstance(leaf.operand, tuple) else leaf.operand)
    if leaf.operator is Operator.CONTAINS:
        return containing(operand)
    return lambda value: contains(operand, value)


def _array_test(leaf: Comparison, kind: PgType) -> ValueTest:
    """NULL elements equal nothing: a list with one is contained in no array (array_contain_compare in arrayfuncs.c)."""
    items = _array_operand(leaf.operand, kind)
    known = frozenset(item for item in items if item is not None)
    has_null = len(known) < len(set(items))
    match leaf.operator:
        case Operator.CONTAINS:
            return lambda value: not has_null and known.issubset(value)
        case Operator.CONTAINED_BY:
            return known.issuperset
        case _:
            return lambda value: not known.isdisjoint(value)


def _array_operand(operand: Any, kind: PgType) -> list[Any]:
    element = kind.element or kind
    if element.key is not None or element.kind in ("json", "unknown", "refused"):
        raise TwinCannotTellError("comparing the elements of arrays of this type")
    if isinstance(operand, dict):
        items: list[Any] = kind.read(sent(operand))
        return items
    if any(isinstance(item, (list, dict)) for item in operand):
        raise TwinCannotTellError("arrays of more than one dimension")
    return [None if item is None else element.read(sent(item)) for item in operand]


def _untyped(leaf: Comparison, column: str) -> Predicate:
    """A column of a table that nobody declared: JSON values as they were given, compared if Python compares them."""
    constant = _constant(leaf, column)
    if constant is not None:
        return constant
    test = value_test(leaf, column)
    return lambda row: None if (value := row.get(column)) is None else test(value)
