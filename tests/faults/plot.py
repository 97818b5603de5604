"""The scoreboard as a picture: for each verb how its calls ended, and what became of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.faults.judge import Scores

WIDTH: Final = 980
LABEL: Final = 200
BAR: Final = 460
ROW: Final = 26
COLOURS: Final = {"acknowledged": "#2a9d6f", "refused": "#b8bec6", "unknown": "#e9b44c"}
BAD: Final = "#c8322b"
LEGEND: Final = {
    "acknowledged": "acknowledged",
    "refused": "a typed error",
    "unknown": "OutcomeUnknownError",
}


def plot(scores: Scores, control: Scores) -> str:
    """An SVG with a bar for every verb and every stack, and one for the client that retries without a key."""
    rows = [*scores.verbs.items(), *scores.stacks.items(), ("all", scores.total), ("blind control", control.total)]
    height = 70 + ROW * len(rows)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" role="img"><title>Calls under faults, by how they ended</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    )
    bars = (line for number, (name, row) in enumerate(rows) for line in _bar(52 + ROW * number, name, row))
    return "\n".join([head, *_legend(), *bars, "</svg>\n"])


def _legend() -> Iterator[str]:
    x = LABEL
    for end, told in LEGEND.items():
        yield f'<rect x="{x}" y="16" width="12" height="12" fill="{COLOURS[end]}"/>'
        yield f'<text x="{x + 18}" y="27">{told}</text>'
        x += 40 + 8 * len(told)


def _bar(y: int, name: str, row: Counter[str]) -> Iterator[str]:
    yield f'<text x="{LABEL - 10}" y="{y + 14}" text-anchor="end">{name}</text>'
    x = float(LABEL)
    for end, colour in COLOURS.items():
        width = BAR * row[end] / max(1, row["cases"])
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>'
        x += width
    bad = row["lost"] + row["duplicated"]
    style = f'fill="{BAD}" font-weight="bold"' if bad else 'fill="#333"'
    told = f"{row['cases']:,} cases: {row['lost']:,} lost, {row['duplicated']:,} duplicated"
    yield f'<text x="{LABEL + BAR + 10}" y="{y + 14}" {style}>{told}</text>'
