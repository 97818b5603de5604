"""Kills in the middle of a unit: of the client, of the server's process, of PostgreSQL's backends, and of PostgreSQL
itself, with SQL as the judge.

    python -m tests.units.kills [--kills N] [--seed N]

Whoever is asked again under the unit's key gets its result; it is there once and whole. The exit status is 1 if not.
"""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from random import Random
from typing import Any, Final, Literal, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg

from agent_persistence import AsyncPersistenceService, PostgresAdapter, RetryPolicy, SupabaseAdapter
from tests.faults.loop import run
from tests.faults.machine import Killed, Machine, Terminated
from tests.server import LocalServer, running_server
from tests.server.local import connected
from tests.units.called import CALLS, turn
from tests.units.conftest import install
from tests.units.faults import Judge, befallen, before, service_over
from tests.units.stores import SqlStore

Over: TypeAlias = Literal["PostgREST", "PostgreSQL"]
Address: TypeAlias = tuple[str, str, str]
"""Of the server: its URL and key, and the database's URL."""
OVER: Final[tuple[Over, ...]] = ("PostgREST", "PostgreSQL")
PATIENT: Final = RetryPolicy(
    attempts=60, base_s=0.02, cap_s=0.5, attempt_s=20.0, read_deadline_s=90.0, write_deadline_s=90.0, budget=10**6
)
UNIT: Final = CALLS["unit"]
WITHIN: Final = ("conversations", "messages", "inquiries", "agent_persistence.ledger")
"""Tables in whose place in the unit it can be held, and killed."""


def opened(over: Over, address: Address) -> AsyncPersistenceService:
    url, key, dsn = address
    adapter = (
        SupabaseAdapter(url, key)
        if over == "PostgREST"
        else PostgresAdapter(dsn, role="service_role", max_connections=1)
    )
    return service_over(adapter, PATIENT, asyncio.sleep, ledger=True)


def address_of(server: LocalServer) -> Address:
    return server.url, server.service_key, server.database_url


def key_of(mark: str) -> UUID:
    return uuid5(NAMESPACE_URL, mark)


# --- the client -------------------------------------------------------------------------------------------------------


def _client(over: Over, address: Address, mark: str, ready: Connection) -> None:
    """A process of its own that commits one unit."""

    async def main() -> None:
        async with opened(over, address) as service:
            await service.count("inquiries", {"email": mark})  # the connection is there
            ready.send(time.monotonic())
            await turn(service, mark, key_of(mark))
            ready.send(time.monotonic())

    asyncio.run(main())


def clients_killed(judge: Judge, server: LocalServer, count: int, random: Random) -> None:
    """SIGKILL at any moment between the call and its end; then another process asks under the same key."""
    starting = get_context("forkserver")
    starting.set_forkserver_preload(["tests.units.kills"])
    address = address_of(server)
    took_s = dict.fromkeys(OVER, 0.05)
    for number in range(count):
        over = OVER[number % 2]
        mark = judge.seeded(UNIT)
        receiving, sending = starting.Pipe(duplex=False)
        client = starting.Process(target=_client, args=(over, address, mark, sending))
        client.start()
        sending.close()
        begun_s = receiving.recv()
        if receiving.poll(random.uniform(0, took_s[over])):
            with suppress(EOFError):
                took_s[over] = receiving.recv() - begun_s
        client.kill()
        client.join()
        judge.judge(UNIT, mark, run(_asked_again(over, address, mark)), f"client over {over} killed")


async def _asked_again(over: Over, address: Address, mark: str) -> Any:
    async with opened(over, address) as service:
        return await turn(service, mark, key_of(mark))


# --- the server -------------------------------------------------------------------------------------------------------


async def servers_killed(judge: Judge, server: LocalServer, count: int) -> None:
    """The process that serves HTTP is killed before and after the commit, and another one started."""
    with Machine.before(server) as machine:
        async with before(machine, server.service_key, retry=PATIENT) as (proxy, service):
            for number in range(count):
                killed = Killed(machine, ("before", "after")[number % 2])
                await befallen(judge, UNIT, (killed,), proxy, service)


