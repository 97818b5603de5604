"""Times as the server writes them, for comparing; a text that is no time is the oldest of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from agent_persistence.query.records import Row
from agent_persistence.schema.contexts.shape import ContextTable

NEVER: Final = datetime.min.replace(tzinfo=UTC)
_PLAIN: Final = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(?:\.\d+)?\+00:00", re.ASCII)


def moment(value: Any) -> datetime:
    """The time that the text stands for; one without a zone is UTC, one that is none is NEVER."""
    if not isinstance(value, str):
        return NEVER
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return NEVER
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def is_plain(value: Any) -> bool:
    """Whether the text is a time written as PostgREST does, in UTC: such times are in the order of their texts."""
    return isinstance(value, str) and _PLAIN.fullmatch(value) is not None


def age(entity: ContextTable, row: Row) -> tuple[Any, ...]:
    """What sorts rows from the oldest to the newest: time, then key; numbers by value, other keys as texts."""
    time = None if entity.time is None else row.get(entity.time)
    keys = [row.get(column) for column in entity.key]
    parts = [part for key in keys for part in (key if isinstance(key, int) else 0, str(key))]
    return moment(time), str(time or ""), *parts


def newest_first(entity: ContextTable, rows: Sequence[Row]) -> list[Row]:
    """The rows by time, then by key, the greatest first; rows without a time are the last."""
    if entity.time is not None and len(entity.key) == 1 and all(is_plain(row.get(entity.time)) for row in rows):
        return sorted(rows, key=partial(_plain_age, entity.time, entity.key[0]), reverse=True)
    return sorted(rows, key=partial(age, entity), reverse=True)


def _plain_age(time: str, key: str, row: Row) -> tuple[str, int, str]:
    """`age` of a row whose time is written as PostgREST does: nothing is parsed, which is most of the work."""
    held = row.get(key)
    return row[time], held if isinstance(held, int) else 0, str(held)
