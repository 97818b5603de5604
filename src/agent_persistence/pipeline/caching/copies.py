"""Answers that are kept: bounded, least recently used first out, and beyond the reach of those who get them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from sys import getsizeof
from typing import Any, Final
from uuid import UUID

_IMMUTABLE: Final = frozenset(
    {str, int, float, bool, type(None), Decimal, bytes, datetime, date, time, timedelta, UUID}
)


class UncopyableError(Exception):
    """The value holds a part that whoever gets it might change for everybody."""


def copied(value: Any) -> Any:
    """The same lists and mappings anew, over the same scalars; UncopyableError where something else is among them."""
    plain = type(value)
    if plain in _IMMUTABLE:
        return value
    if plain is dict:
        return {key: part if type(part) in _IMMUTABLE else copied(part) for key, part in value.items()}
    if plain is list:
        return [part if type(part) in _IMMUTABLE else copied(part) for part in value]
    raise UncopyableError


def memory_bytes(value: Any) -> int:
    """The memory of the value; names of columns, which its rows share, are not counted."""
    if type(value) is dict:
        return getsizeof(value) + sum(map(memory_bytes, value.values()))
    return getsizeof(value) + (sum(map(memory_bytes, value)) if type(value) is list else 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A value as it was read, when it was asked for, and what was written before."""

    value: Any = field(repr=False)
    expires: float
    version: tuple[int, ...]
    size: int
    total: int | None = None


class Answers:
    """Answers by cache key, at most `max_entries` of them and `max_bytes` together. Not safe across threads."""

    __slots__ = ("_by_key", "_max_bytes", "_max_entries", "evictions", "size")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._by_key: OrderedDict[Hashable, Answer] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.evictions = 0
        """How many answers had to go for others."""
        self.size = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: Hashable, version: tuple[int, ...], now: float) -> Answer | None:
        """The answer, unless it has expired or something was written since; then it is gone."""
        answer = self._by_key.get(key)
        if answer is None:
            return None
        if answer.version != version or answer.expires <= now:
            self._drop(key)
            return None
        self._by_key.move_to_end(key)
        return answer

    def put(self, key: Hashable, answer: Answer) -> None:
        """Keep the answer, and drop others until the bounds hold; one that is too large by itself is not kept."""
        self._drop(key)
        if answer.size > self._max_bytes:
            return
        self._by_key[key] = answer
        self.size += answer.size
        while len(self._by_key) > self._max_entries or self.size > self._max_bytes:
            self._drop(next(iter(self._by_key)))
            self.evictions += 1

    def clear(self) -> None:
        """Drop everything."""
        self._by_key.clear()
        self.size = 0

    def _drop(self, key: Hashable) -> None:
        answer = self._by_key.pop(key, None)
        if answer is not None:
            self.size -= answer.size
