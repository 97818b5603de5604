"""Times as the server tells them, for comparing; a text that is no time is the oldest of all."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from agent_persistence._rag.entities import Entity
from agent_persistence.records import Row

NEVER: Final = datetime.min.replace(tzinfo=UTC)
_PLAIN: Final = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(?:\.\d+)?\+00:00", re.ASCII)


def moment(value: Any) -> datetime:
    """The time that the text tells; one without a zone is UTC, one that is none is NEVER."""
    if not isinstance(value, str):
        return NEVER
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        return NEVER
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told


def is_plain(value: Any) -> bool:
    """Whether the text tells a time as PostgREST does, in UTC: such times are in the order of their texts."""
    return isinstance(value, str) and _PLAIN.fullmatch(value) is not None


def age(entity: Entity, row: Row) -> tuple[datetime, str, int, str]:
    """What sorts rows from the oldest to the newest: time, then key; numbers by value, other keys as texts."""
    time, key = row.get(entity.time), row.get(entity.key)
    return moment(time), str(time or ""), key if isinstance(key, int) else 0, str(key)
