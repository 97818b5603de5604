"""The contract between the persistence layer and a storage backend.

An adapter translates one call into its backend's terms and the answer into rows. It knows no policy, retries
nothing, times nothing and logs nothing. Its laws, which `agent_persistence.testing.CONTRACT` checks:

- Records arrive as JSON values; None is SQL NULL. A record that is passed in is neither kept nor changed, and a
  row that is handed out may be changed freely by whoever receives it.
- Rows come back as dicts of JSON values, with the values that the backend generated (keys, defaults).
- Every failure is an `AdapterError` whose `state` says what is known about the database: "rejected" and
  "retryable" promise that nothing was applied, "not_sent" that nothing left, "ambiguous" promises nothing, and
  "applied" is a write that the backend confirmed in an answer that cannot be used.
- A cancelled call leaves the adapter usable: the next call works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import Page
from agent_persistence.policy.identity import Identity
from agent_persistence.query.filters import Filters
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row

CAPABILITIES: Final[tuple[str, ...]] = (
    "equality_filters",
    "ordering",
    "limit",
    "projections",
    "ilike",
    "range_operators",
    "in_operator",
    "pattern",
    "regex",
    "logic",
    "arrays",
    "json",
    "text_search",
    "offset",
    "count",
    "update",
    "delete",
    "call",
    "bulk",
    "include",
    "exists",
    "upsert_many",
    "ignore_duplicates",
    "transactions",
    "ranges",
    "computed",
)

ASK_POSTGRES: Final = 'kind="local" and kind="postgres" ask PostgreSQL itself'
"""The remedy where an adapter does not know what PostgreSQL does."""


@runtime_checkable
class PersistenceAdapter(Protocol):
    """A storage backend. A class with these members is one; there is nothing to inherit.

    Further verbs are Protocols of their own below; an adapter that has one says so in its `capabilities`.
    """

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `CAPABILITIES`. A missing name means no."""
        ...

    async def write(self, table: str, record: Record) -> Row:
        """Insert one row and return it as stored."""
        ...

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        """Insert all rows or none; return them in the order given. A column absent from a record takes its default."""
        ...

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        """Insert the row, or set the given columns of the row that has the same values in `on_conflict`.

        Without `on_conflict` the primary key decides. Columns that the record does not name keep their values.
        """
        ...

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        """Return the row whose `id_column` equals `id_value`, or None; more than one match is a ValidationError."""
        ...

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
        """Return the rows that `filters` selects, in the order asked for, with the columns in `select` only."""
        ...

    async def get_columns(self, table: str) -> list[str] | None:
        """Return the table's column names in their order, or None where they cannot be known."""
        ...

    async def aclose(self) -> None:
        """Release what the adapter made itself. Calling it again changes nothing."""
        ...


def only_row(table: str, id_column: str, rows: Sequence[Row]) -> Row | None:
    """What `read` returns of the rows found: the one there is, or None; several are a ValidationError."""
    if len(rows) > 1:
        raise ValidationError(table, f"more than one row has this {id_column}; use query, or read by a unique column")
    return rows[0] if rows else None


@runtime_checkable
class ReturnsColumns(Protocol):
    """An adapter that can change rows of which only some columns, or none, may be read.

    One without `insert` is asked for whole rows. One that has it takes `returning=` in `update` and `delete` too, and
    in `count` a `select=` of columns that may be read.
    """

    async def insert(
        self,
        table: str,
        records: Sequence[Record],
        *,
        on_conflict: Sequence[str] | None = None,
        returning: Sequence[str] = (),
    ) -> list[Row]:
        """Insert all rows or none, and return these columns of them; none gives no rows.

        With `on_conflict` rows that exist are merged, by the primary key if it is empty.
        """
        ...


class BulkWrites(Protocol):
    """An adapter with the capability "bulk"."""

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        """Store all rows or none by the fastest way there is, read nothing back, and return how many they are.

        With `on_conflict`, for which all records have the same columns, rows that exist are merged, by the primary key
        if it is empty; two records that would merge with the same row are an error.
        """
        ...


@runtime_checkable
class Pages(Protocol):
    """An adapter that can say with the rows of a query how many there are without limit and offset."""

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
        """Return the rows as `query` does, and the exact number of those that `filters` selects."""
        ...


class Counts(Protocol):
    """An adapter with the capability "count"."""

    async def count(self, table: str, filters: Filters | None = None) -> int:
        """Return the exact number of rows that `filters` selects."""
        ...


class Updates(Protocol):
    """An adapter with the capability "update"."""

    async def update(
        self, table: str, changes: Record, filters: Filters, *, max_affected: int | None = None
    ) -> list[Row]:
        """Set the columns in the selected rows, in all or none, and return them; too many is an error."""
        ...


class Deletes(Protocol):
    """An adapter with the capability "delete"."""

    async def delete(self, table: str, filters: Filters, *, max_affected: int | None = None) -> list[Row]:
        """Delete the selected rows, all or none, and return them; too many is an error."""
        ...


class Calls(Protocol):
    """An adapter with the capability "call"."""

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> object:
        """Call a function of the database and return its value. Without `may_write` the database refuses writes."""
        ...


@runtime_checkable
class Identified(Protocol):
    """An adapter that says as whom its calls run. Of one that does not, no layer shares answers or requests: they might
    be another user's."""

    @property
    def identity(self) -> Identity | None:
        """As whom every call runs, `Identity(own=True)`; None where `ActsAs.identify` says it for each call."""
        ...


@runtime_checkable
class ActsAs(Identified, Protocol):
    """An adapter that can run each call as another user."""

    async def identify(self) -> Identity:
        """As whom a call that begins now runs, if nobody else was named. A failure is "not_sent"."""
        ...

    def identity_of(self, *, access_token: object = None, claims: object = None) -> Identity:
        """The checked identity of a user; without either, of nobody. ConfigurationError where it cannot be one."""
        ...

    def acting_as(self, identity: Identity) -> PersistenceAdapter:
        """This adapter, its connections and what it has learnt, for calls of one identity. It takes a microsecond."""
        ...


@runtime_checkable
class Located(Protocol):
    """An adapter that says where its database is, for those who observe calls."""

    @property
    def server(self) -> tuple[str, int]:
        """Host and port, without credentials."""
        ...

    @property
    def namespace(self) -> str:
        """`database|schema`, or the one of them that is known."""
        ...
