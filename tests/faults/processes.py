"""Runs many cases, and storms, in several processes, and tells how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from tests.faults.blind import blind
from tests.faults.cases import Case
from tests.faults.judge import BREACHES, Scores
from tests.faults.lane import protocol
from tests.faults.loop import run
from tests.faults.runs import run_cases
from tests.faults.stacks import STACKS, TRANSPORTS, Stack
from tests.faults.storms import Outage, Storm, outage, storm

CHUNK: Final = 1000
LANES: Final = 8
"""Few enough that a call's time is its own, not the others'."""


def run_all(cases: Sequence[Case], *, blindly: bool, workers: int, title: str) -> Scores:
    """The scores of all cases, with a line on stderr that tells how far it is."""
    scores = Scores()
    start_s = time.perf_counter()
    chunks = [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            for done in as_completed([pool.submit(_run_chunk, chunk, blindly) for chunk in chunks]):
                found = done.result()
                scores.merge(found)
                for finding in () if blindly else found.findings:
                    print(f"\r{finding}", file=sys.stderr)
                _tell(scores, len(cases), title, time.perf_counter() - start_s)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(file=sys.stderr)
    return scores


def _run_chunk(cases: Sequence[Case], blindly: bool) -> Scores:
    return run(run_cases(cases, lanes=LANES, timed=True, make_client=blind if blindly else protocol))


def run_storms(seconds: float, callers: int, *, seed: int, workers: int) -> Iterator[Storm | Outage]:
    """Storms and outages over every stack, each in a process of its own, whose memory tells of nothing else."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        storms = [pool.submit(_storm, stack, seconds, seed) for stack in STACKS]
        outages = [pool.submit(_outage, stack, callers, refused) for stack in TRANSPORTS for refused in (True, False)]
        yield from (begun.result() for begun in storms)
        yield from (begun.result() for begun in outages)


def _storm(stack: Stack, seconds: float, seed: int) -> Storm:
    return run(storm(stack, seconds, seed))


def _outage(stack: Stack, callers: int, refused: bool) -> Outage:
    return run(outage(stack, callers, refused=refused))


def _tell(scores: Scores, count: int, title: str, elapsed_s: float) -> None:
    total = scores.total
    found = ", ".join(f"{total[breach]:,} {breach}" for breach in BREACHES)
    line = f"{title}: {total['cases']:,} of {count:,} cases in {elapsed_s:.0f} s; {found}"
    print(f"\r{line}", end="", file=sys.stderr, flush=True)
