"""The real server with a REST process of its own, which is killed and started again, and faults that do so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import psycopg

from tests.faults.backend import Fate
from tests.faults.faults import Fault
from tests.faults.proxy import Exchange, Relay
from tests.faults.sql import relay
from tests.server import LocalServer
from tests.server.local import running_rest

WAIT_S: Final = 60.0
_WAITING: Final = (
    "select pid from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()"
)
_RUNNING: Final = (
    "select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
    " and state <> 'idle' and pid <> pg_backend_pid()"
)


class Machine:
    """Passes requests on to its REST process, which is another after every `restart`."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._running = ExitStack()
        self._relay: Relay | None = None

    @classmethod
    @contextmanager
    def before(cls, server: LocalServer) -> Iterator[Machine]:
        """A machine of its own before the server's database."""
        machine = cls(server)
        machine._start()
        try:
            yield machine
        finally:
            machine._running.close()

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        assert self._relay is not None
        return await self._relay.answer(raw, fate)

    async def restart(self) -> None:
        """Kill the process, so that it ends no transaction and answers nobody, and start another."""
        self._rest.process.kill()
        await asyncio.to_thread(self._running.close)
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        url, self._rest = self._running.enter_context(running_rest(self._server.settings))
        self._relay = relay(url)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Statements that write wait within, uncommitted."""
        with psycopg.connect(self._server.database_url) as holding:
            holding.execute("lock table conversations, leads in share mode")
            yield

    async def waiting(self) -> list[int]:
        """The backends whose statement waits for a lock, as soon as there are any."""
        async with asyncio.timeout(WAIT_S):
            while not (found := await self._pids(_WAITING)):
                pass
        return found

    async def terminate(self, *pids: int) -> None:
        """End these backends of PostgreSQL, or all that are in a statement or a transaction."""
        chosen = list(pids) or await self._pids(_RUNNING)
        await asyncio.to_thread(
            self._server.execute, "select pg_terminate_backend(pid) from unnest(%s::int[]) pid", chosen
        )

    async def _pids(self, sql: str) -> list[int]:
        return [row["pid"] for row in await asyncio.to_thread(self._server.execute, sql)]


@dataclass(frozen=True, slots=True)
class Killed(Fault):
    """The REST process is killed while the statement runs, or once it is committed, and another one started."""

    machine: Machine
    when: Literal["before", "after"]

    def __str__(self) -> str:
        return f"server killed {self.when} the commit"

    async def strike(self, exchange: Exchange) -> None:
        if self.when == "before":
            async with self.machine.locked():
                asked = asyncio.create_task(exchange.forwarded())
                await self.machine.waiting()
                await self.machine.restart()
            await asyncio.wait((asked,))
            assert isinstance(asked.exception(), (OSError, EOFError))
        else:
            await exchange.forwarded()
            await self.machine.restart()
        await exchange.end("RST")


@dataclass(frozen=True, slots=True)
class Terminated(Fault):
    """PostgreSQL ends the backend whose statement runs."""

    machine: Machine

    def __str__(self) -> str:
        return "backend terminated before the commit"

    async def strike(self, exchange: Exchange) -> None:
        async with self.machine.locked():
            asked = asyncio.create_task(exchange.forwarded())
            await self.machine.terminate(*await self.machine.waiting())
            response = await asked
        await exchange.send(response)
