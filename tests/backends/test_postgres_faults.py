"""Connections that end, servers that stop, calls that are cancelled: what the error says is so."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import psycopg
import pytest

from agent_persistence import AdapterError, ConflictError
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres import copying
from agent_persistence.exceptions import FailureState
from agent_persistence.service import AsyncPersistenceService
from tests.backends.pg_proxies import Relay, listening, through
from tests.server import LocalServer
from tests.server.postgres import free_port

pytestmark = pytest.mark.anyio
Call: TypeAlias = Callable[[PostgresAdapter], Coroutine[Any, Any, Any]]

LEAD = "00000000-0000-4000-8000-00000000000a"
RECORD = {"id": LEAD, "email": "a@example.com", "created_at": "2026-01-02T03:04:05+00:00"}
"""With every value that would else be another one, and of another length, in each answer."""
BULK = [{"email": f"{number}@example.com"} for number in range(copying.WORTHWHILE)]


@asynccontextmanager
async def over(url: str, **options: Any) -> AsyncIterator[PostgresAdapter]:
    adapter = PostgresAdapter(url, **{"max_connections": 1, **options})
    try:
        yield adapter
    finally:
        await adapter.aclose()


# --- cut connections --------------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[Call, int]] = {
    "write": (lambda adapter: adapter.write("leads", RECORD), 1),
    "upsert": (lambda adapter: adapter.upsert("leads", RECORD), 1),
    "limited update": (lambda adapter: adapter.update("clients", {"plan": "new"}, {"plan": "old"}, max_affected=5), 2),
    "bulk_write": (lambda adapter: adapter.bulk_write("leads", BULK), len(BULK)),
    "merging bulk_write": (lambda adapter: adapter.bulk_write("leads", BULK, on_conflict=["email"]), len(BULK)),
    "query": (lambda adapter: adapter.query("leads", {"status": "won"}), 0),
}
PLACES = 24


def applied(server: LocalServer) -> int:
    (row,) = server.execute(
        "select (select count(*) from leads) + (select count(*) from clients where plan = 'new') as told"
    )
    return int(row["told"])


def restore(server: LocalServer) -> None:
    """Once no transaction is under way: two clients, no leads."""
    server.execute("truncate leads, clients cascade")
    server.execute(
        "insert into clients (name, plan, created_at, updated_at)"
        " select name, 'old', '2026-01-02', '2026-01-02' from (values ('a'), ('b')) as made(name)"
    )


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("way", ["request", "response"])
async def test_a_cut_connection_is_told_as_what_it_is(server: LocalServer, name: str, way: str) -> None:
    """At any byte of a call: what is acknowledged is there, what is told as not applied is not, and all or nothing."""
    call, rows = CALLS[name]
    relay = Relay(server.database_url)
    seen = set()
    async with listening(relay.handle) as port, over(through(server.database_url, port)) as adapter:
        restore(server)
        await adapter.upsert("leads", RECORD)  # what is learnt once is learnt
        await adapter.query("leads", {"tags": None})
        restore(server)
        relay.arm()
        await call(adapter)
        size = relay.passed[way]
        for place in sorted({1 + place * (size - 2) // PLACES for place in range(PLACES + 1)}):
            relay.arm()
            restore(server)
            await adapter.count("leads")
            relay.arm(**{f"{way}_bytes": place})
            told = await _told(call(adapter))
            relay.arm()
            await _settled(server)
            found = applied(server)
            seen.add(told)
            assert found in (0, rows)
            assert found == rows or told != "acknowledged"
            assert found == 0 or told in ("acknowledged", FailureState.AMBIGUOUS), (place, size)
            assert isinstance(await adapter.count("leads"), int)
    assert seen <= {"acknowledged", FailureState.AMBIGUOUS, FailureState.RETRYABLE}
    if name == "query":
        assert FailureState.AMBIGUOUS not in seen
    if name in ("limited update", "bulk_write"):
        assert FailureState.RETRYABLE in seen


async def _told(call: Awaitable[Any]) -> str:
    try:
        await call
    except AdapterError as error:
        return error.state
    return "acknowledged"


async def _settled(server: LocalServer) -> None:
    """No session of the adapter has a transaction under way."""
    while server.execute(
        "select 1 from pg_stat_activity where application_name like 'agent-persistence%' and state <> 'idle'"
    ):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("way", ["request", "response"])
async def test_a_write_whose_answer_is_lost_is_applied_once(server: LocalServer, way: str) -> None:
    """By the service, which sends the same key again and finds it there."""

    async def at_once(pause_s: float) -> None:
        """A pause that does not last."""

    relay = Relay(server.database_url)
    async with listening(relay.handle) as port, over(through(server.database_url, port)) as adapter:
        service = AsyncPersistenceService(adapter, sleep=at_once)
        restore(server)
        relay.arm()
        await service.write("leads", {"email": "a@example.com", "created_at": RECORD["created_at"]})
        size = relay.passed[way]
        for place in range(1, size, size // PLACES):
            restore(server)
            relay.arm(**{f"{way}_bytes": place}, cuts=1)
            row = await service.write("leads", {"email": "a@example.com", "created_at": RECORD["created_at"]})
            assert server.execute("select id::text from leads") == [{"id": row["id"]}]


# --- terminated sessions ----------------------------------------------------------------------------------------------

ADAPTERS = "from pg_stat_activity where application_name like 'agent-persistence%'"


def terminate(server: LocalServer) -> int:
    """The adapter's sessions are told to end; how many there were."""
    return len(server.execute(f"select pg_terminate_backend(pid, 5000) {ADAPTERS}"))


