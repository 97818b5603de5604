"""One import from its checked arguments to its report."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from agent_persistence.bulk.chunks import Chunk
from agent_persistence.bulk.columns import ImportTarget
from agent_persistence.bulk.feeding import Cutting, given_chunks, planner, read_chunks
from agent_persistence.bulk.importing import Run
from agent_persistence.bulk.iterables import GivenReader
from agent_persistence.bulk.journal import Journal, Ledger, NoJournal
from agent_persistence.bulk.keyed import Keyed, check_keyed, tenant_key
from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.pace import Pace, Report
from agent_persistence.bulk.parquet import parquet_reader, stream_reader
from agent_persistence.bulk.reading import text_reader
from agent_persistence.bulk.rejecting import Called, Reader, Rejects, RejectsFile, Rendering, Sink
from agent_persistence.bulk.rows import SourceError
from agent_persistence.bulk.sending import BatchWriter, Sender
from agent_persistence.bulk.settings import SourceOptions, is_path, source_identity
from agent_persistence.bulk.shards import WHOLE, Shard
from agent_persistence.bulk.values import ImportReport, ImportStoppedError, what_is_in
from agent_persistence.bulk.writing import Writing, writer
from agent_persistence.exceptions import AdapterError, ConfigurationError
from agent_persistence.service import AsyncPersistenceService


@dataclass(frozen=True, slots=True)
class ImportJob:
    """What is to be imported, whereto and how."""

    target: Writing
    service: AsyncPersistenceService
    table: str
    source: Any
    reading: SourceOptions
    found_by: tuple[str, ...] | None
    """The columns by which rows that exist are found, to be merged with or, if it `ignores` them, left as they are."""
    ignores: bool
    chunk_rows: int
    chunk_bytes: int
    concurrency: int
    progress: Report | None
    rejects: Rejects
    max_rejects: float
    resume: str | os.PathLike[str] | None
    key: str | None
    shard: Shard
    dry_run: bool

    async def carried_out(self) -> ImportReport:
        """The report of the whole; what ended the import early is raised."""
        self._check_key()
        with ExitStack() as stack:
            journal = self._journal()
            stack.callback(journal.close)
            if self.reading.format is None:
                given = GivenReader(self.reading.columns, self._columns(), only_set=self._merges)
                return await self._run(journal, given, None)
            if self.reading.format == "arrow":
                frame = stream_reader(self.source, self.reading.columns, self._columns())
                return await self._run(journal, frame, None)
            opened = Opened(self.source)
            stack.callback(opened.close)
            return await self._run(journal, self._reader(opened), opened)

    async def _run(self, journal: Ledger, reader: Reader | GivenReader, opened: Opened | None) -> ImportReport:
        most = 0 if self.rejects is None else self.max_rejects
        sink = self._sink(reader, journal)
        pace = Pace(self.progress, self.service._clock, opened)
        how = {"merges": self._merges, "ignores": self.ignores, "dry_run": self.dry_run}
        write = writer(self.target, self.service, self.table, **how)
        keyed = self._keyed(write)
        sender = Sender(self.table, keyed or write, self.found_by, self._key_column, journal, most, self.ignores)
        run = Run(sender, journal, sink, pace, concurrency=self.concurrency, max_rejects=most)
        if not journal.done.is_whole:
            async with aclosing(self._chunks(reader, journal)) as chunks:
                await run.over(chunks)
        pace.end()
        path = sink.path if isinstance(sink, RejectsFile) and sink.size else None
        report = run.report(self.table, rejects=path, is_dry_run=self.dry_run)
        report = report if keyed is None else replace(report, resumed_rows=keyed.found)
        self._check_ended(run, report)
        return report

    def _check_ended(self, run: Run, report: ImportReport) -> None:
        """Raise what ended the import early: of a row, the backend or the source, with the report."""
        error, row = run.failure, run.stopped_by
        if row is not None:
            many = "" if self.rejects is None else f"more than {self.max_rejects:,} rows are rejected, at last "
            raise ImportStoppedError(f"{self.table}: {many}{row}; {what_is_in(report)}", report=report, reject=row)
        if isinstance(error, (AdapterError, SourceError)):
            raise ImportStoppedError(f"{self.table}: {error}; {what_is_in(report)}", report=report) from error
        if error is not None:
            error.add_note(f"the import into {self.table} was stopped by this; {what_is_in(report)}")
            raise error

    def _check_key(self) -> None:
        if self.key is not None:
            others = self.resume is not None or self.found_by is not None
            check_keyed(self.service, self.table, self._key_column, others=others)

    def _keyed(self, write: BatchWriter) -> Keyed | None:
        column = self._key_column
        return None if self.key is None or column is None or self.dry_run else Keyed(self.target, write, column)

    @property
    def _merges(self) -> bool:
        return self.found_by is not None and not self.ignores

    @property
    def _key_column(self) -> str | None:
        """The column of the primary key, if the import makes its values, which is what the service would do."""
        column = self.service._client_keys.column(self.table)
        return column if not self._merges or self.found_by == (column,) else None

    def _columns(self) -> ImportTarget:
        target = import_target(self.service, self.table)
        target.check(self.found_by or ())
        return target

    def _reader(self, opened: Opened) -> Reader:
        target, reading = self._columns(), self.reading
        if reading.format == "parquet":
            return parquet_reader(opened, reading.columns, target)
        return text_reader(reading, opened, target)

    def _sink(self, format: Rendering, journal: Ledger) -> Sink | None:
        if self.rejects is None:
            return None
        if callable(self.rejects):
            return Called(self.rejects)
        return RejectsFile(self.rejects, format, journal.done.rejects_bytes, resumed=journal.is_resumed)

    def _journal(self) -> Ledger:
        identity = {"import": uuid4().hex, "made_ms": time.time_ns() // 1_000_000}
        if self.resume is None or self.dry_run:
            return NoJournal(identity)
        if not is_path(self.source):
            raise ConfigurationError("resume= needs the path of a file, which can be read again from its beginning")
        types = {name: column.type for name, column in self.service.schema.columns(self.table).items()}
        head = {"table": self.table, "types": types, "on_conflict": self.found_by, **self.reading.as_json()}
        head |= {} if self.shard == WHOLE else {"shard": [self.shard.index, self.shard.count]}
        head |= {"on_duplicate": "ignore"} if self.ignores else {}
        return Journal(self.resume, {**head, "source": source_identity(self.source)}, identity)

    def _chunks(self, reader: Reader | GivenReader, journal: Ledger) -> AsyncGenerator[Chunk]:
        """The chunks that are left to write."""
        merges = self._merges
        cutting = Cutting(self.chunk_rows, self.chunk_bytes, self._key_column, merges, self.rejects is None, self.shard)
        chunker = cutting.chunker(journal, self.key and tenant_key(self.service, self.table, self.key))
        if isinstance(reader, GivenReader):
            return given_chunks(self.source, reader, chunker)
        unique = self.service._client_keys.unique(self.table)
        plan = planner(journal, self.table, unique, merges=merges, ignores=self.ignores)
        return read_chunks(reader, chunker, plan, may_wait=not is_path(self.source))


def import_target(service: AsyncPersistenceService, table: str) -> ImportTarget:
    """The table as an import by this service sees it."""
    return ImportTarget(table, service.schema.columns(table), service.validates, service.policy.writable(table))
