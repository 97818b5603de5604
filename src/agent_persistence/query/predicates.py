"""Filters as trees: comparisons and what joins them, and how to walk, change and simplify them.

Immutable values without a wire format; `filters` has the functions that make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    ADJACENT = "adjacent"
    TEXT_SEARCH = "text_search"

    __hash__ = str.__hash__  # that of Enum is a Python function

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
    Operator.ADJACENT: "ranges",
    Operator.TEXT_SEARCH: "text_search",
}
_OF_RANGES = frozenset({Operator.CONTAINS, Operator.CONTAINED_BY, Operator.OVERLAPS})


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
        if isinstance(self.operand, str) and self.operator in _OF_RANGES:
            return "ranges"
        if isinstance(self.operand, tuple) and self.operator in (Operator.EQ, Operator.NE):
            return "arrays"
        return _CAPABILITY.get(self.operator, "equality_filters")

    def __repr__(self) -> str:
        operand = "" if self.operand is None else "…"
        condition = f"{self.operator.function}({operand})"
        return condition if self.column is None else f"{self.column} {condition}"


@dataclass(frozen=True, slots=True, repr=False)
class AllOf:
    """Holds when every term holds."""

    terms: tuple[Filter, ...]
    _leaves: Leaves | None = field(default=None, init=False, compare=False)

    def __repr__(self) -> str:
        return f"all_of({', '.join(map(repr, self.terms))})"


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf:
    """Holds when at least one term holds."""

    terms: tuple[Filter, ...]
    _leaves: Leaves | None = field(default=None, init=False, compare=False)

    def __repr__(self) -> str:
        return f"any_of({', '.join(map(repr, self.terms))})"


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its term is false; where the term is unknown (a NULL), so is this."""

    term: Filter
    _leaves: Leaves | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"not_({self.term!r})"


@dataclass(frozen=True, slots=True)
class RowLink:
    """One way from a table to another, by a foreign key of either: `theirs` equals `ours`.

    `many` says whether they refer to us, or we to them; `via` is the column of the foreign key.
    """

    ours: str
    theirs: str
    many: bool
    via: str


@dataclass(frozen=True, slots=True, repr=False)
class Exists:
    """Holds when a row of another table is related to this one and `term`, which is about that row, holds. It is never
    unknown.

    `via` and `many` choose the foreign key, where there are several; `link` is the one chosen.
    """

    table: str
    term: Filter
    via: str | None = None
    many: bool | None = None
    link: RowLink | None = None

    @property
    def chosen(self) -> RowLink:
        """The foreign key. ValidationError where nobody has looked for it."""
        if self.link is None:
            raise ValidationError(
                self.table,
                "exists(…) needs the declared foreign keys, which agents, services and policies of theirs know",
            )
        return self.link

    def __repr__(self) -> str:
        return f"exists({self.table}, {self.term!r})"


Filter: TypeAlias = Comparison | AllOf | AnyOf | Not | Exists
Leaves: TypeAlias = tuple[tuple[Comparison, ...], tuple[Exists, ...]]
"""What a tree joins: comparisons of the table's own columns, and what is asked of related rows."""

TRUE = AllOf(())
FALSE = AnyOf(())


def conjunction(terms: Iterable[Filter]) -> AllOf:
    """The conjunction of the terms; those that are conjunctions themselves are taken apart."""
    parts: list[Filter] = []
    for term in terms:
        parts += term.terms if isinstance(term, AllOf) else (term,)
    return AllOf(tuple(parts))


def map_comparisons(predicate: Filter, change: Callable[[Comparison], Comparison]) -> Filter:
    """The same filter over changed comparisons of the table's own columns."""
    return _mapped(predicate, change, lambda exists: exists)


def map_existence(predicate: Filter, change: Callable[[Exists], Exists]) -> Filter:
    """The same filter over changed conditions on related rows."""
    return _mapped(predicate, lambda leaf: leaf, change) if existence(predicate) else predicate


def _mapped(
    predicate: Filter, change: Callable[[Comparison], Comparison], related: Callable[[Exists], Exists]
) -> Filter:
    match predicate:
        case Comparison():
            return change(predicate)
        case Exists():
            return related(predicate)
        case AllOf(terms):
            return AllOf(tuple(_mapped(term, change, related) for term in terms))
        case AnyOf(terms):
            return AnyOf(tuple(_mapped(term, change, related) for term in terms))
        case Not(term):
            return Not(_mapped(term, change, related))


