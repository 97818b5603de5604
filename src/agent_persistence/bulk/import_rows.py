"""Many rows from a file or an iterable into a table, by the chunk.

report = await bulk_import(agent, "leads", "leads.csv", rejects="rejects.csv", resume="leads.journal")
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Sequence
from functools import partial
from math import inf
from typing import IO, Any, Final, Protocol, TypeAlias, TypedDict, TypeGuard, Unpack

import anyio.to_thread

from agent_persistence.bulk.columns import REST as REST, Columns
from agent_persistence.bulk.job import ImportJob, import_target
from agent_persistence.bulk.looking import look
from agent_persistence.bulk.pace import Report
from agent_persistence.bulk.rejecting import Rejects
from agent_persistence.bulk.settings import (
    Format,
    SourceOptions,
    at_least_one,
    is_file,
    is_frame,
    is_path,
    key_text,
    names,
)
from agent_persistence.bulk.shards import WHOLE, Shard
from agent_persistence.bulk.spelling import DecimalMark
from agent_persistence.bulk.values import FileLook, ImportReport, ImportStoppedError, Progress, Reject
from agent_persistence.bulk.writing import Writing
from agent_persistence.client.verbs import OnDuplicate
from agent_persistence.exceptions import ConfigurationError, ReadOnlyError, TableNotAllowedError
from agent_persistence.service import AsyncPersistenceService, ReadOnlyPersistenceFacade

__all__ = ["FileLook", "ImportReport", "ImportStoppedError", "Progress", "Reject", "bulk_import", "look_at"]


class Frame(Protocol):
    """A data frame or table of a library that speaks Arrow: pandas 2.2 and later, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


Source: TypeAlias = str | os.PathLike[str] | IO[bytes] | Frame | Iterable[Any] | AsyncIterable[Any]

CHUNK_ROWS: Final = 5_000
CHUNK_BYTES: Final = 1 << 20


class Agent(Writing, Protocol):
    """Whatever writes through a service, such as a PersistenceAgent."""

    @property
    def service(self) -> AsyncPersistenceService: ...


class ImportOptions(TypedDict, total=False):
    """The options of `bulk_import`."""

    format: Format | None
    columns: Columns
    delimiter: str | None
    null: str | Sequence[str]
    encoding: str | None
    skip_lines: int
    sheet: str | None
    decimal: DecimalMark | None
    date_format: str | Sequence[str] | None
    list_separator: str | None
    trim: bool
    quoted_null: bool
    fill_defaults: bool
    on_conflict: Sequence[str] | None
    on_duplicate: OnDuplicate
    chunk_rows: int
    chunk_bytes: int
    concurrency: int
    progress: Report | None
    rejects: Rejects
    max_rejects: int | None
    resume: str | os.PathLike[str] | None
    key: str | None
    shard: tuple[int, int] | None
    dry_run: bool


