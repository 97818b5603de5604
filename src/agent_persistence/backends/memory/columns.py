"""The columns of a table of the in-memory adapter: the values that they take, store and are indexed by."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent_persistence.backends.base import ASK_POSTGRES
from agent_persistence.backends.memory.computing import computed
from agent_persistence.backends.memory.refusals import (
    NoSuchOperatorError,
    NotOfTypeError,
    TwinCannotTellError,
)
from agent_persistence.backends.memory.rules import check_values
from agent_persistence.backends.memory.times import stamp
from agent_persistence.backends.memory.types import PgType, enum_type, pg_type
from agent_persistence.exceptions import AdapterError, UnsupportedOperationError
from agent_persistence.query.computed import Computed, Increment, Merge
from agent_persistence.query.identifiers import base_column, is_path
from agent_persistence.query.records import Record, Row, differ_in_keys
from agent_persistence.schema.client_keys import uuid7
from agent_persistence.schema.registry import Column, Generated, Table

_UNDECLARED = Table({"id": Column("any", default=Generated.UUID), "created_at": Column("any", default=Generated.NOW)})


class TableColumns:
    """What the declaration of a table says of its columns; one that nobody declared takes any."""

    def __init__(self, table: str, definition: Table | None) -> None:
        self._table = table
        self.is_open = definition is None
        self.definition = definition or _UNDECLARED
        self.declared = self.definition.columns
        self._types = {name: _type(column) for name, column in self.declared.items()}
        self._identity = itertools.count(1)

    def type_of(self, column: str) -> PgType:
        """The type of a column, or of what a path reads."""
        if is_path(column):
            self.check_readable(column)
            return pg_type("text" if "->>" in column else "jsonb")
        return self._types.get(column) or pg_type("any")

    def check_readable(self, path: str) -> None:
        """Refuse paths of what is no jsonb: a json column keeps its text, which is not kept here."""
        if self.type_of(base_column(path)).kind not in ("jsonb", "any"):
            problem = "paths of columns that are not jsonb"
            raise UnsupportedOperationError(
                f"{self._table}.{path}", "json", str(TwinCannotTellError(problem)), ASK_POSTGRES
            )

    def check_columns(self, names: Iterable[str]) -> None:
        """Refuse names that a declared table does not have, as PostgreSQL does."""
        for name in names:
            if not self.is_open and base_column(name) not in self.declared:
                raise AdapterError(f"column {self._table}.{name} does not exist", status=400, code="42703")

    def stored(self, record: Record) -> Row:
        """The record's values as their columns store them; PGRST204 for a column that is not there."""
        self.check_record(record)
        return {name: self._store(name, value) for name, value in record.items()}

    def check_record(self, record: Record) -> None:
        """Refuse a column that is not there, as PostgREST does before it looks at a value: PGRST204."""
        unknown = next((name for name in record if not self.is_open and name not in self.declared), None)
        if unknown is not None:
            raise AdapterError(
                f"{self._table} has no column {unknown!r}; it has {', '.join(self.declared)}",
                status=400,
                code="PGRST204",
            )

    def all_stored(self, records: Sequence[Record]) -> list[Row]:
        """The records' values as their columns store them.

        PostgREST computes the defaults of the columns that are named to it where keys differ (`missing=default`), for
        every row: an identity that any record gives takes a number for each of them (fromJsonBodyF in SqlFragment.hs).
        """
        for record in records:
            self.check_record(record)
        if differ_in_keys(records):
            for name, column in self.declared.items():
                if column.default is Generated.IDENTITY and any(name in record for record in records):
                    records = [{name: next(self._identity), **record} for record in records]
        return [self.stored(record) for record in records]

    def _computed(self, column: str, value: Any, change: Computed) -> Any:
        with self.translated(column):
            return computed(column, self.type_of(column), value, change)

    def _store(self, column: str, value: Any) -> Any:
        kind = self.type_of(column)
        if isinstance(value, (Increment, Merge)):
            return replace(value, operand=self._store(column, value.operand))
        if value is None or kind.kind in ("any", "unknown"):
            return _copied(value)
        with self.translated(column):
            return kind.store(value)

    @contextmanager
    def translated(self, column: str | None = None) -> Iterator[None]:
        """What was raised below without knowledge of the table, as errors of this package."""
        where = self._table if column is None else f"{self._table}.{column}"
        try:
            yield
        except (NotOfTypeError, NoSuchOperatorError) as problem:
            status = 404 if problem.code == "42883" else 400
            raise AdapterError(f"{where}: {problem}", status=status, code=problem.code) from None
        except TwinCannotTellError as problem:
            raise UnsupportedOperationError(where, "types", str(problem), ASK_POSTGRES) from None

    def index_value(self, column: str, value: Any) -> Any:
        key = self.type_of(column).key
        return hashable(value) if key is None or value is None else key(value)

    def key(self, row: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
        return tuple([self.index_value(column, row.get(column)) for column in columns])

    def complete(self, values: Row) -> Row:
        """The row with defaults filled in, in the table's column order."""
        row = {
            name: values[name] if name in values else self._default(name, column)
            for name, column in self.declared.items()
        }
        check_values(self._table, self.declared, row)
        return row | {name: value for name, value in values.items() if name not in row}

    def _default(self, name: str, column: Column) -> Any:
        match column.default:
            case Generated.UUID:
                return uuid7()  # rising, so that the order by key is the order of insertion
            case Generated.NOW:
                return stamp(datetime.now(UTC))
            case Generated.IDENTITY:
                return next(self._identity)
            case constant:
                return self._store(name, constant)

    def merged(self, row: Row, values: Row) -> Row:
        """The row with these stored values in place of its own, and with what is computed of its own."""
        new = {
            name: self._computed(name, row.get(name), value) if isinstance(value, (Increment, Merge)) else value
            for name, value in values.items()
        }
        row = {**row, **_copied(new)}
        check_values(self._table, self.declared, row)
        return row


def _type(column: Column) -> PgType:
    """The column's type; one of an unknown name whose values are listed is an enum."""
    known = pg_type(column.type)
    return enum_type(column.type, column.one_of) if known.kind == "unknown" and column.one_of else known


def hashable(value: Any) -> Any:
    """A key's value that equals another one exactly when the JSON values do."""
    if isinstance(value, (list, dict)):
        raise AdapterError(f"a key holds one value, not a {type(value).__name__}", status=400, code="22P02")
    return ("bool", value) if isinstance(value, bool) else value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
