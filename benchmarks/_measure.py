"""What the benchmarks share: interleaved rounds, what is told of them, and the machine they ran on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import anyio.lowlevel

PACKAGES = ("agent-persistence", "httpx", "anyio", "pydantic", "tenacity")
PEERS = ("asyncpg", "httptools", "postgrest", "supabase", "uvloop")
"""What is told too where it is installed, as the dependency group `bench` does."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The seconds that one case took, a number for every round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)

    def ratio(self, base: Rounds) -> float:
        """The median of the ratios within a round, so that a disturbance that hits both does not count."""
        return median(mine / theirs for mine, theirs in zip(self.seconds, base.seconds, strict=True))

    def speedups(self, base: Rounds) -> tuple[float, ...]:
        """How many times as fast as `base` each round was, in ascending order."""
        return tuple(sorted(theirs / mine for mine, theirs in zip(self.seconds, base.seconds, strict=True)))

    def summary(self) -> dict[str, float]:
        return {"median_s": self.median, "least_s": self.least}


async def interleave(cases: Mapping[str, Callable[[], Awaitable[float]]], *, rounds: int) -> dict[str, Rounds]:
    """Run every case once a round, each round beginning with another case; one round before them is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(-1, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            took_s = await cases[name]()
            if number >= 0:
                seconds[name].append(took_s)
    return {name: Rounds(tuple(taken)) for name, taken in seconds.items()}


async def per_call(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """The seconds that one call takes on average; the event loop gets one turn for all of them."""
    start = time.perf_counter()
    for _ in range(calls):
        await call()
    await anyio.lowlevel.checkpoint()
    return (time.perf_counter() - start) / calls


@dataclass(frozen=True, slots=True)
class Target:
    """A number the project promises: `value` is at most `limit`, or at least if `is_floor`."""

    what: str
    value: float
    limit: float
    unit: str
    is_floor: bool = False
    beside: str = ""
    """What else is to be told of it."""

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    def line(self) -> str:
        verdict = "passes" if self.met else "FALLS SHORT"
        bound = f"{'>=' if self.is_floor else '<='} {self.limit:g}{self.unit}"
        told = f"target {self.what} {bound}: {verdict} with {self.value:.2f}{self.unit}"
        return f"{told}, {self.beside}" if self.beside else told


def speedup(mine: Rounds, base: Rounds) -> str:
    """The median of the speed-ups within a round, with the least and the greatest."""
    found = mine.speedups(base)
    return f"{median(found):6.2f}x ({found[0]:.2f}-{found[-1]:.2f})"


def machine() -> dict[str, str]:
    """What the figures depend on, `load` being the machine's other work."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "system": f"{platform.system()} {platform.machine()}",
        "load": "/".join(f"{load:.1f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{package: version(package) for package in PACKAGES},
        **{peer: version(peer) for peer in PEERS if find_spec(peer)},
    }


def missing(*peers: str) -> str:
    """What a benchmark says that cannot run without peers that are not installed; empty if they are."""
    absent = [peer for peer in peers if not find_spec(peer)]
    return f"{', '.join(absent)} is not installed: pip install --group bench" if absent else ""


def pinned() -> int | None:
    """Keep this process on one core; the number of another one, for the server, or None where there is no choice."""
    if not hasattr(os, "sched_setaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        return None
    os.sched_setaffinity(0, {cores[0]})
    return cores[1]


def _cpu_model() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def arguments(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"interleaved rounds (default {rounds})")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def drawing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the option for a directory to draw into."""
    parser.add_argument("--svg", type=Path, metavar="DIR", help="draw the figures into this directory")
    return parser


def report(table: Sequence[str], targets: Sequence[Target], figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the machine, the table and whether the targets are met; or all of it as JSON."""
    about = machine()
    if as_json:
        met = [
            {"what": t.what, "value": t.value, "limit": t.limit, "unit": t.unit.strip(), "at_least": t.is_floor}
            | {"met": t.met, "beside": t.beside}
            for t in targets
        ]
        print(json.dumps({"machine": about, "targets": met, **figures}, indent=2))
        return
    print(" · ".join(f"{name} {value}" for name, value in about.items()), "", *table, "", sep="\n")
    print(*(target.line() for target in targets), sep="\n")
