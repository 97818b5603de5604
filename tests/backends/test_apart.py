"""Which requests share a connection: what reads and what writes never do, and what finds out about a write does not."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from agent_persistence import RetryPolicy, SupabaseAdapter
from agent_persistence.backends.transport.connections import Pool
from agent_persistence.runtime.attempts import set_apart
from tests.backends.doubles import SECRET
from tests.backends.stub_server import Exchange, Received, Script, StubServer, answer, stub_server
from tests.backends.test_misdelivered import service_over

pytestmark = pytest.mark.asyncio

OWN = ("httpx", "httptools")
CLIENTS = (*OWN, "injected")
LEAD = {"id": "0192f0c1-2b3c-7d4e-8f50-617283940a1b", "email": "a@x.io", "company": "old"}
NEW = {"email": "a@x.io", "company": "new"}


@asynccontextmanager
async def adapter_over(client: str, server: StubServer) -> AsyncIterator[SupabaseAdapter]:
    async with httpx.AsyncClient(trust_env=False) as own:
        chosen: dict[str, Any] = {"client": own} if client == "injected" else {"transport": client}
        adapter = SupabaseAdapter(server.url, SECRET, **chosen)
        try:
            yield adapter
        finally:
            await adapter.aclose()


def lead(*, loses: int = 0) -> Script:
    """One lead. The answers to the first writes are lost: nothing is applied, and the connection ends.

    Whatever reads is answered twice, the second time when the next request on its connection has come.
    """
    row, lost, late = dict(LEAD), Counter[str](), dict[int, bytes]()

    async def script(exchange: Exchange) -> None:
        request = exchange.request
        if request.method != "GET" and lost["writes"] < loses:
            lost["writes"] += 1
            await exchange.close()
            return
        if request.method != "GET":
            row.update(json.loads(request.body))
        said = answer(json.dumps([row]).encode())
        await exchange.send(late.pop(request.connection, b"") + said)
        if request.method == "GET":
            late[request.connection] = said

    return script


def connections(requests: list[Received], *, reading: bool) -> set[int]:
    return {request.connection for request in requests if (request.method == "GET") is reading}


@pytest.mark.parametrize("client", OWN)
async def test_what_reads_and_what_writes_never_share_a_connection(client: str) -> None:
    """Each kind keeps its own, and uses it again."""
    with stub_server(answer(json.dumps([LEAD]).encode())) as server:
        async with adapter_over(client, server) as adapter:
            for _ in range(3):
                await adapter.query("leads", {"email": "a@x.io"})
                await adapter.upsert("leads", NEW, ["email"])
    assert [request.connection for request in server.requests] == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("client", OWN)
async def test_the_second_answer_to_a_read_is_none_to_a_write(client: str) -> None:
    """A row that was read tells by no key that it is not the one which is merged into it next."""
    with stub_server(lead()) as server:
        async with adapter_over(client, server) as adapter:
            assert await adapter.query("leads", {"email": "a@x.io"}) == [LEAD]
            assert await adapter.upsert("leads", NEW, ["email"]) == LEAD | NEW


@pytest.mark.parametrize("client", CLIENTS)
async def test_what_finds_out_about_a_write_is_answered_on_a_connection_of_its_own(client: str) -> None:
    """Were the second answer to the look-up taken for that of the merge which follows, the row would be returned as it
    was before. Over a client that is the caller's, nothing follows on the look-up's connection."""
    with stub_server(lead(loses=1)) as server:
        async with adapter_over(client, server) as adapter:
            service = service_over(adapter).with_options(retry=RetryPolicy(base_s=0.001, last_write_wins=True))
            assert await service.upsert("leads", NEW, on_conflict=["email"]) == LEAD | NEW
            await service.query("leads", {"email": "a@x.io"})
            await service.query("leads", {"company": "new"})
    lost, looked, resent, *after = [request.connection for request in server.requests]
    assert [request.method for request in server.requests[:3]] == ["POST", "GET", "POST"]
    assert len({lost, looked, resent}) == 3
    assert not {looked, resent} & {*after}


@pytest.mark.parametrize("client", OWN)
async def test_what_is_set_apart_uses_no_connection_that_is_idle_and_leaves_none(client: str) -> None:
    """Whoever comes before or after has another."""
    with stub_server(answer(json.dumps([LEAD]).encode())) as server:
        async with adapter_over(client, server) as adapter:
            await adapter.query("leads")
            with set_apart():
                await adapter.query("leads")
                await adapter.query("leads")
            await adapter.query("leads")
    assert [request.connection for request in server.requests] == [1, 2, 3, 1]


class Line:
    """A connection that says back what it was sent; its pool counts those that are open."""

    def __init__(self, pool: Lines) -> None:
        self._pool = pool
        pool.count(1)

    async def exchange(self, request: str, /) -> str:
        await anyio.lowlevel.checkpoint()
        return request

    def is_spoilt(self) -> bool:
        return False

    def is_stale(self) -> bool:
        return False

    async def aclose(self) -> None:
        self._pool.count(-1)


class Lines(Pool[str, str]):
    """A pool of such connections; a request is of the kind that it names."""

    open = most = made = 0

    def count(self, more: int) -> None:
        self.open += more
        self.made += more > 0
        self.most = max(self.most, self.open)

    def _new_connection(self) -> Line:
        return Line(self)

    def _is_writing(self, request: str) -> bool:
        return request == "b"

    def _kind(self, request: str) -> str | None:
        return request


async def test_there_are_no_more_connections_than_the_pool_may_have_of_all_kinds_together() -> None:
    """The one that has been idle for longest makes room for one of another kind."""
    lines = Lines(3)
    for request in ("a", "b", "c", "b", "a", "d"):
        await lines.send(request)
    assert (lines.open, lines.most, lines.made) == (3, 3, 4)
    await lines.send("c")  # it had been idle for longest
    assert (lines.open, lines.most, lines.made) == (3, 3, 5)


async def test_nor_are_there_more_when_many_ask_at_once() -> None:
    """First all of one kind, then all of another, then both."""
    lines = Lines(4)
    for crowd in ("a" * 9, "b" * 9, "ab" * 9):
        async with anyio.create_task_group() as group:
            for request in crowd:
                group.start_soon(lines.send, request)
    assert lines.most == 4