async def test_an_idle_session_that_was_terminated_costs_nothing(server: LocalServer) -> None:
    """The next call sees that it has ended, and connects anew."""
    async with over(server.database_url) as adapter:
        await adapter.count("leads")
        assert terminate(server) >= 1
        assert (await adapter.write("leads", {"email": "a@example.com"}))["email"] == "a@example.com"


@contextmanager
def locked(server: LocalServer, table: str) -> Iterator[None]:
    """Nobody else may touch the table."""
    with psycopg.connect(server.database_url) as other:
        other.execute(f"lock table {table}".encode())
        yield


async def _waiting(server: LocalServer) -> None:
    """A session of the adapter waits for a lock."""
    while not server.execute(f"select 1 {ADAPTERS} and wait_event_type = 'Lock'"):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "limited update"])
async def test_a_session_that_is_terminated_at_its_statement_has_applied_nothing(
    server: LocalServer, name: str
) -> None:
    """Its last words say so, and the call may be tried again."""
    told: list[str] = []
    async with over(server.database_url) as adapter:
        await adapter.upsert("leads", {"email": "other@example.com"}, ["email"])
        await adapter.get_columns("leads")
        with locked(server, "leads"):
            async with anyio.create_task_group() as group:

                async def call() -> None:
                    told.append(await _told(CALLS[name][0](adapter)))

                group.start_soon(call)
                await _waiting(server)
                terminate(server)
        assert told == [FailureState.RETRYABLE]
        assert await adapter.count("leads") == 1


@pytest.fixture
def slow_commit(server: LocalServer) -> Iterator[LocalServer]:
    """A lead's transaction waits for a lock on inquiries when it commits."""
    server.execute(
        "create function waits() returns trigger language plpgsql as"
        " $$ begin lock table inquiries; return null; end $$;"
        " create constraint trigger waits after insert on leads deferrable initially deferred"
        " for each row execute function waits()"
    )
    yield server
    server.execute("drop function waits cascade")


@pytest.mark.parametrize("name", ["write", "bulk_write"])
async def test_a_session_that_is_terminated_at_its_commit_may_have_applied_it(
    slow_commit: LocalServer, name: str
) -> None:
    """The commit may have been written before the session ended."""
    told: list[str] = []
    async with over(slow_commit.database_url) as adapter:
        await adapter.get_columns("leads")
        with locked(slow_commit, "inquiries"):
            async with anyio.create_task_group() as group:

                async def call() -> None:
                    told.append(await _told(CALLS[name][0](adapter)))

                group.start_soon(call)
                await _waiting(slow_commit)
                terminate(slow_commit)
        assert told == [FailureState.AMBIGUOUS]
        assert await adapter.count("leads") == 0


async def test_a_rule_that_is_broken_at_the_commit_is_a_conflict(server: LocalServer) -> None:
    """A deferred constraint: the statement was answered well, and nothing is applied."""
    server.execute(
        "alter table conversations add constraint later foreign key (lead_id) references leads"
        " deferrable initially deferred; alter table conversations drop constraint conversations_lead_id_fkey"
    )
    try:
        async with over(server.database_url) as adapter:
            with pytest.raises(ConflictError) as caught:
                await adapter.write("conversations", {"lead_id": LEAD})
            error = caught.value
            assert (error.code, error.constraint, error.state) == ("23503", "later", FailureState.REJECTED)
            assert await adapter.count("conversations") == 0
    finally:
        server.execute(
            "alter table conversations add constraint conversations_lead_id_fkey foreign key (lead_id)"
            " references leads on delete cascade; alter table conversations drop constraint later"
        )


