"""What can be done about a call whose answer was lost, and what the rows that are there now say about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Delete,
    Operation,
    Query,
    Unit,
    Update,
    Upsert,
    UpsertMany,
    Write,
    WriteNew,
)
from agent_persistence.query.equality import same
from agent_persistence.query.predicates import TRUE, AllOf, AnyOf, Comparison, Filter, Operator, conjunction, fold
from agent_persistence.query.records import Record, Row
from agent_persistence.schema.client_keys import ClientKeys

Key: TypeAlias = tuple[Any, ...]


class Recovery(Enum):
    RESEND = "send the same again: it cannot be applied twice"
    LOOK = "look whether the rows are as the call would have them; send again only if the last write may win"
    GIVE_UP = "sent again it might be applied twice, and no row tells"


@dataclass(frozen=True, slots=True)
class Lost:
    """The plan for one operation, and the rows that show it: those `within` with `keys` in the unique `columns`."""

    plan: Recovery
    columns: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    within: Filter = TRUE


def lost(operation: Operation, keys: ClientKeys, scope: Filter = TRUE) -> Lost:
    """What may be done about the operation, given the keys of its table, and the scope: what the layers above add to
    the filters of every call.

    An INSERT of rows that hold a set of columns which the database certainly keeps unique is its own fence: PostgreSQL
    lets the second one wait for the first, and refuses it if the first was applied. A merge and an update change rows
    that others may have changed since. A deletion by a key that only this library makes can meet no row but the one it
    was meant for; under any other key somebody may have made a new row since.
    """
    if not operation.writes:
        return Lost(Recovery.RESEND)
    unique, fences = keys.unique(operation.table), keys.fences(operation.table)
    match operation:
        case Unit(key=key):
            return Lost(Recovery.GIVE_UP if key is None else Recovery.RESEND)
        case WriteNew(records=records, generated_key=key):
            return Lost(Recovery.GIVE_UP) if key is None else _fenced(Recovery.RESEND, records, ((key,),))
        case (
            BulkWrite(on_conflict=tuple(target))
            | UpsertMany(on_conflict=target, generated_key=None)
            | Upsert(on_conflict=target, generated_key=None)
        ):
            return _fenced(Recovery.LOOK, operation.inserted, (target,) if target else unique[:1])
        case Write() | BatchWrite() | Upsert():
            return _fenced(Recovery.RESEND, operation.inserted, fences)
        case Update(computed=computed) if computed:
            return Lost(Recovery.GIVE_UP)
        case Update(filters=filters):
            return _by_key(Recovery.LOOK, filters, unique, scope)
        case Delete(filters=filters):
            made_here = (keys.column(operation.table),) in unique[:1]
            return _by_key(Recovery.RESEND if made_here else Recovery.LOOK, filters, unique, scope)
        case _:
            return Lost(Recovery.GIVE_UP)


def _fenced(plan: Recovery, records: Sequence[Record], unique: Sequence[tuple[str, ...]]) -> Lost:
    for columns in unique:
        keys = tuple(tuple(record.get(column) for column in columns) for record in records)
        if columns and all(value is not None for key in keys for value in key):
            return Lost(plan, columns, keys)
    return Lost(Recovery.GIVE_UP)


def _by_key(plan: Recovery, filters: Filter, unique: Sequence[tuple[str, ...]], scope: Filter) -> Lost:
    """A row that has left the scope is to the call as one that does not exist: it is neither changed nor looked at."""
    columns = unique[0] if unique else ()
    terms, everywhere = _terms(fold(filters)), _terms(fold(scope))
    asked = AllOf(tuple(term for term in terms if term not in everywhere))
    within = AllOf(tuple(term for term in terms if term in everywhere))
    keys = _named_keys(fold(asked), columns)
    return Lost(plan, columns, keys, within) if keys else Lost(Recovery.GIVE_UP)


def _terms(filters: Filter) -> tuple[Filter, ...]:
    return filters.terms if isinstance(filters, AllOf) else (filters,)


def _named_keys(filters: Filter, columns: tuple[str, ...]) -> tuple[Key, ...]:
    """The keys that the filter names, where it says nothing else."""
    match filters:
        case Comparison(Operator.IN, tuple(values), column) if (column,) == columns:
            return tuple((value,) for value in values)
        case Comparison() | AllOf():
            terms = _terms(filters)
            named = {t.column: t.operand for t in terms if isinstance(t, Comparison) and _is_equal_to_one(t)}
            if len(named) == len(terms) and named.keys() == {*columns}:
                return (tuple(named[column] for column in columns),)
    return ()


def _is_equal_to_one(term: Comparison) -> bool:
    return term.operator is Operator.EQ and not isinstance(term.operand, tuple)


def resent(operation: Operation) -> Operation:
    """What is sent in place of an operation whose answer was lost: the same, but an upsert under a key that only this
    call can have used is an insert, which overwrites nobody."""
    if isinstance(operation, UpsertMany) and operation.generated_key:
        return BatchWrite(
            operation.table,
            operation.records,
            generated_key=operation.generated_key,
            returning=operation.returning,
        )
    if isinstance(operation, Upsert) and operation.generated_key:
        return Write(
            operation.table,
            operation.record,
            generated_key=operation.generated_key,
            returning=operation.returning,
        )
    return operation


KEYS_A_QUERY: Final = 50


def queries(operation: Operation, seen: Lost) -> Iterator[Query]:
    """Queries for the rows that show the operation, as far as they may be read, none with a long URL."""
    readable = operation.asked_columns
    for start in range(0, len(seen.keys), KEYS_A_QUERY):
        keys = seen.keys[start : start + KEYS_A_QUERY]
        filters = fold(conjunction((_any_key(seen.columns, keys), seen.within)))
        yield Query(operation.table, filters, select=readable)


def _any_key(columns: tuple[str, ...], keys: Sequence[Key]) -> Filter:
    if len(columns) == 1 and len(keys) > 1:
        return Comparison(Operator.IN, tuple(value for (value,) in keys), columns[0])
    return fold(AnyOf(tuple(AllOf(tuple(map(_equals, columns, key))) for key in keys)))


def _equals(column: str, value: Any) -> Filter:
    return Comparison(Operator.EQ, value, column)


def applied(operation: Operation, seen: Lost, rows: Sequence[Row]) -> Any | None:
    """The operation's value, if the rows are as it would have left them; None if they are not, or not all there.

    A row under a key that was made for the call is its own, whatever a trigger or somebody else has made of it since.
    """
    found = [_with_key(rows, seen.columns, key) for key in seen.keys]
    if not found:
        return None
    match operation:
        case Write(record=record) | Upsert(record=record):
            return found[0] if operation.generated_key or _holds(found[0], record) else None
        case WriteNew():
            return [row for row in found if row is not None] or None
        case BatchWrite(records=records):
            made = operation.generated_key is not None
            whole = all(
                row is not None and (made or _holds(row, record)) for row, record in zip(found, records, strict=True)
            )
            value = len(found) if isinstance(operation, BulkWrite) else found
            return value if whole else None
        case Update(changes=changes):
            there = [row for row in found if row is not None]
            return there if there and all(_holds(row, changes) for row in there) else None
        case Delete():
            return [] if not any(found) else None
        case _:
            return None


def _with_key(rows: Sequence[Row], columns: Sequence[str], key: Key) -> Row | None:
    wanted = dict(zip(columns, key, strict=True))
    return next((row for row in rows if _holds(row, wanted)), None)


def _holds(row: Row | None, record: Record) -> bool:
    return row is not None and all(column in row and same(value, row[column]) for column, value in record.items())
