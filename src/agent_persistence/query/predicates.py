"""Filters as trees: comparisons and what joins them, and how to walk, change and simplify them.

Immutable values without a wire format; `filters` has the functions that make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias

from agent_persistence.exceptions import ValidationError


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"
    LIKE = "like"
    ILIKE = "ilike"
    IS_NULL = "is_null"
    NOT_NULL = "not_null"
    IS_TRUE = "is_true"
    IS_FALSE = "is_false"
    MATCH = "match"
    IMATCH = "imatch"
    CONTAINS = "contains"
    CONTAINED_BY = "contained_by"
    OVERLAPS = "overlaps"
    TEXT_SEARCH = "text_search"

    @property
    def function(self) -> str:
        """The function of this module that makes such a comparison."""
        return "in_" if self is Operator.IN else self.value


_CAPABILITY = {
    **dict.fromkeys((Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), "range_operators"),
    **dict.fromkeys((Operator.IN, Operator.NOT_IN), "in_operator"),
    Operator.LIKE: "pattern",
    Operator.ILIKE: "ilike",
    **dict.fromkeys((Operator.MATCH, Operator.IMATCH), "regex"),
    **dict.fromkeys((Operator.CONTAINS, Operator.CONTAINED_BY, Operator.OVERLAPS), "arrays"),
    Operator.TEXT_SEARCH: "text_search",
}


@dataclass(frozen=True, slots=True)
class TextQuery:
    """What a full-text search looks for; `config` is a text search configuration, the server's own by default."""

    text: str = field(repr=False)
    kind: str = "plain"
    config: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """One column against one operand. The column is None until a mapping gives it one."""

    operator: Operator
    operand: Any = None
    column: str | None = None

    @property
    def capability(self) -> str:
        """The key of an adapter's `capabilities` that this comparison needs."""
        if isinstance(self.operand, dict):
            return "json"
        return _CAPABILITY.get(self.operator, "equality_filters")

    def __repr__(self) -> str:
        operand = "" if self.operand is None else "…"
        condition = f"{self.operator.function}({operand})"
        return condition if self.column is None else f"{self.column} {condition}"


@dataclass(frozen=True, slots=True, repr=False)
class AllOf:
    """Holds when every term holds."""

    terms: tuple[Filter, ...]

    def __repr__(self) -> str:
        return f"all_of({', '.join(map(repr, self.terms))})"


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf:
    """Holds when at least one term holds."""

    terms: tuple[Filter, ...]

    def __repr__(self) -> str:
        return f"any_of({', '.join(map(repr, self.terms))})"


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its term is false; where the term is unknown (a NULL), so is this."""

    term: Filter

    def __repr__(self) -> str:
        return f"not_({self.term!r})"


Filter: TypeAlias = Comparison | AllOf | AnyOf | Not

TRUE = AllOf(())
FALSE = AnyOf(())


def conjunction(terms: Iterable[Filter]) -> AllOf:
    """The conjunction of the terms; those that are conjunctions themselves are taken apart."""
    return AllOf(tuple(part for term in terms for part in (term.terms if isinstance(term, AllOf) else (term,))))


def map_comparisons(predicate: Filter, change: Callable[[Comparison], Comparison]) -> Filter:
    """The same filter over changed comparisons."""
    match predicate:
        case Comparison():
            return change(predicate)
        case AllOf(terms):
            return AllOf(tuple(map_comparisons(term, change) for term in terms))
        case AnyOf(terms):
            return AnyOf(tuple(map_comparisons(term, change) for term in terms))
        case Not(term):
            return Not(map_comparisons(term, change))


def comparisons(predicate: Filter | None) -> Iterator[Comparison]:
    """Every comparison in the tree, left to right."""
    match predicate:
        case Comparison():
            yield predicate
        case AllOf(terms) | AnyOf(terms):
            for term in terms:
                yield from comparisons(term)
        case Not(term):
            yield from comparisons(term)
        case None:
            return


MAX_DEPTH = 100


def check_depth(predicate: Filter) -> None:
    """Refuse a tree that recursion could not walk."""
    level: list[Filter] = [predicate]
    for _ in range(MAX_DEPTH):
        level = [term for node in level for term in _terms(node)]
        if not level:
            return
    raise ValidationError("filters", f"filters are nested deeper than {MAX_DEPTH} levels")


def _terms(predicate: Filter) -> tuple[Filter, ...]:
    match predicate:
        case AllOf(terms) | AnyOf(terms):
            return terms
        case Not(term):
            return (term,)
        case Comparison():
            return ()


_OPPOSITE = {
    Operator.IS_NULL: Operator.NOT_NULL,
    Operator.NOT_NULL: Operator.IS_NULL,
    Operator.IN: Operator.NOT_IN,
    Operator.NOT_IN: Operator.IN,
}


def fold(predicate: Filter) -> Filter:
    """The same filter in fewer words: TRUE and FALSE stand alone or not at all, and nothing is negated twice."""
    match predicate:
        case Comparison(Operator.IN, ()):
            return FALSE
        case Comparison(Operator.NOT_IN, ()):
            return TRUE
        case Comparison():
            return predicate
        case AllOf(terms):
            return _join(AllOf, [fold(term) for term in terms], neutral=TRUE, absorbing=FALSE)
        case AnyOf(terms):
            return _join(AnyOf, [fold(term) for term in terms], neutral=FALSE, absorbing=TRUE)
        case Not(term):
            return _negated(fold(term))


def _negated(predicate: Filter) -> Filter:
    match predicate:
        case Not(term):
            return term
        case Comparison(operator=operator) if operator in _OPPOSITE:
            return replace(predicate, operator=_OPPOSITE[operator])
        case AllOf(()):
            return FALSE
        case AnyOf(()):
            return TRUE
        case _:
            return Not(predicate)


def _join(junction: type[AllOf | AnyOf], terms: list[Filter], *, neutral: Filter, absorbing: Filter) -> Filter:
    if absorbing in terms:
        return absorbing
    kept: list[Filter] = []
    for term in terms:
        if isinstance(term, junction):
            kept.extend(term.terms)
        elif term != neutral:
            kept.append(term)
    return kept[0] if len(kept) == 1 else junction(tuple(kept))
