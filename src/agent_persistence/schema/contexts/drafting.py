"""The context of a table as a schema suggests it: what is above it, what is below it, and what these refer to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.schema.checks import check_known, words
from agent_persistence.schema.contexts.choosing import time_of
from agent_persistence.schema.contexts.entity import Entity
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.registry import Schema
from agent_persistence.schema.values import Table

_ROOT_LIMIT: Final = 10
_ABOVE_LIMIT: Final = 20
_BESIDE_LIMIT: Final = 50
_LONG_HALF_LIFE: Final = timedelta(days=365)


def draft(
    schema: Schema,
    roots: Sequence[str],
    *,
    tables: Iterable[str] | None,
    without: Iterable[str],
    depth: int,
) -> list[Entity]:
    """The entities around the roots; their parents, titles and the like are left to the schema."""
    if type(depth) is not int or depth < 0:
        raise ConfigurationError("depth is an int of at least 0: how many levels below the root are taken")
    named = None if tables is None else words("tables", tables)
    left_out = words("without", without)
    for option, names in (("root", roots), ("tables", named or ()), ("without", left_out)):
        check_known(option, names, schema.tables)
    eligible = _eligible(schema, roots, named, left_out)
    parents = {table: _parents(eligible, table) for table in eligible}
    above = _above(parents, roots)
    below = _below(parents, roots, above, depth)
    links = {table for table in below if _is_link(table, eligible)}
    beside = _beside(parents, below, {*roots, *above, *below}, links)
    found = [*above, *roots, *below, *beside]
    if lost := [table for table in named or () if table not in found]:
        raise ConfigurationError(
            f"tables: no foreign key leads from {', '.join(roots)} to {', '.join(lost)} within {depth} levels;"
            " name it as a further root"
        )
    return [
        *_entities(above, _ABOVE_LIMIT),
        *_entities(roots, _ROOT_LIMIT, None),
        *_under(below, links),
        *_entities(beside),
    ]


def arranged(shape: ContextShape) -> list[str]:
    """The tables in the order in which a person reads of them: down to the roots, below them, what they refer to."""
    chains = [table for root in shape.roots for table in reversed(list(shape.chain(root)))]
    below = list(shape.roots)
    for table in below:
        below += [child for child in shape.children[table] if child not in below]
    return list(dict.fromkeys([*chains, *below, *shape.order]))


def _eligible(
    schema: Schema, roots: Sequence[str], named: Sequence[str] | None, without: Sequence[str]
) -> dict[str, Table]:
    found = {
        name: table
        for name, table in schema.tables.items()
        if table.primary_key and name not in without and (named is None or name in {*named, *roots})
    }
    for root in roots:
        if root not in found:
            raise ConfigurationError(f"root: {root} has no primary key, or is one of those to be left out")
    return found


def _parents(eligible: Mapping[str, Table], table: str) -> tuple[str, ...]:
    links = eligible[table].foreign_keys
    return tuple(dict.fromkeys(link.table for link in links if link.table in eligible and link.table != table))


def _above(parents: Mapping[str, Sequence[str]], roots: Sequence[str]) -> list[str]:
    found = dict.fromkeys(roots)
    queue = list(roots)
    for at in queue:
        queue += [parent for parent in parents[at] if parent not in found]
        found.update(dict.fromkeys(queue))
    return [table for table in reversed(found) if table not in roots]


def _below(parents: Mapping[str, Sequence[str]], roots: Sequence[str], above: Collection[str], depth: int) -> list[str]:
    found: dict[str, None] = {}
    level: Sequence[str] = roots
    for _ in range(depth):
        taken = {*roots, *above, *found}
        level = [table for table in parents if table not in taken and set(parents[table]) & set(level)]
        found.update(dict.fromkeys(level))
    return list(found)


def _beside(
    parents: Mapping[str, Sequence[str]], below: Sequence[str], taken: Collection[str], links: Collection[str]
) -> list[str]:
    """The tables that those below refer to; and of those that links lead to, what they refer to themselves."""
    found = dict.fromkeys(parent for table in below for parent in parents[table] if parent not in taken)
    linked = [parent for table in below if table in links for parent in parents[table] if parent in found]
    found.update(dict.fromkeys(further for table in linked for further in parents[table] if further not in taken))
    return list(found)


def _is_link(table: str, eligible: Mapping[str, Table]) -> bool:
    """Whether the table holds pairs of others' keys, at most a time and a key of its own besides, and no other refers
    to it."""
    declared = eligible[table]
    links = declared.foreign_keys
    plain = {*(name for link in links for name in link.columns), *declared.primary_key, time_of(declared)}
    is_pair = len(links) == 2 and all(link.table in eligible and link.table != table for link in links)
    is_named = any(link.table == table for other in eligible.values() for link in other.foreign_keys)
    return is_pair and not is_named and all(column in plain for column in declared.columns)


def _under(below: Iterable[str], links: Collection[str]) -> Iterator[Entity]:
    for table in below:
        yield Entity(table, link=True) if table in links else Entity(table)


def _entities(
    tables: Iterable[str], limit: int = _BESIDE_LIMIT, half_life: timedelta | None = _LONG_HALF_LIFE
) -> Iterator[Entity]:
    """Tables that mean something by themselves."""
    for table in tables:
        yield Entity(table, limit=limit, half_life=half_life, needs_parent=False)
