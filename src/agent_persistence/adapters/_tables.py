"""One table of the in-memory adapter: rows in order of insertion, with the rules of the declared schema."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from agent_persistence.adapters._pgtypes import NotOfTypeError, cast, timestamp
from agent_persistence.adapters._predicates import predicate
from agent_persistence.exceptions import AdapterError, ConflictError
from agent_persistence.filters import AllOf, Comparison, Filter, Operator, comparisons
from agent_persistence.records import Record, Row
from agent_persistence.schema_registry import Column, Generated, Table

OptionalRow = TypeVar("OptionalRow", Row, None)
_UNDECLARED = Table({"id": Column("any", default=Generated.UUID), "created_at": Column("any", default=Generated.NOW)})


class MemoryTable:
    """Rows by an internal number, and an index for the primary key and every unique set of columns.

    Every change appends to `journal` how to take it back.
    """

    def __init__(self, name: str, declared: Table | None, journal: list[Callable[[], None]]) -> None:
        self._name = name
        self._journal = journal
        self._open = declared is None
        self._definition = declared or _UNDECLARED
        self._rows: dict[int, Row] = {}
        self._numbers = itertools.count()
        self._identity = itertools.count(1)
        self._indexes: dict[tuple[str, ...], dict[tuple[Any, ...], int]] = {
            columns: {} for columns in (self.primary_key, *self._definition.unique)
        }

    @property
    def primary_key(self) -> tuple[str, ...]:
        return self._definition.primary_key

    def rows(self) -> list[Row]:
        """The stored rows themselves, in order of insertion."""
        return list(self._rows.values())

    def select(self, tree: Filter | None) -> dict[int, Row]:
        """The stored rows that the filter selects, by number, in order of insertion."""
        if tree is None:
            return dict(self._rows)
        self.check_columns([leaf.column or "" for leaf in comparisons(tree)])
        holds = predicate(tree, self.cast)
        return {number: row for number, row in self._candidates(tree) if holds(row)}

    def _candidates(self, tree: Filter) -> Iterable[tuple[int, Row]]:
        """The rows that can satisfy the filter: one at most where it fixes a unique column, else all."""
        for term in tree.terms if isinstance(tree, AllOf) else (tree,):
            if isinstance(term, Comparison) and term.operator is Operator.EQ:
                column = term.column or ""
                if (column,) in self._indexes:
                    number = self._indexes[(column,)].get((hashable(self.cast(column, term.operand)),))
                    return () if number is None else ((number, self._rows[number]),)
        return self._rows.items()

    def cast(self, column: str, value: Any) -> Any:
        """The value as the column would store it."""
        declared = self._definition.columns.get(column)
        if declared is None:
            return value
        try:
            return cast(declared.type, value)
        except NotOfTypeError as problem:
            raise AdapterError(f"{self._name}.{column}: {problem}", status=400, code=problem.code) from None

    def column_names(self) -> list[str] | None:
        if not self._open:
            return list(self._definition.columns)
        return list(dict.fromkeys(name for row in self._rows.values() for name in row)) or None

    def check_columns(self, names: Iterable[str]) -> None:
        """Refuse names that a declared table does not have, as PostgreSQL does."""
        for name in names:
            if not self._open and name not in self._definition.columns:
                raise AdapterError(f"column {self._name}.{name} does not exist", status=400, code="42703")

    def insert(self, record: Record) -> Row:
        """Store a new row and return it, or raise what PostgreSQL would."""
        row = self._complete(record)
        self._check_unique(row, None)
        return self._put(next(self._numbers), row)

    def upsert(self, record: Record, target: Sequence[str]) -> tuple[Row | None, Row]:
        """Store a new row, or set the record's columns in the row that equals it in the target columns.

        Returns that row as it was, or None, and as it is.
        """
        if not self._open and tuple(sorted(target)) not in {tuple(sorted(columns)) for columns in self._indexes}:
            raise AdapterError(
                f"{self._name} has no unique constraint on ({', '.join(target)})", status=400, code="42P10"
            )
        row = self._complete(record)
        number = self._conflicting(row, target)
        if number is None:
            self._check_unique(row, None)
            return None, self._put(next(self._numbers), row)
        return self._rows[number], self._merge(number, {column: row[column] for column in record})

    def _merge(self, number: int, changes: Mapping[str, Any]) -> Row:
        merged = {**self._rows[number], **changes}
        self._check_unique(merged, number)
        return self._put(number, merged)

    def update(self, changes: Record, numbers: Iterable[int]) -> list[Row]:
        """Set the columns in the rows of these numbers, and return the rows as they are now."""
        self.check_columns(changes)
        values = {name: copied_value(self.cast(name, value)) for name, value in changes.items()}
        for name, column in self._definition.columns.items():
            if name in values:
                self._check_value(name, column, values[name])
        return [self._merge(number, values) for number in numbers]

    def delete(self, numbers: Iterable[int]) -> None:
        """Remove the rows of these numbers."""
        for number in numbers:
            self._put(number, None)

    def holds(self, column: str, value: Any) -> bool:
        """Whether a row has this value in the column."""
        index = self._indexes.get((column,))
        return (
            (hashable(value),) in index
            if index is not None
            else any(row.get(column) == value for row in self._rows.values())
        )

    def _complete(self, record: Record) -> Row:
        """The row with types cast and defaults filled in, in the table's column order."""
        unknown = [name for name in record if name not in self._definition.columns]
        if unknown and not self._open:
            raise AdapterError(
                f"{self._name} has no column {unknown[0]!r}; it has {', '.join(self._definition.columns)}",
                status=400,
                code="PGRST204",
            )
        row = {
            name: copied_value(self.cast(name, record[name])) if name in record else self._default(column)
            for name, column in self._definition.columns.items()
        }
        for name, column in self._definition.columns.items():
            self._check_value(name, column, row[name])
        return row | {name: copied_value(record[name]) for name in unknown}

    def _default(self, column: Column) -> Any:
        match column.default:
            case Generated.UUID:
                return str(uuid4())
            case Generated.NOW:
                return timestamp(datetime.now(UTC))
            case Generated.IDENTITY:
                return next(self._identity)
            case constant:
                return copied_value(constant)

    def _check_value(self, name: str, column: Column, value: Any) -> None:
        if value is None and not column.nullable:
            raise ConflictError(f"{self._name}.{name} may not be null", constraint=None, status=400, code="23502")
        if column.one_of and value is not None and value not in column.one_of:
            constraint = f"{self._name}_{name}_check"
            raise ConflictError(
                f"{self._name}.{name} must be one of {', '.join(column.one_of)} ({constraint})",
                constraint=constraint,
                status=400,
                code="23514",
            )

    def _check_unique(self, row: Row, own_number: int | None) -> None:
        for columns, index in self._indexes.items():
            if index.get(_key(row, columns), own_number) != own_number:
                suffix = "pkey" if columns == self.primary_key else f"{'_'.join(columns)}_key"
                constraint = f"{self._name}_{suffix}"
                raise ConflictError(
                    f"a row of {self._name} with this {', '.join(columns)} exists ({constraint})",
                    constraint=constraint,
                    status=409,
                    code="23505",
                )

    def _conflicting(self, row: Row, target: Sequence[str]) -> int | None:
        for columns, index in self._indexes.items():
            if sorted(columns) == sorted(target):
                return index.get(_key(row, columns))
        wanted = _key(row, target)
        if None in wanted:
            return None
        return next((number for number, other in self._rows.items() if _key(other, target) == wanted), None)

    def _put(self, number: int, row: OptionalRow) -> OptionalRow:
        self._journal.append(partial(self._restore, number, self._rows.get(number)))
        self._replace(number, row)
        return row

    def _restore(self, number: int, row: Row | None) -> None:
        is_back = number not in self._rows
        self._replace(number, row)
        if is_back:
            self._rows = dict(sorted(self._rows.items()))

    def _replace(self, number: int, row: Row | None) -> None:
        before = self._rows.get(number)
        for columns, index in self._indexes.items():
            if before is not None:
                index.pop(_key(before, columns), None)
            if row is not None and None not in _key(row, columns):
                index[_key(row, columns)] = number
        if row is None:
            self._rows.pop(number, None)
        else:
            self._rows[number] = row


def _key(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(hashable(row.get(column)) for column in columns)


def hashable(value: Any) -> Any:
    """A key's value that equals another one exactly when the JSON values do."""
    if isinstance(value, (list, dict)):
        raise AdapterError(f"a key holds one value, not a {type(value).__name__}", status=400, code="22P02")
    return ("bool", value) if isinstance(value, bool) else value


def copied(row: Row) -> Row:
    """A row that shares nothing mutable with the original."""
    return {name: copied_value(value) for name, value in row.items()}


def copied_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied_value(item) for key, item in value.items()}
    return [copied_value(item) for item in value] if isinstance(value, list) else value
