"""What was made for one call, one user or one adapter is gone when nobody holds it, while the event loop runs on."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import anyio.lowlevel
import httpx
import pytest

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, PersistenceError, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.pipeline.caching.policy import CachePolicy

pytestmark = pytest.mark.anyio

VIEWS: Final = 20_000
ADAPTERS: Final = 2_000
SLACK: Final = 200
"""How many objects come and go by themselves: a tenth of an object for each adapter."""
NOBODY: Final = "http://127.0.0.1:1"
SHARED: Final[dict[str, Any]] = {"retry": False, "cache": CachePolicy(max_entries=10), "coalesce": True}


def run_vars() -> int:
    """How many variables anyio keeps for the running event loop, for as long as it runs; it has no public count."""
    return sum(len(values) for values in anyio.lowlevel._run_vars.values())


async def counted() -> tuple[int, int]:
    """How many objects there are, once what waits to be closed is closed."""
    for _ in range(3):
        gc.collect()
        await anyio.lowlevel.checkpoint()
    return len(gc.get_objects()), run_vars()


async def grown(make: Callable[[int], Awaitable[None]], number: int) -> tuple[int, int]:
    """How many objects and variables are left of so many, after some whose remains are there for good."""
    for which in range(50):
        await make(which)
    objects, variables = await counted()
    for which in range(number):
        await make(which)
    more_objects, more_variables = await counted()
    return more_objects - objects, more_variables - variables


def answering() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=[])))


async def used(adapter: Any) -> None:
    """A service over the adapter has cached, shared and been refused, and both are closed."""
    async with AsyncPersistenceService(adapter, **SHARED, owns_adapter=True) as service:
        for call in (service.query, service.get_columns):
            with suppress(PersistenceError):
                await call("leads")


MAKERS: Final[dict[str, Callable[[Any], Any]]] = {
    "SupabaseAdapter": lambda client: SupabaseAdapter(NOBODY, "sb_publishable_x"),
    "over one client": lambda client: SupabaseAdapter(NOBODY, "sb_publishable_x", client=client),
    "over clients of their own": lambda client: SupabaseAdapter(NOBODY, "sb_publishable_x", client=answering()),
    "PostgresAdapter": lambda client: PostgresAdapter("postgresql://u:p@127.0.0.1:1/d"),
    "httptools": lambda client: SupabaseAdapter(NOBODY, "sb_publishable_x", transport="httptools"),
    "InMemoryAdapter": lambda client: InMemoryAdapter(),
}


@pytest.mark.parametrize("maker", MAKERS)
async def test_nothing_is_left_of_closed_services_and_adapters(maker: str, anyio_backend_name: str) -> None:
    """Of 2,000 that had a cache and shared requests, neither an object nor a variable of the event loop."""
    async with answering() as client:

        async def make(which: int) -> None:
            await used(MAKERS[maker](client))

        objects, variables = await grown(make, ADAPTERS)
    assert (objects < SLACK, variables) == (True, 0), f"{objects} objects are left"


async def test_nothing_is_left_of_views() -> None:
    """Of 20,000 for as many users, of whom a tenth have called; the cache keeps the answers that its bounds allow."""
    async with answering() as client:
        remote = AsyncPersistenceService(SupabaseAdapter(NOBODY, "sb_publishable_x", client=client), **SHARED)
        local = AsyncPersistenceService(InMemoryAdapter(), **SHARED)

        async def make(which: int) -> None:
            for user in range(10 * which, 10 * (which + 1)):
                near = local.as_user(tenant=user, actor="ada").with_options(deadline_s=5)
                far = remote.as_user(access_token=f"token{user}").readonly()
            await near.query("leads")
            await far.query("leads")

        objects, variables = await grown(make, VIEWS // 20)
    assert (objects < SLACK, variables) == (True, 0), f"{objects} objects are left"


async def test_views_that_are_kept_are_counted() -> None:
    """Control."""
    service, kept = AsyncPersistenceService(InMemoryAdapter()), []

    async def make(which: int) -> None:
        kept.append(service.as_user(actor=str(which)))

    assert (await grown(make, SLACK))[0] >= SLACK


async def test_variables_that_are_kept_are_counted() -> None:
    """Control: anyio keeps each one that was set, whoever holds it."""

    async def make(which: int) -> None:
        anyio.lowlevel.RunVar[int](str(which)).set(which)

    assert (await grown(make, 7))[1] == 7
