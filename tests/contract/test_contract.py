"""One suite of laws over every adapter, on both event loops; and adapters that break a law, which it must notice."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import httpx
import pytest

from agent_persistence import InMemoryAdapter, PersistenceAdapter, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.exceptions import ConflictError
from agent_persistence.filters import Filters, parse_filters
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.predicates import Comparison, Operator
from agent_persistence.query.records import Record, Row
from agent_persistence.schema_registry import default_schema
from agent_persistence.testing import CONTRACT, Law
from agent_persistence.testing.contract import changing, inserting, lasting, reading, refusing, values
from tests.server import LocalServer
from tests.stack import as_chosen

Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[PersistenceAdapter]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[PersistenceAdapter]:
    yield as_chosen(InMemoryAdapter(schema=default_schema()))


def over_own_connections(server: LocalServer) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[PersistenceAdapter]:
        adapter = SupabaseAdapter(server.url, server.service_key)
        try:
            yield as_chosen(adapter)
        finally:
            await adapter.aclose()

    return opened


def over_an_injected_client(server: LocalServer) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[PersistenceAdapter]:
        async with httpx.AsyncClient(trust_env=False) as client:
            adapter = SupabaseAdapter(server.url, server.service_key, client=client)
            try:
                yield as_chosen(adapter)
            finally:
                await adapter.aclose()

    return opened


def over_postgresql(server: LocalServer) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[PersistenceAdapter]:
        adapter = PostgresAdapter(server.database_url)
        try:
            yield as_chosen(adapter)
        finally:
            await adapter.aclose()

    return opened


@pytest.fixture(params=["memory", "postgres", "supabase", "supabase with an injected client"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """An adapter over empty tables, as a context manager that belongs to the event loop it is entered on."""
    if request.param == "memory":
        return in_memory
    server: LocalServer = request.getfixturevalue("server")
    return OVER[request.param](server)


OVER: dict[str, Callable[[LocalServer], Opened]] = {
    "postgres": over_postgresql,
    "supabase": over_own_connections,
    "supabase with an injected client": over_an_injected_client,
}


every_law = pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)


@every_law
@pytest.mark.asyncio
async def test_every_adapter_keeps_every_law_on_asyncio(opened: Opened, law: Law) -> None:
    """A caller cannot tell one adapter from another."""
    async with opened() as adapter:
        await law(adapter)


@every_law
def test_every_adapter_keeps_every_law_on_trio(opened: Opened, law: Law) -> None:
    """The laws hold on trio as they do on asyncio."""

    async def main() -> None:
        async with opened() as adapter:
            await law(adapter)

    anyio.run(main, backend="trio")


def test_the_suite_names_every_law_of_its_module() -> None:
    """A law that is written is a law that is checked."""
    written = {
        value
        for room in (changing, inserting, lasting, reading, refusing, values)
        for value in vars(room).values()
        if inspect.iscoroutinefunction(value) and value.__module__ == room.__name__
    }
    assert written == set(CONTRACT)


class _Broken(InMemoryAdapter):
    def __init__(self) -> None:
        super().__init__(schema=default_schema())


class LosesOrder(_Broken):
    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        return sorted(await super().batch_write(table, records), key=lambda row: str(row.get("email")))


class WritesOneByOne(_Broken):
    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        rows: list[Row] = []
        for record in records:
            rows += await super().batch_write(table, [record])
        return rows


class FillsAbsentColumnsWithNull(_Broken):
    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        names = {name for record in records for name in record}
        return await super().batch_write(table, [{**dict.fromkeys(names), **record} for record in records])


class StoresInTwoHalves(_Broken):
    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        half = len(records) // 2
        return await super().bulk_write(table, records[:half], on_conflict=on_conflict) + await super().bulk_write(
            table, records[half:], on_conflict=on_conflict
        )


class InsertsOnConflict(_Broken):
    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        return await super().bulk_write(table, records)


class MergesOneByOne(_Broken):
    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        for record in records:
            await super().bulk_write(table, [record], on_conflict=on_conflict)
        return len(records)


class StripsNull(_Broken):
    async def write(self, table: str, record: Record) -> Row:
        return await super().write(table, {name: value for name, value in record.items() if value is not None})


class ReplacesOnUpsert(_Broken):
    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        emptied = [name for name, column in default_schema().columns(table).items() if column.nullable]
        return await super().upsert(table, {**dict.fromkeys(emptied), **record}, on_conflict)


class ReadsTheFirstOfMany(_Broken):
    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        found = await self.query(table, {id_column: id_value}, limit=1)
        return found[0] if found else None


class _Querying(_Broken):
    """Changes what `change` says before a query goes on."""

    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

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
        asked = {"filters": filters, "limit": limit, "order_by": order_by, "descending": descending}
        return await super().query(table, **self.change({**asked, "select": select, "offset": offset}))


class TakesUnderscoreForALetter(_Querying):
    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        match parse_filters("t", asked["filters"]):
            case Comparison(Operator.LIKE, pattern, column):
                literal = pattern.replace("\\_", "_").replace("_", "\\_")
                return {**asked, "filters": Comparison(Operator.LIKE, literal, column)}
        return asked


class IgnoresFilters(_Querying):
    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "filters": None}


class PutsTheOffsetAside(_Querying):
    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "offset": 0}


class SelectsEverything(_Querying):
    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "select": None}


class OrdersOneWayOnly(_Querying):
    def change(self, asked: dict[str, Any]) -> dict[str, Any]:
        names = [key.column for key in parse_order("t", asked["order_by"])]
        return {**asked, "order_by": names or None, "descending": False}


class HandsOutItsOwnDicts(_Broken):
    async def write(self, table: str, record: Record) -> Row:
        row = await super().write(table, record)
        return self._tables[table].rows()[-1] if row else row


class ConfusesTasks(_Broken):
    async def write(self, table: str, record: Record) -> Row:
        self.latest = record
        await anyio.lowlevel.checkpoint()
        return await super().write(table, self.latest)


class KnowsNoColumns(_Broken):
    async def get_columns(self, table: str) -> list[str] | None:
        return sorted(await super().get_columns(table) or ())


class ClosesOnce(_Broken):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


@pytest.mark.parametrize(
    ("broken", "law", "noticed"),
    [
        (LosesOrder, inserting.a_batch_keeps_its_order, AssertionError),
        (WritesOneByOne, inserting.a_batch_is_all_or_nothing, AssertionError),
        (
            FillsAbsentColumnsWithNull,
            inserting.columns_absent_from_one_record_of_a_batch_take_their_default,
            ConflictError,
        ),
        (StoresInTwoHalves, inserting.a_bulk_write_stores_all_rows_or_none, AssertionError),
        (InsertsOnConflict, inserting.a_bulk_write_merges_by_the_columns_named, ConflictError),
        (MergesOneByOne, inserting.a_bulk_write_merges_no_row_twice, AssertionError),
        (StripsNull, values.an_explicit_null_is_stored, AssertionError),
        (ReplacesOnUpsert, inserting.upsert_inserts_then_merges, AssertionError),
        (ReadsTheFirstOfMany, reading.reading_by_a_column_that_several_rows_share_is_refused, AssertionError),
        (TakesUnderscoreForALetter, reading.filters_select_as_sql_does, AssertionError),
        (IgnoresFilters, values.text_of_every_kind_equals_itself, AssertionError),
        (PutsTheOffsetAside, reading.limit_and_offset_cut_the_ordered_rows, AssertionError),
        (SelectsEverything, reading.select_returns_the_named_columns_only, AssertionError),
        (OrdersOneWayOnly, reading.order_puts_nulls_last_when_ascending_and_first_when_descending, AssertionError),
        (HandsOutItsOwnDicts, lasting.nobody_can_reach_into_the_store, AssertionError),
        (ConfusesTasks, lasting.concurrent_writes_are_all_kept, ExceptionGroup),
        (KnowsNoColumns, reading.columns_are_told_in_their_order_or_not_at_all, AssertionError),
        (ClosesOnce, lasting.closing_twice_changes_nothing, RuntimeError),
    ],
    ids=lambda given: given.__name__,
)
@pytest.mark.asyncio
async def test_an_adapter_that_breaks_a_law_fails_it(broken: type[_Broken], law: Law, noticed: type[Exception]) -> None:
    """Control: the law about what is broken does fail, and over the unbroken adapter it does not."""
    with pytest.raises(noticed):
        await law(broken())
    await law(InMemoryAdapter(schema=default_schema()))


def test_a_schemaless_store_is_no_adapter_of_the_reference_schema() -> None:
    """Control: without the schema's rules the laws about integrity fail."""

    async def main() -> None:
        await refusing.integrity_rules_are_conflicts_that_name_their_constraint(InMemoryAdapter())

    with pytest.raises(AssertionError, match="expected ConflictError"):
        anyio.run(main)
