"""The verbs, written once for everything that has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from pydantic import BaseModel

from agent_persistence.exceptions import ValidationError
from agent_persistence.filters import Filters, parse_filters
from agent_persistence.operations import BatchWrite, GetColumns, Operation, Query, Read, Result, Upsert, Write
from agent_persistence.ordering import OrderBy, parse_order
from agent_persistence.records import Record, Row, as_mapping, encode_record, encode_value


class Closing(ABC):
    """An async context manager that ends with `aclose()`."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class ReadingVerbs(ABC):
    """The verbs that cannot change anything.

    All of them raise TableNotAllowedError or ColumnNotAllowedError where the policy refuses, ValidationError where
    the call is malformed (both before any request leaves), and AdapterError where the backend fails. Transient
    failures are retried until the deadline.
    """

    __slots__ = ()

    @abstractmethod
    async def _invoke(self, operation: Operation) -> Result: ...

    @property
    @abstractmethod
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        """Return the one row whose `id_column` equals `id_value`, or None. More than one match is refused."""
        encoded = encode_value(table, id_value, "id_value")
        if encoded is None or isinstance(encoded, (list, dict)):
            raise ValidationError(table, f"id_value is one key, not {type(id_value).__name__}")
        result = await self._invoke(Read(table, encoded, id_column))
        row: Row | None = result.value
        return row

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        """Return the rows that `filters` selects, sorted by `order_by`, at most `limit` of them after `offset`.

        `filters` maps columns to values or to operators (`gte(0.5)`); None as a value means IS NULL. `select` lists
        the columns to return, all by default. Without `order_by` the order is the backend's.
        """
        operation = Query(
            table,
            parse_filters(table, filters),
            _at_least(table, "limit", limit, 1),
            parse_order(table, order_by, descending),
            _names(table, "select", select),
            _at_least(table, "offset", offset, 0) or 0,
        )
        rows: list[Row] = (await self._invoke(operation)).value
        return rows

    async def get_columns(self, table: str) -> list[str] | None:
        """Return the table's column names in their order, or None where neither server nor schema tells them."""
        columns: list[str] | None = (await self._invoke(GetColumns(table))).value
        return columns


class WritingVerbs(ABC):
    """The verbs that change rows.

    Beside the errors of the reading verbs: ConflictError where a rule of the database refuses the row, and
    OutcomeUnknownError where the write was sent and its fate could not be learned. A write is sent again only when
    the one before it is known not to have been applied.
    """

    __slots__ = ()

    @abstractmethod
    async def _invoke(self, operation: Operation) -> Result: ...

    @abstractmethod
    def _clean(self, record: Record) -> Record: ...

    async def write(self, table: str, record: Record | BaseModel) -> Row:
        """Insert one row and return it as stored, with the values the backend generated.

        None values are stripped, so that the column takes its default; `NULL` writes an explicit null.
        """
        row: Row = (await self._invoke(Write(table, self._prepare(table, record)))).value
        return row

    async def batch_write(self, table: str, records: Sequence[Record | BaseModel]) -> list[Row]:
        """Insert all rows or none, in one request, and return them in the order given; [] gives []."""
        if isinstance(records, (str, bytes, Mapping, BaseModel)) or not isinstance(records, Sequence):
            raise ValidationError(table, f"records is a list of records, not {type(records).__name__}")
        prepared = tuple(self._prepare(table, record, f"records[{i}]") for i, record in enumerate(records))
        rows: list[Row] = (await self._invoke(BatchWrite(table, prepared))).value
        return rows

    async def upsert(self, table: str, record: Record | BaseModel, on_conflict: Sequence[str] | None = None) -> Row:
        """Insert the row, or merge it into the one that has the same values in the `on_conflict` columns.

        Without `on_conflict` the primary key decides. Columns the record does not name keep their values; the row
        is returned as stored.
        """
        target = _names(table, "on_conflict", on_conflict) or ()
        row: Row = (await self._invoke(Upsert(table, self._prepare(table, record), target))).value
        return row

    def _prepare(self, table: str, record: object, where: str = "") -> Record:
        return encode_record(table, self._clean(as_mapping(table, record, where)), where)


def _at_least(table: str, option: str, value: object, least: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < least:
        raise ValidationError(table, f"{option} is an int of at least {least}, not {value!r:.40}")
    return value


def _names(table: str, option: str, names: object) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValidationError(table, f"{option} is a list of column names; write {option}=[{names!r}]")
    if not isinstance(names, (Sequence, set, frozenset)) or isinstance(names, (bytes, bytearray)):
        raise ValidationError(table, f"{option} is a list of column names, not {type(names).__name__}")
    if not names:
        raise ValidationError(table, f"{option} is empty; leave it out for the default")
    return tuple(sorted(names) if isinstance(names, (set, frozenset)) else names)
