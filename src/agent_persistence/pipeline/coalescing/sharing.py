"""Operations of several callers as one, and its answer as theirs. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final, TypeAlias

from agent_persistence.backends.base import only_row
from agent_persistence.exceptions import OutcomeUnknownError, PersistenceError, RowsDroppedError
from agent_persistence.operations import BatchWrite, Count, Operation, Query, Read, Result, Write
from agent_persistence.pipeline.caching.copies import copied
from agent_persistence.pipeline.caching.fingerprint import fingerprint
from agent_persistence.pipeline.retry.dropped import own_rows
from agent_persistence.query.equality import same
from agent_persistence.query.predicates import Comparison, Operator
from agent_persistence.query.records import Row
from agent_persistence.schema.client_keys import ClientKeys

Part: TypeAlias = Result | PersistenceError | None
"""One caller's share of an answer; None where it has to ask for itself."""


def kind(operation: Operation, keys: ClientKeys) -> Hashable | None:
    """What operations that can go together have in common; None for one that goes alone.

    Rows with keys of the callers' own go alone: a conflict of one would look like a lost answer of all.
    """
    match operation:
        case Write(table, record):
            if operation.generated_key is None and not record.keys().isdisjoint(keys.primary(table)):
                return None
            return "write", table, frozenset(record), operation.generated_key, operation.returning
        case Read(table, _, id_column) if (id_column,) in keys.unique(table):
            return "read", table, id_column
        case Query() | Count():
            return fingerprint(operation)
        case _:
            return None


def together(operations: Sequence[Operation]) -> Operation:
    """One operation for several of a kind: writes as a batch, reads by key as a query, equal queries as one of them."""
    match first := operations[0]:
        case Write(table):
            records = tuple(operation.record for operation in operations if isinstance(operation, Write))
            return BatchWrite(table, records, generated_key=first.generated_key, returning=first.returning)
        case Read(table, _, id_column):
            found = {(type(each.id_value), each.id_value) for each in operations if isinstance(each, Read)}
            values = tuple(value for _, value in sorted(found, key=repr))
            return Query(table, Comparison(Operator.IN, values, id_column))
        case _:
            return first


def parts(answer: Result, operations: Sequence[Operation]) -> list[Part]:
    """Each operation's share of the answer to all of them, in their order, for its caller to keep and to change."""
    match operations[0]:
        case Write():
            return [
                Result(row, answer.attempts, spooled=answer.spooled)
                for row, _ in zip(answer.value, operations, strict=True)
            ]
        case Read(table, _, id_column):
            return _rows_by_key(answer, table, id_column, [each for each in operations if isinstance(each, Read)])
        case _:
            return [answer, *(replace(answer, value=copied(answer.value)) for _ in operations[1:])]


def parts_of_some(error: RowsDroppedError, operations: Sequence[Operation]) -> list[Part]:
    """Each operation's share where the database stored only some of their rows."""
    return [*own_rows(error.stored, error.rows, [each for each in operations if isinstance(each, Write)])]


def _rows_by_key(answer: Result, table: str, column: str, reads: Sequence[Read]) -> list[Part]:
    """The row of each key. While a row looks like nobody's, those without one cannot be said to have none."""
    by_text: dict[str, list[Row]] = {}
    for row in answer.value:
        by_text.setdefault(_text(row[column]), []).append(row)
    found = [
        [row for row in by_text.get(_text(read.id_value), ()) if same(read.id_value, row[column])] for read in reads
    ]
    claimed = {id(row) for rows in found for row in rows}
    nothing = replace(answer, value=None) if len(claimed) == len(answer.value) else None
    return [_only(answer, table, column, rows) if rows else nothing for rows in found]


def _only(answer: Result, table: str, column: str, rows: Sequence[Row]) -> Part:
    try:
        return replace(answer, value=copied(only_row(table, column, rows)))
    except PersistenceError as error:
        return error


def _text(value: Any) -> str:
    return str(value).lower()


def own_error(error: Exception, operation: Operation) -> Exception:
    """The error of the whole as one caller's own, with the key of its own row."""
    own = copy(error)
    own.__cause__ = error
    if isinstance(own, OutcomeUnknownError):
        own.key = key_of(operation)
    return own


def key_of(operation: Operation) -> object:
    """The key that the library made for the row."""
    return operation.record.get(operation.generated_key or "") if isinstance(operation, Write) else None


_LEAST_BYTES: Final = 64


def size(operation: Operation) -> int:
    """About how many bytes the operation adds to a request."""
    values = operation.record.values() if isinstance(operation, Write) else ()
    return _LEAST_BYTES + sum(len(value) if isinstance(value, str) else 16 for value in values)
