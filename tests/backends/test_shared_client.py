"""One httpx.AsyncClient under many adapters: its pool is not exceeded, and what never left is said so."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections import Counter

import anyio
import httpx
import pytest

from agent_persistence import (
    AsyncPersistenceService,
    BackendUnavailableError,
    OutcomeUnknownError,
    PersistenceError,
    SupabaseAdapter,
)
from agent_persistence.backends.transport.over_httpx import InjectedClient, base_url
from tests.backends.doubles import SECRET
from tests.backends.stub_server import Exchange, answer, stub_server

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
POOL = 10


def _client(connections: int = POOL) -> httpx.AsyncClient:
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=connections), timeout=None, trust_env=False)


async def test_adapters_over_one_client_share_its_slots() -> None:
    """As many requests are under way as its pool has connections, however many adapters there are."""
    async with _client() as client, _client() as other:
        url = base_url("http://127.0.0.1:1", allow_http=False)
        first, second = InjectedClient(client, url), InjectedClient(client, url)
        assert first._pool.slots.get() is second._pool.slots.get()
        assert InjectedClient(other, url)._pool is not first._pool


async def test_the_pool_of_a_shared_client_is_never_exceeded() -> None:
    """200 adapters ask at once; the server sees no more connections than the pool has."""
    with stub_server(answer()) as server:
        async with _client() as client, anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(SupabaseAdapter(server.url, SECRET, client=client).query, "leads")
        assert len(server.requests) == 200
        assert server.connections <= POOL


async def test_nobody_is_told_that_a_request_may_have_arrived_which_never_left() -> None:
    """200 writers over one client, a server that holds its answers, and a deadline: only those whose request arrived
    do not know what became of it."""
    arrived: Counter[str] = Counter()

    async def hold(exchange: Exchange) -> None:
        if b"first" in exchange.request.body:
            await exchange.send(answer(b"[%s]" % exchange.request.body, status=201))
            return
        arrived[json.loads(exchange.request.body)["email"]] += 1
        await server.held()

    told: dict[str, type[PersistenceError]] = {}
    with stub_server(hold) as server:
        async with _client() as client:

            async def write(number: int) -> None:
                adapter = SupabaseAdapter(server.url, SECRET, client=client)
                service = AsyncPersistenceService(adapter, log=False).with_options(deadline_s=1.0, retry=False)
                try:
                    await service.write("inquiries", {"email": f"{number}@x.io"})
                except PersistenceError as error:
                    told[f"{number}@x.io"] = type(error)

            await SupabaseAdapter(server.url, SECRET, client=client).write("inquiries", {"email": "first"})
            async with anyio.create_task_group() as group:
                for number in range(200):
                    group.start_soon(write, number)
        server.released.set()
    assert len(told) == 200
    in_doubt = {email for email, error in told.items() if error is OutcomeUnknownError}
    assert len(in_doubt - set(arrived)) <= POOL  # had left, and were cut off before the server read them
    assert set(told.values()) == {OutcomeUnknownError, BackendUnavailableError}
    assert len(in_doubt) <= 5 * POOL


async def test_what_waits_for_the_clients_own_pool_was_not_sent() -> None:
    """The caller uses it for other things, too; a traced request tells when it leaves, after the first one."""

    async def hold(exchange: Exchange) -> None:
        if "slow" in exchange.request.target:
            await server.held()
        await exchange.send(answer(b'[{"id":"x"}]', status=201 if exchange.request.method == "POST" else 200))

    with stub_server(hold) as server:
        async with _client(1) as client:
            service = AsyncPersistenceService(SupabaseAdapter(server.url, SECRET, client=client), log=False)
            hurried = service.with_options(deadline_s=0.3, retry=False)
            await service.write("inquiries", {"email": "a"})
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, f"{server.url}/slow")
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(BackendUnavailableError, match="nothing"):
                    await hurried.write("inquiries", {"email": "b"})
                server.released.set()
    assert [request.method for request in server.requests] == ["POST", "GET"]
