"""Filters and sort keys as SQL, with the meaning that PostgREST gives them (SqlFragment.hs). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent_persistence.backends.postgres.statements import Parameters, earlier_value, quoted
from agent_persistence.backends.texts import array_text, json_text, text_of
from agent_persistence.query.identifiers import base_column, is_path
from agent_persistence.query.ordering import Order
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
    comparisons,
    fold,
)
from agent_persistence.query.references import Reference

JSON_TYPES: Final = frozenset({"json", "jsonb"})
_INFIX: Final = {
    Operator.EQ: "=",
    Operator.NE: "<>",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.LIKE: "like",
    Operator.ILIKE: "ilike",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
    Operator.CONTAINS: "@>",
    Operator.CONTAINED_BY: "<@",
    Operator.OVERLAPS: "&&",
    Operator.ADJACENT: "-|-",
}
_SUFFIX: Final = {
    Operator.IS_NULL: "is null",
    Operator.NOT_NULL: "is not null",
    Operator.IS_TRUE: "is true",
    Operator.IS_FALSE: "is false",
}
_SEARCH: Final = {
    "plain": "plainto_tsquery",
    "phrase": "phraseto_tsquery",
    "websearch": "websearch_to_tsquery",
    "tsquery": "to_tsquery",
}


_OF_LISTS: Final = (Operator.CONTAINS, Operator.CONTAINED_BY, Operator.EQ, Operator.NE)


def simplified(predicate: Filter | None) -> Filter | None:
    """The filter without constants; None selects every row."""
    folded = TRUE if predicate is None else fold(predicate)
    return None if folded == TRUE else folded


def depends_on_types(predicate: Filter | None) -> bool:
    """Whether the filter's SQL differs with the types of its columns: lists, searches in a text, and references."""
    return any(isinstance(leaf.operand, (TextQuery, Reference)) or _is_list(leaf) for leaf in comparisons(predicate))


def _is_list(leaf: Comparison) -> bool:
    return leaf.operator in _OF_LISTS and isinstance(leaf.operand, tuple)


@dataclass(frozen=True, slots=True)
class FilterFacts:
    """What the SQL of a filter depends on: the name by which the statement calls the rows, the types of their columns,
    and of each related table its own name and types. Names are quoted already."""

    rows: str
    types: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, FilterFacts] = field(default_factory=dict)
    depth: int = 0

    def beside(self, table: str) -> FilterFacts:
        """The same of a related table's rows, under an alias that none around them has."""
        depth = self.depth + 1
        return FilterFacts(f"_agent_persistence_related_{depth}", self.tables[table].types, self.tables, depth)


def where(predicate: Filter | None, known: FilterFacts, parameters: Parameters) -> str:
    """The clause that a statement ends with; nothing where every row is meant."""
    return "" if predicate is None else f" where {condition(predicate, known, parameters)}"


def condition(predicate: Filter, known: FilterFacts, parameters: Parameters) -> str:
    """The filter as an expression. Unknown stays unknown: SQL negates and joins by three values, as the filter does."""
    match predicate:
        case AllOf(terms):
            return "(" + (" and ".join(condition(term, known, parameters) for term in terms) or "true") + ")"
        case AnyOf(terms):
            return "(" + (" or ".join(condition(term, known, parameters) for term in terms) or "false") + ")"
        case Not(term):
            return f"(not {condition(term, known, parameters)})"
        case Comparison():
            return f"({_comparison(predicate, known, parameters)})"
        case Exists():
            return _exists(predicate, known, parameters)


def _exists(exists: Exists, known: FilterFacts, parameters: Parameters) -> str:
    """The columns within are not qualified, so that they must be the table's own, as those of a selection must."""
    link, inner = exists.chosen, known.beside(exists.table)
    joined = f"{inner.rows}.{quoted(link.theirs)} = {known.rows}.{quoted(link.ours)}"
    table = f"{known.tables[exists.table].rows} as {inner.rows}"
    return f"exists (select from {table} where {joined} and {condition(exists.term, inner, parameters)})"


def _comparison(leaf: Comparison, known: FilterFacts, parameters: Parameters) -> str:
    column = leaf.column or ""
    read = expression(column)
    if leaf.operator in _SUFFIX:
        return f"{read} {_SUFFIX[leaf.operator]}"
    if leaf.operator in (Operator.IN, Operator.NOT_IN):
        members = parameters.add(array_text(map(text_of, leaf.operand)))
        return f"{'not ' if leaf.operator is Operator.NOT_IN else ''}{read} = any ({members})"
    if isinstance(leaf.operand, TextQuery):
        return _search(read, known.types.get(base_column(column)), leaf.operand, parameters)
    if isinstance(leaf.operand, Reference):
        return f"{read} {_INFIX[leaf.operator]} {_referred(column, leaf.operand, known, parameters)}"
    return f"{read} {_INFIX[leaf.operator]} {parameters.add(operand_text(leaf, known.types))}"


def _referred(column: str, reference: Reference, known: FilterFacts, parameters: Parameters) -> str:
    """A value that an earlier part returned, as one of the column's type; `->` reads jsonb, `->>` text."""
    value = earlier_value(reference, parameters, as_text=True)
    if is_path(column):
        return value if column.rpartition("->")[2].startswith(">") else f"{value}::jsonb"
    type_name = known.types.get(column, "text")
    return f"{value}::{_UNCUT.get(type_name, type_name)}"


_UNCUT: Final = {"character": "bpchar", "bit": "varbit"}
"""Types that would be cut to one character where no length is given."""


def operand_text(leaf: Comparison, types: Mapping[str, str]) -> str:
    operand: Any = leaf.operand
    if not isinstance(operand, tuple):
        return text_of(operand)
    if _is_list(leaf) and types.get(base_column(leaf.column or "")) in JSON_TYPES:
        return json_text(operand)
    return array_text(operand)


def _search(read: str, type_name: str | None, query: TextQuery, parameters: Parameters) -> str:
    """A text is made a tsvector first, which a column of that type is already."""
    config = "" if query.config is None else f"{parameters.add(query.config)}::regconfig, "
    vector = read if type_name == "tsvector" else f"to_tsvector({config}{read})"
    return f"{vector} @@ {_SEARCH[query.kind]}({config}{parameters.add(query.text)})"


_ARROW: Final = re.compile("(->>?)")
_INDEX: Final = re.compile(r"-?[0-9]+")


def expression(column: str) -> str:
    """The column, or the part of it that a path reads. Keys of a path are letters, digits and _ (see `identifiers`)."""
    if not is_path(column):
        return quoted(column)
    base, *steps = _ARROW.split(column)
    keys = (step if "->" in step or _INDEX.fullmatch(step) else f"'{step}'" for step in steps)
    return f"({quoted(base)} {' '.join(keys)})"


def selected(column: str) -> str:
    """The column under its own name, which a path has too."""
    return f"{expression(column)} as {quoted(column)}" if is_path(column) else quoted(column)


def sort_key(key: Order) -> str:
    nulls = f" nulls {key.nulls}" if key.nulls else ""
    return f"{expression(key.column)}{' desc' if key.descending else ''}{nulls}"