async def bulk_import(
    target: Agent | AsyncPersistenceService,
    table: str,
    source: Source,
    *,
    format: Format | None = None,
    columns: Columns = None,
    delimiter: str | None = None,
    null: str | Sequence[str] = "",
    encoding: str | None = None,
    skip_lines: int = 0,
    sheet: str | None = None,
    decimal: DecimalMark | None = None,
    date_format: str | Sequence[str] | None = None,
    list_separator: str | None = None,
    trim: bool = False,
    quoted_null: bool = False,
    fill_defaults: bool = False,
    on_conflict: Sequence[str] | None = None,
    on_duplicate: OnDuplicate = "error",
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
    concurrency: int = 4,
    progress: Report | None = None,
    rejects: Rejects = None,
    max_rejects: int | None = 1_000,
    resume: str | os.PathLike[str] | None = None,
    key: str | None = None,
    shard: tuple[int, int] | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Write every row of the source into the table, and return how that went.

    `source` is the path of a CSV file, of JSON lines, a JSON array or a Parquet file, packed with gzip or not, or of a
    spreadsheet; such a file, open in binary mode, with its `format`; a data frame of pandas, polars or pyarrow; or an
    iterable or async iterable of records. How a CSV file or a spreadsheet spells its values, `skip_lines` to
    `fill_defaults` say; `look_at` finds it out.

    Each chunk, `chunk_rows` rows or about `chunk_bytes` of JSON, is one bulk_write with all that the service does about
    it, `concurrency` of them at a time. With `on_conflict` rows that exist are merged, in the order of the source; with
    `on_duplicate="ignore"` they stay as they are instead, of several with one key the first is stored, and the report's
    `ignored` counts the others. The key is then the one that `on_conflict` names, or else the only declared one whose
    values are not made here. All of it is written as whoever the target's calls run as when the import begins.

    A row that is refused stops the import with ImportStoppedError; with `rejects`, a path or a function of one Reject,
    it is put there and the rest goes in, until there are more than `max_rejects`. `resume` is the path of a journal:
    the same call after a crash goes on where it ended, without loss or doubling. `key`, a text, does the same without a
    file, on any machine: the rows' keys are made of it, and those that are stored are not written again. `shard=(i, n)`
    imports the i-th of n parts, counted from 0, each of which another process imports from the same source. `progress`
    is called with a Progress, ten times a second at most. `dry_run` does everything but send. See docs/bulk.md.
    """
    _service(target)
    target = await target.pinned()
    service = _service(target)
    if type(table) is not str or table not in service.policy.write:
        await service.bulk_write(table, [])  # refused by the guard, and reported to the audit hooks
        raise TableNotAllowedError(table, "bulk_write", service.policy.write)
    found_by = names("on_conflict", on_conflict)
    if on_duplicate == "ignore":
        found_by = found_by or _key_of_duplicates(service, table)
    elif on_duplicate != "error":
        raise ConfigurationError('on_duplicate is "error" or "ignore"')
    given = {
        "format": format,
        "columns": columns,
        "delimiter": delimiter,
        "null": null,
        "encoding": encoding,
        "skip_lines": skip_lines,
        "sheet": sheet,
        "decimal": decimal,
        "date_format": date_format,
        "list_separator": list_separator,
        "trim": trim,
        "quoted_null": quoted_null,
        "fill_defaults": fill_defaults,
    }
    order = ImportJob(
        target=target,
        service=service,
        table=table,
        source=source,
        reading=SourceOptions.made(source, given),
        found_by=found_by,
        ignores=on_duplicate == "ignore",
        chunk_rows=min(at_least_one("chunk_rows", chunk_rows), service.policy.max_batch),
        chunk_bytes=at_least_one("chunk_bytes", chunk_bytes),
        concurrency=at_least_one("concurrency", concurrency),
        progress=progress,
        rejects=rejects,
        max_rejects=inf if max_rejects is None else at_least_one("max_rejects", max_rejects),
        resume=resume,
        key=key_text(key),
        shard=WHOLE if shard is None else Shard.of(shard),
        dry_run=dry_run,
    )
    return await order.carried_out()


async def look_at(
    target: Agent | AsyncPersistenceService, table: str, source: str | os.PathLike[str], **given: Unpack[ImportOptions]
) -> FileLook:
    """Look at the beginning of a file, and return what it is and with which options it fits the table.

    `given` are options of `bulk_import` that are certain; what is found beside them is only shown, and counts when
    it is passed on: `bulk_import(agent, "leads", path, **look.options)`. Nothing is written. What is wrong
    with the file, also that it cannot be opened, are the look's `problems`.
    """
    service = _service(target)
    seen = import_target(service, table)
    kept = {name: value for name, value in given.items() if value not in (None, "")}
    return await anyio.to_thread.run_sync(partial(look, source, seen, kept))


def _key_of_duplicates(service: AsyncPersistenceService, table: str) -> tuple[str, ...]:
    """The only known key but the one whose values are made here."""
    keys = service._client_keys
    known = [key for key in keys.least(table) if key != (keys.column(table),)]
    if len(known) == 1:
        return known[0]
    names = " and ".join(f"({', '.join(key)})" for key in known) or "none"
    raise ConfigurationError(
        f'on_duplicate="ignore" needs the key by which rows of {table} are duplicates, in on_conflict=; known: {names}'
    )


def is_given(source: object) -> TypeGuard[Iterable[Any]]:
    """Whether the source is an iterable of records, not a file or a data frame."""
    is_other = is_path(source) or is_file(source) or is_frame(source) or hasattr(source, "__aiter__")
    return not is_other and hasattr(source, "__iter__")


def _service(target: object) -> AsyncPersistenceService:
    service = target if isinstance(target, AsyncPersistenceService) else getattr(target, "service", None)
    if isinstance(service, AsyncPersistenceService):
        return service
    if isinstance(target, ReadOnlyPersistenceFacade):
        raise ReadOnlyError("bulk_import")
    raise ConfigurationError(
        f"target is an agent or an AsyncPersistenceService, not {type(target).__name__};"
        " for those without await there is agent_persistence.sync.bulk_import"
    )
