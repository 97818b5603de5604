"""Which answers a write makes stale, as far as the schema says what depends on what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from agent_persistence.operations import BatchWrite, Call, Operation, Write, WritingCall, related
from agent_persistence.schema.registry import Schema

_ANYTHING: Final = "any table"
_EVERYTHING: Final = "all tables"


@dataclass(slots=True)
class _Scope:
    """What reads depend on and writes change."""

    version: int = 0
    under_way: int = 0
    unsettled_until: float = -inf


class Staleness:
    """What was written so far, and is being written. Not safe across threads.

    A write makes its own table stale; an upsert, update or delete also the tables that refer to it by foreign keys,
    directly or through others, for it may cascade. A view (a table without a key), a table that is not declared and a
    function may show rows of any table: every write makes them stale. A function that writes makes all stale.
    """

    __slots__ = ("_dependent", "_schema", "_scopes")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._dependent = _dependent(schema)
        self._scopes: defaultdict[str, _Scope] = defaultdict(_Scope)

    def version(self, read: Operation) -> tuple[int, ...]:
        """Equal to an earlier one only if no write that matters to the read began or ended in between."""
        return tuple(scope.version for scope in self._mattering(read))

    def is_settled(self, read: Operation, now: float) -> bool:
        """Whether no write that matters to the read is under way or may still be applied."""
        return all(scope.under_way == 0 and scope.unsettled_until <= now for scope in self._mattering(read))

    def begin(self, write: Operation) -> None:
        """What the write may change is stale from now on."""
        for scope in self._touched(write):
            scope.version += 1
            scope.under_way += 1

    def end(self, write: Operation, *, unsettled_until: float) -> None:
        """What was read meanwhile is stale too; nothing counts as settled before `unsettled_until`."""
        for scope in self._touched(write):
            scope.version += 1
            scope.under_way -= 1
            scope.unsettled_until = max(scope.unsettled_until, unsettled_until)

    def spoil(self) -> None:
        """Everything is stale."""
        self._scopes[_ANYTHING].version += 1
        self._scopes[_EVERYTHING].version += 1

    def _mattering(self, read: Operation) -> Iterator[_Scope]:
        tables = {read.table, *(each.query.table for each in related(read))}
        if isinstance(read, Call) or not all(map(self._is_followed, tables)):
            yield self._scopes[_ANYTHING]
        else:
            for table in sorted(tables):
                yield self._scopes[table]
            yield self._scopes[_EVERYTHING]

    def _is_followed(self, table: str) -> bool:
        """Whether what is written into other tables shows in this one only as its foreign keys say."""
        return table in self._schema.tables and bool(self._schema.primary_key(table))

    def _touched(self, write: Operation) -> Iterator[_Scope]:
        yield self._scopes[_ANYTHING]
        if isinstance(write, WritingCall):
            yield self._scopes[_EVERYTHING]
            return
        yield self._scopes[write.table]
        only_adds = isinstance(write, (Write, BatchWrite)) and write.merges_by is None
        if not only_adds:
            for table in self._dependent.get(write.table, ()):
                yield self._scopes[table]


def _dependent(schema: Schema) -> Mapping[str, frozenset[str]]:
    """By table, those whose rows a change of its keys may reach."""
    children: defaultdict[str, set[str]] = defaultdict(set)
    for name, table in schema.tables.items():
        for link in table.foreign_keys:
            children[link.table].add(name)
    return {table: frozenset(_reached(table, children)) for table in tuple(children)}


def _reached(table: str, children: Mapping[str, set[str]]) -> Iterator[str]:
    seen, waiting = {table}, [table]
    while waiting:
        found = children.get(waiting.pop(), set()) - seen
        yield from found
        seen |= found
        waiting += found
