"""Keeps every call within one tenant's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from agent_persistence.adapter import only_row
from agent_persistence.chain import Next
from agent_persistence.exceptions import AdapterError, ColumnNotAllowedError, FailureState, PersistencePermissionError
from agent_persistence.middleware._scope import Scope, as_query, narrowed
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Query,
    Read,
    Result,
    Update,
    Upsert,
    Write,
)
from agent_persistence.records import Row
from agent_persistence.tenant import TenantScope


class Tenancy:
    """Runs once per caller's call, below all that a caller can influence: what it adds, nobody can take away.

    It looks again at what comes back: a row of another tenant, or one that does not say whose it is, is an
    AdapterError, whatever the server was asked for. Of what a function returns, rows that have the tenant's column are
    looked at.
    """

    def __init__(self, tenant: TenantScope, primary_key: Callable[[str], tuple[str, ...]]) -> None:
        self._tenant = tenant
        self._primary_key = primary_key
        self._scope = Scope.of(tenant.rows)

    async def __call__(self, operation: Operation, call_next: Next, /) -> Result:
        if operation.table in self._tenant.shared or isinstance(operation, GetColumns):
            return await call_next(operation)
        if isinstance(operation, Call):
            return await self._called(operation, call_next)
        asked = as_query(operation) if isinstance(operation, Read) else operation
        own = narrowed(asked, self._scope, self._primary_key(operation.table))
        unasked = _leaves_out(own, self._tenant.column)
        result = await call_next(self._telling_tenants(own) if unasked else own)
        if isinstance(operation, (BulkWrite, Count)):
            return result
        told = result.value if isinstance(result.value, list) else [result.value]
        self._check(operation, told)
        rows = [self._without_tenant(row) for row in told] if unasked else told
        if isinstance(operation, Read):
            return replace(result, value=only_row(operation.table, operation.id_column, rows))
        return replace(result, value=rows if isinstance(result.value, list) else rows[0])

    def _telling_tenants(self, operation: Operation) -> Operation:
        """The operation that also asks whose the rows are."""
        match operation:
            case Query(select=tuple(select)):
                return replace(operation, select=(*select, self._tenant.column))
            case Write() | BatchWrite() | Upsert() | Update() | Delete():
                return replace(operation, returning=(*(operation.returning or ()), self._tenant.column))
            case _:
                return operation

    def _without_tenant(self, row: Row) -> Row:
        """A row of our own: the one that came back may be somebody else's, too."""
        return {column: value for column, value in row.items() if column != self._tenant.column}

    async def _called(self, call: Call, call_next: Next) -> Result:
        name = self._tenant.arguments.get(call.table)
        if name is None:
            raise PersistencePermissionError(
                f"{call.table} is not called for a tenant: say which of its arguments takes the tenant, in"
                f" TenantScope(…, arguments={{{call.table!r}: …}}), or list it in shared=, if it belongs to all"
            )
        if name in call.arguments and call.arguments[name] != self._tenant.value:
            raise ColumnNotAllowedError(call.table, name, "it takes the tenant of this service, and no other")
        result = await call_next(replace(call, arguments={**call.arguments, name: self._tenant.value}))
        told = result.value if isinstance(result.value, list) else [result.value]
        self._check(call, [row for row in told if isinstance(row, dict) and self._tenant.column in row])
        return result

    def _check(self, operation: Operation, rows: Iterable[Row]) -> None:
        column, value = self._tenant.column, self._tenant.value
        if any(column not in row or row[column] != value for row in rows):
            raise AdapterError(
                f"{operation.verb} on {operation.table}: the server sent a row of another tenant, or one without"
                f" {column}, which is withheld; if the table belongs to all tenants, list it in shared=",
                state=FailureState.APPLIED if operation.writes else FailureState.REJECTED,
            )


def _leaves_out(operation: Operation, column: str) -> bool:
    """Whether the rows are asked for without the column, though not without any."""
    asked: Sequence[str] | None = getattr(operation, "select" if isinstance(operation, Query) else "returning", None)
    return bool(asked) and column not in (asked or ())
