"""Lines a second that the CI guard checks, against parsing alone.

The corpus is this repository's own Python, copied side by side until it has 100,000 lines. The guard runs as CI runs
it: one process from start to end.
"""

from __future__ import annotations

import ast
import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio.to_thread
from _measure import Rounds, Target, arguments, interleave, report

ROOT = Path(__file__).parents[1]
GUARD = ROOT / "scripts" / "ci_guard_persistence.py"
FOLDERS = ("src", "tests", "examples", "benchmarks", "scripts")
LINES = 100_000
TARGET_S = 10.0


def copy_corpus(into: Path, lines: int) -> int:
    """Copies of the repository's sources below `into`; return how many lines they have."""
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if "node_" not in str(path)]
    count = number = 0
    while count < lines:
        for source in sources:
            copy = into / f"part{number}" / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            count += source.read_bytes().count(b"\n")
            if count >= lines:
                break
        number += 1
    return count


def guard(corpus: Path) -> None:
    ended = subprocess.run([sys.executable, str(GUARD), str(corpus)], capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"the guard failed:\n{ended.stderr[:1000]}")


def parse(corpus: Path) -> None:
    for path in corpus.rglob("*.py"):
        ast.parse(path.read_bytes())


async def timed(work: Callable[[Path], None], corpus: Path) -> float:
    start = time.perf_counter()
    await anyio.to_thread.run_sync(work, corpus)
    return time.perf_counter() - start


def table(lines: int, found: dict[str, Rounds]) -> list[str]:
    heading = f"{'':<14} {'s':>7} {'least':>7} {'lines/s':>10} {'ratio':>6}"
    base = found["ast.parse alone"]
    return [heading] + [
        f"{name:<14} {took.median:7.2f} {took.least:7.2f} {lines / took.median:10,.0f} {took.ratio(base):6.2f}"
        for name, took in found.items()
    ]


async def main(rounds: int, as_json: bool) -> None:
    with TemporaryDirectory() as directory:
        corpus = Path(directory)
        lines = copy_corpus(corpus, LINES)
        cases = {"ast.parse alone": partial(timed, parse, corpus), "the guard": partial(timed, guard, corpus)}
        found = await interleave(cases, rounds=rounds)
    report(
        [f"{lines:,} lines", "", *table(lines, found)],
        [Target("100,000 lines", found["the guard"].median * LINES / lines, TARGET_S, " s")],
        {"lines": lines, **{name: took.summary() for name, took in found.items()}},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=3).parse_args()
    asyncio.run(main(options.rounds, options.json))
