"""What a detector finds, and what becomes of findings that overlap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """A personal value at `text[start:end]`. `value` is what it stands for where that is not the text itself."""

    kind: str
    start: int
    end: int
    value: str | None = None


class Detector(Protocol):
    """Finds personal values in a text.

    The text is in NFKC with ASCII digits, and holds nothing invisible; findings are positions in it. They may come in
    any order and may overlap. `kinds` are all kinds that may be found, each a lower-case identifier.
    """

    @property
    def kinds(self) -> Collection[str]: ...

    def find(self, text: str) -> Iterable[Finding]: ...


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The findings in order of the text without overlaps: those that overlap become one that covers them all.

    It is of the kind of the longest; of equally long ones, of one with a `value`, and else of the one that came first.
    """
    ordered = sorted(findings, key=lambda found: found.start)
    groups: list[list[Finding]] = []
    end = -1
    for found in ordered:
        if found.start < end:
            groups[-1].append(found)
        else:
            groups.append([found])
        end = max(end, found.end)
    return [_united(group) for group in groups]


def _united(group: Sequence[Finding]) -> Finding:
    longest = max(group, key=lambda found: (found.end - found.start, found.value is not None))
    start, end = group[0].start, max(found.end for found in group)
    if (start, end) == (longest.start, longest.end):
        return longest
    return replace(longest, start=start, end=end, value=None)
