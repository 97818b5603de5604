"""Records of a Parquet file."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
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


class ParquetReader:
    """The rows, a batch of them in memory at a time; a missing value is SQL's NULL."""

    def __init__(self, opened: Opened, columns: Columns, target: ImportTarget) -> None:
        self._opened = opened
        self._pyarrow, self._reader = _reader(opened.file)
        self._kept = _kept(self._reader.schema_arrow.names, columns, target)
        target.check(self._kept.values())
        self._readings = _readings(self._reader, self._kept, target)

    def __iter__(self) -> Items:
        number = 0
        overhead = sum(len(column) + 8 for column in self._kept.values())
        try:
            for batch in self._reader.iter_batches(BATCH_ROWS, columns=list(self._kept)):
                self._opened.read_share((number + batch.num_rows) / self._reader.metadata.num_rows)
                size = batch.nbytes // max(batch.num_rows, 1) + overhead
                names = batch.schema.names
                values = [self._readings[name](batch.column(place)) for place, name in enumerate(names)]
                for row in zip(*values, strict=True):
                    number += 1
                    yield self._item(number, dict(zip(names, row, strict=True)), size)
        except (self._pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"the Parquet file cannot be read behind row {number:,}: {error}") from error

    def _item(self, number: int, told: dict[str, Any], size: int) -> Item:
        record = {self._kept[name]: NULL if value is None else value for name, value in told.items()}
        for column, value in record.items():
            if type(value) is Unfit:
                return Reject(number, f"{column} {value.reason}", column, told)
        return Row(number, record, told, size)

    def reject_head(self) -> str:
        return ""

    def reject_text(self, reject: Reject) -> str:
        return json_reject(reject)


def _reader(file: IO[bytes]) -> tuple[Any, Any]:
    try:
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        remedy = command_for("parquet")
        raise ConfigurationError(f"a Parquet file needs pyarrow, 18 or later: {remedy}") from error
    try:
        return pyarrow, parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigurationError(f"the source is no Parquet file, or is cut off: {error}") from error


def _kept(names: list[str], columns: Columns, target: ImportTarget) -> dict[str, str]:
    """By the name in the file the column."""
    kept = {name: column for name in names if (column := renamed(name, columns, target)) is not None}
    if len({*names}) < len(names) or len({*kept.values()}) < len(kept):
        raise ValidationError(target.table, "the file has a column twice", "or columns= makes one of two")
    return kept


def _readings(reader: Any, kept: dict[str, str], target: ImportTarget) -> dict[str, Reading]:
    """By the name in the file what reads the column's values."""
    stored = [reader.schema.column(place).logical_type.type == "JSON" for place in range(len(reader.schema))]
    documents = iter(stored)
    readings = {}
    for field in reader.schema_arrow:
        own = iter([*islice(documents, leaves(field.type))])
        if field.name in kept:
            declared = target.columns.get(kept[field.name])
            try:
                readings[field.name] = reading(field.type, declared.type if declared else ANY, own)
            except UnknownTypeError as error:
                raise ValidationError(
                    target.table,
                    f"column {printable(field.name)} of the file is {error}, which has no form here",
                    f"columns={{{printable(field.name)}: None}} leaves it out",
                ) from None
    return readings
