"""A context's tables with everything said, in the order in which parents stand before their children. Values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any


@dataclass(frozen=True, slots=True)
class Relation:
    """`columns` in rows of `table` hold what `references` hold in the row of `parent` that they belong to."""

    table: str
    columns: tuple[str, ...]
    parent: str
    references: tuple[str, ...]
    shown_as: str


@dataclass(frozen=True, slots=True)
class ContextTable:
    """One table: see `Entity` for what each option means.

    `parents` are other tables; a record stands under the first. `threads` lead to the table itself; a record stands
    under the row that the first names. `labels` are columns and the names under which they are shown.
    """

    table: str
    tag: str
    prefix: str
    key: tuple[str, ...]
    time: str | None = None
    parents: tuple[Relation, ...] = ()
    threads: tuple[Relation, ...] = ()
    title: tuple[str, ...] = ()
    title_name: str = "title"
    labels: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    columns: tuple[str, ...] | None = None
    limit: int = 10
    half_life: timedelta = timedelta(days=180)
    needs_parent: bool = False
    in_time_order: bool = False
    link: bool = False

    def key_of(self, row: Mapping[str, Any]) -> Any:
        """The value of the row's key, or the values of a key of several columns."""
        return row.get(self.key[0]) if len(self.key) == 1 else tuple(map(row.get, self.key))

    @property
    def is_turn(self) -> bool:
        """Whether the rows of one parent are turns of a talk: texts, shown from the oldest to the newest."""
        return self.body is not None and self.in_time_order and bool(self.parents)

    @property
    def structure(self) -> frozenset[str]:
        """The columns that the shape of a prompt shows: keys, parents, time, title and labels."""
        relations = [column for relation in (*self.parents, *self.threads) for column in relation.columns]
        heading = (*self.title, *(column for column, _ in self.labels))
        return frozenset({*self.key, *relations, *heading, *(() if self.time is None else (self.time,))})


@dataclass(frozen=True)
class ContextShape:
    """The tables of a context by name, parents first; `name` begins its prompts.

    `roots` are where reading begins when no filter says where else. `order` is that in which records without a parent
    are shown.
    """

    name: str
    tables: Mapping[str, ContextTable]
    roots: tuple[str, ...]
    order: tuple[str, ...]

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """By table, those whose rows belong to it."""
        found: dict[str, dict[str, None]] = {table: {} for table in self.tables}
        for name, table in self.tables.items():
            for relation in table.parents:
                found[relation.parent][name] = None
        return {table: tuple(below) for table, below in found.items()}

    @cached_property
    def components(self) -> tuple[frozenset[str], ...]:
        """The tables in groups; no relation leads from one group to another."""
        left = dict.fromkeys(self.tables)
        found = []
        while left:
            group = self._connected(next(iter(left)))
            found.append(group)
            left = {table: None for table in left if table not in group}
        return tuple(found)

    @cached_property
    def references(self) -> frozenset[str]:
        """What the rows of a root refer to beside those that they stand under, such as a lead's campaign."""
        found: set[str] = set()
        for root in self.roots:
            found |= self.above(root) - set(self.chain(root))
        return frozenset(found)

    def chain(self, table: str) -> Iterator[str]:
        """The table, and those that its records stand under."""
        yield table
        for relation in self.tables[table].parents[:1]:
            yield from self.chain(relation.parent)

    def above(self, table: str) -> frozenset[str]:
        """All tables to which a relation leads from it, however far."""
        return frozenset(_walk(table, lambda at: (relation.parent for relation in self.tables[at].parents))) - {table}

    def _connected(self, table: str) -> frozenset[str]:
        def beside(at: str) -> Iterator[str]:
            yield from (relation.parent for relation in self.tables[at].parents)
            yield from self.children[at]

        return frozenset(_walk(table, beside))


def _walk(start: str, following: Callable[[str], Iterable[str]]) -> Iterator[str]:
    seen = {start: None}
    queue = [start]
    for at in queue:
        yield at
        for further in following(at):
            if further not in seen:
                seen[further] = None
                queue.append(further)
