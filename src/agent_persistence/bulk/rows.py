"""What the readers give: rows as they are to be written, and rejects in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from agent_persistence.bulk.values import Raw, Reject


class Row(NamedTuple):
    """A record with typed values, where it began, how it stood there, and about how many bytes of JSON it takes."""

    line: int
    record: dict[str, Any]
    raw: Raw
    size: int


Item: TypeAlias = Row | Reject
Items: TypeAlias = Iterator[Item]


class SourceError(Exception):
    """The source cannot be read any further."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(reason if line is None else f"line {line:,}: {reason}")
