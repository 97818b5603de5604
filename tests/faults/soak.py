"""A long run: memory, latencies and losses of very many writes with 1 % faults; and 10,000 writers at once.

    python -m tests.faults.soak [--operations N] [--workers N] [--writers N] [--json PATH]

The server runs in a process of its own, so that the memory told is the client's. It needs Linux's /proc. The exit
status is 1 if a write was lost or doubled.
"""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agent_persistence import (
    AsyncPersistenceService,
    OutcomeUnknownError,
    PersistenceError,
    RetryPolicy,
    SupabaseAdapter,
)
from agent_persistence.metrics import Metrics
from tests.faults.lane import API_KEY
from tests.faults.soak_server import Server, running_server
from tests.faults.verbs import POLICY

SOAK_RATE: Final = 0.01
LOW_RATE: Final = 0.001
SAMPLES: Final = 100
RETRY: Final = RetryPolicy(base_s=0.005, cap_s=0.1, attempt_s=0.5)
_ACKNOWLEDGED, _UNKNOWN, _REFUSED = 1, 2, 3


@dataclass(frozen=True)
class Run:
    """Many writes by some workers. Latencies are milliseconds, memory is MiB, its slope KiB per 100,000 writes over
    the second half."""

    operations: int
    fault_rate: float
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    acknowledged: int
    unknown: int
    refused: int
    lost: int
    duplicated: int
    denied: int
    memory_mib: tuple[float, ...]
    slope_kib: float

    def line(self) -> str:
        return (
            f"{self.operations:,} writes with {self.fault_rate:.1%} faults in {self.seconds:.0f} s:"
            f" p50 {self.p50_ms:.2f} p95 {self.p95_ms:.2f} p99 {self.p99_ms:.2f} p99.9 {self.p999_ms:.1f}"
            f" max {self.max_ms:.0f} ms; {self.acknowledged:,} acknowledged, {self.unknown:,} unknown,"
            f" {self.refused:,} refused, {self.lost} lost, {self.duplicated} duplicated,"
            f" {self.denied} denied though applied; memory {self.memory_mib[0]:.1f} to {self.memory_mib[-1]:.1f} MiB,"
            f" slope {self.slope_kib:+.1f} KiB per 100,000"
        )


@dataclass(frozen=True)
class Crowd:
    """Many writers at the same time. `overtaken` is by how many places at most a writer ended later than it came."""

    writers: int
    seconds: float
    p1_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int
    overtaken: int
    grown_mib: float
    peak_mib: float

    def line(self) -> str:
        return (
            f"{self.writers:,} writers at once in {self.seconds:.1f} s: p1 {self.p1_ms:.0f} p50 {self.p50_ms:.0f}"
            f" p99 {self.p99_ms:.0f} max {self.max_ms:.0f} ms; {self.failed} failed;"
            f" overtaken by {self.overtaken} at most; peak memory {self.peak_mib:.1f} MiB,"
            f" {self.grown_mib:.1f} more than before"
        )


async def run(server: Server, operations: int, rate: float, workers: int) -> Run:
    """Write so many rows through one service, and compare what it acknowledged with what is there."""
    server.begin(rate)
    latencies = array("d", bytes(8 * operations))
    ends = bytearray(operations)
    memory: list[float] = []
    numbers = iter(range(operations))
    every = max(1, operations // SAMPLES)
    start_s = time.perf_counter()

    async def work(service: AsyncPersistenceService) -> None:
        for number in numbers:
            begun_s = time.perf_counter()
            ends[number] = await _write(service, number)
            latencies[number] = (time.perf_counter() - begun_s) * 1000
            if number % every == 0:
                memory.append(_memory_mib())
                _progress(number, operations, time.perf_counter() - start_s, memory[-1])

    async with _service(server, RETRY) as service, asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work(service))
    seconds = time.perf_counter() - start_s
    print(file=sys.stderr)
    return _told(operations, rate, seconds, latencies, ends, server.times_applied(operations), memory)


async def _write(service: AsyncPersistenceService, number: int) -> int:
    try:
        await service.write("conversations", {"subject": str(number)})
    except OutcomeUnknownError:
        return _UNKNOWN
    except PersistenceError:
        return _REFUSED
    return _ACKNOWLEDGED


def _service(server: Server, retry: RetryPolicy) -> AsyncPersistenceService:
    adapter = SupabaseAdapter(server.url, API_KEY)
    return AsyncPersistenceService(adapter, policy=POLICY, retry=retry, metrics=Metrics(), log=False, owns_adapter=True)


