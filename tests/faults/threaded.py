"""A backend behind a proxy in a thread of its own, so that any event loop may talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from agent_persistence import SupabaseAdapter
from agent_persistence.query.records import Row
from tests.faults.backend import Backend
from tests.faults.faults import Fault
from tests.faults.house import MOST_OF_A_KIND, SLOTS, FullHouse, fill
from tests.faults.lane import API_KEY
from tests.faults.proxy import Proxy
from tests.faults.stacks import Stack
from tests.faults.verbs import Verb


@dataclass(slots=True)
class Threaded:
    """What a test does to the backend and the proxy from its own thread."""

    portal: BlockingPortal
    backend: Backend = field(default_factory=Backend)
    proxy: Proxy = field(init=False)

    def adapter(self, stack: Stack) -> SupabaseAdapter:
        return stack.adapter(self.proxy.url, API_KEY)

    def prepare(self, verb: Verb, *faults: Fault, cold: bool = False) -> None:
        """Begin with the verb's rows and with these faults; `cold` without an idle connection."""
        self.portal.call(self._prepare, verb, faults, cold)

    async def _prepare(self, verb: Verb, faults: tuple[Fault, ...], cold: bool) -> None:
        await self.backend.reset(verb.table, list(verb.seed), insert_only=verb.insert_only)
        await self.proxy.arm(*faults)
        if cold:
            self.proxy.drop_connections(reset=False)

    def rows(self, table: str) -> list[Row]:
        return self.portal.call(self.backend.rows, table)

    async def settled(self, connections: int) -> None:
        """Wait until nothing is under way and no more than these connections are open; TimeoutError if they leak."""
        await anyio.to_thread.run_sync(self.portal.call, self.proxy.settled, connections)

    async def full_house(self, adapter: SupabaseAdapter) -> None:
        """Every slot of the adapter is free: as many calls run at the same time; TimeoutError if not."""
        self.backend.insert_only = False
        for reads in (MOST_OF_A_KIND, SLOTS - MOST_OF_A_KIND):
            house = FullHouse(self.backend)
            self.proxy.upstream = house
            try:
                await fill(adapter, reads)
            finally:
                self.proxy.upstream = self.backend
                self.portal.call(house.full.set)


@contextmanager
def threaded() -> Iterator[Threaded]:
    with start_blocking_portal() as portal:
        there = Threaded(portal)
        with portal.wrap_async_context_manager(Proxy.before(there.backend)) as there.proxy:
            yield there
