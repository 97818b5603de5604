"""Which tables of a context belong to which: as said, else along the declared foreign keys, never in a circle. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.schema.contexts.entity import Entity, Parent, check_among
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.values import ForeignKey, Table

Parents = Mapping[str, Sequence[Parent]]


def related(said: Mapping[str, Entity], schema: Schema, roots: Sequence[str]) -> dict[str, tuple[Parent, ...]]:
    """By table its parents, the one to stand under first.

    Of foreign keys that would close a circle the later ones are left out; those towards a root come first, and then
    those that every row has.
    """
    found: dict[str, tuple[Parent, ...]] = {}
    for table, entity in said.items():
        for parent in entity.parents or ():
            check_among(f"{table}: parent", parent.table, said)
        found[table] = entity.parents or ()
    unsaid = [table for table, entity in said.items() if entity.parents is None and table in schema.tables]
    below = _below(roots, said, schema)
    candidates = [(table, link) for table in unsaid for link in schema.tables[table].foreign_keys if link.table in said]
    candidates.sort(key=lambda one: (not {one[0], one[1].table} <= below, _is_nullable(schema.tables[one[0]], one[1])))
    for table, link in candidates:
        if link.table == table or not _leads(found, link.table, table):
            found[table] = (*found[table], Parent(link.columns, link.table))
    depths = _depths(found)
    for table in unsaid:
        found[table] = tuple(_first_to_stand_under(found, table, schema.tables[table], below, depths))
    return found


def ordered(parents: Parents) -> list[str]:
    """The tables, parents before their children, else in the order given. A circle is a ConfigurationError."""
    order = TopologicalSorter({table: _others(parents, table) for table in parents})
    try:
        order.prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ConfigurationError(
            f"parents go in a circle: {circle}; say parent= of one of these tables without the table before it"
        ) from None
    places = {table: place for place, table in enumerate(parents)}
    found: list[str] = []
    ready = list(order.get_ready())
    while ready:
        ready.sort(key=places.__getitem__)
        table = ready.pop(0)
        found.append(table)
        order.done(table)
        ready += order.get_ready()
    return found


def _below(roots: Sequence[str], said: Mapping[str, Entity], schema: Schema) -> frozenset[str]:
    """The roots, and all tables that foreign keys or said parents lead from to one of them."""
    found = dict.fromkeys(root for root in roots if root in said)
    queue = list(found)
    for at in queue:
        for table, entity in said.items():
            if table not in found and at in _parent_tables(entity, schema):
                found[table] = None
                queue.append(table)
    return frozenset(found)


def _parent_tables(entity: Entity, schema: Schema) -> set[str]:
    if entity.parents is not None:
        return {parent.table for parent in entity.parents}
    declared = schema.tables.get(entity.table)
    return {link.table for link in declared.foreign_keys} if declared else set()


def _first_to_stand_under(
    parents: Parents, table: str, declared: Table, below: frozenset[str], depths: Mapping[str, int]
) -> list[Parent]:
    """The parents with the best to stand under first: one below a root, the deepest, one that every row has."""
    links = {link.columns: link for link in declared.foreign_keys}

    def rank(parent: Parent) -> tuple[bool, int, bool, bool]:
        link = links[parent.columns]
        depth = 0 if table in below and parent.table not in below else depths[parent.table]
        return parent.table not in below, -depth, not link.on_delete_cascade, _is_nullable(declared, link)

    return sorted(parents[table], key=rank)


def _is_nullable(declared: Table, link: ForeignKey) -> bool:
    return any(declared.columns[name].nullable for name in link.columns)


def _depths(parents: Parents) -> dict[str, int]:
    """How many tables stand above each, one above the other."""
    depths: dict[str, int] = {}
    for table in ordered(parents):
        depths[table] = max((1 + depths[above] for above in _others(parents, table)), default=0)
    return depths


def _leads(parents: Parents, start: str, target: str) -> bool:
    """Whether the target is the start, or above it."""
    seen = {start}
    queue = [start]
    for at in queue:
        queue += [above for above in dict.fromkeys(_others(parents, at)) if above not in seen]
        seen.update(queue)
    return target in seen


def _others(parents: Parents, table: str) -> list[str]:
    return [parent.table for parent in parents[table] if parent.table != table]


def check_reachable(parents: Parents, roots: Sequence[str]) -> None:
    """Refuse roots that there are not, and tables that no relation leads to from any of them."""
    for root in roots:
        check_among("root", root, parents)
    if not roots:
        raise ConfigurationError("a context needs a root: the table where reading begins")
    reached = set(roots)
    while more := {table for table in parents if table not in reached and _is_beside(parents, table, reached)}:
        reached |= more
    if lost := [table for table in parents if table not in reached]:
        raise ConfigurationError(
            f"{', '.join(lost)}: no relation leads there from {', '.join(roots)};"
            " give it a parent, or name it as a root"
        )


def _is_beside(parents: Parents, table: str, reached: set[str]) -> bool:
    above = set(_others(parents, table))
    return bool(above & reached) or any(table in _others(parents, other) for other in reached)
