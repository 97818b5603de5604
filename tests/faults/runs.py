"""Runs many cases in one process, some of them at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tests.faults.backend import Backend
from tests.faults.cases import Case
from tests.faults.judge import Finding, Scores
from tests.faults.lane import Lane, MakeClient, protocol
from tests.faults.stacks import COALESCING, STACKS, Stack
from tests.faults.verbs import EVERY, VERBS

MOST_CASES_A_LANE: Final = 40


async def measured() -> dict[tuple[Stack, str], tuple[int, int]]:
    """The sizes of every verb's request and response over every stack."""
    sizes: dict[tuple[Stack, str], tuple[int, int]] = {}
    for stack in STACKS:
        backend = Backend()
        async with Lane.open(backend, backend, stack=stack) as lane:
            for name, verb in (EVERY if stack in COALESCING else VERBS).items():
                sizes[stack, name] = await lane.sizes(verb)
    return sizes


async def run_cases(
    cases: Sequence[Case], *, lanes: int = 16, timed: bool = False, make_client: MakeClient = protocol
) -> Scores:
    """Run the cases before backends in this process, some at a time; what they leave behind counts as leaked."""
    scores = Scores()
    size = min(MOST_CASES_A_LANE, -(-len(cases) // lanes))
    waiting = iter([batch for stack in STACKS for batch in _batches([c for c in cases if c.stack == stack], size)])
    before = asyncio.all_tasks()

    async def work(some: Iterable[Sequence[Case]]) -> None:
        for batch in some:
            await _run_batch(batch, scores, make_client, timed)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(work(waiting))
    left = asyncio.all_tasks() - before
    if left:
        scores.find(Finding(cases[-1], "leaked", f"after all cases tasks are left: {left}"))
    return scores


def _batches(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    return (cases[start : start + size] for start in range(0, len(cases), size))


async def _run_batch(batch: Sequence[Case], scores: Scores, make_client: MakeClient, timed: bool) -> None:
    backend = Backend()
    stack = batch[0].stack
    async with Lane.open(backend, backend, stack=stack, make_client=make_client, timed=timed) as lane:
        for case in batch:
            await lane.run(case, scores)
        for told in (await lane.full_house(), await lane.closed()):
            if told is not None:
                scores.find(Finding(batch[-1], "leaked", f"after {len(batch)} cases up to this one: {told}"))
