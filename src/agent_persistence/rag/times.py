"""Times as the server tells them, for comparing; a text that is no time is the oldest of all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from agent_persistence.query.records import Row
from agent_persistence.rag.entities import Entity

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


def age(entity: Entity, row: Row) -> tuple[datetime, str, int, str]:
    """What sorts rows from the oldest to the newest: time, then key; numbers by value, other keys as texts."""
    time, key = row.get(entity.time), row.get(entity.key)
    return moment(time), str(time or ""), key if isinstance(key, int) else 0, str(key)
