"""The filter language: immutable values that say which rows are meant, and know no wire format.

    {"status": "new", "score": gte(0.5), "deleted_at": None}
    any_of({"status": in_(["new", "open"])}, {"score": all_of(gte(0.2), lt(0.9))})

A mapping holds when each of its columns does. Comparisons with a NULL are neither true nor false, as in SQL:
`ne("x")` and `not_(eq("x"))` leave out rows whose column is NULL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import UnsupportedOperationError, ValidationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.query.predicates import (
    TRUE,
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Not,
    Operator,
    TextQuery,
    check_depth,
    comparisons,
    conjunction,
    existence,
    fold,
)
from agent_persistence.query.records import NULL, encode_value, is_plain
from agent_persistence.query.references import Reference, outside

Filters: TypeAlias = Mapping[str, Any] | Filter


def eq(value: object) -> Comparison:
    """The column equals `value`; an array a list, element by element. For NULL use `is_null()`: nothing equals NULL."""
    return Comparison(Operator.EQ, _scalar_or_list(Operator.EQ, value))


def ne(value: object) -> Comparison:
    """The column is not NULL and differs from `value`, an array from a list."""
    return Comparison(Operator.NE, _scalar_or_list(Operator.NE, value))


def gt(value: object) -> Comparison:
    """The column is greater than `value`."""
    return Comparison(Operator.GT, _scalar(Operator.GT, value))


def gte(value: object) -> Comparison:
    """The column is greater than or equal to `value`."""
    return Comparison(Operator.GTE, _scalar(Operator.GTE, value))


def lt(value: object) -> Comparison:
    """The column is less than `value`."""
    return Comparison(Operator.LT, _scalar(Operator.LT, value))


def lte(value: object) -> Comparison:
    """The column is less than or equal to `value`."""
    return Comparison(Operator.LTE, _scalar(Operator.LTE, value))


def in_(values: Iterable[object]) -> Comparison:
    """The column equals one of `values`; an empty list matches no row."""
    return Comparison(Operator.IN, _scalars(Operator.IN, values))


def not_in(values: Iterable[object]) -> Comparison:
    """The column is not NULL and equals none of `values`; an empty list matches every row."""
    return Comparison(Operator.NOT_IN, _scalars(Operator.NOT_IN, values))


def like(pattern: str) -> Comparison:
    """The column matches an SQL pattern: `%` any text, `_` one character, backslash escapes. Case counts."""
    return Comparison(Operator.LIKE, _pattern(Operator.LIKE, pattern))


def ilike(pattern: str) -> Comparison:
    """As `like`, ignoring case."""
    return Comparison(Operator.ILIKE, _pattern(Operator.ILIKE, pattern))


def is_null() -> Comparison:
    """The column is NULL."""
    return Comparison(Operator.IS_NULL)


def not_null() -> Comparison:
    """The column is not NULL."""
    return Comparison(Operator.NOT_NULL)


def is_true() -> Comparison:
    """The boolean column is true."""
    return Comparison(Operator.IS_TRUE)


def is_false() -> Comparison:
    """The boolean column is false, and not NULL."""
    return Comparison(Operator.IS_FALSE)


def match(pattern: str) -> Comparison:
    """The text column holds a match of a POSIX regular expression, anywhere unless anchored. Case counts."""
    return Comparison(Operator.MATCH, _text(Operator.MATCH, pattern))


def imatch(pattern: str) -> Comparison:
    """As `match`, ignoring case."""
    return Comparison(Operator.IMATCH, _text(Operator.IMATCH, pattern))


def contains(value: Sequence[object] | Mapping[str, object] | str) -> Comparison:
    """The array holds every element of a list, the JSON document everything in a list or mapping, or the range all of
    a range such as "[2026-01-01,2026-02-01)" (`@>`)."""
    return Comparison(Operator.CONTAINS, _collection(Operator.CONTAINS, value))


def contained_by(value: Sequence[object] | Mapping[str, object] | str) -> Comparison:
    """The array holds only elements of the list, the JSON document only what is in `value`, or the range no more than
    the range in `value` (`<@`)."""
    return Comparison(Operator.CONTAINED_BY, _collection(Operator.CONTAINED_BY, value))


def overlaps(values: Sequence[object] | str) -> Comparison:
    """The array shares at least one element with the list, or the range a value with the range in `values` (`&&`)."""
    if isinstance(values, Mapping):
        raise _malformed("overlaps compares arrays and ranges; use contains({…}) for JSON documents")
    return Comparison(Operator.OVERLAPS, _collection(Operator.OVERLAPS, values))


def adjacent(value: str) -> Comparison:
    """The range ends where the range in `value` begins, or begins where it ends (`-|-`)."""
    return Comparison(Operator.ADJACENT, _range(Operator.ADJACENT, value))


TEXT_QUERY_KINDS = ("plain", "phrase", "websearch", "tsquery")


def text_search(query: str, *, kind: str = "plain", config: str | None = None) -> Comparison:
    """The text matches a full-text query: all words (`plain`), in this order (`phrase`), in the manner of a web search
    (`websearch`: quotes, `or`, `-`), or as PostgreSQL's own syntax (`tsquery`)."""
    if kind not in TEXT_QUERY_KINDS:
        raise _malformed(f"text_search: kind is one of {', '.join(TEXT_QUERY_KINDS)}")
    if config is not None and not is_identifier(config):
        raise _malformed("text_search: config is the name of a text search configuration, such as 'english'")
    return Comparison(Operator.TEXT_SEARCH, TextQuery(_text(Operator.TEXT_SEARCH, query), kind, config))