# --- cancelled calls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_may_be_cancelled_at_any_step(server: LocalServer, name: str) -> None:
    """It is applied as a whole or not, its connection is closed, and the next call works."""
    call, rows = CALLS[name]
    async with over(server.database_url, max_connections=2) as adapter:
        await adapter.get_columns("leads")
        for steps in range(0, 40, 2):
            restore(server)
            async with anyio.create_task_group() as group:
                group.start_soon(call, adapter)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            await _settled(server)
            assert applied(server) in (0, rows)
            assert isinstance(await adapter.count("leads"), int)
            (there,) = server.execute(f"select count(*) {ADAPTERS}")
            assert there["count"] <= 2


async def test_a_storm_of_deadlines_leaves_the_pool_usable(server: LocalServer) -> None:
    """Forty callers, four connections, every call cancelled somewhere; then all of a hundred calls work."""
    async with over(server.database_url, max_connections=4) as adapter:

        async def caller(number: int) -> None:
            for turn in range(10):
                with anyio.move_on_after((number + turn) % 10 / 1000):
                    await adapter.write("inquiries", {"body": "x"})

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(caller, number)
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(adapter.query, "inquiries", None, 1)


async def test_a_statement_ends_soon_after_its_call(server: LocalServer) -> None:
    """The server stops it by itself: the lock that it holds is free again, though it would sleep for a minute."""
    server.execute(
        "create function sleeps() returns void language sql as $$ select pg_advisory_xact_lock(7), pg_sleep(60) $$"
    )
    try:
        async with over(server.database_url) as adapter:
            with anyio.move_on_after(0.2):
                await adapter.call("sleeps", {}, may_write=True)
            server.execute("select pg_advisory_lock(7)")
            server.execute("select pg_advisory_unlock(7)")
            for _ in range(3000):  # the lock is free a moment before the statement counts as ended
                if not server.execute(f"select 1 {ADAPTERS} and state = 'active'"):
                    break
                await anyio.sleep(0.01)
            else:
                pytest.fail("the statement goes on")
    finally:
        server.execute("drop function sleeps")


async def test_a_shorter_time_limit_of_the_role_stays(server: LocalServer) -> None:
    """The call's deadline makes it shorter, never longer."""
    server.execute(
        "create function limits() returns text stable language sql as"
        " $$ select current_setting('statement_timeout') $$; create role quick login password 'quick';"
        " alter role quick set statement_timeout = '5s'"
    )
    url = server.database_url.split("@")[1]
    try:
        async with over(f"postgresql://quick:quick@{url}") as quick, over(server.database_url) as adapter:
            assert (await quick.call("limits", {}), await adapter.call("limits", {})) == ("5s", "0")
            with anyio.fail_after(100):
                assert await quick.call("limits", {}) == "5s"
                assert (await adapter.call("limits", {})).startswith(("100", "1min"))
            with anyio.fail_after(4):
                assert (await quick.call("limits", {})).endswith("ms")
    finally:
        server.execute("drop function limits; drop role quick")


# --- servers that cannot be reached -----------------------------------------------------------------------------------


async def test_a_connection_that_cannot_be_made_sends_nothing(server: LocalServer) -> None:
    """What would be refused again is rejected, and no word of the password is said."""
    user, place = server.database_url.removeprefix("postgresql://").split("@")
    server.execute("create role full_up login password 'pw' connection limit 0")
    try:
        for url, state, code in (
            (f"postgresql://postgres:pa55word@{place}", FailureState.REJECTED, "28P01"),
            (f"postgresql://nobody:pa55word@{place}", FailureState.REJECTED, "28P01"),
            (f"postgresql://{user}@{place.replace('/postgres', '/none')}", FailureState.REJECTED, "3D000"),
            (f"postgresql://{user}@{place}?sslmode=require", FailureState.REJECTED, None),
            (f"postgresql://full_up:pw@{place}", FailureState.NOT_SENT, "53300"),
            (f"postgresql://{user}@127.0.0.1:{free_port()}/postgres", FailureState.NOT_SENT, None),
            (f"postgresql://{user}@no-such-host.localhost:{free_port()}/postgres", FailureState.NOT_SENT, None),
        ):
            async with over(url) as adapter:
                with pytest.raises(AdapterError) as caught:
                    await adapter.write("leads", {"email": "a"})
                assert (caught.value.state, caught.value.code) == (state, code), url
                assert "pa55word" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"
    finally:
        server.execute("drop role full_up")


async def test_a_name_with_several_addresses_is_tried_at_each(server: LocalServer) -> None:
    """`localhost` is ::1 too, where nobody listens."""
    async with over(server.database_url.replace("127.0.0.1", "localhost")) as adapter:
        assert await adapter.count("leads") == 0


async def test_a_closed_adapter_refuses_calls(server: LocalServer) -> None:
    """And its connections have ended."""
    async with over(server.database_url) as adapter:
        await adapter.count("leads")
    with pytest.raises(AdapterError, match="closed"):
        await adapter.count("leads")
    with suppress(AdapterError):
        await adapter.aclose()
