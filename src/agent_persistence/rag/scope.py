"""Whether a record that a retriever names belongs to the world that the caller's filters chose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_persistence.query.records import Row
from agent_persistence.rag.entities import ENTITIES, Parent
from agent_persistence.rag.plan import ReadPlan

Rows = Mapping[str, Sequence[Row]]


def missing_parents(plan: ReadPlan, found: Rows, named: Rows) -> dict[str, list[object]]:
    """By table, the keys of parents that the named rows tell and that are not read, in order of appearance."""
    tables = [step.table for step in plan.steps]
    known = {table: _keys(table, found) | _keys(table, named) for table in tables}
    missing: dict[str, dict[object, None]] = {}
    for table in tables:
        for parent in ENTITIES[table].parents:
            if parent.table in tables:
                for row in named.get(table, ()):
                    key = row.get(parent.column)
                    if key is not None and key not in known[parent.table]:
                        missing.setdefault(parent.table, {})[key] = None
    return {table: list(keys) for table, keys in missing.items()}


def within(plan: ReadPlan, found: Rows, named: Rows) -> dict[str, list[Row]]:
    """The rows of `named` that belong to the world; `found`, which the plan's own links chose, all do.

    A row belongs if each parent through which a filter chooses belongs. `named` holds rows that meet the filters of
    their own tables.
    """
    filtered = {step.table for step in plan.steps if step.filters is not None}
    belonging: dict[str, list[Row]] = {}
    keys = {table: _keys(table, found) for table in ENTITIES}
    for table in ENTITIES:
        choosing = [parent for parent in ENTITIES[table].parents if _chooses(parent, filtered)]
        belonging[table] = [
            row
            for row in named.get(table, ())
            if not plan.follows_relations or all(row.get(parent.column) in keys[parent.table] for parent in choosing)
        ]
        keys[table] |= _keys(table, belonging)
    return belonging


def _chooses(parent: Parent, filtered: set[str]) -> bool:
    """Whether a filter decides about the parent's rows: its own, or one further up where it stands."""
    if parent.table in filtered:
        return True
    return parent.told_as is None and any(_chooses(above, filtered) for above in ENTITIES[parent.table].parents)


def _keys(table: str, rows: Rows) -> set[object]:
    return {row[ENTITIES[table].key] for row in rows.get(table, ())}
