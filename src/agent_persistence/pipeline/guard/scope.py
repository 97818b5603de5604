"""Operations held within some of a table's rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from agent_persistence.exceptions import ColumnNotAllowedError, ValidationError
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Count,
    Delete,
    Operation,
    Query,
    Read,
    Update,
    Upsert,
    Write,
)
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.identifiers import base_column
from agent_persistence.query.predicates import AllOf, Comparison, Filter, Operator, comparisons, conjunction, fold
from agent_persistence.query.records import Record, distinct


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows where `filters` hold. What is written has `values`, and may not name the `others` that it compares."""

    filters: Filter
    values: Mapping[str, Any] = field(repr=False)
    others: frozenset[str]

    @classmethod
    def of(cls, filters: Filter) -> Self:
        """The scope that a filter describes. Every row written has the value of a column that the filter compares
        once, by an equality that must hold; what it says about a column in any other way cannot be written."""
        folded = fold(filters)
        compared = Counter(base_column(leaf.column or "") for leaf in comparisons(filters))
        values = {
            term.column: term.operand
            for term in (folded.terms if isinstance(folded, AllOf) else (folded,))
            if isinstance(term, Comparison)
            and term.operator is Operator.EQ
            and term.column is not None
            and compared[term.column] == 1
        }
        return cls(filters, values, frozenset(compared.keys() - values.keys()))

    @classmethod
    def of_tenant(cls, tenant: TenantScope) -> Self:
        """The rows of one tenant; every row written has its value."""
        return cls(tenant.rows, {tenant.column: tenant.value}, frozenset())


def scope_of(table: str, tenant: TenantScope | None, *, policy: TablePolicy) -> Filter:
    """What the guard and tenancy add to the filters of every call on the table."""
    own = None if tenant is None or table in tenant.shared else tenant.rows
    return conjunction(rule for rule in (policy.rows.get(table), own) if rule is not None)


def as_query(read: Read) -> Query:
    """The read by key as a query, whose rows `adapter.only_row` makes one of."""
    by_key = Comparison(Operator.EQ, read.id_value, read.id_column)
    return Query(read.table, by_key, 2)


def narrowed(operation: Operation, scope: Scope, primary_key: tuple[str, ...]) -> Operation:
    """The operation within the scope; a row that would be written outside of it is refused.

    The target of a merge gets the scope's columns, so that a row of another scope is no match for it; without a unique
    index on all of them the database refuses the merge. A read by key is to be made a query first.
    """
    match operation:
        case Query(filters=filters) | Count(filters=filters):
            return replace(operation, filters=_both(filters, scope.filters))
        case Update(filters=filters, changes=changes):
            _check(operation.table, changes, scope)
            return replace(operation, filters=_both(filters, scope.filters))
        case Delete(filters=filters):
            return replace(operation, filters=_both(filters, scope.filters))
        case Write(table, record):
            return replace(operation, record=_completed(table, record, scope))
        case BulkWrite(table, records, tuple()):
            completed_rows = tuple(_completed(table, record, scope) for record in records)
            return replace(operation, records=completed_rows, on_conflict=_target(operation, scope, primary_key))
        case BatchWrite(table, records):
            return replace(operation, records=tuple(_completed(table, record, scope) for record in records))
        case Upsert(table, record, on_conflict):
            completed = _completed(table, record, scope)
            target = on_conflict if operation.generated_key else _target(operation, scope, primary_key)
            return replace(operation, record=completed, on_conflict=target)
        case _:
            return operation


def _both(filters: Filter | None, scope: Filter) -> Filter:
    return scope if filters is None else conjunction((filters, scope))


def _check(table: str, record: Record, scope: Scope) -> None:
    for column, value in scope.values.items():
        if column in record and not _equal(record[column], value):
            raise ColumnNotAllowedError(table, column, "another value in it is outside of the rows this policy allows")
    for column in scope.others:
        if column in record:
            raise ColumnNotAllowedError(table, column, "it limits the rows that this policy allows, and is not written")


def _completed(table: str, record: Record, scope: Scope) -> Record:
    _check(table, record, scope)
    return {**record, **scope.values}


def _target(operation: Upsert | BulkWrite, scope: Scope, primary_key: tuple[str, ...]) -> tuple[str, ...]:
    if scope.others:
        raise ValidationError(
            operation.table,
            "an upsert could merge with a row outside of those this policy allows; use update, or write with a new key",
        )
    return distinct((*(operation.on_conflict or primary_key), *scope.values))


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
