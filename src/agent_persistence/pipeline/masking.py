"""Hides values: in rows before anybody sees them, in records before they are stored."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    ColumnNotAllowedError,
    ConfigurationError,
    PersistencePermissionError,
    ValidationError,
)
from agent_persistence.operations import (
    KNOWN,
    Call,
    Operation,
    Query,
    Result,
    each_level,
    filtered_columns,
    related,
    unknown,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.query.identifiers import base_column, is_path
from agent_persistence.query.predicates import Comparison, Exists, Filter, comparisons, existence
from agent_persistence.query.records import Deferred, Record, Row
from agent_persistence.redaction.redacting import Action, Redaction, allow, drop, pseudonymize
from agent_persistence.schema.registry import Schema

_ALLOW: Final = type(allow())
_DROP: Final = type(drop())
_PSEUDONYMIZE: Final = type(pseudonymize())
_ALLOWED: Final = allow()
_KEY: Final = frozenset({"id"})
"""The key of a table that is not declared, as in Schema."""


class Masking:
    """Runs once per caller's call; does with each column what a Redaction says: `reads` on the rows that any verb
    returns, `writes` on the records that any verb stores.

    Declared primary and foreign keys stay as they are unless the Redaction names them. A column that `reads` hides may
    be neither filtered by, sorted by nor looked up by, since that would show its values; `rows` are the policy's own
    filters by table, which show nothing. A column that is dropped is absent from rows, and from lists of columns.

    A column that `writes` drops is not stored; one that it does not name is refused where it would be dropped, so that
    nothing is lost silently. An upsert finds its row by values that are stored as they are, or pseudonymised. What a
    function returns, and what a function that writes is given, is treated as rows of a table of its name.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        reads: Redaction | None = None,
        writes: Redaction | None = None,
        rows: Mapping[str, Filter] = MappingProxyType({}),
    ) -> None:
        keys = {
            name: frozenset((*table.primary_key, *(column for link in table.foreign_keys for column in link.columns)))
            for name, table in schema.tables.items()
        }
        self._out = None if reads is None else _Mask("reads", reads, keys)
        self._in = None if writes is None else _Mask("writes", writes, _with_columns(keys, rows))
        self._rows = {table: tuple(comparisons(filters)) for table, filters in rows.items()}
        self._own = tuple(each for filters in rows.values() for each in existence(filters))
        if self._in is not None:
            self._in.check_keys({name: table.primary_key for name, table in schema.tables.items()})

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if type(operation) not in KNOWN:
            raise unknown(operation)
        if self._in is not None and operation.writes:
            operation = _stored(operation, self._in)
        if self._out is None:
            return call_next(operation, context)
        self._check(operation, self._out)
        return self._shown(operation, context, call_next, self._out)

    async def _shown(self, operation: Operation, context: CallContext, call_next: Rest, out: _Mask) -> Result:
        result = await call_next(operation, context)
        if operation.returns == "count" or result.value is None:
            return result
        if operation.returns == "columns":
            return replace(result, value=[name for name in result.value if not out.drops(operation.table, name)])
        if isinstance(operation, Query) and operation.include:
            rows = each_level(operation, result.value, lambda query, rows: [out.row(query.table, row) for row in rows])
            return replace(result, value=rows)
        return replace(result, value=out.value(operation.table, result.value))

    def _check(self, operation: Operation, out: _Mask) -> None:
        """Refuse what would show a hidden value by other means than a row."""
        if isinstance(operation, Call):
            return out.check_named(operation)
        self._check_deciding_columns(operation, (), out)
        for each in related(operation, but=self._own):
            self._check_deciding_columns(each.query, (each.link.theirs,), out)
        return None

    def _check_deciding_columns(self, operation: Operation, linked: Sequence[str], out: _Mask) -> None:
        own: tuple[Comparison | Exists, ...] = (*self._rows.get(operation.table, ()), *self._own)
        for column in (*_deciding_columns(operation, own), *linked):
            if not out.shows(operation.table, column):
                raise ColumnNotAllowedError(
                    operation.table,
                    column,
                    "it is masked, and a filter, an order or a look-up by it would tell its values",
                    "where they may be told, say allow() for it in the Redaction",
                )


def _stored(operation: Operation, inward: _Mask) -> Operation:
    """The operation with what is to be stored in the place of what was given."""
    inward.check_target(operation.table, operation.found_by or ())
    return operation.with_records(partial(inward.record, operation.table))


