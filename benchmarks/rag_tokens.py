"""How far the standard-library estimate of tokens is off, by kind of text, against the vocabulary o200k_base.

The texts are made up: sentences in eighteen languages, JSON, code, and the example CRM, in pieces of 600 characters.
For each kind is told the mean error of either profile and its worst undercount; 10 is a tenth too many. The last column
is the error of the rule of thumb, four characters a token.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from _measure import Target, arguments, report

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_persistence.rag_context import BpeTokens, EstimatedTokens, TokenCounter
from examples import crm_data
from tests.rag.corpora import corpora

TARGET_MEAN = 10.0
TARGET_UNDERCOUNT = 5.0
PROFILES = {"estimate": EstimatedTokens(conservative=False), "conservative": EstimatedTokens()}


class FourCharacters:
    """The rule of thumb."""

    name = "characters / 4"
    exact = False

    def count(self, text: str) -> int:
        return len(text) // 4


def errors(counter: TokenCounter, texts: Sequence[str]) -> list[float]:
    """In per cent of the truth."""
    exact = BpeTokens("o200k_base")
    return [100 * (counter.count(text) / exact.count(text) - 1) for text in texts]


def megabytes_a_second(counter: TokenCounter, rounds: int) -> float:
    """Of processor time, over the example messages."""
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in crm_data.rows("messages"))
    start = time.process_time()
    for _ in range(rounds):
        counter.count(text)
    return len(text.encode()) * rounds / (time.process_time() - start) / 1e6


def main(rounds: int, as_json: bool) -> None:
    counters: dict[str, TokenCounter] = {**PROFILES, "characters / 4": FourCharacters()}
    kinds = {**corpora(), "all": [text for texts in corpora().values() for text in texts]}
    found = {
        kind: {name: errors(counter, texts) for name, counter in counters.items()} for kind, texts in kinds.items()
    }
    table = [f"{'error in %':<12}" + "".join(f"{name:>16} {'worst':>6}" for name in counters)]
    for kind, by_counter in found.items():
        cells = "".join(f"{mean(some):>+16.1f} {min(some):>+6.0f}" for some in by_counter.values())
        table.append(f"  {kind:<10}" + cells)
    spread = {name: mean(map(abs, some)) for name, some in found["all"].items()}
    table.append(
        "  absolute" + "".join(f"{value:>{18 if n == 0 else 16}.1f}{'':>7}" for n, value in enumerate(spread.values()))
    )
    timed: dict[str, TokenCounter] = {**PROFILES, "o200k_base": BpeTokens()}
    speeds = {name: megabytes_a_second(counter, rounds) for name, counter in timed.items()}
    table += ["", *(f"  {name:<14} {speed:6.1f} MB/s" for name, speed in speeds.items())]
    report(
        table,
        [
            Target("mean absolute error, estimate", spread["estimate"], TARGET_MEAN, " %"),
            Target("worst undercount, conservative", -min(found["all"]["conservative"]), TARGET_UNDERCOUNT, " %"),
        ],
        {"errors": {kind: {name: mean(some) for name, some in told.items()} for kind, told in found.items()}},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=5).parse_args()
    main(options.rounds, options.json)
