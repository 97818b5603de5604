"""What the rows of an answer must hold to be the answer to a request, and not to another one. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from agent_persistence.query.equality import may_be_same
from agent_persistence.query.predicates import AllOf, Comparison, Filter, Operator
from agent_persistence.query.records import Record, Row
from agent_persistence.schema.registry import Schema, Table


@dataclass(frozen=True, slots=True)
class RowKey:
    """Values that a row has if it answers. A column that is not `certain` may be missing, if all `others` are there."""

    values: Record
    certain: Container[str]
    others: frozenset[str] = frozenset()

    def is_in(self, row: Row) -> bool:
        for column, value in self.values.items():
            if column not in row:
                if not self._may_be_missing(column, row):
                    return False
            elif (stored := row[column]) == value and type(stored) is type(value):
                continue
            elif not may_be_same(value, stored):
                return False
        return True

    def _may_be_missing(self, column: str, row: Row) -> bool:
        return column not in self.certain and self.others <= row.keys()


@dataclass(frozen=True, slots=True)
class _Known:
    """What is declared of a table: its columns, those whose values come back as they are sent, and what is unique."""

    columns: frozenset[str]
    shown_as_sent: frozenset[str]
    key: tuple[str, ...]
    unique: frozenset[str]

    @classmethod
    def of(cls, table: Table) -> _Known:
        return cls(
            columns=frozenset(table.columns),
            shown_as_sent=frozenset(name for name, column in table.columns.items() if _is_shown_as_sent(column.type)),
            key=table.primary_key,
            unique=frozenset(name for names in table.unique for name in names),
        )


class ExpectedRows:
    """The values by which rows are known to answer a request.

    Only those count that PostgreSQL certainly shows as they were sent, by the declared type of their column; where none
    is declared, numbers and UUIDs.
    """

    def __init__(self, schema: Schema) -> None:
        self._known = {name: _Known.of(table) for name, table in schema.tables.items()}

    def stored(
        self, table: str, records: Sequence[Record], columns: Sequence[str], shown: Sequence[str] | None = None
    ) -> list[RowKey]:
        """Of each record the values in `columns`, as far as they are `shown`, which its stored row has."""
        known = self._known.get(table, _UNKNOWN)
        return [RowKey(self._kept(known, record, columns, shown), columns) for record in records]

    def selected(self, table: str, predicate: Filter | None, shown: Sequence[str] | None) -> list[RowKey]:
        """The values that every row which the filter selects has.

        A column that is not of the key may be a computed field, which no row shows unless it is asked for; a row that
        lacks other columns of the table as well is another table's.
        """
        equal = _equalities(predicate)
        if not equal:
            return []
        known = self._known.get(table, _UNKNOWN)
        columns = [name for name in equal if name in known.columns or name in known.key]
        others = (known.columns if shown is None else frozenset(shown)).difference(equal)
        return [RowKey(self._kept(known, equal, columns, shown), known.key, others)]

    def changed(
        self, table: str, predicate: Filter | None, changes: Container[str], shown: Sequence[str] | None
    ) -> list[RowKey]:
        """Those that the rows still have after the changes; a trigger may change what is no key, such as a version."""
        known = self._known.get(table, _UNKNOWN)
        equal = _equalities(predicate)
        columns = [name for name in equal if (name in known.key or name in known.unique) and name not in changes]
        return [RowKey(self._kept(known, equal, columns, shown), known.key)]

    def _kept(self, known: _Known, values: Record, columns: Collection[str], shown: Sequence[str] | None) -> Record:
        found: dict[str, Any] = {}
        for name in columns:
            value = values.get(name)
            if value is None or not (shown is None or name in shown):
                continue
            if isinstance(value, UUID):
                found[name] = str(value)
            elif (
                isinstance(value, (str, int))
                if name in known.shown_as_sent
                else (name not in known.columns and _comes_back_as_sent(value))
            ):
                found[name] = value
        return found


def _equalities(predicate: Filter | None) -> dict[str, Any]:
    if predicate is None:
        return {}
    terms = predicate.terms if isinstance(predicate, AllOf) else (predicate,)
    return {
        str(term.column): term.operand
        for term in terms
        if isinstance(term, Comparison) and term.operator is Operator.EQ
    }


def _is_shown_as_sent(type_name: str) -> bool:
    return type_name.partition("(")[0] in _SHOWN_AS_SENT


def _comes_back_as_sent(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and _UUID.fullmatch(value) is not None)


_UNKNOWN: Final = _Known(frozenset(), frozenset(), Schema({}).primary_key(""), frozenset())
_SHOWN_AS_SENT: Final = frozenset(
    {"uuid", "text", "varchar", "character varying", "citext", "boolean", "bool"}
    | {"smallint", "integer", "bigint", "int", "int2", "int4", "int8"}
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
