"""Figures of the benchmarks as SVG: curves over a number of callers, and bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

WIDTH: Final = 860
LEFT, RIGHT, TOP, BOTTOM = 70, 230, 46, 48
PLOT_HEIGHT: Final = 300
COLOURS: Final = ("#1b6ca8", "#2a9d6f", "#e07a1f", "#8e5ea2", "#7a7f87", "#c8322b")
ROW: Final = 24

Curve = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]
"""Where a point of a curve stands in the drawing."""


def curves(title: str, series: Mapping[str, Curve], *, across: str, up: str) -> str:
    """Both axes are logarithmic; each curve is named at its right end."""
    points = [point for curve in series.values() for point in curve]
    columns = sorted({x for x, _ in points})
    low, high = _decades([y for _, y in points])
    height = TOP + PLOT_HEIGHT + BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        right = math.log(x / columns[0]) / math.log(columns[-1] / columns[0])
        above = math.log(y / low) / math.log(high / low)
        return LEFT + right * (WIDTH - LEFT - RIGHT), TOP + (1 - above) * PLOT_HEIGHT

    parts = [_head(title, height), f'<text x="{LEFT}" y="{TOP - 10}" fill="#555">{escape(up)}</text>']
    for value in _ticks(low, high):
        _, y = at(columns[0], value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6ea"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{value:,g}</text>')
    parts += _columns(columns, at, height, across)
    return "\n".join([*parts, *_drawn(series, at), "</svg>\n"])


def _columns(columns: Sequence[float], at: Place, height: int, across: str) -> Iterator[str]:
    """The values across, and what they are."""
    for value in columns:
        x, _ = at(value, 1)
        yield f'<text x="{x:.1f}" y="{TOP + PLOT_HEIGHT + 18}" text-anchor="middle" fill="#555">{value:,g}</text>'
    yield f'<text x="{LEFT}" y="{height - 10}" fill="#555">{escape(across)}</text>'


def _drawn(series: Mapping[str, Curve], at: Place) -> Iterator[str]:
    ends = _apart([at(*curve[-1])[1] for curve in series.values()])
    for (name, curve), colour, end in zip(series.items(), COLOURS, ends, strict=False):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in curve))
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (at(*p) for p in curve))
        yield f'<text x="{WIDTH - RIGHT + 10}" y="{end + 4:.1f}" fill="{colour}">{escape(name)}</text>'


def shares(title: str, series: Mapping[str, Curve], *, across: str) -> str:
    """Shares from 0 to 1 over a logarithmic axis; each curve is named at its right end."""
    columns = sorted({x for curve in series.values() for x, _ in curve})
    height = TOP + PLOT_HEIGHT + BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        right = math.log(x / columns[0]) / math.log(columns[-1] / columns[0])
        return LEFT + right * (WIDTH - LEFT - RIGHT), TOP + (1 - y) * PLOT_HEIGHT

    parts = [_head(title, height)]
    for tenth in range(0, 11, 2):
        _, y = at(columns[0], tenth / 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6ea"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{tenth * 10} %</text>')
    parts += _columns(columns, at, height, across)
    return "\n".join([*parts, *_drawn(series, at), "</svg>\n"])


def bars(title: str, groups: Mapping[str, Mapping[str, float]], *, unit: str) -> str:
    """A group of bars under a heading each, all on one scale that begins at 0."""
    most = max(value for group in groups.values() for value in group.values())
    height = TOP + sum(ROW * (len(group) + 1) + 8 for group in groups.values()) + 10
    return "\n".join([_head(title, height), *_groups(groups, most, unit), "</svg>\n"])


def _groups(groups: Mapping[str, Mapping[str, float]], most: float, unit: str) -> Iterator[str]:
    label, y = 190, TOP
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    for heading, group in groups.items():
        yield f'<text x="{label}" y="{y + 12}" font-weight="bold">{escape(heading)}</text>'
        y += ROW
        for name, value in group.items():
            width = (WIDTH - label - 130) * value / most
            colour = COLOURS[names.index(name) % len(COLOURS)]
            yield f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            yield f'<rect x="{label}" y="{y}" width="{max(width, 1):.1f}" height="{ROW - 7}" fill="{colour}"/>'
            yield f'<text x="{label + width + 8:.1f}" y="{y + 13}" fill="#555">{_shown(value)} {escape(unit)}</text>'
            y += ROW
        y += 8


def write(directory: Path, drawings: Mapping[str, str]) -> None:
    """Each drawing as a file of its name."""
    for name, drawing in drawings.items():
        (directory / f"{name}.svg").write_text(drawing, encoding="utf-8")


def _head(title: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        f' font-size="13" role="img"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="bold">{escape(title)}</text>'
    )


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The range from the 1, 2 or 5 below the least value to the one above the greatest."""
    steps = [digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    return low, min(step for step in steps if step >= max(values) and step > low)


def _ticks(low: float, high: float) -> list[float]:
    steps = (digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5))
    return [round(step, 9) for step in steps if low <= step * 1.001 and step <= high * 1.001]


def _apart(heights: Sequence[float], least: float = 16) -> list[float]:
    """The heights, moved down where two would overlap."""
    placed: dict[int, float] = {}
    last = -math.inf
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        last = placed[index] = max(heights[index], last + least)
    return [placed[index] for index in range(len(heights))]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
