"""Records of a Parquet file, and of data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import islice, repeat
from typing import IO, Any, Final

from agent_persistence._extras import command_for
from agent_persistence.bulk.arrow import ANY, Reading, Unfit, UnknownTypeError, leaves, reading
from agent_persistence.bulk.columns import Columns, ImportTarget, renamed
from agent_persistence.bulk.json_lines import json_reject
from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.rows import Item, Items, Row, SourceError
from agent_persistence.bulk.values import Reject
from agent_persistence.exceptions import ConfigurationError, ValidationError, printable
from agent_persistence.query.records import NULL

BATCH_ROWS: Final = 2_000


class ArrowReader:
    """The rows of Arrow batches, one batch in memory at a time; a missing value is SQL's NULL.

    `documents` says of each leaf of the schema, in order, whether its texts are JSON. `passed` is called with how many
    rows have been read before each batch, its own included.
    """

    def __init__(
        self,
        schema: Any,
        batches: Callable[[list[str]], Iterable[Any]],
        target: ImportTarget,
        columns: Columns,
        documents: Iterable[bool],
        passed: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._kept = _kept(schema.names, columns, target)
        target.check(self._kept.values())
        self._batches = batches
        self._passed = passed
        self._readings = _readings(schema, iter(documents), self._kept, target)

    def __iter__(self) -> Items:
        number = 0
        overhead = sum(len(column) + 8 for column in self._kept.values())
        pyarrow = _import("pyarrow")
        try:
            for batch in self._batches(list(self._kept)):
                self._passed(number + batch.num_rows)
                size = batch.nbytes // max(batch.num_rows, 1) + overhead
                names = batch.schema.names
                values = [self._readings[name](batch.column(place)) for place, name in enumerate(names)]
                for row in zip(*values, strict=True):
                    number += 1
                    yield self._item(number, dict(zip(names, row, strict=True)), size)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"the source cannot be read behind row {number:,}: {error}") from error

    def _item(self, number: int, given: dict[str, Any], size: int) -> Item:
        record = {self._kept[name]: NULL if value is None else value for name, value in given.items()}
        for column, value in record.items():
            if type(value) is Unfit:
                return Reject(number, f"{column} {value.reason}", column, given)
        return Row(number, record, given, size)

    def reject_head(self) -> str:
        return ""

    def reject_text(self, reject: Reject) -> str:
        return json_reject(reject)


def parquet_reader(opened: Opened, columns: Columns, target: ImportTarget) -> ArrowReader:
    """The records of a Parquet file."""
    file = _parquet(opened.file)
    leaves = range(len(file.schema))
    return ArrowReader(
        file.schema_arrow,
        lambda names: file.iter_batches(BATCH_ROWS, columns=names),
        target,
        columns,
        [file.schema.column(place).logical_type.type == "JSON" for place in leaves],
        lambda rows: opened.read_share(rows / file.metadata.num_rows),
    )


def stream_reader(source: Any, columns: Columns, target: ImportTarget) -> ArrowReader:
    """The records of a data frame or table with Arrow's interface for streams.

    https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """
    stream = _import("pyarrow").RecordBatchReader.from_stream(source)

    def batches(names: list[str]) -> Iterator[Any]:
        for batch in stream:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS).select(names)

    return ArrowReader(stream.schema, batches, target, columns, repeat(False))


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        remedy = command_for("parquet")
        raise ConfigurationError(f"Parquet files and data frames need pyarrow, 18 or later: {remedy}") from error


def _parquet(file: IO[bytes]) -> Any:
    pyarrow = _import("pyarrow")
    try:
        return _import("pyarrow.parquet").ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigurationError(f"the source is no Parquet file, or is cut off: {error}") from error


def _kept(names: list[str], columns: Columns, target: ImportTarget) -> dict[str, str]:
    """By the name in the source the column."""
    kept = {name: column for name in names if (column := renamed(name, columns, target)) is not None}
    if len({*names}) < len(names) or len({*kept.values()}) < len(kept):
        raise ValidationError(target.table, "the source has a column twice", "or columns= makes one of two")
    return kept


def _readings(schema: Any, documents: Iterator[bool], kept: dict[str, str], target: ImportTarget) -> dict[str, Reading]:
    """By the name in the source what reads the column's values."""
    readings = {}
    for field in schema:
        own = iter([*islice(documents, leaves(field.type))])
        if field.name in kept:
            declared = target.columns.get(kept[field.name])
            try:
                readings[field.name] = reading(field.type, declared.type if declared else ANY, own)
            except UnknownTypeError as error:
                raise ValidationError(
                    target.table,
                    f"column {printable(field.name)} of the source is {error}, which has no form here",
                    f"columns={{{printable(field.name)}: None}} leaves it out",
                ) from None
    return readings