def _told(
    operations: int,
    rate: float,
    seconds: float,
    latencies: array[float],
    ends: bytearray,
    times: bytearray,
    memory: Sequence[float],
) -> Run:
    ordered = sorted(latencies)
    pairs = list(zip(ends, times, strict=True))
    return Run(
        operations=operations,
        fault_rate=rate,
        seconds=seconds,
        **{name: _percentile(ordered, share) for name, share in _SHARES},
        max_ms=ordered[-1],
        acknowledged=ends.count(_ACKNOWLEDGED),
        unknown=ends.count(_UNKNOWN),
        refused=ends.count(_REFUSED),
        lost=pairs.count((_ACKNOWLEDGED, 0)),
        duplicated=sum(applied > 1 for applied in times),
        denied=pairs.count((_REFUSED, 1)),
        memory_mib=tuple(memory),
        slope_kib=_slope(memory[len(memory) // 2 :]) * 1024 * 100_000 / max(1, operations // SAMPLES),
    )


_SHARES: Final = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999))


async def crowd(server: Server, writers: int) -> Crowd:
    """Let so many tasks write at the same time through one service."""
    server.begin(0.0)
    before_mib = _memory_mib()
    latencies = array("d", bytes(8 * writers))
    ended: list[int] = []
    failed = 0

    async def write(service: AsyncPersistenceService, number: int) -> None:
        nonlocal failed
        begun_s = time.perf_counter()
        failed += await _write(service, number) != _ACKNOWLEDGED
        latencies[number] = (time.perf_counter() - begun_s) * 1000
        ended.append(number)

    start_s = time.perf_counter()
    async with (
        _service(server, RetryPolicy(write_deadline_s=120.0)) as service,
        asyncio.TaskGroup() as group,
    ):
        for number in range(writers):
            group.create_task(write(service, number))
    ordered = sorted(latencies)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Crowd(
        writers=writers,
        seconds=time.perf_counter() - start_s,
        p1_ms=_percentile(ordered, 0.01),
        p50_ms=_percentile(ordered, 0.5),
        p99_ms=_percentile(ordered, 0.99),
        max_ms=ordered[-1],
        failed=failed,
        overtaken=max(place - number for place, number in enumerate(ended)),
        grown_mib=peak_mib - before_mib,
        peak_mib=peak_mib,
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _slope(values: Sequence[float]) -> float:
    """By how much the values grow from one to the next, by least squares."""
    if len(values) < 2:
        return 0.0
    middle = (len(values) - 1) / 2
    mean = sum(values) / len(values)
    deviations = [place - middle for place in range(len(values))]
    return sum(d * (v - mean) for d, v in zip(deviations, values, strict=True)) / sum(d * d for d in deviations)


def _memory_mib() -> float:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / 2**20


def _progress(done: int, of: int, seconds: float, memory_mib: float) -> None:
    line = f"{done:,} of {of:,} writes, {done / max(seconds, 1e-9):,.0f} a second, {memory_mib:.1f} MiB"
    print(f"\r{line}   ", end="", file=sys.stderr, flush=True)


def _lines(crowded: Crowd, runs: Sequence[Run]) -> Iterator[str]:
    clear, low, soak = runs
    yield from (each.line() for each in runs)
    yield f"p99 with {low.fault_rate:.1%} faults: {low.p99_ms / clear.p99_ms:.2f} times that without"
    yield f"p99 with {soak.fault_rate:.1%} faults: {soak.p99_ms / clear.p99_ms:.2f} times that without"
    yield crowded.line()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=10, help="tasks that write one row after another")
    parser.add_argument("--writers", type=int, default=10_000, help="tasks that write one row each, all at once")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args(arguments)
    with running_server() as server:
        plan = [(options.operations // 10, 0.0), (options.operations // 10, LOW_RATE), (options.operations, SOAK_RATE)]
        runs = [asyncio.run(run(server, count, rate, options.workers)) for count, rate in plan]
        crowded = asyncio.run(crowd(server, options.writers))  # last: what it takes of memory is no slope
    print("\n".join(_lines(crowded, runs)))
    if options.json:
        figures = {"crowd": asdict(crowded), "runs": [asdict(each) for each in runs]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(each.lost or each.duplicated or each.denied for each in runs))


if __name__ == "__main__":
    sys.exit(main())
