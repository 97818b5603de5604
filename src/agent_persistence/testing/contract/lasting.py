"""Laws of what holds from one call to the next."""

from __future__ import annotations

from typing import Any, Final

import anyio

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.testing.contract.stage import equal, true


async def nobody_can_reach_into_the_store(adapter: PersistenceAdapter) -> None:
    custom: dict[str, Any] = {"tags": ["a"]}
    row = await adapter.write("leads", {"email": "c@a.example", "custom": custom})
    custom["tags"].append("b")
    row["custom"]["tags"].append("c")
    stored = await adapter.read("leads", row["id"])
    equal((stored or {})["custom"], {"tags": ["a"]})


async def concurrent_writes_are_all_kept(adapter: PersistenceAdapter) -> None:
    async def write(number: int) -> None:
        await adapter.write("leads", {"email": f"{number}@a.example"})

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(write, number)
    equal(len({row["email"] for row in await adapter.query("leads")}), 20)


async def after_a_cancelled_call_the_next_one_works(adapter: PersistenceAdapter) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await adapter.write("leads", {"email": "cancelled@a.example"})
    true(
        len(await adapter.query("leads", {"email": "cancelled@a.example"})) <= 1,
        "a cancelled write is applied once at most",
    )
    await adapter.write("leads", {"email": "next@a.example"})


async def closing_twice_changes_nothing(adapter: PersistenceAdapter) -> None:
    await adapter.aclose()
    await adapter.aclose()


LAWS: Final = (
    nobody_can_reach_into_the_store,
    concurrent_writes_are_all_kept,
    after_a_cancelled_call_the_next_one_works,
    closing_twice_changes_nothing,
)
