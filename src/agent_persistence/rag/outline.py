"""The rows of a context as a tree: clients hold campaigns and leads, leads conversations, conversations messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from agent_persistence.query.records import Row
from agent_persistence.rag.entities import ENTITIES, Entity
from agent_persistence.rag.notation import told
from agent_persistence.rag.times import age, moment
from agent_persistence.rag.visible import visible

_UTC_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(?:\.\d+)?(?:\+00:00|Z)\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One row under its short reference, and the records that belong to it.

    `links` are references to further parents, by the names under which they are told.
    """

    ref: str
    entity: Entity
    row: Row
    parent: Record | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    children: list[Record] = field(default_factory=list)

    @property
    def table(self) -> str:
        return self.entity.table

    @property
    def key(self) -> Any:
        return self.row.get(self.entity.key)

    @property
    def time(self) -> datetime:
        return moment(self.row.get(self.entity.time))

    def walk(self) -> Iterator[Record]:
        """This record and all below it, in the order of the prompt."""
        yield self
        for child in self.children:
            yield from child.walk()

    def heading(self) -> dict[str, str]:
        """What is told beside the reference: labels, links and the time to the minute; visible texts, unescaped."""
        row, entity = self.row, self.entity
        heading = {label: told(row[label]) for label in entity.labels if row.get(label) is not None}
        heading.update(self.links)
        if row.get(entity.time) is not None:
            heading["at"] = _short(told(row[entity.time]))
        return heading

    def texts(self) -> dict[str, str]:
        """What the record says, by visible column: the body alone where there is one, else all that is not NULL."""
        if self.entity.body is not None:
            return {self.entity.body: told(self.row.get(self.entity.body))}
        structure = self.entity.structure
        return {
            visible(str(column)): _short(told(value))
            for column, value in self.row.items()
            if value is not None and column not in structure
        }


def outline(rows: Mapping[str, Sequence[Row]]) -> list[Record]:
    """The trees of the context, numbered table by table.

    Clients, campaigns and leads keep their order; conversations and messages are told in the order of time. A row
    whose parent is not in the context is a root.
    """
    records: dict[str, dict[Any, Record]] = {}
    roots: list[Record] = []
    for table, entity in ENTITIES.items():
        told_rows = sorted(rows[table], key=partial(age, entity)) if entity.is_told_in_order else rows[table]
        by_key = records[table] = {}
        for number, row in enumerate(told_rows, 1):
            record = _record(f"{entity.prefix}{number}", entity, row, records)
            by_key.setdefault(_hashable(record.key), record)
            (roots if record.parent is None else record.parent.children).append(record)
    return roots


def _record(ref: str, entity: Entity, row: Row, records: Mapping[str, Mapping[Any, Record]]) -> Record:
    parent, links = None, {}
    for number, told_parent in enumerate(entity.parents):
        key = row.get(told_parent.column)
        found = None if key is None else records[told_parent.table].get(_hashable(key))
        if number == 0:
            parent = found
        elif found is not None and told_parent.told_as is not None:
            links[told_parent.told_as] = found.ref
    return Record(ref, entity, row, parent, links)


def _short(text: str) -> str:
    """A time in UTC to the minute; any other text as it is."""
    time = _UTC_TIME.match(text)
    return text if time is None else f"{time[1]}Z"


def _hashable(key: Any) -> Any:
    return key if isinstance(key, (str, int)) else str(key)
