"""A graph of 200 steps, killed and taken up at random behind connections that break, until it was killed often enough.

`python -m tests.ext.killed_graph --kills 150` does it over PostgREST, behind the proxy of the fault suite, and over
PostgreSQL, behind a relay that cuts connections, and prints what happened. A thread whose graph has ended is compared
with what a graph that nothing befell leaves: every step once, every checkpoint on the way from the last to the first.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from agent_persistence import PostgresAdapter, SupabaseAdapter, create_persistence_agent
from agent_persistence.ext.langgraph import Checkpointer
from tests.ext.backends import allowing
from tests.ext.counting_graph import STEPS, config_of, go_on, steps_in_store
from tests.faults.answers import ANSWERS
from tests.faults.faults import Answered, Cut, Fault, Mangled
from tests.faults.manglers import MANGLERS
from tests.faults.proxy import Proxy
from tests.faults.sql import relay
from tests.server import LocalServer, running_server

LONGEST_S: Final = 1.5
ENDS_IN_S: Final = 120.0
CUT: Final = 0.7
CALM_S: Final = 0.4
"""Between two faults at most, on average half of it."""


@dataclass
class Figures:
    """What happened."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    threads: int = 0
    further: int = 0
    """Runs that were killed or failed on the way, with steps stored that were not before."""

    def __str__(self) -> str:
        told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        return (
            f"{sum(self.outcomes.values())} runs ({told}), {self.further} of them stopped between two steps, behind"
            f" {self.faults} faults; {self.threads} graphs of {STEPS} steps ended with every step once"
        )


def any_fault(chances: random.Random) -> Fault:
    """A broken connection or answer, but none that lies about what was applied or is stored, which no client sees."""
    honest = [name for name, answer in ANSWERS.items() if answer.says == "retryable" and not answer.judges]
    kinds: list[Callable[[], Fault]] = [
        lambda: Cut(chances.choice(["request", "response"]), chances.randrange(1, 400), chances.choice(["FIN", "RST"])),
        lambda: Mangled(chances.choice([*MANGLERS])),
        lambda: Answered(chances.choice(honest), "before"),
    ]
    return chances.choice(kinds)()


@asynccontextmanager
async def striking(proxy: Proxy, chances: random.Random, figures: Figures) -> AsyncIterator[None]:
    """Now and then the next request is struck."""

    async def strike() -> None:
        while True:
            await asyncio.sleep(chances.uniform(0, CALM_S))
            if not proxy.armed:
                proxy.armed.append(any_fault(chances))
                figures.faults += 1

    task = asyncio.create_task(strike())
    try:
        yield
    finally:
        task.cancel()
        proxy.armed.clear()
        await proxy.settled()


class CuttingRelay:
    """Passes bytes to a database and back; most connections it closes somewhere in between."""

    def __init__(self, url: str, chances: random.Random, figures: Figures) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 5432
        self._chances = chances
        self._figures = figures
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, to_them = await asyncio.open_connection(self._host, self._port)
        both = (writer, to_them)
        self._open.update(both)
        left = self._chances.randrange(500, 20_000) if self._chances.random() < CUT else None
        await asyncio.gather(self._pass(reader, to_them, both, left), self._pass(theirs, writer, both, left))
        self._open.difference_update(both)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
        left: int | None,
    ) -> None:
        """What comes, and no more than is left."""
        try:
            while data := await reader.read(65_536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    self._figures.faults += 1
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        for one in both:
            one.close()

    async def settled(self) -> None:
        """Nothing is on its way to the database any more."""
        while self._open:  # noqa: ASYNC110 connections close by themselves
            await asyncio.sleep(0.005)


async def beside_the_way(saver: Checkpointer, thread: str) -> int:
    """The graph has ended with every step once, as has its history; how many checkpoints there are beyond its own.

    A run that was cancelled, and not killed, is still being stored while the next one begins: that may find no thread
    and then give its input to one that is there, by a checkpoint that adds no step.
    """
    assert await go_on(saver, thread) == [*range(STEPS)]
    counts, others = await steps_in_store(saver, thread)
    assert {*counts} == {*range(STEPS + 1)}, counts
    assert all(later - earlier in (0, 1) for later, earlier in itertools.pairwise(counts)), counts
    return others + max(0, len(counts) - (STEPS + 2))


async def steps(saver: Checkpointer, thread: str) -> int:
    """How far the graph has got, as it is stored."""
    found = await saver.aget_tuple(config_of(thread))
    return 0 if found is None else len(found.checkpoint["channel_values"].get("done", []))


async def killed(
    kills: int, kind: str, address: list[str], saver: Checkpointer, chances: random.Random, figures: Figures
) -> None:
    """Run and kill; `saver` looks at what is stored, past the faults."""
    command = [sys.executable, "-m", "tests.ext.counting_graph", kind, *address]
    runner = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert runner.stdin is not None
    assert runner.stdout is not None
    assert await runner.stdout.readline() == b"begins\n"
    ended, reached = False, 0
    while figures.outcomes["killed"] < kills or not ended:
        enough = figures.outcomes["killed"] >= kills
        seconds = ENDS_IN_S if enough else chances.uniform(0.05, LONGEST_S)
        thread = f"{kind} {figures.threads}".replace(" ", "-")
        runner.stdin.write(f"{thread} {seconds:.3f} {chances.choice(['async', 'sync'])}\n".encode())
        outcome = (await runner.stdout.readline()).decode().strip()
        assert outcome in ("ended", "failed", "killed")
        figures.outcomes[outcome] += 1
        ended = outcome == "ended"
        if ended:
            assert await beside_the_way(saver, thread) == 0
            figures.threads += 1
            reached = 0
        else:
            before, reached = reached, await steps(saver, thread)
            assert reached >= before
            figures.further += reached > before
    runner.stdin.close()
    await runner.wait()


async def over_rest(server: LocalServer, kills: int, chances: random.Random) -> Figures:
    figures = Figures()
    adapter = SupabaseAdapter(server.url, server.service_key)  # persistence-guard: allow AP001 past the faults
    saver = Checkpointer(create_persistence_agent(adapter=adapter, log=False, **allowing(Checkpointer.tables())))
    async with Proxy.before(relay(server.url)) as proxy, striking(proxy, chances, figures):
        await killed(kills, "supabase", [proxy.url, server.service_key], saver, chances, figures)
    await adapter.aclose()
    return figures


async def over_sql(server: LocalServer, kills: int, chances: random.Random) -> Figures:
    figures = Figures()
    adapter = PostgresAdapter(server.database_url)  # persistence-guard: allow AP001 past the faults
    saver = Checkpointer(create_persistence_agent(adapter=adapter, log=False, **allowing(Checkpointer.tables())))
    cutting = CuttingRelay(server.database_url, chances, figures)
    async with await asyncio.start_server(cutting.serve, "127.0.0.1", 0) as listening:
        parts = urlsplit(server.database_url)
        host = parts.netloc.rpartition("@")
        netloc = f"{host[0]}{host[1]}127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await killed(kills, "postgres", [parts._replace(netloc=netloc).geturl()], saver, chances, figures)
        await cutting.settled()
    await adapter.aclose()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=150, help="over each of the two")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with running_server() as server:
        server.execute(Checkpointer.sql())
        server.reload_schema()
        for name, over in {"PostgREST": over_rest, "PostgreSQL": over_sql}.items():
            began = time.monotonic()
            figures = asyncio.run(over(server, options.kills, random.Random(options.seed)))
            print(f"{name}: {figures}, in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