def all_of(*terms: Filters) -> AllOf:
    """Every term holds; without terms it always does."""
    return conjunction([_parse(term) for term in terms])


def any_of(*terms: Filters) -> AnyOf:
    """At least one term holds; without terms none does."""
    return AnyOf(tuple(_parse(term) for term in terms))


def not_(term: Filters) -> Not:
    """The term is false."""
    return Not(_parse(term))


def exists(table: str, filters: Filters | None = None, *, via: str | None = None, many: bool | None = None) -> Exists:
    """A row of `table` that `filters` selects is related to the row, by a declared foreign key of either.

    `via` is the column of the foreign key, where there are several between the two tables; `many` says, where one
    within a table leads both ways, whether the rows that refer to it are meant (True) or the one that it refers to.
    """
    if type(table) is not str or not table:
        raise _malformed(f"exists names a related table, not {printable(table)}")
    if not (via is None or type(via) is str) or not (many is None or type(many) is bool):
        raise _malformed("exists: via is the column of a foreign key, and many is True or False")
    return Exists(table, TRUE if filters is None else _parse(filters), via, many)


def parse_filters(table: object, filters: Filters | None, *, in_unit: bool = False) -> Filter | None:
    """The filter in its one canonical form: every comparison has its column; None selects every row.

    Only `in_unit` may it compare with columns of handles.
    """
    if filters is None:
        return None
    try:
        parsed = _parse(filters)
        check_depth(parsed)
        _check_leaves(table, parsed, in_unit=in_unit)
    except ValidationError as malformed:
        raise ValidationError(table, malformed.problems) from None
    return None if isinstance(parsed, AllOf) and not parsed.terms else parsed


def _check_leaves(table: object, predicate: Filter, *, in_unit: bool) -> None:
    for leaf in comparisons(predicate):
        if leaf.column is None:
            raise _malformed(f"{leaf!r} names no column; write {{'column': {leaf!r}}}")
        if not in_unit and type(leaf.operand) is Reference:
            raise outside(table)
    for each in existence(predicate):
        _check_leaves(table, each.term, in_unit=False)


def parse_some_rows(table: object, filters: Filters, *, in_unit: bool = False) -> Filter:
    """The filter in its canonical form; one that selects every row is refused."""
    predicate = parse_filters(table, filters, in_unit=in_unit)
    if predicate is None or fold(predicate) == TRUE:
        raise ValidationError(table, "filters that select every row are refused here; name the rows that are meant")
    return predicate


def equalities(table: object, predicate: Filter | None) -> dict[str, Any]:
    """The filter as a plain equality map (None for IS NULL), for adapters that know nothing more."""
    terms = predicate.terms if isinstance(predicate, AllOf) else () if predicate is None else (predicate,)
    pairs: dict[str, Any] = {}
    for term in terms:
        if not isinstance(term, Comparison) or term.column is None or term.column in pairs:
            raise UnsupportedOperationError(table, "logic")
        if term.operator not in (Operator.EQ, Operator.IS_NULL) or isinstance(term.operand, tuple):
            raise UnsupportedOperationError(table, term.capability)
        pairs[term.column] = term.operand
    return pairs


def _malformed(problem: str) -> ValidationError:
    return ValidationError("filters", problem)


