"""The chunks that an import has still to write, read as they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from agent_persistence.bulk.chunks import Chunk, Chunker
from agent_persistence.bulk.iterables import GivenReader
from agent_persistence.bulk.journal import Ledger, NoJournal
from agent_persistence.bulk.keys import named_keys, row_keys
from agent_persistence.bulk.rejecting import Reader
from agent_persistence.bulk.shards import Shard
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.query.records import NULL


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a source is cut into chunks; see Chunker."""

    max_rows: int
    max_bytes: int
    key_column: str | None
    merges: bool
    stops: bool
    shard: Shard

    def chunker(self, journal: Ledger, key: str | None) -> Chunker:
        """One that goes on where the journal ends; its keys are those of an import of this key, or of the journal's."""
        identity, done = journal.identity, journal.done
        return Chunker(
            max_rows=self.max_rows,
            max_bytes=self.max_bytes,
            key_column=self.key_column,
            key=row_keys(bytes.fromhex(identity["import"]), identity["made_ms"]) if key is None else named_keys(key),
            done=done.records,
            planned=deque(done.planned),
            uniform=self.merges,
            stops=self.stops,
            shard=self.shard,
        )


async def read_chunks(
    reader: Reader, chunker: Chunker, plan: Callable[[Chunk], None], *, may_wait: bool
) -> AsyncGenerator[Chunk]:
    """The chunks of a file, which is read in a worker thread; each is planned before it is given out.

    A file that `may_wait` for others, as a pipe does, is left to its thread where the import is cancelled.
    """

    def planned() -> Iterator[Chunk]:
        for chunk in chunker.cut(reader):
            plan(chunk)
            yield chunk

    chunks = planned()
    while (chunk := await anyio.to_thread.run_sync(next, chunks, None, abandon_on_cancel=may_wait)) is not None:
        yield chunk


async def given_chunks(source: Any, reader: GivenReader, chunker: Chunker) -> AsyncGenerator[Chunk]:
    """The chunks of an iterable, which is iterated over in the event loop."""
    async with aclosing(_each(source)) as items:
        async for item in items:
            full = chunker.add(reader.item(item))
            if full is not None:
                yield full
            if chunker.has_stopped:
                break
    for chunk in chunker.rest():
        yield chunk


async def _each(items: Any) -> AsyncGenerator[Any]:
    """The items; a generator among the sources is closed behind them."""
    try:
        if hasattr(items, "__aiter__"):
            async for item in items:
                yield item
        else:
            for item in items:
                yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


def planner(
    journal: Ledger, table: str, unique: Sequence[Sequence[str]], *, merges: bool, ignores: bool = False
) -> Callable[[Chunk], None]:
    """What enters a chunk in the journal before it is sent, and refuses one that could not be sent again."""

    def plan(chunk: Chunk) -> None:
        if isinstance(journal, NoJournal):
            return
        if ignores and not chunk.has_made_keys:
            raise ConfigurationError(
                f'{table}: resume= with on_duplicate="ignore" needs keys that are made here, which tell the rows of an'
                " earlier run from duplicates: leave the key's column out of the source, or import without a journal"
            )
        if not (merges or chunk.has_made_keys):
            _check_recognisable(chunk, table, unique)
        if not chunk.resent:
            journal.plan(chunk.first, chunk.end)

    return plan


def _check_recognisable(chunk: Chunk, table: str, unique: Sequence[Sequence[str]]) -> None:
    """Refuse rows that nothing distinguishes from those of an earlier try."""
    for columns in unique:
        if all(record.get(column) not in (None, NULL) for record in chunk.records for column in columns):
            return
    keys = " or ".join(f"({', '.join(columns)})" for columns in unique) or "none, for none is declared"
    raise ConfigurationError(
        f"{table}: resume= needs rows that can be recognised. The service makes no keys for this table, and these rows"
        f" lack those of a unique set of columns: {keys}. Declare a uuid key in the Schema or in client_keys=, or give"
        " on_conflict="
    )
