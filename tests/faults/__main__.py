"""Runs every verb under every single fault and under random pairs of faults, then storms and outages, and prints the
scoreboard.

    python -m tests.faults [--cases N] [--seed N] [--workers N] [--storm-s N] [--callers N] [--json PATH] [--plot PATH]

The exit status is 1 if an invariant did not hold, or if the client that retries blindly made no duplicate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.faults.blind import BLIND_VERBS
from tests.faults.cases import Case, pairs, singles
from tests.faults.judge import Scores, scoreboard
from tests.faults.lane import ATTEMPT_S, DEADLINE_S
from tests.faults.loop import run
from tests.faults.plot import plot
from tests.faults.processes import run_all, run_storms
from tests.faults.runs import measured
from tests.faults.stacks import HTTPX
from tests.faults.storms import Outage, Storm

SHOWN: Final = 20
LEAST_PAIRS: Final = 10_000


def all_cases(least: int, seed: int) -> tuple[list[Case], list[Case]]:
    """At least so many cases in random order, and those for the blind client."""
    random = Random(seed)
    sizes = run(measured())
    cases = list(singles(sizes, ATTEMPT_S))
    cases += pairs(sizes, ATTEMPT_S, max(LEAST_PAIRS, least - len(cases)), random)
    blind_cases = list(singles(sizes, ATTEMPT_S, verbs=BLIND_VERBS, stacks=[HTTPX]))
    random.shuffle(cases)
    random.shuffle(blind_cases)
    return cases, blind_cases


def report(scores: Scores, control: Scores, storms: Sequence[Storm | Outage], *, seed: int) -> dict[str, Any]:
    """The figures as JSON values."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "seed": seed,
        "deadline_s": DEADLINE_S,
        "attempt_s": ATTEMPT_S,
        "verbs": {verb: dict(counts) for verb, counts in scores.verbs.items()},
        "stacks": {stack: dict(counts) for stack, counts in scores.stacks.items()},
        "total": dict(scores.total),
        "blind": dict(control.total),
        "storms": [asdict(each) for each in storms],
        "findings": [str(finding) for finding in scores.findings],
    }


def _lines(scores: Scores, control: Scores, seed: int) -> Iterator[str]:
    yield scoreboard(scores.verbs | scores.stacks | {"all": scores.total, "blind control": control.total})
    yield f"seed {seed}"
    yield from map(str, scores.findings[:SHOWN])
    if len(scores.findings) > SHOWN:
        yield f"… and {len(scores.findings) - SHOWN:,} more"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="at least so many; singles are never left out")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs and of the order")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--storm-s", type=float, default=60.0, help="how long a storm of deadlines lasts")
    parser.add_argument("--callers", type=int, default=10_000, help="how many call at once in an outage")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plot", type=Path, help="draw them there, as SVG")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    start_s = time.perf_counter()
    cases, blind_cases = all_cases(options.cases, options.seed)
    scores = run_all(cases, blindly=False, workers=options.workers, title="under faults")
    control = run_all(blind_cases, blindly=True, workers=options.workers, title="blind control")
    print("\n".join(_lines(scores, control, options.seed)), flush=True)
    storms = []
    for each in run_storms(options.storm_s, options.callers, seed=options.seed, workers=options.workers):
        storms.append(each)
        print(each.line(), flush=True)
    print(f"{time.perf_counter() - start_s:.0f} s")
    if options.json:
        figures = report(scores, control, storms, seed=options.seed)
        options.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    if options.plot:
        options.plot.write_text(plot(scores, control))
    broken = scores.findings or not all(each.holds for each in storms)
    return 1 if broken or not control.total["duplicated"] else 0


if __name__ == "__main__":
    sys.exit(main())
