"""Records of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any, Final

from agent_persistence._bulk.columns import Columns, Target, renamed
from agent_persistence._bulk.json_lines import json_reject
from agent_persistence._bulk.opening import Opened
from agent_persistence._bulk.rows import Items, Row, SourceError
from agent_persistence._bulk.values import Reject
from agent_persistence.exceptions import ConfigurationError, ValidationError
from agent_persistence.records import NULL

BATCH_ROWS: Final = 2_000


class ParquetReader:
    """The rows, a batch of them in memory at a time; a missing value is SQL's NULL."""

    def __init__(self, opened: Opened, columns: Columns, target: Target) -> None:
        self._opened = opened
        self._pyarrow, self._reader = _reader(opened.file)
        self._kept = _kept(self._reader.schema_arrow.names, columns, target)
        target.check(self._kept.values())
        self._target = target

    def __iter__(self) -> Items:
        kept, number = self._kept, 0
        overhead = sum(len(column) + 8 for column in kept.values())
        try:
            for batch in self._reader.iter_batches(BATCH_ROWS, columns=list(kept)):
                self._opened.read_share((number + batch.num_rows) / self._reader.metadata.num_rows)
                size = batch.nbytes // max(batch.num_rows, 1) + overhead
                for told in _rows(self._pyarrow, batch):
                    number += 1
                    record = {kept[name]: NULL if value is None else value for name, value in told.items()}
                    problem = self._target.moment_in(record)
                    if problem is not None:
                        yield Reject(number, str(problem), problem.column, told)
                    else:
                        yield Row(number, record, told, size)
        except (self._pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"the Parquet file cannot be read behind row {number:,}: {error}") from error

    def reject_head(self) -> str:
        return ""

    def reject_text(self, reject: Reject) -> str:
        return json_reject(reject)


def _reader(file: IO[bytes]) -> tuple[Any, Any]:
    try:
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            "a Parquet file needs pyarrow, 18 or later: pip install 'agent-persistence[parquet]'"
        ) from error
    try:
        return pyarrow, parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigurationError(f"the source is no Parquet file, or is cut off: {error}") from error


def _kept(names: list[str], columns: Columns, target: Target) -> dict[str, str]:
    """By the name in the file the column."""
    kept = {name: column for name in names if (column := renamed(name, columns, target)) is not None}
    if len({*names}) < len(names) or len({*kept.values()}) < len(kept):
        raise ValidationError(target.table, "the file has a column twice, or columns= makes one of two")
    return kept


def _rows(pyarrow: Any, batch: Any) -> Iterator[dict[str, Any]]:
    """The rows as Python values; times finer than PostgreSQL's microseconds are cut."""
    fields = []
    for field in batch.schema:
        is_fine = pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns"
        fields.append(field.with_type(pyarrow.timestamp("us", field.type.tz)) if is_fine else field)
    return iter(batch.cast(pyarrow.schema(fields), safe=False).to_pylist())
