"""What happened, reported without content."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

Outcome: TypeAlias = Literal["ok", "denied", "error", "unknown", "spooled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One caller's call, after its end. It holds names, counts and primary keys, and no other value.

    `outcome` is "unknown" when a write may have been applied without our knowing: it was cancelled, or its answer
    was lost; "spooled" when it waits on disk, and another event follows when it is applied. `row_count` is the number
    of rows returned, `duration_s` in seconds, `at` the call's start in UTC, `error_type` the exception's class.
    The operations of one unit of work have one `unit`.
    """

    verb: str
    table: str
    outcome: Outcome
    columns: tuple[str, ...]
    row_count: int
    keys: tuple[Any, ...]
    duration_s: float
    attempts: int
    actor: str | None
    error_type: str | None
    at: datetime
    unit: str | None = None


AuditHook: TypeAlias = Callable[[AuditEvent], Awaitable[None] | None]
"""Called with every event. An async hook is given one second; what it raises is logged and changes no result."""
