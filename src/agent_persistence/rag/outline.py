"""The rows of a context as a tree: each record stands under the parent that its table names first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from agent_persistence.query.records import Row
from agent_persistence.rag.rendering.notation import notation
from agent_persistence.rag.rendering.visible import visible
from agent_persistence.rag.threads import Threads, threads
from agent_persistence.rag.times import NEVER, age, moment
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable, Relation

_UTC_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(?:\+00:00|Z)\Z")
_LONGEST_TITLE: Final = 80
"""Of a record that is shown by reference; its own heading has the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One row under its short reference, and the records that belong to it.

    `links` are references to further parents, by the names under which they are shown.
    """

    ref: str
    entity: ContextTable
    row: Row
    parent: Record | None = None
    links: dict[str, str] = field(default_factory=dict)
    children: list[Record] = field(default_factory=list)

    @property
    def table(self) -> str:
        return self.entity.table

    @property
    def key(self) -> Any:
        """The value of the key, or the values of a key of several columns."""
        return self.entity.key_of(self.row)

    @property
    def time(self) -> datetime:
        time = self.entity.time
        return NEVER if time is None else moment(self.row.get(time))

    @property
    def title(self) -> str:
        """What names the record for people, as one text; empty where it has none."""
        held = [self.row.get(column) for column in self.entity.title]
        return " ".join(_short(notation(value)) for value in held if value is not None)

    def walk(self) -> Iterator[Record]:
        """This record and all below it, in the order of the prompt."""
        yield self
        for child in self.children:
            yield from child.walk()

    def heading(self) -> dict[str, str]:
        """What is shown beside the reference: title, labels, links, the time to the minute; visible, unescaped."""
        row, entity = self.row, self.entity
        heading = {entity.title_name: title} if (title := self.title) else {}
        heading.update({name: notation(row[label]) for label, name in entity.labels if row.get(label) is not None})
        heading.update(self.links)
        if entity.time is not None and row.get(entity.time) is not None:
            heading["at"] = _short(notation(row[entity.time]))
        return heading

    def texts(self) -> dict[str, str]:
        """What the record says, by visible column: the body alone where there is one, else all that is not NULL."""
        if self.entity.body is not None:
            return {self.entity.body: notation(self.row.get(self.entity.body))}
        structure, chosen = self.entity.structure, self.entity.columns
        return {
            visible(str(column)): _short(notation(value))
            for column, value in self.row.items()
            if value is not None and column not in structure and (chosen is None or column in chosen)
        }


def outline(rows: Mapping[str, Sequence[Row]], shape: ContextShape) -> list[Record]:
    """The trees of the context, numbered table by table.

    Records keep the order of their rows, or stand in the order of time where their table says so. A row whose parent is
    not in the context is a root; one that names another row of its table stands under that one. Links are no records:
    they are shown by the records they lead from.
    """
    return _Growing(rows, shape).grown()


class _Growing:
    """The records made so far, by table and by what they hold in the columns that others refer to."""

    def __init__(self, rows: Mapping[str, Sequence[Row]], shape: ContextShape) -> None:
        self._rows = rows
        self._shape = shape
        self._made: dict[str, list[Record]] = {}
        self._by_values: dict[tuple[str, tuple[str, ...]], dict[Any, Record]] = {}
        self._roots: list[Record] = []

    def grown(self) -> list[Record]:
        links = []
        for table, entity in self._shape.tables.items():
            if entity.link:
                links.append(entity)
            else:
                self._grow(entity, self._rows.get(table, ()))
        for entity in links:
            self._add_links(entity, self._rows.get(entity.table, ()))
        places = {table: place for place, table in enumerate(self._shape.order)}
        return sorted(self._roots, key=lambda root: places[root.table])

    def _grow(self, entity: ContextTable, rows: Sequence[Row]) -> None:
        ordered = sorted(rows, key=partial(age, entity)) if entity.in_time_order else list(rows)
        thread = threads(ordered, entity.threads[0]) if entity.threads else Threads.none(len(ordered))
        made: dict[int, Record] = {}
        for place in thread.order:
            above = thread.above[place]
            under = None if above is None else made[above]
            made[place] = self._record(f"{entity.prefix}{place + 1}", entity, ordered[place], under)
        records = self._made[entity.table] = [made[place] for place in range(len(ordered))]
        for record in records:
            (self._roots if record.parent is None else record.parent.children).append(record)
        self._add_threads(entity, records, thread)

    def _record(self, ref: str, entity: ContextTable, row: Row, under: Record | None) -> Record:
        parents = [(relation, self._found(relation, row)) for relation in entity.parents]
        links = {relation.shown_as: _reference(found) for relation, found in parents[1:] if found is not None}
        first = parents[0][1] if parents else None
        return Record(ref, entity, row, under or first, links)

    def _add_threads(self, entity: ContextTable, records: Sequence[Record], thread: Threads) -> None:
        """Show what a record names and does not stand under: by a further relation, or because it lies too deep."""
        for number, relation in enumerate(entity.threads):
            for place, record in enumerate(records):
                if number > 0 or place in thread.flattened:
                    found = self._found(relation, record.row)
                    if found is not None and found is not record:
                        record.links[relation.shown_as] = _reference(found)

    def _add_links(self, entity: ContextTable, rows: Sequence[Row]) -> None:
        """What the first parent of a link shows of its other parents, in the order of the link's rows."""
        first, *others = entity.parents
        shown: dict[tuple[str, str], dict[str, None]] = {}
        for row in rows:
            record = self._found(first, row)
            for relation in others:
                found = self._found(relation, row)
                if record is not None and found is not None:
                    references = shown.setdefault((record.ref, relation.shown_as), {})
                    references[_reference(found)] = None
                    record.links[relation.shown_as] = ", ".join(references)

    def _found(self, relation: Relation, row: Row) -> Record | None:
        held = tuple(row.get(column) for column in relation.columns)
        if None in held:
            return None
        return self._index(relation.parent, relation.references).get(tuple(map(_hashable, held)))

    def _index(self, table: str, columns: tuple[str, ...]) -> Mapping[Any, Record]:
        known = self._by_values.get((table, columns))
        if known is None:
            known = self._by_values[table, columns] = {}
            for record in self._made.get(table, ()):
                known.setdefault(tuple(_hashable(record.row.get(column)) for column in columns), record)
        return known


def _reference(record: Record) -> str:
    """The reference and, if it has one, the title in one line."""
    title = " ".join(record.title.split())
    short = title if len(title) <= _LONGEST_TITLE else f"{title[:_LONGEST_TITLE].rstrip()}…"
    return f"{record.ref} {short}" if short else record.ref


def _short(text: str) -> str:
    """A time in UTC to the minute; any other text as it is."""
    time = _UTC_TIME.match(text)
    return text if time is None else f"{time[1]}Z"


def _hashable(key: Any) -> Any:
    return key if isinstance(key, (str, int)) else str(key)
