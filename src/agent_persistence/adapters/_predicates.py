"""Filters as functions over rows, with SQL's three truth values: True, False and None for unknown."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import AdapterError, UnsupportedOperationError
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
        case Operator.MATCH | Operator.IMATCH:
            return _regex(column, leaf.operand, ignore_case=leaf.operator is Operator.IMATCH)
        case Operator.CONTAINS:
            inner = cast(column, _listed(leaf.operand))
            return _present(column, lambda value: json_contains(value, inner))
        case Operator.CONTAINED_BY:
            outer = cast(column, _listed(leaf.operand))
            return _present(column, lambda value: json_contains(outer, value))
        case Operator.OVERLAPS:
            items = cast(column, _listed(leaf.operand))
            return _present(column, lambda value: any(_among(item, value) for item in items if item is not None))
        case Operator.TEXT_SEARCH:
            raise UnsupportedOperationError("filters", "text_search")
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


def _present(column: str, test: Callable[[Any], bool]) -> Predicate:
    def holds(row: Mapping[str, Any]) -> bool | None:
        value = row.get(column)
        return None if value is None else test(value)

    return holds


def _listed(operand: Any) -> Any:
    return list(operand) if isinstance(operand, tuple) else operand


def _among(item: Any, items: Any) -> bool:
    return any(_same(item, other) for other in items)


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def json_contains(outer: Any, inner: Any) -> bool:
    """PostgreSQL's `@>`: an array contains the elements of another in any order and number, and a lone scalar.

    https://www.postgresql.org/docs/current/datatype-json.html#JSON-CONTAINMENT
    """
    match outer, inner:
        case dict(), dict():
            return all(key in outer and _nested_contains(outer[key], item) for key, item in inner.items())
        case list(), list():
            return all(any(_nested_contains(element, item) for element in outer) for item in inner)
        case list(), dict():
            return False
        case list(), _:
            return _among(inner, outer)
        case _:
            return _same(outer, inner)


def _nested_contains(outer: Any, inner: Any) -> bool:
    """Below the top an array contains no lone scalar."""
    if isinstance(outer, list) and not isinstance(inner, list):
        return False
    return json_contains(outer, inner)


_PORTABLE = re.compile(
    r"""(?: [^\\\[\](){}*+?|.^$]            # a character that stands for itself
          | \\[\\\[\](){}*+?|.^$/-]        # one that is escaped to stand for itself
          | \[\^?[^\\\[\]^]+\]             # a set of characters, without classes and escapes
          | [.()|^$]                       # any character, a group, an alternative, an anchor
          | (?<=[^*+?{}(|^])[*+?](?![*+?]) # how often, greedy and once
        )*""",
    re.VERBOSE,
)


_END = re.compile(r"\\.|\[\^?[^\]]+\]|\$")


def _at_the_very_end(part: re.Match[str]) -> str:
    """Python's `$` matches before a last line end as well, PostgreSQL's does not."""
    return r"\Z" if part.group() == "$" else part.group()


def _regex(column: str, pattern: str, *, ignore_case: bool) -> Predicate:
    """The part of PostgreSQL's regular expressions that means the same in Python; the rest is refused."""
    problem = UnsupportedOperationError(
        "filters",
        "regex",
        "this regular expression means something else in PostgreSQL than in Python, which the in-memory adapter uses;"
        " it follows characters, . [sets] (groups) | ^ $ * + ? and escaped punctuation",
    )
    if not _PORTABLE.fullmatch(pattern) or "(?" in pattern or "()" in pattern:
        raise problem
    try:
        compiled = re.compile(_END.sub(_at_the_very_end, pattern), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error:
        raise AdapterError("the regular expression is not valid", status=400, code="2201B") from None
    return _present(column, lambda value: compiled.search(value) is not None)


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
