"""Whether every slot of an adapter works: as many calls as it has run at the same time."""

from __future__ import annotations

import asyncio
from typing import Final

import anyio

from agent_persistence import SupabaseAdapter
from tests.faults.proxy import Upstream

SLOTS: Final = 20
MOST_OF_A_KIND: Final = 16
"""Neither reads nor writes alone get every slot."""
PATIENCE_S: Final = 60.0


class FullHouse:
    """Answers when so many requests have arrived that every slot must be free."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.inside = 0
        self.full = asyncio.Event()

    async def answer(self, raw: bytes, fate: object = None) -> bytes:
        self.inside += 1
        if self.inside == SLOTS:
            self.full.set()
        await self.full.wait()
        return await self.upstream.answer(raw)


async def fill(adapter: SupabaseAdapter, reads: int) -> None:
    """Make as many calls at the same time as there are slots, so many of them reads; TimeoutError if they hang."""
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            for _ in range(reads):
                group.start_soon(adapter.read, "conversations", "nobody")
            for _ in range(SLOTS - reads):
                group.start_soon(adapter.write, "conversations", {"subject": "house"})
