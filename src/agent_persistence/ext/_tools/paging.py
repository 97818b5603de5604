"""One page of a query, bounded in rows and bytes, with the cursor of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.exceptions import ColumnNotAllowedError, ValidationError
from agent_persistence.ext._tools.bounding import document, that_fit
from agent_persistence.ext._tools.catalogue import Catalogue
from agent_persistence.ext._tools.cursors import Cursors, behind
from agent_persistence.ext._tools.inputs import MAX_CURSOR
from agent_persistence.ext._tools.relating import ForeignLink
from agent_persistence.query.filters import all_of
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Row, distinct

_SHARE_FOR_CURSOR = 0.25
"""Of the bytes of an answer: sort values may be long, and stand in it twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What is asked for: the rows of one table in an order, behind a cursor."""

    table: str
    filters: Filter
    spelt: Any
    """The filters as they were given, to which the cursor is bound."""
    order: tuple[Order, ...]
    select: tuple[str, ...]
    limit: int
    cursor: str
    include: tuple[ForeignLink, ...] = ()


@dataclass(frozen=True, slots=True)
class PageReader:
    """Reads pages of at most `max_bytes` each."""

    cursors: Cursors
    max_bytes: int

    async def read(self, facade: ReadOnlyPersistenceFacade, page: PageRequest) -> bytes:
        """The rows, whether there are `more`, and where they begin if that is known: `next_cursor`.

        Keyset paging, so that no row is seen twice or left out, whatever is written meanwhile. It needs a key that may
        be read; without one a first page is all there is.
        """
        keys = self._keys(facade, page)
        if keys:
            try:
                return await self._page(facade, page, keys)
            except ColumnNotAllowedError as error:
                if error.column not in {key.column for key in keys[len(page.order) :]}:
                    raise
        if page.cursor:
            raise ValidationError(page.table, "there are no cursors here: its key may not be read, or it has none")
        return await self._page(facade, page, ())

    def _keys(self, facade: ReadOnlyPersistenceFacade, page: PageRequest) -> tuple[Order, ...]:
        """The whole order, ties broken by the key; () where no page can begin behind a row."""
        catalogue = Catalogue(facade)
        key = catalogue.key(page.table)
        named = {one.column for one in page.order}
        order = (*page.order, *(Order(column) for column in key if column not in named))
        return order if key and all(catalogue.is_plain(page.table, one.column) for one in order) else ()

    async def _page(self, facade: ReadOnlyPersistenceFacade, page: PageRequest, keys: tuple[Order, ...]) -> bytes:
        binding = [page.table, page.spelt, [(key.column, key.descending) for key in keys]]
        position = self.cursors.read(page.table, binding, page.cursor) if page.cursor else None
        order = keys or page.order
        asked = min(page.limit + 1, facade.max_rows)
        needed = (*(key.column for key in keys), *(relation.column for relation in page.include))
        select = distinct((*page.select, *needed)) if page.select else None
        rows = await facade.query(
            page.table,
            page.filters if position is None else all_of(page.filters, behind(keys, position)),
            asked,
            list(order) or None,
            select=select,
        )
        shown, more_related = await _with_related(facade, page, rows[: page.limit])
        fitting, cut = that_fit(shown, int(self.max_bytes * (1 - _SHARE_FOR_CURSOR)))
        more = len(fitting) < len(rows) or (asked == page.limit == len(rows))
        rest: dict[str, Any] = {"more": more, "cut": cut, "more_related": more_related}
        if more and keys and fitting:
            rest["next_cursor"] = self.cursors.write(binding, [rows[len(fitting) - 1][key.column] for key in keys])
        return self._within(document(fitting, rest), fitting, rest)

    def _within(self, made: bytes, fitting: Sequence[bytes], rest: dict[str, Any]) -> bytes:
        """The answer without its cursor where sort values are too long for one."""
        if len(made) <= self.max_bytes and len(rest.get("next_cursor", "")) <= MAX_CURSOR:
            return made
        return document(fitting, {name: value for name, value in rest.items() if name != "next_cursor"})


async def _with_related(
    facade: ReadOnlyPersistenceFacade, page: PageRequest, rows: Sequence[Row]
) -> tuple[list[Row], list[str]]:
    """The rows as they are shown, with what belongs to them; and the related tables of which not all is shown."""
    shown, more = list(rows), []
    for relation in page.include:
        shown, has_more = await relation.embed(facade, shown)
        more += [relation.table] if has_more else []
    names = (*page.select, *(relation.table for relation in page.include)) if page.select else ()
    return [_only(row, names) for row in shown], more


def _only(row: Row, select: Sequence[str]) -> Row:
    return {name: row[name] for name in select if name in row} if select else row
