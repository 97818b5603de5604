"""Which tables can be read without waiting for those that decide which of their rows belong. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from agent_persistence.exceptions import ValidationError
from agent_persistence.query.filters import Filters, all_of, exists, parse_filters
from agent_persistence.query.predicates import AllOf, Comparison, Operator, fold
from agent_persistence.query.records import Row
from agent_persistence.rag.plan import Step
from agent_persistence.rag.reach import Choice
from agent_persistence.rag.scope import values
from agent_persistence.schema.links import link
from agent_persistence.schema.registry import Schema


def conditions_ahead(steps: Iterable[Step], schema: Schema) -> Mapping[str, Filters]:
    """By table, what its rows are related to, as a filter on the rows of these tables in place of their keys.

    It is said of tables whose rows hang on those of one table, by one declared foreign key, where the rows of that
    table are few: a filter names them by a unique column, or they hang on such rows themselves.
    """
    by_table = {step.table: step for step in steps}
    few = {step.table for step in by_table.values() if not step.links and _names_rows(step, schema)}
    found: dict[str, Filters] = {}
    while new := {
        table: condition
        for table, step in by_table.items()
        if table not in found and (condition := _condition(step, by_table, found, few, schema)) is not None
    }:
        found |= new
    return found


def holds(step: Step, rows: Sequence[Row], found: Mapping[str, Sequence[Row]]) -> bool:
    """Whether the rows belong to those found, as they do unless others wrote in between."""
    return all(
        values(row, choice.columns) in {values(one, choice.values_from) for one in found[choice.table]}
        for link in step.links
        for choice in link.choices
        for row in rows
    )


def _condition(
    step: Step, steps: Mapping[str, Step], found: Mapping[str, Filters], few: Collection[str], schema: Schema
) -> Filters | None:
    choices = [choice for link in step.links for choice in link.choices]
    if len(choices) != 1 or step.sought or choices[0].table not in {*few, *found}:
        return None
    above = steps[choices[0].table]
    held: list[Filters] = [] if above.filters is None else [above.filters]
    held += [found[above.table]] if above.table in found else []
    return _related(step.table, choices[0], all_of(*held), schema)


def _related(table: str, choice: Choice, filters: Filters, schema: Schema) -> Filters | None:
    """The condition by the one foreign key that the choice goes by, if it is declared."""
    for via, many in ((choice.columns, False), (choice.values_from, True)):
        try:
            way = link(schema, table, choice.table, via[0], many, option="exists")
        except ValidationError:
            continue
        if ((way.ours,), (way.theirs,)) == (choice.columns, choice.values_from) and choice.table != table:
            return exists(choice.table, filters, via=way.via, many=way.many)
    return None


def _names_rows(step: Step, schema: Schema) -> bool:
    """Whether the filter names rows by a column that no two rows share the value of."""
    predicate = None if step.filters is None else parse_filters(step.table, step.filters)
    declared = schema.tables.get(step.table)
    if predicate is None or declared is None:
        return False
    folded: Any = fold(predicate)
    terms = folded.terms if isinstance(folded, AllOf) else (folded,)
    return any(
        isinstance(term, Comparison)
        and term.operator in (Operator.EQ, Operator.IN)
        and (term.column,) in (declared.primary_key, *declared.unique)
        for term in terms
    )
