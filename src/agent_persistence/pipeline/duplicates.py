"""Stores the rows whose key is free, and says of each of the others that it was ignored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    FailureState,
    OutcomeUnknownError,
    PersistenceError,
    RowsDroppedError,
)
from agent_persistence.operations import BatchWrite, BulkWrite, Operation, Query, Result, Write, WriteNew
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.retry.lost import KEYS_A_QUERY, Lost, Recovery, queries
from agent_persistence.query.equality import may_be_same, same
from agent_persistence.query.records import Record, Row, distinct
from agent_persistence.runtime.concurrency import together

AT_ONCE: Final = 5
MAX_BYTES: Final = 3000
"""Of the keys in one query, as they stand in a URL, which then needs no splitting."""


class Duplicates:
    """Runs once per caller's call, above the retries, below everything that checks a single call.

    A record that was not stored is ignored if a row that may be read has its key. If that row has the primary key that
    was made for the record, it is the record's own, stored by a try whose answer was lost, and counts as stored. If no
    row has the key, something else kept the record out: RowsDroppedError.
    """

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if not isinstance(operation, (Write, BatchWrite)) or operation.ignoring is None:
            return call_next(operation, context)
        return self._stored(_Sent.of(operation, operation.ignoring), context, call_next)

    async def _stored(self, sent: _Sent, context: CallContext, call_next: Rest) -> Result:
        if not sent.new.records:
            return Result(sent.value_of([]))
        result = await call_next(sent.new, context)
        rows = sent.in_order(result.value)
        if None not in rows:
            return replace(result, value=sent.value_of(rows))
        found = await self._looked_for(sent, rows, context, call_next)
        rows = [row if row is not None else sent.own(place, found.get(place)) for place, row in enumerate(rows)]
        stored = [row for row in rows if row is not None]
        dropped = [place for place, row in enumerate(rows) if row is None and place not in found]
        if dropped:
            raise sent.error_of(stored, len(dropped))
        return replace(result, value=sent.value_of(rows))

    async def _looked_for(
        self, sent: _Sent, rows: Sequence[Row | None], context: CallContext, call_next: Rest
    ) -> dict[int, Row]:
        """By the place of a record that was not stored, the row that has its key."""

        async def asked(query: Query) -> list[Row]:
            found: list[Row] = (await call_next(replace(query, limit=KEYS_A_QUERY), context)).value
            return found

        async def answered(
            places: Sequence[int], columns: tuple[str, ...], at_a_time: int = KEYS_A_QUERY
        ) -> list[tuple[Sequence[int], list[Row]]]:
            wanted = sent.by_key(places, columns, at_a_time)
            answers = await together([partial(asked, query) for query, _ in wanted], at_once=AT_ONCE)
            return [(part, answer) for (_, part), answer in zip(wanted, answers, strict=True)]

        key, left = sent.new.key, [place for place, row in enumerate(rows) if row is None]
        found: dict[int, Row] = {}
        try:
            many = await answered(left, key)
            found = sent.matched(many, key)
            unsure = [place for part, answer in many for place in sent.unsure(part, answer) if place not in found]
            found |= sent.matched(await answered(unsure, key, 1), key)
            if sent.identity != key:
                left = [place for place in left if place not in found]
                found |= sent.matched(await answered(left, sent.identity), sent.identity)
        except PersistenceError as error:
            stored = sum(row is not None for row in rows)
            raise OutcomeUnknownError(
                f"{sent.new.verb} on {sent.new.table} was applied, and {stored} of {len(rows)} rows were stored; which"
                f" of the others are duplicates could not be read: {error}",
                state=FailureState.APPLIED,
            ) from error
        return found


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was asked for, and what is sent in its place: by `identity` rows that come back are known."""

    operation: Write | BatchWrite
    new: WriteNew
    identity: tuple[str, ...]
    shown: tuple[str, ...] | None

    @classmethod
    def of(cls, operation: Write | BatchWrite, key: tuple[str, ...]) -> _Sent:
        made, may_read = operation.own_key, operation.returning
        identity = key if made is None or not (may_read is None or made in may_read) else (made,)
        shown = () if isinstance(operation, BulkWrite) else operation.returning
        asked = None if shown is None else distinct((*shown, *identity, *key))
        new = WriteNew(operation.table, operation.inserted, key, generated_key=made, returning=asked)
        return cls(operation, new, identity, shown)

    def in_order(self, stored: Sequence[Row]) -> list[Row | None]:
        """The row of each record, None of one that was not stored; rows come back in the order of the records."""
        if len(stored) == len(self.new.records):
            return list(stored)
        left = iter(stored)
        row = next(left, None)
        rows: list[Row | None] = []
        for record in self.new.records:
            is_its_own = row is not None and _has(record, row, self.identity, same)
            rows.append(row if is_its_own else None)
            row = next(left, None) if is_its_own else row
        if row is not None:
            raise AdapterError(
                f"{self.new.verb} on {self.new.table}: some of the rows were stored, and which of them the values of"
                f" ({', '.join(self.identity)}) do not say",
                state=FailureState.APPLIED,
            )
        return rows

    def by_key(
        self, places: Sequence[int], columns: tuple[str, ...], at_a_time: int
    ) -> list[tuple[Query, Sequence[int]]]:
        """Queries for the rows that have the keys of these records, each with their places; NULL is no key."""
        keys = {place: tuple(self.new.records[place].get(column) for column in columns) for place in places}
        known = {place: key for place, key in keys.items() if None not in key}
        return [
            (query, part)
            for part in _parts(known, at_a_time)
            for query in queries(self.new, Lost(Recovery.LOOK, columns, tuple(keys[place] for place in part)))
        ]

    def matched(
        self, answers: Sequence[tuple[Sequence[int], Sequence[Row]]], columns: tuple[str, ...]
    ) -> dict[int, Row]:
        """The row of each record among those that were found by these columns; of one looked for alone, any."""
        return {
            place: row
            for places, rows in answers
            for place in places
            for row in rows
            if len(places) == 1 or _has(self.new.records[place], row, columns, same)
        }

    def unsure(self, places: Sequence[int], rows: Sequence[Row]) -> list[int]:
        """The records whose key the database alone may take for that of one of these rows, as a text without case."""
        key = self.new.key
        return [place for place in places if any(_has(self.new.records[place], row, key, may_be_same) for row in rows)]

    def own(self, place: int, found: Row | None) -> Row | None:
        """The row that was found, if the key in it was made for this record."""
        made = self.new.generated_key
        if found is None or made is None or self.identity != (made,):
            return None
        return found if _has(self.new.records[place], found, self.identity, same) else None

    def value_of(self, rows: Sequence[Row | None]) -> Any:
        """The value of the operation that was asked for, with the columns that it asked for."""
        if self.operation.returns == "count":
            return sum(row is not None for row in rows)
        shown = [row and self._shown(row) for row in rows]
        return shown[0] if self.operation.returns == "row" else shown

    def _shown(self, row: Row) -> Row:
        return row if self.shown is None else {name: row[name] for name in self.shown if name in row}

    def error_of(self, stored: Sequence[Row], dropped: int) -> RowsDroppedError:
        """The error of records that were not stored, though no row that may be read has their key."""
        return RowsDroppedError(
            self.operation.verb,
            self.operation.table,
            sent=len(stored) + dropped,
            stored=len(stored),
            rows=map(self._shown, stored),
            hint="or a row that this user may not read has the same key",
        )


def _has(record: Record, row: Row, columns: Sequence[str], are_equal: Callable[[Any, Any], bool]) -> bool:
    return all(column in row and are_equal(record.get(column), row[column]) for column in columns)


def _parts(keys: Mapping[int, tuple[Any, ...]], at_a_time: int) -> Iterator[list[int]]:
    """The places of the keys in parts of so many at most, and of few bytes."""
    part: list[int] = []
    total = 0
    for place, key in keys.items():
        size = sum(len(quote(f'"{value}",')) for value in key)
        if part and (len(part) == at_a_time or total + size > MAX_BYTES):
            yield part
            part, total = [], 0
        part.append(place)
        total += size
    if part:
        yield part
