"""What a check found, for people, for machines, and as SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from agent_persistence.cli.screen import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    """Nothing is broken, and somebody should know."""
    PROBLEM = "problem"
    UNCHECKED = "unchecked"
    """It could not be looked at; the remedy says how it could."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was seen, and what to do about it, as words or as SQL."""

    area: str
    level: Level
    message: str
    subject: str | None = None
    remedy: str | None = None
    sql: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The check for machines."""
        return {
            "area": self.area,
            "subject": self.subject,
            "level": str(self.level),
            "message": self.message,
            "remedy": self.remedy,
            "sql": list(self.sql),
        }


@dataclass(frozen=True, slots=True)
class Area:
    """A heading under which checks stand."""

    name: str

    def check(
        self, level: Level, message: str, subject: str | None = None, remedy: str | None = None, *sql: str
    ) -> Check:
        """A check of this area."""
        return Check(self.name, level, message, subject, remedy, sql)

    def unseen(self, message: str, subject: str | None = None, *, remedy: str) -> Check:
        """A check of what could not be looked at, with what would show it."""
        return Check(self.name, Level.UNCHECKED, message, subject, remedy)


def has_problems(checks: Iterable[Check]) -> bool:
    """Whether a check came out as a problem."""
    return any(check.level is Level.PROBLEM for check in checks)


def counted(checks: Iterable[Check]) -> dict[str, int]:
    """How many checks came out at each level."""
    found = Counter(check.level for check in checks)
    return {str(level): found[level] for level in Level}


def remedies(checks: Iterable[Check]) -> list[str]:
    """The SQL of all checks, each statement once."""
    return list(dict.fromkeys(statement for check in checks for statement in check.sql))


_SIGNS: Final = {Level.OK: "✓", Level.NOTE: "•", Level.PROBLEM: "✗", Level.UNCHECKED: "?"}
_PLAIN_SIGNS: Final = {Level.OK: "ok", Level.NOTE: "note", Level.PROBLEM: "PROBLEM", Level.UNCHECKED: "?"}
_ARROWS: Final = ("->", "→")
_STYLES: Final = {Level.OK: "green", Level.NOTE: "blue", Level.PROBLEM: "bold red", Level.UNCHECKED: "yellow"}


def shown_checks(checks: Sequence[Check], console: Console) -> Iterator[RenderableType]:
    """The checks below the names of their areas, those that say the same together, then how many came out how."""
    signs = _SIGNS if _can_show(console, _SIGNS.values()) else _PLAIN_SIGNS
    for area in dict.fromkeys(check.area for check in checks):
        yield Text(area, style="bold")
        yield _listed((check for check in checks if check.area == area), signs)
    parts = [
        Text(f"{number} {_plural(level, number)}", style=_STYLES[Level(level)])
        for level, number in counted(checks).items()
        if number or level == Level.PROBLEM
    ]
    yield Text.assemble("\n", Text(", ").join(parts))
    if any(check.level is Level.UNCHECKED for check in checks):
        arrow = _ARROWS[signs is _SIGNS]
        message = (
            f"{signs[Level.UNCHECKED]} could not be seen, and may be right or wrong: {arrow} says what would show it"
        )
        yield Text(message, style=_STYLES[Level.UNCHECKED])


def _plural(level: str, number: int) -> str:
    return f"{level}s" if number != 1 and level in (Level.NOTE, Level.PROBLEM) else level


def _listed(checks: Iterable[Check], signs: dict[Level, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for (level, message, remedy), same in groupby(checks, key=lambda check: (check.level, check.message, check.remedy)):
        members = list(same)
        subjects = ", ".join(check.subject for check in members if check.subject)
        lines = [Text.assemble((f"{subjects}: ", "bold") if subjects else "", plain(message))]
        if remedy:
            lines.append(Text(f"{_ARROWS[signs is _SIGNS]} {plain(remedy)}", style="dim"))
        lines += [Text(plain(statement), style="cyan") for statement in remedies(members)]
        table.add_row(Text(f"  {signs[level]}", style=_STYLES[level]), Text("\n").join(lines))
    return table


def _can_show(console: Console, signs: Iterable[str]) -> bool:
    try:
        "".join((*signs, _ARROWS[True])).encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True