def _parse(filters: object) -> Filter:
    if isinstance(filters, (Comparison, AllOf, AnyOf, Not, Exists)):
        return filters
    if not isinstance(filters, Mapping):
        raise _malformed(
            f"filters are a mapping of column to value or an operator such as any_of(…), not {type(filters).__name__}"
        )
    terms = [_condition(column, condition) for column, condition in filters.items()]
    return terms[0] if len(terms) == 1 else conjunction(terms)


def _condition(column: str, condition: object) -> Filter:
    if condition is None or condition is NULL:
        return Comparison(Operator.IS_NULL, column=column)
    if isinstance(condition, Comparison):
        return _bind(condition, column)
    if isinstance(condition, (AllOf, AnyOf, Not, Exists)):
        check_depth(condition)
        return _bind(condition, column)
    return Comparison(Operator.EQ, _scalar(Operator.EQ, condition), column)


def _bind(condition: Filter, column: str) -> Filter:
    match condition:
        case Comparison(column=None):
            return Comparison(condition.operator, condition.operand, column)
        case Comparison():
            raise _malformed(f"{condition!r} already names a column and stands under {column!r}")
        case AllOf(terms):
            return AllOf(tuple(_bind(term, column) for term in terms))
        case AnyOf(terms):
            return AnyOf(tuple(_bind(term, column) for term in terms))
        case Not(term):
            return Not(_bind(term, column))
        case Exists():
            raise _malformed(f"{condition!r} is about other rows and stands beside columns, not under {column!r}")


_OF_ONE: Final = frozenset({Operator.EQ, Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
"""The operators that compare with one value, which may be a reference."""


def _scalar(operator: Operator, value: object) -> Any:
    if is_plain(value) or (isinstance(value, Reference) and operator in _OF_ONE):
        return value
    if value is None or value is NULL:
        raise _malformed(f"{operator.function}(None) is never true in SQL; use is_null() or not_null()")
    encoded = encode_value("filters", value, f"{operator.function}(…)")
    if isinstance(encoded, (list, dict)):
        raise _malformed(
            f"{operator.function} compares one value, not a {type(encoded).__name__}; use in_([…]) for any of several"
        )
    return encoded


def _scalar_or_list(operator: Operator, value: object) -> Any:
    """An array equals a list of single values; `{"column": [...]}` without an operator stays refused, for it might
    mean any of several."""
    if not isinstance(value, (list, tuple)):
        return _scalar(operator, value)
    items = encode_value("filters", value, f"{operator.function}(…)")
    if any(isinstance(item, (list, dict)) for item in items):
        raise _malformed(f"{operator.function} compares a list of single values; an element of this one is none")
    return tuple(items)


def _scalars(operator: Operator, values: object) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise _malformed(f"{operator.function} takes a list of values, not {type(values).__name__}")
    return tuple(_scalar(operator, value) for value in values)


_RANGE: Final = re.compile(r"\s*(?:empty|[\[(][^,]*,[^,]*[\])]|\{.*\})\s*", re.DOTALL | re.IGNORECASE)
"""A range, or several in braces, roughly: `[1,5)`, `(,2026-01-01]`, `empty` (range_in in rangetypes.c)."""


def _range(operator: Operator, value: object) -> str:
    if not isinstance(value, str) or _RANGE.fullmatch(value) is None:
        shown = "a text" if isinstance(value, str) else type(value).__name__
        raise _malformed(f"{operator.function} takes a range such as '[1,5)' or '[2026-01-01,2026-02-01)', not {shown}")
    return _text(operator, value)


def _collection(operator: Operator, value: object) -> Any:
    if isinstance(value, str) and _RANGE.fullmatch(value):
        return _range(operator, value)
    if isinstance(value, (str, bytes)) or not isinstance(value, (Mapping, Sequence)):
        raise _malformed(f"{operator.function} takes a list, a mapping or a range, not {type(value).__name__}")
    encoded = encode_value("filters", value, f"{operator.function}(…)")
    return tuple(encoded) if isinstance(encoded, list) else encoded


def _text(operator: Operator, text: object) -> str:
    if not isinstance(text, str):
        raise _malformed(f"{operator.function} takes text, not {type(text).__name__}")
    encoded: str = encode_value("filters", text, f"{operator.function}(…)")
    return encoded


def _pattern(operator: Operator, text: object) -> str:
    pattern = _text(operator, text)
    if "*" in pattern:
        raise _malformed(f"{operator.function}: PostgREST reads * as %, and it cannot be escaped; write % or _ instead")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise _malformed(f"{operator.function}: the pattern ends with the escape character; double the backslash")
    return pattern
