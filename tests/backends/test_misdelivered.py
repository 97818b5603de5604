"""Rows that answer another call are no answer, whichever client carries them."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx
import pytest

from agent_persistence import AsyncPersistenceService, RetryPolicy, SupabaseAdapter, TablePolicy
from agent_persistence.backends.transport.messages import MisdeliveredError
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Write
from tests.backends.doubles import SECRET, done
from tests.backends.stub_server import Exchange, Received, Script, StubServer, answer, stub_server

pytestmark = pytest.mark.asyncio

Ask: TypeAlias = Callable[[SupabaseAdapter, int], Awaitable[Any]]
CLIENTS = ("httpx", "httptools", "injected")


def key(number: int) -> str:
    return str(UUID(int=number))


def email(number: int) -> str:
    return f"{number}@x.io"


def _rows_of(request: Received) -> list[dict[str, Any]]:
    """What PostgREST would answer if every row existed that is asked for."""
    sent = json.loads(request.body) if request.body else {}
    if request.method == "POST":
        return sent if isinstance(sent, list) else [sent]
    filters = {name: text.removeprefix("eq.") for name, text in parse_qsl(urlsplit(request.target).query)}
    number = UUID(filters["id"]).int if "id" in filters else int(filters["email"].partition("@")[0])
    return [{"id": key(number), "email": email(number)} | sent]


def _said(request: Received) -> bytes:
    return answer(json.dumps(_rows_of(request)).encode(), status=201 if request.method == "POST" else 200)


def twice() -> Script:
    """Each request is answered twice, the second time when the next one on its connection has come."""
    late: dict[int, bytes] = {}

    async def script(exchange: Exchange) -> None:
        said = _said(exchange.request)
        await exchange.send(late.get(exchange.request.connection, b"") + said)
        late[exchange.request.connection] = said

    return script


@asynccontextmanager
async def adapter_over(client: str, server: StubServer) -> AsyncIterator[SupabaseAdapter]:
    if client == "injected":
        async with httpx.AsyncClient(trust_env=False) as own:
            yield SupabaseAdapter(server.url, SECRET, client=own)
        return
    adapter = SupabaseAdapter(server.url, SECRET, transport=client)  # type: ignore[arg-type]
    try:
        yield adapter
    finally:
        await adapter.aclose()


ASKS: dict[str, Ask] = {
    "write": lambda adapter, n: adapter.write("leads", {"id": key(n), "email": email(n)}),
    "batch_write": lambda adapter, n: adapter.batch_write(
        "leads", [{"id": key(n), "email": "a"}, {"id": key(n + 500), "email": "b"}]
    ),
    "upsert by a column": lambda adapter, n: adapter.upsert("leads", {"email": email(n)}, ["email"]),
    "insert, some columns back": lambda adapter, n: done(
        adapter, Write("leads", {"id": key(n), "email": email(n)}, returning=("id",))
    ),
    "read": lambda adapter, n: adapter.read("leads", key(n)),
    "read of an undeclared table": lambda adapter, n: adapter.read("elsewhere", key(n)),
    "read by a column": lambda adapter, n: adapter.read("leads", email(n), "email"),
    "query": lambda adapter, n: adapter.query("leads", {"email": email(n)}),
    "page": lambda adapter, n: adapter.page("leads", {"email": email(n)}),
    "update": lambda adapter, n: adapter.update("leads", {"status": "won"}, {"id": key(n)}),
    "update by a unique column": lambda adapter, n: adapter.update("leads", {"status": "won"}, {"email": email(n)}),
    "delete": lambda adapter, n: adapter.delete("leads", {"email": email(n)}),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_rows_of_another_call_are_an_error_and_the_last_on_their_connection(client: str, ask: Ask) -> None:
    """What became of the call is not known; the next one is answered on another connection."""
    with stub_server(twice()) as server:
        async with adapter_over(client, server) as adapter:
            own = await ask(adapter, 1)
            with pytest.raises(MisdeliveredError) as caught:
                await ask(adapter, 2)
            assert caught.value.state is FailureState.AMBIGUOUS
            assert await ask(adapter, 1) == own
    assert [request.connection for request in server.requests] == [1, 1, 2]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("ask", [ASKS["write"], ASKS["read"]], ids=["write", "read"])
async def test_rows_without_the_key_are_another_calls(client: str, ask: Ask) -> None:
    """As those of another table are."""
    with stub_server(answer(b'[{"subject": "hello"}]')) as server:
        async with adapter_over(client, server) as adapter:
            with pytest.raises(MisdeliveredError):
                await ask(adapter, 1)


@pytest.mark.parametrize("client", CLIENTS)
async def test_no_rows_confirm_no_write(client: str) -> None:
    """The empty answer of another call is none to a write whose row would show its key."""
    with stub_server(answer(b"[]", status=201)) as server:
        async with adapter_over(client, server) as adapter:
            with pytest.raises(MisdeliveredError) as caught:
                await ASKS["write"](adapter, 1)
    assert caught.value.state is FailureState.AMBIGUOUS


class Stored:
    """A table that answers each request twice, the second time when the next one on its connection has come."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.late: dict[int, bytes] = {}

    async def __call__(self, exchange: Exchange) -> None:
        said = self._answer(exchange.request)
        await exchange.send(self.late.get(exchange.request.connection, b"") + said)
        if exchange.request.method != "GET":
            self.late[exchange.request.connection] = said

    def _answer(self, request: Received) -> bytes:
        if request.method == "POST":
            row = json.loads(request.body)
            if row["id"] in self.rows:
                refusal = 'duplicate key value violates unique constraint "leads_pkey"'
                return answer(json.dumps({"code": "23505", "message": refusal}).encode(), status=409)
            self.rows[row["id"]] = row
            return answer(json.dumps([row]).encode(), status=201)
        named = dict(parse_qsl(urlsplit(request.target).query))["id"]
        wanted = named.removeprefix("eq.").removeprefix("in.(").removesuffix(")").replace('"', "").split(",")
        found = [self.rows[one] for one in wanted if one in self.rows]
        if request.method == "DELETE":
            for row in found:
                del self.rows[row["id"]]
        if request.method == "PATCH":
            for row in found:
                row |= json.loads(request.body)
        return answer(json.dumps(found).encode())


