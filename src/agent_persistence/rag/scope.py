"""Whether a record that a retriever names belongs to the world that the caller's filters chose. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from agent_persistence.query.records import Row
from agent_persistence.rag.plan import ReadPlan, Step
from agent_persistence.rag.reach import Choice
from agent_persistence.schema.contexts.shape import ContextShape

Rows = Mapping[str, Sequence[Row]]
Values: TypeAlias = tuple[Any, ...]
"""What a row holds in some columns, in their order."""
Named: TypeAlias = Mapping[tuple[str, tuple[str, ...]], Sequence[Values]]
"""Rows of a table by what they hold in some columns."""


def values(row: Row, columns: Iterable[str]) -> Values:
    """What the row holds in the columns; nothing where one of them is NULL."""
    held = tuple(row.get(column) for column in columns)
    return () if None in held else held


def missing_parents(shape: ContextShape, plan: ReadPlan, found: Rows, named: Rows) -> Named:
    """The parents that the named rows refer to and that are not read, in order of appearance."""
    if not plan.follows_relations:
        return {}
    tables = [step.table for step in plan.steps]
    missing: dict[tuple[str, tuple[str, ...]], dict[Values, None]] = {}
    for table in tables:
        for relation in shape.tables[table].parents:
            if relation.parent in tables:
                known = _held(found, relation.parent, relation.references)
                known |= _held(named, relation.parent, relation.references)
                for row in named.get(table, ()):
                    held = values(row, relation.columns)
                    if held and held not in known:
                        missing.setdefault((relation.parent, relation.references), {})[held] = None
    return {asking: list(held) for asking, held in missing.items()}


def within(plan: ReadPlan, found: Rows, named: Rows) -> dict[str, list[Row]]:
    """The rows of `named` that belong to the world; `found`, which the plan's own links chose, all do.

    A row belongs if the plan's links take it, given the rows that belong. `named` holds rows that meet the filters of
    their own tables.
    """
    belonging: dict[str, list[Row]] = {}
    left = {step.table: step for step in plan.steps}
    while left:
        ready = [step for step in left.values() if not any(table in left for table in _above(step))]
        for step in ready:
            del left[step.table]
            links = step.links if step.table in plan.chosen else ()
            tests = [[_test(choice, found, belonging) for choice in link.choices] for link in links]
            belonging[step.table] = [
                row
                for row in named.get(step.table, ())
                if all(any(values(row, columns) in held for columns, held in choices) for choices in tests)
            ]
    return {step.table: belonging[step.table] for step in plan.steps}


def _above(step: Step) -> list[str]:
    return [table for link in step.links for table in link.tables]


def _test(choice: Choice, found: Rows, belonging: Rows) -> tuple[tuple[str, ...], set[Values]]:
    """The columns of a row that decide, and what they may hold."""
    held = _held(found, choice.table, choice.values_from) | _held(belonging, choice.table, choice.values_from)
    return choice.columns, held


def _held(rows: Rows, table: str, columns: Iterable[str]) -> set[Values]:
    return {held for row in rows.get(table, ()) if (held := values(row, columns))}