class _Mask:
    """A Redaction for one direction that leaves columns in `kept` alone unless it names them."""

    def __init__(self, option: str, redaction: object, kept: Mapping[str, frozenset[str]]) -> None:
        if not isinstance(redaction, Redaction):
            raise ConfigurationError(f"{option} is a Redaction, not {type(redaction).__name__}")
        self._option = option
        self._redaction = redaction
        self._kept = kept

    def shows(self, table: str, column: str) -> bool:
        """Whether the column's values are left as they are."""
        return isinstance(self._action(table, column), _ALLOW)

    def drops(self, table: str, column: str) -> bool:
        """Whether the column is left out."""
        return isinstance(self._action(table, column), _DROP)

    def check_named(self, call: Call) -> None:
        """Refuse to call a function whose rows would lose every column."""
        if isinstance(self._redaction.unknown, _DROP) and call.table not in self._redaction.columns:
            raise PersistencePermissionError(
                f"{call.table} is not called: the Redaction for {self._option} says nothing of what it returns, and"
                f" would drop it; name its columns, as in {{{call.table!r}: {{'email': redact('email')}}}}"
            )

    def check_keys(self, keys: Mapping[str, Iterable[str]]) -> None:
        """Refuse to store many keys as the same: the write of another row would be taken for one that is there."""
        for table, columns in keys.items():
            for column in columns:
                if not self._keeps_distinct(table, column):
                    raise ConfigurationError(
                        f"{self._option}: {table}.{column} is a primary key, whose masked values are not told apart;"
                        " say allow() or pseudonymize() for it in the Redaction"
                    )

    def check_target(self, table: str, columns: Iterable[str]) -> None:
        """Refuse to look for a row by values of which many are stored as the same."""
        for column in columns:
            if not self._keeps_distinct(table, column):
                raise ColumnNotAllowedError(
                    table,
                    column,
                    "a stored row is found by this column, whose masked values are not told apart",
                    "say allow() or pseudonymize() for it in the Redaction",
                )

    def record(self, table: str, record: Record) -> Row:
        """The record as it is to be stored."""
        for column, value in record.items():
            if isinstance(value, Deferred) and not self.shows(table, column):
                problem = "it is masked, and a value that only the database knows cannot be"
                raise ColumnNotAllowedError(table, column, problem)
            if self.drops(table, column) and not self._names(table, column):
                raise ColumnNotAllowedError(
                    table,
                    column,
                    "it is masked, and its value would be dropped",
                    f"say allow(), drop() or another action for it in the Redaction for {self._option}",
                )
        stored = self.row(table, record)
        if record and not stored:
            problem = "every column of the record is masked and dropped"
            raise ValidationError(table, problem, f"that is what the Redaction for {self._option} says")
        return stored

    def value(self, table: str, value: Any) -> Any:
        """The rows, the row or, of a function, the value, which is masked like a column of the function's name."""
        if isinstance(value, (list, tuple)):
            return [self.value(table, item) for item in value]
        if isinstance(value, Mapping):
            return self.row(table, value)
        return None if value is None else self.row(table, {table: value}).get(table)

    def row(self, table: str, row: Record) -> Row:
        """The row with every column masked; those that are dropped are absent, and NULL stays NULL."""
        hidden = {name: value for name, value in row.items() if not self.shows(table, name)}
        if not hidden:
            return dict(row)
        plain = {name: value for name, value in hidden.items() if not is_path(name)}
        masked = self._redaction.row(table, plain)
        for path in hidden.keys() - plain.keys():
            base = base_column(path)
            redacted = self._redaction.row(table, {**plain, base: hidden[path]})  # beside what is known of the others
            if base in redacted:
                masked[path] = redacted[base]
        return {
            name: masked[name] if name in hidden else value
            for name, value in row.items()
            if name in masked or name not in hidden
        }

    def _keeps_distinct(self, table: str, column: str) -> bool:
        return isinstance(self._action(table, column), (_ALLOW, _PSEUDONYMIZE))

    def _action(self, table: str, column: str) -> Action:
        """What is done with the column, or with the column of which it is a path."""
        column = base_column(column)
        if not self._names(table, column) and column in self._kept.get(table, _KEY):
            return _ALLOWED
        return self._redaction.action(table, column)

    def _names(self, table: str, column: str) -> bool:
        return column in self._redaction.columns.get(table, ())


def _with_columns(keys: Mapping[str, frozenset[str]], rows: Mapping[str, Filter]) -> dict[str, frozenset[str]]:
    """The keys and the columns of the filters: a row must be stored where its policy looks for it."""
    return {
        table: keys.get(table, _KEY).union(filtered_columns(rows.get(table))) for table in keys.keys() | rows.keys()
    }


def _deciding_columns(operation: Operation, own: Sequence[Comparison | Exists]) -> Iterator[str]:
    """The columns whose values decide which rows come back, and in which order; but for conditions that are `own`."""
    leaves: tuple[Comparison | Exists, ...] = (*comparisons(operation.filter), *existence(operation.filter))
    for leaf in leaves:
        if not any(leaf is known for known in own):
            yield leaf.chosen.ours if isinstance(leaf, Exists) else leaf.column or ""
    yield from operation.telling_columns()
