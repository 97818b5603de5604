"""What comes back up the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_persistence.query.records import Row


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: the verb's value, how many attempts it took, and the total that a `counted` query asked for."""

    value: Any
    attempts: int = 1
    total: int | None = None
    spooled: bool = False
    """Whether the write waits on disk, so that the value is what was sent (see `spool`)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the rows that a filter selects, and how many it selects in all; None where that is not known."""

    rows: list[Row]
    total: int | None
