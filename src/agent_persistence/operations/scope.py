"""Some of a table's rows, to which operations are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from agent_persistence.exceptions import ColumnNotAllowedError, ValidationError
from agent_persistence.operations.base import filtered_columns
from agent_persistence.query.identifiers import base_column
from agent_persistence.query.predicates import AllOf, Comparison, Filter, Operator, conjunction, fold
from agent_persistence.query.records import Record, distinct


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows where `filters` hold. What is written has `values`, and may not name the `others` that it compares."""

    filters: Filter
    values: Mapping[str, Any] = field(repr=False)
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, filters: Filter) -> Self:
        """The scope that a filter describes. Every row written has the value of a column that the filter compares
        once, by an equality that must hold; what it says about a column in any other way cannot be written."""
        folded = fold(filters)
        compared = Counter(map(base_column, filtered_columns(filters)))
        values = {
            term.column: term.operand
            for term in (folded.terms if isinstance(folded, AllOf) else (folded,))
            if isinstance(term, Comparison)
            and term.operator is Operator.EQ
            and not isinstance(term.operand, tuple)
            and term.column is not None
            and compared[term.column] == 1
        }
        return cls(filters, values, frozenset(compared.keys() - values.keys()))

    def both(self, filters: Filter | None) -> Filter:
        """The rows of the scope that the filters select."""
        return self.filters if filters is None else conjunction((filters, self.filters))

    def check(self, table: str, record: Record) -> None:
        """Refuse to store the record's values, if a row that had them would be outside of the scope."""
        for column, value in self.values.items():
            if column in record and not _equal(record[column], value):
                reason = "another value in it is outside of the rows this policy allows"
                raise ColumnNotAllowedError(table, column, reason)
        for column in self.others:
            if column in record:
                reason = "it limits the rows that this policy allows, and is not written"
                raise ColumnNotAllowedError(table, column, reason, _ANOTHER)

    def completed(self, table: str, record: Record) -> Record:
        """The record with the values that every row of the scope has."""
        self.check(table, record)
        return {**record, **self.values}

    def merging(self, table: str, target: tuple[str, ...]) -> tuple[str, ...]:
        """The columns by which rows are merged, or records ignored, so that no row outside of the scope counts."""
        if self.others:
            raise ValidationError(
                table,
                "a row outside of those this policy allows may have the same key, so that none is merged or ignored by"
                " it; update the row if it is there, or write one with a new key",
                _ANOTHER,
            )
        return distinct((*target, *self.values))


_ANOTHER: Final = (
    "a service over the same adapter whose policy has no rows= for the table can: docs/security.md, Soft delete"
)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
