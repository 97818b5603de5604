"""A hundred thousand single and double faults before a model of the server, over both transports, with the ledger.

    python -m tests.units.many_faults [--cases N] [--seed N] [--workers N]

The exit status is 1 if a call was lost, doubled, torn or refused though applied, if one was left unknown after a single
fault, or if the control, which gives every attempt a key of its own, made no double.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from random import Random
from typing import Final
from uuid import uuid4

from agent_persistence import Operation, Result, SupabaseAdapter
from agent_persistence.adapters.supabase import Transport
from agent_persistence.context import CallContext
from agent_persistence.operations import Unit
from tests.faults.faults import Cut, Fault, HeldUncommitted
from tests.faults.lane import API_KEY
from tests.faults.loop import run
from tests.units.called import CALLS
from tests.units.faults import RETRY, Judge, befallen, before, measured, transient
from tests.units.model import Model

ATTEMPT_S: Final = 0.25
UNDER_FAULTS: Final = replace(RETRY, attempt_s=ATTEMPT_S)
TRANSPORTS: Final[tuple[Transport, ...]] = ("httpx", "httptools")
CHUNK: Final = 800
LANES: Final = 16


class Forgetful(SupabaseAdapter):
    """The control: every attempt is a unit of its own."""

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        given = replace(operation, key=str(uuid4())) if isinstance(operation, Unit) else operation
        return await super().execute(given, context)


@dataclass(frozen=True)
class Chunk:
    """Cases of one call over one transport: what befalls its first attempts."""

    name: str
    transport: Transport
    cases: Sequence[tuple[Fault, ...]]
    adapter: type[SupabaseAdapter] = SupabaseAdapter


@dataclass
class Score:
    """How many cases had which faults, and what came of them."""

    counts: Counter[str]
    findings: list[str]

    def line(self) -> str:
        return ", ".join(f"{self.counts[name]:,} {name}" for name in SHOWN)


SHOWN: Final = ("cases", "acknowledged", "unknown", "refused", "lost", "doubled", "torn", "wrong")


async def _faults(name: str, transport: Transport) -> list[Fault]:
    judge = Judge(Model())
    async with before(judge.store, API_KEY, transport=transport) as (proxy, service):  # type: ignore[arg-type]
        sizes = await measured(judge, CALLS[name], proxy, service)
    return [*transient(*sizes, ATTEMPT_S), HeldUncommitted("commits"), HeldUncommitted("rolls back")]


def _chunks(least: int, random: Random) -> Iterator[Chunk]:
    """Every single fault of every call over every transport, and pairs of faults until there are so many cases."""
    ways = {(name, transport): run(_faults(name, transport)) for name in CALLS for transport in TRANSPORTS}
    singles = sum(map(len, ways.values()))
    pairs = max(len(ways) * 100, least - singles)
    for (name, transport), every in ways.items():
        rare = [fault for fault in every if not isinstance(fault, Cut)]
        cases: list[tuple[Fault, ...]] = [(fault,) for fault in every]
        cases += [
            tuple(random.choice(random.choice((rare, every))) for _ in "ab") for _ in range(pairs // len(ways) + 1)
        ]
        random.shuffle(cases)
        yield from (Chunk(name, transport, cases[start : start + CHUNK]) for start in range(0, len(cases), CHUNK))


def _run(chunk: Chunk) -> Score:
    return run(_scored(chunk))


async def _scored(chunk: Chunk) -> Score:
    score = Score(Counter(), [])
    waiting = iter(chunk.cases)

    async def lane() -> None:
        model = Model()
        judge = Judge(model)
        options = {"retry": UNDER_FAULTS, "adapter": chunk.adapter, "transport": chunk.transport}
        async with before(model, API_KEY, **options) as (proxy, service):  # type: ignore[arg-type]
            for faults in waiting:
                model.reset()
                unknown = judge.scores["unknown"]
                await befallen(judge, CALLS[chunk.name], faults, proxy, service)
                if len(faults) == 1 and judge.scores["unknown"] > unknown:
                    judge.findings.append(f"{chunk.name}, {faults[0]}: unknown after a single fault")
        score.counts.update(judge.scores)
        score.findings.extend(judge.findings)

    async with asyncio.TaskGroup() as group:
        for _ in range(LANES):
            group.create_task(lane())
    return score


def scored(chunks: Sequence[Chunk], workers: int, title: str) -> Score:
    """The score of all chunks, with a line on stderr that shows how far it is."""
    whole, begun_s = Score(Counter(), []), time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_run, chunk) for chunk in chunks]):
            part = done.result()
            whole.counts.update(part.counts)
            whole.findings.extend(part.findings)
            print(f"{title}: {whole.line()} in {time.perf_counter() - begun_s:.0f} s", file=sys.stderr, flush=True)
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.units.many_faults", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    random = Random(given.seed)
    chunks = [*_chunks(given.cases, random)]
    random.shuffle(chunks)
    control = [Chunk("write", transport, _some_lost(chunks, transport), Forgetful) for transport in TRANSPORTS]
    score = scored(chunks, given.workers, "with the ledger")
    blind = scored(control, given.workers, "control")
    print(f"with the ledger: {score.line()}\ncontrol: {blind.line()}\nseed {given.seed}")
    print(*score.findings[:20], sep="\n")
    return 1 if score.findings or not blind.counts["doubled"] else 0


def _some_lost(chunks: Sequence[Chunk], transport: Transport) -> Sequence[tuple[Fault, ...]]:
    """Single faults of writes, for the control."""
    own = [chunk for chunk in chunks if (chunk.name, chunk.transport) == ("write", transport)]
    return [case for chunk in own for case in chunk.cases if len(case) == 1][:CHUNK]


if __name__ == "__main__":
    sys.exit(main())
