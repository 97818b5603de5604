"""What an import reports: a row that is refused, its progress, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agent_persistence.exceptions import PersistenceError

Raw: TypeAlias = str | Mapping[str, Any]
"""A record as it stood in the source: the text of a line, or what an iterable or a Parquet file gave."""
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Numbers of lines from one to another, both included."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that did not go in.

    `line` is where its record begins, counted from 1, or its number where the source has no lines; `column` is None
    where the whole record is at fault. The reason holds no value of the row, `record` is the record itself.
    """

    line: int
    reason: str
    column: str | None = None
    record: Raw = field(default="", repr=False)

    def __str__(self) -> str:
        where = f"line {self.line:,}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an import stands; `bytes_total` is None where the size is not known, and so is `seconds_left`."""

    rows_read: int
    rows_written: int
    rejected: int
    bytes_read: int
    bytes_total: int | None
    seconds: float
    is_final: bool = False

    @property
    def rows_per_second(self) -> float:
        return self.rows_written / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What remains at the pace so far, by the bytes read."""
        if not self.bytes_total or not self.bytes_read:
            return None
        return self.seconds * max(self.bytes_total - self.bytes_read, 0) / self.bytes_read


@dataclass(frozen=True, slots=True)
class FileLook:
    """What a file is, and what it takes to import it.

    `kind` says it in words. `options` are those for `bulk_import`: what was given, and what was found beside it, which
    `found` names with the reason of each. `problems` are what no finding solves, each with what helps; with any of them
    the file does not fit. `columns` is by heading the column it goes into, of those that are taken, `left_out` the rest
    of the headings. `rows` are the first ones as they would be stored, or the reason why one would not.
    """

    kind: str
    options: Mapping[str, Any]
    found: Mapping[str, str]
    problems: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any] | Reject, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the file can be imported as it was asked for, with nothing found beside that."""
        return not (self.found or self.problems)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """How an import ended.

    `rows` are those that are in, of which `resumed_rows` an earlier process had put there. `lines` are the ranges, both
    ends included, of the lines whose rows are in, rejected or skipped, in ascending order; `unknown_lines` of those
    whose rows may be in, because they were sent and no answer came. `skipped_by_database` rows were accepted and not
    stored: a trigger or rule dropped them. `ignored` rows are not in, because a stored row, or an earlier one of the
    source, has their key. `rejects` is the path of the rejects file, if one was written.
    """

    table: str
    rows: int
    rejected: int
    chunks: int
    seconds: float
    bytes_read: int
    lines: Ranges = ()
    unknown_lines: Ranges = ()
    first_reject: Reject | None = None
    last_reject: Reject | None = None
    rejects: str | None = None
    resumed_rows: int = 0
    is_dry_run: bool = False
    skipped_by_database: int = 0
    ignored: int = 0

    @property
    def note(self) -> str | None:
        """What is odd about an import that went well."""
        if self.skipped_by_database:
            stored = f"{self.rows:,} of {self.rows + self.skipped_by_database:,}"
            return f"the database stored {stored}: a trigger or rule dropped the others"
        return None if self.rows or self.rejected or self.ignored else "the source holds no record"

    @property
    def rows_per_second(self) -> float:
        """Of the rows that this process wrote."""
        return (self.rows - self.resumed_rows) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        parts = [f"{self.table}: {_rows_in(self.rows, is_dry_run=self.is_dry_run)}"]
        if self.resumed_rows:
            parts.append(f"{self.resumed_rows:,} of them from before")
        if self.ignored:
            parts.append(f"{self.ignored:,} ignored, whose key was taken")
        if self.rejected:
            parts.append(f"{self.rejected:,} rejected" + (f", see {self.rejects}" if self.rejects else ""))
        if self.note:
            parts.append(self.note)
        chunks = "1 chunk" if self.chunks == 1 else f"{self.chunks:,} chunks"
        parts.append(f"{chunks} in {self.seconds:.1f} s, {self.rows_per_second:,.0f} rows/s")
        return "; ".join(parts)


class ImportStoppedError(PersistenceError):
    """An import ended before the end of its source; `report` says what is in.

    `reject` is the row that stopped it, with `line`, `column` and `reason`, or None where something else did, which is
    then its cause.
    """

    def __init__(self, message: str, *, report: ImportReport, reject: Reject | None = None) -> None:
        self.report = report
        self.reject = reject
        super().__init__(message)

    @property
    def http_status(self) -> int:
        """422 for a row that is refused, else the status of the cause."""
        return 422 if self.reject else getattr(self.__cause__, "http_status", 500)

    @property
    def caller_can_fix(self) -> bool:
        """Whether a row stopped it, which can be mended; or what its cause says."""
        return self.reject is not None or getattr(self.__cause__, "caller_can_fix", False)

    @property
    def line(self) -> int | None:
        return self.reject.line if self.reject else None

    @property
    def column(self) -> str | None:
        return self.reject.column if self.reject else None

    @property
    def reason(self) -> str | None:
        return self.reject.reason if self.reject else None


def what_is_in(report: ImportReport) -> str:
    """The rows that are in, and those that may be, for a message."""
    lines = f", of lines {_ranges(report.lines)}" if report.lines else ""
    rows = f"{_rows_in(report.rows, is_dry_run=report.is_dry_run)}{lines}" if report.rows else "nothing is in"
    return rows + (f"; those of lines {_ranges(report.unknown_lines)} may be in" if report.unknown_lines else "")


def _rows_in(rows: int, *, is_dry_run: bool = False) -> str:
    if is_dry_run:
        return "1 row would go in" if rows == 1 else f"{rows:,} rows would go in"
    return "1 row is in" if rows == 1 else f"{rows:,} rows are in"


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    shown = [f"{first:,}-{last:,}" for first, last in ranges[:5]]
    return ", ".join(shown + ["more"] * (len(ranges) > 5))
