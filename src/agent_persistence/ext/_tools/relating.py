"""Rows of related tables, shown with the rows that they belong to; found along the declared foreign keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.ext._tools.catalogue import Catalogue, check_tables
from agent_persistence.query.filters import in_
from agent_persistence.query.records import Row, distinct
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.registry import Table

MOST_ROWS: Final = 50
"""Of a page with related rows."""
AT_ONCE: Final = 8
MOST_CHILDREN: Final = 10
"""Of a row in one related table; `more_related` says where there are further ones."""


@dataclass(frozen=True, slots=True)
class ForeignLink:
    """Rows of `table` whose column `references` equals `column` of the rows that are shown: one of them, or `many`."""

    table: str
    column: str
    references: str
    many: bool

    async def embed(self, facade: ReadOnlyPersistenceFacade, rows: Sequence[Row]) -> tuple[list[Row], bool]:
        """The rows with what belongs to them under the table's name, and whether more belongs to one of them."""
        given = {str(row[self.column]): row[self.column] for row in rows if row.get(self.column) is not None}
        by_value: dict[str, list[Row]] = {}
        for one in await self._found(facade, list(given.values())) if given else []:
            by_value.setdefault(str(one[self.references]), []).append(one)
        more = any(len(each) > MOST_CHILDREN for each in by_value.values())
        return [{**row, self.table: self._of(row, by_value)} for row in rows], more

    async def _found(self, facade: ReadOnlyPersistenceFacade, values: list[Any]) -> list[Row]:
        """What belongs to the values, by one query; by one for each value where some have much more than is shown."""
        most = min(len(values) * (MOST_CHILDREN + 1 if self.many else 1) + 1, facade.max_rows)
        found = await self._asked(facade, values, most)
        if len(found) < most:
            return found
        each = [partial(self._asked, facade, [value], min(MOST_CHILDREN + 1, facade.max_rows)) for value in values]
        return [row for rows in await together(each, at_once=AT_ONCE) for row in rows]

    async def _asked(self, facade: ReadOnlyPersistenceFacade, values: list[Any], most: int) -> list[Row]:
        order = distinct((self.references, *Catalogue(facade).key(self.table)))
        return await facade.query(self.table, {self.references: in_(values)}, most, list(order))

    def _of(self, row: Row, by_value: dict[str, list[Row]]) -> Any:
        found = by_value.get(str(row.get(self.column)), [])[:MOST_CHILDREN]
        return found if self.many else next(iter(found), None)


def relations(catalogue: Catalogue, table: str) -> Iterator[ForeignLink]:
    """The relations of a table in either direction, as far as both ends may be read."""
    declared = catalogue.facade.schema.tables
    for other in catalogue.tables:
        for ours, theirs in _single(declared.get(table), other):
            yield from _readable(catalogue, table, ForeignLink(other, ours, theirs, many=False))
        for theirs, ours in _single(declared.get(other), table):
            yield from _readable(catalogue, table, ForeignLink(other, ours, theirs, many=True))


def _single(declared: Table | None, target: str) -> Iterator[tuple[str, str]]:
    """The foreign keys of one column to the target, and what each refers to."""
    for link in declared.foreign_keys if declared else ():
        if link.table == target and len(link.columns) == 1:
            yield link.columns[0], link.targets[0]


def _readable(catalogue: Catalogue, table: str, relation: ForeignLink) -> Iterator[ForeignLink]:
    readable = catalogue.facade.readable_columns
    here, there = readable(table), readable(relation.table)
    if (here is None or relation.column in here) and (there is None or relation.references in there):
        yield relation


def relation_lines(catalogue: Catalogue) -> str:
    """Which tables can be shown with which, a line each."""
    found = {table: distinct(one.table for one in relations(catalogue, table)) for table in catalogue.tables}
    return "\n".join(f"{table}: {', '.join(others)}" for table, others in found.items() if others)


async def related(facade: ReadOnlyPersistenceFacade, table: str, names: Sequence[str]) -> tuple[ForeignLink, ...]:
    """The relation to each of the named tables; ValidationError where there is none, or more than one."""
    catalogue = Catalogue(facade)
    await check_tables(facade, names)
    return tuple(_one(catalogue, table, name) for name in distinct(names))


def _one(catalogue: Catalogue, table: str, name: str) -> ForeignLink:
    known = list(relations(catalogue, table))
    found = [relation for relation in known if relation.table == name]
    if not found:
        names = ", ".join(distinct(relation.table for relation in known)) or "none"
        raise ValidationError(table, f"{printable(name)} has no declared relation to it; related tables are {names}")
    if len(found) > 1 or name in catalogue.facade.schema.columns(table):
        raise ValidationError(table, f"{name} cannot be included, being related in several ways; query it by itself")
    return found[0]
