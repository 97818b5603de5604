"""What is left of a million views for as many users, and of 100,000 closed services and adapters, in one event loop.

Objects are those that the garbage collector knows, MB are the resident set, both less what they were after a first
hundredth. A tenth of the views, and each of the services, has called, with a cache and shared requests, over an
httpx.AsyncClient that answers from memory.
"""

# persistence-guard: allow-file AP001 adapters are what is measured

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from _measure import Target, arguments, report
from waiting_memory import resident_mb

from agent_persistence import AsyncPersistenceService, SupabaseAdapter
from agent_persistence.pipeline.caching.policy import CachePolicy

VIEWS: Final = 1_000_000
SERVICES: Final = 100_000
A_CALL: Final = 10
"""Views are made by so many, of which one calls."""
OPTIONS: Final[dict[str, Any]] = {"cache": CachePolicy(max_entries=100), "coalesce": True}


def answering() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=[])))


def adapter(client: httpx.AsyncClient) -> SupabaseAdapter:
    return SupabaseAdapter("http://127.0.0.1:1", "sb_publishable_x", client=client)


async def of_views(views: int) -> dict[str, float]:
    async with answering() as client:
        service = AsyncPersistenceService(adapter(client), **OPTIONS)

        async def some(which: int) -> None:
            for user in range(which * A_CALL, (which + 1) * A_CALL):
                view = service.as_user(access_token=f"token{user}", tenant=user, actor="ada")
            await view.query("leads")

        return await left_of(some, views // A_CALL)


async def of_services(services: int) -> dict[str, float]:
    async with answering() as client:

        async def one(which: int) -> None:
            async with AsyncPersistenceService(adapter(client), **OPTIONS, owns_adapter=True) as service:
                await service.query("leads")

        return await left_of(one, services)


async def left_of(make: Callable[[int], Awaitable[None]], times: int) -> dict[str, float]:
    for which in range(times // 100):
        await make(which)
    before, before_mb = objects(), resident_mb()
    start = time.perf_counter()
    for which in range(times):
        await make(which)
    took_s = time.perf_counter() - start
    return {"objects": objects() - before, "mb": resident_mb() - before_mb, "seconds": took_s}


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def main(rounds: int, as_json: bool) -> None:
    found = {
        f"{VIEWS * rounds:,} views": asyncio.run(of_views(VIEWS * rounds)),
        f"{SERVICES * rounds:,} services and adapters": asyncio.run(of_services(SERVICES * rounds)),
    }
    table = [
        f"{name:<32} {left['objects']:8.0f} objects {left['mb']:6.1f} MB left, {left['seconds']:.0f} s"
        for name, left in found.items()
    ]
    targets = [
        target
        for name, left in found.items()
        for target in (
            Target(f"objects left of {name}", left["objects"], 1_000, ""),
            Target(f"memory left of {name}", left["mb"], 10, " MB"),
        )
    ]
    report(table, targets, {"left": found}, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=1).parse_args()
    main(options.rounds, options.json)