def comparisons(predicate: Filter | None) -> tuple[Comparison, ...]:
    """Every comparison of the table's own columns, left to right."""
    if predicate is None:
        return ()
    return (predicate,) if isinstance(predicate, Comparison) else _leaves(predicate)[0]


def existence(predicate: Filter | None) -> tuple[Exists, ...]:
    """Every condition on rows that are related to the table's own, left to right; those within their terms apart."""
    return () if predicate is None or isinstance(predicate, Comparison) else _leaves(predicate)[1]


def _leaves(predicate: AllOf | AnyOf | Not | Exists) -> Leaves:
    """The leaves of the tree, which is walked once and keeps what was found."""
    if isinstance(predicate, Exists):
        return (), (predicate,)
    if predicate._leaves is None:
        found = _walked(predicate)
        own = tuple([leaf for leaf in found if isinstance(leaf, Comparison)])
        looked_for = () if len(own) == len(found) else tuple([leaf for leaf in found if isinstance(leaf, Exists)])
        object.__setattr__(predicate, "_leaves", (own, looked_for))
    return predicate._leaves or ((), ())


def _walked(predicate: Filter) -> list[Comparison | Exists]:
    waiting: list[Filter] = [predicate]
    leaves: list[Comparison | Exists] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, (Comparison, Exists)):
            leaves.append(node)
        else:
            waiting += (node.term,) if isinstance(node, Not) else reversed(node.terms)
    return leaves


MAX_DEPTH = 100


def check_depth(predicate: Filter) -> None:
    """Refuse a tree that recursion could not walk."""
    level: list[Filter] = [predicate]
    for _ in range(MAX_DEPTH):
        below: list[Filter] = []
        for node in level:
            if isinstance(node, (Not, Exists)):
                below.append(node.term)
            elif not isinstance(node, Comparison):
                below += node.terms
        if not below:
            return
        level = below
    raise ValidationError("filters", f"filters are nested deeper than {MAX_DEPTH} levels")


_OPPOSITE = {
    Operator.IS_NULL: Operator.NOT_NULL,
    Operator.NOT_NULL: Operator.IS_NULL,
    Operator.IN: Operator.NOT_IN,
    Operator.NOT_IN: Operator.IN,
}


def fold(predicate: Filter) -> Filter:
    """The same filter in fewer words: TRUE and FALSE, these very values, stand alone or not at all, and nothing is
    negated twice."""
    if _is_plain(predicate):
        return predicate
    match predicate:
        case Comparison(Operator.IN, ()):
            return FALSE
        case Comparison(Operator.NOT_IN, ()):
            return TRUE
        case Comparison():
            return predicate
        case AllOf(terms):
            return _join(AllOf, AnyOf, terms)
        case AnyOf(terms):
            return _join(AnyOf, AllOf, terms)
        case Not(term):
            return _negated(fold(term))
        case Exists(term=term):
            within = fold(term)
            return FALSE if within == FALSE else replace(predicate, term=within)


def _is_plain(predicate: Filter) -> bool:
    """Whether the filter is one comparison, or several that must all hold, and none of them has an empty operand."""
    if not isinstance(predicate, AllOf):
        return isinstance(predicate, Comparison) and predicate.operand != ()
    terms = predicate.terms
    if len(terms) < 2:
        return False
    for term in terms:  # noqa: SIM110  a generator would be entered once a term
        if not isinstance(term, Comparison) or term.operand == ():
            return False
    return True


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


def _join(junction: type[AllOf | AnyOf], opposite: type[AllOf | AnyOf], terms: tuple[Filter, ...]) -> Filter:
    """The folded terms joined. The junction of no terms adds nothing to it, the opposite one decides it."""
    kept: list[Filter] = []
    for term in map(fold, terms):
        if isinstance(term, junction):
            kept += term.terms
        elif isinstance(term, opposite) and not term.terms:
            return term
        else:
            kept.append(term)
    if not kept:
        return TRUE if junction is AllOf else FALSE
    return kept[0] if len(kept) == 1 else junction(tuple(kept))