async def backends_terminated(judge: Judge, server: LocalServer, count: int) -> None:
    """PostgreSQL ends the backend in which the unit waits, in any of its operations."""
    with Machine.before(server) as machine:
        async with before(machine, server.service_key, retry=PATIENT) as (proxy, service):
            for _ in range(count // 2):
                await befallen(judge, UNIT, (Terminated(machine),), proxy, service)
    async with opened("PostgreSQL", address_of(server)) as service:
        for number in range(count - count // 2):
            await _ended(judge, server, service, WITHIN[number % 4], "backend")


async def databases_crashed(judge: Judge, server: LocalServer, count: int) -> None:
    """A backend dies of SIGKILL, for which PostgreSQL ends all others and recovers from its log. The server's own
    connection is closed in the end."""
    _make_durable(server)
    for number in range(count):
        over = OVER[number % 2]
        async with opened(over, address_of(server)) as service:
            held = WITHIN[number // 2 % 4]
            await _ended(judge, server, service, held, f"{over}: database", crashes=True)
    server.connection.close()


async def _ended(
    judge: Judge,
    server: LocalServer,
    service: AsyncPersistenceService,
    table: str,
    about: str,
    *,
    crashes: bool = False,
) -> None:
    """A unit that waits for the table, whose backend is ended there; it is tried again by itself."""
    mark = judge.seeded(UNIT)
    with suppress(psycopg.OperationalError), _locked(server, table) as waiting:
        committing = asyncio.create_task(turn(service, mark))
        pid = await asyncio.to_thread(waiting)
        if crashes:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(_recovered, server)
        else:
            server.execute("select pg_terminate_backend(%s)", pid)
    try:
        told = await committing
    except Exception as error:  # whatever it is, it is judged
        told = error
    judge.judge(UNIT, mark, told, f"{about} ended in {table}")


@contextmanager
def _locked(server: LocalServer, table: str) -> Iterator[Callable[[], int]]:
    """Who writes to the table waits; yields what finds the backend that does."""
    asked = "select pid from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid()"
    with psycopg.connect(server.database_url) as holding:
        holding.execute(f"lock table {table} in share mode")

        def waiting() -> int:
            while not (found := server.execute(asked)):
                time.sleep(0.001)
            return int(found[0]["pid"])

        yield waiting


def _make_durable(server: LocalServer) -> None:
    """Every session that begins now commits to disk, which the suite's server leaves out to be quicker."""
    (row,) = server.execute("select current_database() as name")
    server.execute(f'alter database "{row["name"]}" set synchronous_commit = on')
    server.execute("set synchronous_commit = on")
    server.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )


def _recovered(server: LocalServer) -> None:
    """The database has ended every connection, and takes others; the judge has one of these."""
    with suppress(psycopg.OperationalError):
        while True:
            server.connection.execute("select pg_sleep(0.01)")
    server.connection.close()
    while server.connection.closed:
        with suppress(psycopg.OperationalError):
            object.__setattr__(server, "connection", connected(server.database_url))
        time.sleep(0.02)


# --- all of them ------------------------------------------------------------------------------------------------------


def killed(server: LocalServer, kills: int, seed: int) -> Judge:
    """So many kills: in ten, five of clients, four of backends; a twentieth each of servers and databases."""
    judge = Judge(SqlStore(server))
    judge.store.reset()
    rare = max(2, kills // 20)
    backends = kills * 4 // 10
    clients_killed(judge, server, kills - 2 * rare - backends, Random(seed))
    _shown("clients", judge)
    parts: dict[str, Coroutine[Any, Any, None]] = {
        "backends": backends_terminated(judge, server, backends),
        "servers": servers_killed(judge, server, rare),
        "databases": databases_crashed(judge, server, rare),
    }
    for name, part in parts.items():
        run(part)
        _shown(name, judge)
    return judge


def _shown(name: str, judge: Judge) -> None:
    print(f"{name}: {dict(judge.scores)}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.units.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20261129)
    given = parser.parse_args()
    with running_server() as server:
        install(server)
        judge = killed(server, given.kills, given.seed)
    print(dict(judge.scores), *judge.findings, sep="\n")
    return 1 if judge.findings or judge.scores["acknowledged"] < judge.scores["cases"] else 0


if __name__ == "__main__":
    sys.exit(main())
