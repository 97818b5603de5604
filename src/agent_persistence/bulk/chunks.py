"""Rows by the chunk: bounded by rows and bytes, and cut where an earlier run of the import cut them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent_persistence.bulk.keys import RowKeys
from agent_persistence.bulk.rows import Item, Row
from agent_persistence.bulk.shards import WHOLE, Shard
from agent_persistence.bulk.values import Raw, Reject


@dataclass(slots=True)
class Chunk:
    """The records with numbers from `first` up to `end`, counted from 0: rows to be written, and rejects.

    Of the rows `records` are what is to be written, `begins` the lines they begin in, `raws` what stood there: three
    lists, because Python's garbage collector would visit an object for each row again and again. `lines` are the lines
    where the chunk's part of the source begins and where its last record does. `has_made_keys` says that every row's
    key was made here, `resent` that an earlier run may have sent it.
    """

    first: int
    end: int
    lines: tuple[int, int]
    records: list[dict[str, Any]]
    begins: list[int]
    raws: list[Raw]
    rejects: list[Reject]
    has_made_keys: bool
    resent: bool
    index: int


@dataclass(slots=True)
class Chunker:
    """Takes one item after the other, and gives a chunk whenever one is full.

    `done` items are left out, which an earlier run has dealt with; `planned` are the chunks, from there on, that it
    may have sent. So are the items of other shards, at which a chunk ends. `key` makes the rows' keys.
    With `stops` the first reject is the last item.
    """

    max_rows: int
    max_bytes: int
    key_column: str | None
    key: RowKeys
    done: int = 0
    planned: deque[tuple[int, int]] = field(default_factory=deque)
    uniform: bool = False
    stops: bool = False
    shard: Shard = WHOLE
    has_stopped: bool = False
    _number: int = 0
    _index: int = 0
    _line: int = 0
    _last: int = 0
    _count: int = 0
    _bytes: int = 0
    _has_made_keys: bool = True
    _records: list[dict[str, Any]] = field(default_factory=list)
    _begins: list[int] = field(default_factory=list)
    _raws: list[Raw] = field(default_factory=list)
    _rejects: list[Reject] = field(default_factory=list)
    _is_ruled: bool = False

    def __post_init__(self) -> None:
        self._is_ruled = self.uniform or bool(self.planned)

    def cut(self, items: Iterable[Item]) -> Iterator[Chunk]:
        """The items as chunks."""
        for item in items:
            full = self.add(item)
            if full is not None:
                yield full
            if self.has_stopped:
                break
        yield from self.rest()

    def add(self, item: Item) -> Chunk | None:
        """The chunk that was full before this item; mostly none."""
        number = self._number
        self._number = number + 1
        if number < self.done:
            return None
        if not self.shard.holds(number):
            return self._passed_over(item, number)
        size = item.size if isinstance(item, Row) else len(item.record)
        may_be_full = self._count >= self.max_rows or self._bytes + size > self.max_bytes or self._is_ruled
        full = self._taken(number) if may_be_full and self._ends_before(item, size, number) else None
        if isinstance(item, Row):
            self._give_key(item.record, number)
            self._records.append(item.record)
            self._begins.append(item.line)
            self._raws.append(item.raw)
        else:
            self._rejects.append(item)
            self.has_stopped = self.stops
        self._count += 1
        self._bytes += size
        self._last = item.line
        return full

    def _passed_over(self, item: Item, number: int) -> Chunk | None:
        full = self._taken(number) if self._count else None
        self._line = item.line
        return full

    def rest(self) -> Iterator[Chunk]:
        """The last chunk, which need not be full."""
        if self._count:
            yield self._taken(self._number)

    def _give_key(self, record: dict[str, Any], number: int) -> None:
        if self.key_column is None:
            return
        if self.key_column in record:
            self._has_made_keys = False
        else:
            record[self.key_column] = self.key(number, record)

    def _ends_before(self, item: Item, size: int, number: int) -> bool:
        """Whether the chunk is full: as an earlier run cut it, or by the bounds, or because rows that one statement
        merges have the same columns."""
        if self.planned:
            return number >= self.planned[0][1]
        is_full = self._count >= self.max_rows or self._bytes + size > self.max_bytes
        return self._count > 0 and (is_full or (self.uniform and self._differs(item)))

    def _differs(self, item: Item) -> bool:
        if not self._records or not isinstance(item, Row):
            return False
        return item.record.keys() | {self.key_column} != self._records[0].keys() | {self.key_column}

    def _taken(self, end: int) -> Chunk:
        resent = bool(self.planned)
        if resent:
            self.planned.popleft()
        self._is_ruled = self.uniform or bool(self.planned)
        made = Chunk(
            first=end - self._count,
            end=end,
            lines=(self._line + 1, self._last),
            records=self._records,
            begins=self._begins,
            raws=self._raws,
            rejects=self._rejects,
            has_made_keys=self.key_column is not None and self._has_made_keys,
            resent=resent,
            index=self._index,
        )
        self._records, self._begins, self._raws, self._rejects = [], [], [], []
        self._count, self._bytes, self._has_made_keys = 0, 0, True
        self._line = self._last
        self._index += 1
        return made
