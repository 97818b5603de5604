"""Our own back ends: each carries out operations, and has the verbs of `PersistenceAdapter` over that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from agent_persistence.context import CallContext
from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Page,
    Query,
    Read,
    Result,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.query.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.predicates import comparisons
from agent_persistence.query.records import Record, Row

SCAN_ROWS: Final = 1_999
"""How many rows of a table a search reads where that takes requests: with the next one two pages of 1,000."""


@dataclass(frozen=True, slots=True, eq=False)
class Capabilities(Mapping[str, bool]):
    """What a back end can do, by the names in `base.CAPABILITIES`, and what else the chain must know of it.

    `row_cap` is the most rows that one request brings, infinity where nothing is cut, None where it is not known.
    `scan_rows` are those of a table that a search reads, to look at each, before it leaves the rest to the database.
    `url_size` says how many bytes of URL a query needs, None where queries need none. `returning`: rows can be changed
    of which only some columns, or none, may be read. `counts_pages`: a query can say how many rows there are without
    its limit. `remembers_units`: units of work are remembered by their keys without more work, so that each is to have
    one. `server` (host and port) and `namespace` are what observers learn of where the database is.
    """

    can: Mapping[str, bool]
    row_cap: float | None = None
    scan_rows: float = SCAN_ROWS
    url_size: Callable[[Query], int] | None = None
    returning: bool = False
    counts_pages: bool = False
    remembers_units: bool = False
    server: tuple[str, int] | None = None
    namespace: str | None = None

    def __getitem__(self, name: str) -> bool:
        return self.can[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.can)

    def __len__(self) -> int:
        return len(self.can)


class Backend(ABC):
    """An adapter that carries out operations; each of its verbs is one of them."""

    _user: Identity = OWN
    """As whom the verbs run."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the back end can do, and what the chain must know of it."""

    @abstractmethod
    async def execute(self, operation: Operation, context: CallContext) -> Result:
        """Carry the operation out as whom the context names, once; the laws are those of `base`.

        Nothing of it is checked, retried or ended by the context's deadline here. UnsupportedOperationError for an
        operation of an unknown class.
        """

    async def write(self, table: str, record: Record) -> Row:
        row: Row = await self._value(Write(table, record))
        return row

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = await self._value(BatchWrite(table, tuple(records)))
        return rows

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        row: Row = await self._value(Upsert(table, record, tuple(on_conflict or ())))
        return row

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        target = None if on_conflict is None else tuple(on_conflict)
        stored: int = await self._value(BulkWrite(table, tuple(records), target))
        return stored

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        if isinstance(id_value, (Mapping, list, tuple)):
            raise ValidationError(table, f"id_value is one key, not {type(id_value).__name__}")
        (key,) = comparisons(parse_filters(table, {id_column: eq(id_value)}))
        row: Row | None = await self._value(Read(table, key.operand, id_column))
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
        asked = _query(table, filters, limit, parse_order(table, order_by, descending), select, offset)
        rows: list[Row] = await self._value(asked)
        return rows

    async def page(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> Page:
        """The rows as `query` returns them, and how many there are without limit and offset, where that is known."""
        order = parse_order(table, order_by, descending)
        asked = _query(table, filters, limit, order, select, offset, counted=True)
        result = await self._result(asked)
        return Page(result.value, result.total)

    async def count(self, table: str, filters: Filters | None = None) -> int:
        counted: int = await self._value(Count(table, parse_filters(table, filters)))
        return counted

    async def update(
        self,
        table: str,
        changes: Record,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        selected, shown = parse_some_rows(table, filters), _columns(returning)
        rows: list[Row] = await self._value(Update(table, changes, selected, max_affected, returning=shown))
        return rows

    async def delete(
        self,
        table: str,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        selected, shown = parse_some_rows(table, filters), _columns(returning)
        rows: list[Row] = await self._value(Delete(table, selected, max_affected, returning=shown))
        return rows

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> Any:
        return await self._value((WritingCall if may_write else Call)(function, arguments))

    async def get_columns(self, table: str) -> list[str] | None:
        columns: list[str] | None = await self._value(GetColumns(table))
        return columns

    @abstractmethod
    async def aclose(self) -> None:
        """Release what the back end made itself. Calling it again changes nothing."""

    async def _value(self, operation: Operation) -> Any:
        return (await self._result(operation)).value

    async def _result(self, operation: Operation) -> Result:
        return await self.execute(operation, CallContext(self._user))


class UsersBackend(Backend):
    """A back end that can run each call as another user."""

    @property
    @abstractmethod
    def identity(self) -> Identity | None:
        """As whom every call runs that names no user; None where a callable says it for each call."""

    @abstractmethod
    async def identify(self) -> Identity:
        """As whom a call that begins now runs, if nobody else was named. A failure is "not_sent"."""

    @abstractmethod
    def identity_of(self, *, access_token: object = None, claims: object = None) -> Identity:
        """The checked identity of a user; without either, of nobody. ConfigurationError where it cannot be one."""

    def acting_as(self, identity: Identity) -> Self:
        """The same back end, its connections and what it has learnt, for calls of one identity."""
        view = object.__new__(type(self))
        vars(view).update(vars(self), _user=identity)
        return view


VERBS: Final = (
    "write",
    "batch_write",
    "upsert",
    "bulk_write",
    "read",
    "query",
    "page",
    "count",
    "update",
    "delete",
    "call",
    "get_columns",
)
"""The verbs that are one operation each."""


def sent_rows(operation: Write | BatchWrite | Upsert) -> Any:
    """The value of an insert for which no columns were asked: what was sent."""
    rows = [dict(record) for record in operation.inserted]
    return rows[0] if operation.returns == "row" else rows


def _columns(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _query(
    table: str,
    filters: Filters | None,
    limit: int | None,
    order: tuple[Any, ...],
    select: Sequence[str] | None,
    offset: int,
    *,
    counted: bool = False,
) -> Query:
    return Query(table, parse_filters(table, filters), limit, order, _columns(select), offset, counted=counted)
