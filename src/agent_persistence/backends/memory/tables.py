"""One table of the in-memory adapter: rows in order of insertion, with the rules of the declared schema."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from agent_persistence.backends.memory.columns import TableColumns
from agent_persistence.backends.memory.paths import with_paths
from agent_persistence.backends.memory.predicates import Predicate, check_operator, predicate
from agent_persistence.backends.memory.rules import duplicate, merged_twice
from agent_persistence.backends.memory.types import sent
from agent_persistence.backends.memory.untyped import rank
from agent_persistence.backends.server_texts import NO_UNIQUE_RULE
from agent_persistence.exceptions import AdapterError
from agent_persistence.operations import filtered_columns
from agent_persistence.query.identifiers import is_path
from agent_persistence.query.ordering import Order, with_nulls_placed
from agent_persistence.query.predicates import TRUE, AllOf, Comparison, Exists, Filter, Operator, existence
from agent_persistence.query.records import Row
from agent_persistence.schema.registry import Table

OptionalRow = TypeVar("OptionalRow", Row, None)
_PLACE = ""
"""No column has this name."""


class MemoryTable:
    """Rows by an internal number, and an index for the primary key and every unique set of columns.

    Rows hold values as their types store them, not as they are printed. Every change appends to `journal` how to take
    it back. `table` finds the tables that rows are related to.
    """

    def __init__(
        self,
        name: str,
        declared: Table | None,
        journal: list[Callable[[], None]],
        table: Callable[[str], MemoryTable],
    ) -> None:
        self._name = name
        self._journal = journal
        self._table = table
        self.columns = TableColumns(name, declared)
        self._rows: dict[int, Row] = {}
        self._numbers = itertools.count()
        self._is_disordered = False
        self._indexes: dict[tuple[str, ...], dict[tuple[Any, ...], int]] = {
            columns: {} for columns in (self.primary_key, *self.columns.definition.unique) if columns
        }
        self._lookups: dict[tuple[str, ...], dict[tuple[Any, ...], dict[int, None]]] = {}

    @property
    def primary_key(self) -> tuple[str, ...]:
        return self.columns.definition.primary_key

    # --- reading ------------------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """The stored rows themselves, in order of insertion."""
        return list(self._rows.values())

    def find(self, tree: Filter | None) -> list[Row]:
        """The stored rows that the filter selects, in order of insertion."""
        if tree is None:
            return self.rows()
        holds = self._predicate(tree)
        found = self._found(tree)
        rows = self._rows.values() if found is None else [self._rows[number] for number in found]
        with self.columns.translated():
            return [row for row in rows if holds(row)]

    def select(self, tree: Filter) -> dict[int, Row]:
        """The stored rows that the filter selects, by number, in order of insertion."""
        holds = self._predicate(tree)
        found = self._found(tree)
        numbers = self._rows if found is None else found
        with self.columns.translated():
            return {number: row for number in numbers if holds(row := self._rows[number])}

    def referring(self, columns: tuple[str, ...], values: Sequence[Any]) -> dict[int, Row]:
        """The rows that hold the stored values in the columns, by number; none where a value is NULL."""
        key = self.columns.key(dict(zip(columns, values, strict=True)), columns)
        return {number: self._rows[number] for number in self._lookup(columns).get(key, ())}

    def holds(self, columns: tuple[str, ...], values: Sequence[Any]) -> bool:
        """Whether a row has these stored values in the columns."""
        key = self.columns.key(dict(zip(columns, values, strict=True)), columns)
        index = self._indexes.get(columns)
        return key in (self._lookup(columns) if index is None else index)

    def _lookup(self, columns: tuple[str, ...]) -> Mapping[tuple[Any, ...], dict[int, None]]:
        """The numbers of the rows by their values in the columns, NULLs left out; made when it is first needed."""
        found = self._lookups.get(columns)
        if found is None:
            found = self._lookups[columns] = {}
            for number, row in self._rows.items():
                self._add_to_lookup(columns, number, row)
        return found

    def _add_to_lookup(self, columns: tuple[str, ...], number: int, row: Row) -> None:
        key = self.columns.key(row, columns)
        if None not in key:
            self._lookups[columns].setdefault(key, {})[number] = None

    def _take_from_lookup(self, columns: tuple[str, ...], number: int, row: Row) -> None:
        numbers = self._lookups[columns].get(key := self.columns.key(row, columns), {})
        numbers.pop(number, None)
        if not numbers:
            self._lookups[columns].pop(key, None)

    def ordered(self, rows: list[Row], order: Sequence[Order]) -> list[Row]:
        """The rows by the most significant key first; NULLs above every value; ties keep the order of insertion."""
        paths = [key.column for key in order if is_path(key.column)]
        if paths:
            numbered = [seen | {_PLACE: place} for place, seen in enumerate(map(with_paths(paths), rows))]
            return [rows[row[_PLACE]] for row in self._sorted(numbered, order)]
        return self._sorted(rows, order)

    def _sorted(self, rows: list[Row], order: Sequence[Order]) -> list[Row]:
        for key in reversed(order):
            rows = sorted(rows, key=self._sort_key(key.column), reverse=key.descending)
            rows = with_nulls_placed(rows, key)
        return rows

    def selected(self, rows: list[Row], names: Sequence[str]) -> list[Row]:
        """These columns and paths of the rows."""
        for path in filter(is_path, names):
            self.columns.check_readable(path)
        seen = with_paths(names)
        return [{name: row.get(name) for name in names} for row in map(seen, rows)]

    def _sort_key(self, column: str) -> Callable[[Row], tuple[Any, Any]]:
        kind = self.columns.type_of(column)
        if kind.kind == "any":
            return lambda row: rank(row.get(column))
        with self.columns.translated():
            check_operator(Operator.LT, column, kind)
        key = kind.key
        if key is None:
            return lambda row: ((value := row[column]) is None, value)
        return lambda row: ((value := row[column]) is None, None if value is None else key(value))

    def _predicate(self, tree: Filter) -> Callable[[Mapping[str, Any]], bool | None]:
        names = filtered_columns(tree)
        self.columns.check_columns(names)
        related = {id(each): self._has_related(each) for each in existence(tree)}
        with self.columns.translated():
            holds = predicate(tree, self.columns.type_of, lambda exists: related[id(exists)])
        if not any(map(is_path, names)):
            return holds
        seen = with_paths(names)
        return lambda row: holds(seen(row))

    def _has_related(self, exists: Exists) -> Predicate:
        """Whether a row is related to one that the condition is about, of those that there are now."""
        link, other = exists.chosen, self._table(exists.table)
        other.columns.check_columns([link.theirs])
        found = other.find(None if exists.term == TRUE else exists.term)
        theirs = {other.columns.index_value(link.theirs, row.get(link.theirs)) for row in found} - {None}

        def holds(row: Mapping[str, Any]) -> bool:
            ours = row.get(link.ours)
            return ours is not None and other.columns.index_value(link.theirs, ours) in theirs

        return holds

    def _found(self, tree: Filter) -> Sequence[int] | None:
        """The numbers of the rows that can satisfy the filter, where it fixes a unique column; None for all rows."""
        for term in tree.terms if isinstance(tree, AllOf) else (tree,):
            if isinstance(term, Comparison) and (term.column,) in self._indexes:
                operands = _EQUALS.get(term.operator, _nothing)(term.operand)
                if operands is not None and None not in operands:
                    return self._numbers_of(term.column or "", operands)
        return None

    def _numbers_of(self, column: str, operands: Sequence[Any]) -> list[int]:
        index, kind = self._indexes[(column,)], self.columns.type_of(column)
        values = operands if kind.kind == "any" else [kind.read(sent(operand)) for operand in operands]
        found = {index.get((self.columns.index_value(column, value),)) for value in values}
        return sorted(number for number in found if number is not None)

    def column_names(self) -> list[str] | None:
        if not self.columns.is_open:
            return list(self.columns.declared)
        return list(dict.fromkeys(name for row in self._rows.values() for name in row)) or None

    # --- writing ------------------------------------------------------------------------------------------------------

    def insert(self, values: Row) -> Row:
        """Store a new row of these stored values and return it, or raise what PostgreSQL would."""
        row = self.columns.complete(values)
        self._check_unique(row, None)
        return self._put(next(self._numbers), row)

    def add(self, values: Row, key: Sequence[str]) -> Row | None:
        """Store a new row as `insert` does; None, and nothing is stored, where a row equals it in the key's columns."""
        self._check_target(key)
        row = self.columns.complete(values)
        if self._conflicting(row, key) is not None:
            return None
        self._check_unique(row, None)
        return self._put(next(self._numbers), row)

    def upsert(self, values: Row, target: Sequence[str]) -> tuple[Row | None, Row]:
        """Store a new row, or set the values in the row that equals it in the target columns, if there are any.

        Returns that row as it was, or None, and as it is.
        """
        if not target:
            return None, self.insert(values)
        self._check_target(target)
        row = self.columns.complete(values)
        number = self._conflicting(row, target)
        if number is None:
            self._check_unique(row, None)
            return None, self._put(next(self._numbers), row)
        return self._rows[number], self._merge(number, values)

    def merge_all(self, rows: Sequence[Row], target: Sequence[str]) -> list[tuple[Row | None, Row]]:
        """Upsert each of the rows, of which no two may be stored as one (ExecOnConflictUpdate in nodeModifyTable.c)."""
        merged: dict[int, tuple[Row | None, Row]] = {}
        for values in rows:
            before, row = self.upsert(values, target)
            if id(before) in merged:
                raise merged_twice(self._name, target)
            merged[id(row)] = before, row
        return list(merged.values())

    def update(self, values: Row, numbers: Iterable[int]) -> list[Row]:
        """Set the stored values in the rows of these numbers, and return the rows as they are now."""
        return [self._merge(number, values) for number in numbers]

    def delete(self, numbers: Iterable[int]) -> None:
        """Remove the rows of these numbers."""
        for number in numbers:
            self._put(number, None)

    def _merge(self, number: int, values: Row) -> Row:
        merged = self.columns.merged(self._rows[number], values)
        self._check_unique(merged, number)
        return self._put(number, merged)

    def _check_target(self, target: Sequence[str]) -> None:
        self.columns.check_columns(target)
        if not self.columns.is_open and set(target) not in [set(columns) for columns in self._indexes]:
            raise AdapterError(
                f"{self._name} has no unique constraint on ({', '.join(target)})",
                status=400,
                code="42P10",
                hint=NO_UNIQUE_RULE,
            )

    def _check_unique(self, row: Row, own_number: int | None) -> None:
        for columns, index in self._indexes.items():
            if index.get(self.columns.key(row, columns), own_number) != own_number:
                raise duplicate(self._name, columns, is_primary=columns == self.primary_key)

    def _conflicting(self, row: Row, target: Sequence[str]) -> int | None:
        for columns, index in self._indexes.items():
            if set(columns) == set(target):
                return index.get(self.columns.key(row, columns))
        return next(iter(self._lookup(tuple(target)).get(self.columns.key(row, target), ())), None)

    def _put(self, number: int, row: OptionalRow) -> OptionalRow:
        self._journal.append(partial(self._restore, number, self._rows.get(number)))
        self._replace(number, row)
        return row

    def _restore(self, number: int, row: Row | None) -> None:
        self._is_disordered |= number not in self._rows
        self._replace(number, row)

    def settle(self) -> None:
        """Put rows that were taken back where they were."""
        if self._is_disordered:
            self._rows = dict(sorted(self._rows.items()))
            self._is_disordered = False

    def _replace(self, number: int, row: Row | None) -> None:
        before = self._rows.get(number)
        if before is not None:
            self._take_from_indexes(number, before)
        if row is None:
            self._rows.pop(number, None)
        else:
            self._add_to_indexes(number, row)
            self._rows[number] = row

    def _take_from_indexes(self, number: int, row: Row) -> None:
        for columns, index in self._indexes.items():
            index.pop(self.columns.key(row, columns), None)
        for columns in self._lookups:
            self._take_from_lookup(columns, number, row)

    def _add_to_indexes(self, number: int, row: Row) -> None:
        for columns, index in self._indexes.items():
            if None not in (key := self.columns.key(row, columns)):
                index[key] = number
        for columns in self._lookups:
            self._add_to_lookup(columns, number, row)


def _nothing(operand: Any) -> None:
    return None


_EQUALS: dict[Operator, Callable[[Any], Sequence[Any] | None]] = {
    Operator.EQ: lambda operand: None if isinstance(operand, tuple) else (operand,),
    Operator.IN: lambda operands: tuple(operands),
}
