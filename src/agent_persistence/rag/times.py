"""Times as the server tells them, for comparing; a text that is no time is the oldest of all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from agent_persistence.query.records import Row
from agent_persistence.schema.contexts.shape import ContextTable

NEVER: Final = datetime.min.replace(tzinfo=UTC)


def moment(value: Any) -> datetime:
    """The time that the text tells; one without a zone is UTC, one that is none is NEVER."""
    if not isinstance(value, str):
        return NEVER
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        return NEVER
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told


def age(told: ContextTable, row: Row) -> tuple[Any, ...]:
    """What sorts rows from the oldest to the newest: time, then key; numbers by value, other keys as texts."""
    time = None if told.time is None else row.get(told.time)
    keys = [row.get(column) for column in told.key]
    parts = [part for key in keys for part in (key if isinstance(key, int) else 0, str(key))]
    return moment(time), str(time or ""), *parts
