"""Filling the vector column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from agent_persistence.exceptions import ValidationError
from agent_persistence.ext._embeddings.embedder import Embedder, check_positive
from agent_persistence.ext._embeddings.texts import Joined, TextOf, text_of_row
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.query.filters import Filters, all_of
from agent_persistence.query.records import Row, distinct
from agent_persistence.rag.ranking.vectors import written
from agent_persistence.redaction.redacting import Redaction
from agent_persistence.runtime.concurrency import together
from agent_persistence.service import AsyncPersistenceService

_WRITERS: Final = 8


@dataclass(frozen=True, slots=True)
class Filled:
    """How many rows got a vector, and how many have no text and so got none."""

    embedded: int = 0
    blank: int = 0


async def embed_rows(
    target: PersistenceAgent | AsyncPersistenceService,
    table: str,
    embedder: Embedder,
    *,
    columns: Sequence[str] = ("content",),
    text_of: TextOf | None = None,
    redaction: Redaction | None = None,
    vector: str = "embedding",
    key: str = "id",
    filters: Filters | None = None,
    batch_rows: int = 100,
) -> Filled:
    """Write a vector into every row that has none, and return how many there were.

    `columns` are read, and joined to the text that stands for the row, unless `text_of(table, row)` makes it. With
    `redaction` the row is redacted first; the embedder sees nothing else of it. `filters` leave out further rows.

    Rows are taken `batch_rows` at a time in the order of their keys, embedded together, and updated one by one, a few
    at once. What was written stays when a later batch fails, and another run goes on from there. To embed a table anew,
    as after a change of the model, set its vectors to NULL. A text that changes between the reading of a row and its
    update gets the vector of the old one.
    """
    check_positive("batch_rows", batch_rows)
    if isinstance(columns, str) or not columns:
        raise ValidationError(table, "columns is a list of the columns to read, and not empty")
    filling = _Filling(target, table, embedder, text_of or Joined(tuple(columns)), redaction, vector, key)
    missing = all_of({vector: None}, *([] if filters is None else [filters]))
    selected = distinct((key, *columns))
    rows = target.iterate(table, missing, page_size=batch_rows, order_by=key, select=selected)
    batch: list[Row] = []
    async with aclosing(rows):
        async for row in rows:
            batch.append(row)
            if len(batch) == batch_rows:
                await filling.fill(batch)
                batch = []
    await filling.fill(batch)
    return Filled(filling.embedded, filling.blank)


@dataclass(slots=True)
class _Filling:
    """One run, and how far it is."""

    target: PersistenceAgent | AsyncPersistenceService
    table: str
    embedder: Embedder
    text_of: TextOf
    redaction: Redaction | None
    column: str
    key: str
    embedded: int = 0
    blank: int = 0

    async def fill(self, rows: Sequence[Row]) -> None:
        """Embed the rows that have a text, and write their vectors."""
        texts = {row[self.key]: text_of_row(self.table, row, self.text_of, self.redaction) for row in rows}
        filled = {key: text for key, text in texts.items() if text.strip()}
        self.blank += len(texts) - len(filled)
        vectors = await self.embedder.embed(list(filled.values())) if filled else []
        places = anyio.CapacityLimiter(_WRITERS)
        work = [partial(self._update, key, vector, places) for key, vector in zip(filled, vectors, strict=True)]
        self.embedded += sum(await together(work))

    async def _update(self, key: object, vector: list[float], places: anyio.CapacityLimiter) -> int:
        """Set the row's vector; 0 if the row is gone."""
        async with places:
            return len(await self.target.update(self.table, {self.column: written(vector)}, {self.key: key}))
