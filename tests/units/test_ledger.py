"""Single writes by way of the ledger: which go there, and that they are what they are without it."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    Operation,
    PostgresAdapter,
    Result,
    RowsDroppedError,
    SupabaseAdapter,
    TablePolicy,
    UnsupportedOperationError,
)
from agent_persistence.context import CallContext
from agent_persistence.operations import Unit
from agent_persistence.schema.registry import default_schema
from tests.server import LocalServer
from tests.units.conftest import TABLES, adapter_of, install

pytestmark = pytest.mark.asyncio

FUNCTIONS = """
create or replace function noted(body text, times int default 1) returns setof inquiries language sql volatile
  as $$ insert into inquiries (body) select noted.body from generate_series(1, times) returning * $$;
create or replace function forgotten(body text) returns void language sql volatile
  as $$ delete from inquiries i where i.body = forgotten.body $$;
create or replace function summed(variadic n int[]) returns int language sql volatile
  as $$ insert into inquiries (body) values ('summed'); select sum(one)::int from unnest(n) one $$;
create or replace function documented(told jsonb, place point default null) returns jsonb language sql volatile
  as $$ insert into inquiries (body) values ('documented'); select told || '{"seen": true}' $$;
"""
POLICY = TablePolicy(
    read=TABLES, write=TABLES, delete=TABLES, call_write={"noted", "forgotten", "summed", "documented", "missing"}
)


@pytest.fixture
def functions(units_server: LocalServer) -> Iterator[LocalServer]:
    """The server with functions that write."""
    units_server.execute(FUNCTIONS)
    units_server.reload_schema()
    yield units_server
    for name in ("noted", "forgotten", "summed", "documented"):
        units_server.execute(f"drop function {name}")
    units_server.reload_schema()


class Watched(InMemoryAdapter):
    """A store that notes what is carried out in it."""

    def __init__(self) -> None:
        super().__init__(schema=default_schema())
        self.asked: list[Operation] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        self.asked.append(operation)
        return await super().execute(operation, context)


async def test_only_what_could_be_applied_twice_goes_by_way_of_the_ledger() -> None:
    """A write under a key of ours costs nothing more."""
    store = Watched()
    service = AsyncPersistenceService(store, policy=POLICY, ledger=True)
    lead = await service.write("leads", {"email": "a"})
    await service.batch_write("leads", [{"email": "b"}])
    await service.read("leads", lead["id"])
    await service.delete("leads", {"id": lead["id"]})
    assert [type(operation).__name__ for operation in store.asked] == ["Write", "BatchWrite", "Read", "Delete"]
    store.asked.clear()
    await service.write("inquiries", {"body": "a"})
    await service.batch_write("inquiries", [{"body": "b"}])
    await service.bulk_write("inquiries", [{"body": "c"}])
    await service.upsert("leads", {"email": "a"}, ["email"])
    await service.update("inquiries", {"handled": True}, {"body": "a"})
    await service.delete("inquiries", {"body": "b"})
    units = [operation for operation in store.asked if isinstance(operation, Unit)]
    assert [unit.parts[0].operation.verb for unit in units] == [
        "write",
        "batch_write",
        "bulk_write",
        "upsert",
        "update",
        "delete",
    ]
    assert len({unit.key for unit in units}) == len(store.asked) == 6


async def test_without_the_option_nothing_goes_there() -> None:
    """The ledger is asked for."""
    store = Watched()
    await AsyncPersistenceService(store, policy=POLICY).write("inquiries", {"body": "a"})
    assert [type(operation).__name__ for operation in store.asked] == ["Write"]


@pytest.mark.parametrize("backend", ["postgres", "supabase"])
async def test_values_and_errors_are_those_of_plain_writes(functions: LocalServer, backend: str) -> None:
    """Of every verb, and of functions of every kind."""

    async def told(*, ledger: bool) -> list[Any]:
        functions.reset()
        adapter = adapter_of(backend, functions)
        async with AsyncPersistenceService(adapter, policy=POLICY, ledger=ledger, owns_adapter=True) as service:
            calls = [
                service.write("inquiries", {"body": "a", "created_at": "2026-01-01"}),
                service.batch_write("inquiries", [{"body": "b", "created_at": "2026-01-01"}] * 2),
                service.bulk_write("inquiries", [{"body": "c"}] * 3),
                service.update("inquiries", {"handled": True}, {"body": "b"}),
                service.update("inquiries", {"handled": True}, {"body": "b"}, max_affected=1),
                service.delete("inquiries", {"body": "none"}),
                service.write("inquiries", {"body": "a", "handled": "perhaps"}),
                service.write("sequences", {"template": "x"}),
                service.call("noted", {"body": "d", "times": 0}),
                service.call("forgotten", {"body": "c"}),
                service.call("summed", {"n": [1, 2, 3]}),
                service.call("documented", {"told": {"a": [1, "2", None]}}),
                service.call("documented", {"told": None}),
            ]
            return [await _told(call) for call in calls]

    assert await told(ledger=True) == await told(ledger=False)


async def _told(call: Any) -> Any:
    try:
        return await call
    except AdapterError as error:
        return type(error).__name__, error.code, getattr(error, "constraint", None)


@pytest.mark.parametrize("backend", ["postgres", "supabase"])
async def test_a_function_that_is_not_there_is_told_as_such(functions: LocalServer, backend: str) -> None:
    """And one with other arguments."""
    adapter = adapter_of(backend, functions)
    async with AsyncPersistenceService(adapter, policy=POLICY, ledger=True, owns_adapter=True) as service:
        for name, arguments in (("missing", {}), ("noted", {"text": "x"}), ("noted", {})):
            with pytest.raises(AdapterError) as refused:
                await service.call(name, arguments)
            assert refused.value.code in ("42883", "PGRST202")


@pytest.mark.parametrize("backend", ["postgres", "supabase"])
async def test_rows_that_a_trigger_drops_keep_all_out(units_server: LocalServer, backend: str) -> None:
    """Of a batch none is stored then."""
    units_server.execute(
        "create or replace function drop_b() returns trigger language plpgsql"
        " as $$ begin return case new.body when 'b' then null else new end; end $$;"
        " create or replace trigger drop_b before insert on inquiries for each row execute function drop_b()"
    )
    adapter = adapter_of(backend, units_server)
    try:
        async with AsyncPersistenceService(adapter, policy=POLICY, ledger=True, owns_adapter=True) as service:
            with pytest.raises(RowsDroppedError) as refused:
                await service.batch_write("inquiries", [{"body": "a"}, {"body": "b"}])
            assert (refused.value.sent, refused.value.state, await service.count("inquiries")) == (2, "rejected", 0)
            assert await service.bulk_write("inquiries", [{"body": "a"}, {"body": "b"}]) == 1
    finally:
        units_server.execute("drop trigger drop_b on inquiries; drop function drop_b")


async def test_where_it_is_not_installed_the_error_says_what_to_run(local_server: LocalServer) -> None:
    """Nothing is applied; units without a key need nothing over PostgreSQL."""
    local_server.reset()
    local_server.execute("drop function if exists agent_persistence_apply")
    local_server.execute("drop schema if exists agent_persistence cascade")
    local_server.reload_schema()
    adapters: list[Any] = [
        PostgresAdapter(local_server.database_url, role="service_role"),
        SupabaseAdapter(local_server.url, local_server.service_key),
    ]
    try:
        for adapter in adapters:
            async with AsyncPersistenceService(adapter, policy=POLICY, ledger=True) as service:
                with pytest.raises(UnsupportedOperationError, match="agent-persistence sql install") as refused:
                    await service.write("inquiries", {"body": "a"})
                assert refused.value.capability == "transactions"
                assert await service.count("inquiries") == 0
        unit = AsyncPersistenceService(adapters[0], policy=POLICY).unit_of_work()
        unit.write("inquiries", {"body": "a"})
        await unit.commit()
        assert await AsyncPersistenceService(adapters[0], policy=POLICY).count("inquiries") == 1
    finally:
        for adapter in adapters:
            await adapter.aclose()
        install(local_server)


async def test_a_role_that_may_not_use_it_is_told_so(units_server: LocalServer) -> None:
    """By either way."""
    anonymous = PostgresAdapter(units_server.database_url, role="anon")
    async with AsyncPersistenceService(anonymous, policy=POLICY, ledger=True, owns_adapter=True) as service:
        with pytest.raises(UnsupportedOperationError, match="may not use it"):
            await service.write("inquiries", {"body": "a"})


async def test_many_rows_are_merged_by_way_of_the_ledger_as_without_it(service: AsyncPersistenceService) -> None:
    """Merged and not inserted, in the order given; the number alone where no row comes back."""
    old = await service.write("leads", {"email": "old@x.example", "status": "won"})
    records = [{"email": "new@x.example", "company": "N"}, {"email": "old@x.example", "company": "O"}]
    rows = await service.upsert_many("leads", records, ["email"])
    assert [(row["company"], row["status"]) for row in rows] == [("N", "new"), ("O", "won")]
    assert rows[1]["id"] == old["id"]
    assert await service.bulk_write("leads", records, on_conflict=["email"]) == 2
    assert await service.count("leads") == 2