def service_over(adapter: SupabaseAdapter) -> AsyncPersistenceService:
    async def no_wait(seconds: float) -> None:
        """Nothing changes while a test waits."""

    leads = frozenset({"leads"})
    return AsyncPersistenceService(
        adapter,
        policy=TablePolicy(read=leads, write=leads, delete=leads),
        retry=RetryPolicy(base_s=0.001, cap_s=0.002, attempts=6),
        row_cap=1000,
        sleep=no_wait,
        log=False,
    )


@pytest.mark.parametrize("client", CLIENTS)
async def test_of_a_hundred_acknowledged_writes_all_are_stored_and_each_returns_its_row(client: str) -> None:
    """Each answer comes twice, and the second in place of the next one: what became of a write is found out."""
    stored = Stored()
    with stub_server(stored) as server:
        async with adapter_over(client, server) as adapter:
            service = service_over(adapter)
            told = [await service.write("leads", {"email": email(number)}) for number in range(100)]
    assert [row["email"] for row in told] == [email(number) for number in range(100)]
    assert sorted(stored.rows.values(), key=str) == sorted(told, key=str)


@pytest.mark.parametrize("client", CLIENTS)
async def test_changes_deletes_and_reads_are_answered_with_their_own_rows(client: str) -> None:
    """Beside writes whose answers come twice. A delete that was sent again tells no rows."""
    stored = Stored()
    with stub_server(stored) as server:
        async with adapter_over(client, server) as adapter:
            service = service_over(adapter)
            for number in range(20):
                own = (await service.write("leads", {"email": email(number)}))["id"]
                other = (await service.write("leads", {"email": email(number + 100)}))["id"]
                assert (await service.read("leads", own) or {})["id"] == own
                assert [row["id"] for row in await service.query("leads", {"id": other})] == [other]
                assert [row["id"] for row in await service.update("leads", {"status": "won"}, {"id": own})] == [own]
                assert {row["id"] for row in await service.delete("leads", {"id": other})} <= {other}
    assert [row["status"] for row in stored.rows.values()] == ["won"] * 20
