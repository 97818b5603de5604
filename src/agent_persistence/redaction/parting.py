"""Where one number ends and the next begins in a run of groups of digits that is too long for one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
_FEWEST_DIGITS: Final = 7
_MOST_DIGITS: Final = 15
_USUAL_DIGITS: Final = 10
_DIGIT_LEFT_OUT: Final = 100
_WIDEST: Final = 4


def parted(text: str, groups: Sequence[Span]) -> list[tuple[int, int]]:
    """The numbers of the run as the positions of their first and last group; 7 to 15 digits each, as E.164 has it.

    A run of up to 15 digits is one number. Of a longer one as few digits as possible belong to no number; then numbers
    are parted by blanks rather than dashes, and have about ten digits. The time grows with the number of groups.
    """
    sizes = [end - start for start, end in groups]
    if sum(sizes) <= _MOST_DIGITS:
        return [(0, len(groups) - 1)] if sum(sizes) >= _FEWEST_DIGITS else []
    widths = [0, *(_width(text[end:start]) for (_, end), (start, _) in pairwise(groups))]
    costs, firsts = [0], [0]
    for last in range(len(groups)):
        cost, first = costs[last] + _DIGIT_LEFT_OUT * sizes[last], last + 1
        for start, own in _endings(sizes, widths, last):
            if costs[start] + own < cost:
                cost, first = costs[start] + own, start
        costs.append(cost)
        firsts.append(first)
    return _read_back(firsts)


def _endings(sizes: Sequence[int], widths: Sequence[int], last: int) -> list[tuple[int, int]]:
    """First groups of the numbers that may end with the group `last`, and what such a number costs."""
    found, digits, inner = [], 0, 0
    for first in range(last, -1, -1):
        digits += sizes[first]
        if digits > _MOST_DIGITS:
            break
        if digits >= _FEWEST_DIGITS:
            cut = _WIDEST - widths[first] if first else 0
            found.append((first, 4 * (inner + cut) + abs(digits - _USUAL_DIGITS)))
        inner += widths[first]
    return found


def _read_back(firsts: Sequence[int]) -> list[tuple[int, int]]:
    found, end = [], len(firsts) - 1
    while end > 0:
        first = firsts[end]
        if first < end:
            found.append((first, end - 1))
        end = min(first, end - 1)
    return found[::-1]


def _width(gap: str) -> int:
    """How likely a gap parts two numbers, from 0 to 4."""
    if len(gap) > 1 and "(" not in gap and ")" not in gap:
        return _WIDEST
    return _WIDEST if set(gap) & set("(/\t") else 2 * (gap == " ")
