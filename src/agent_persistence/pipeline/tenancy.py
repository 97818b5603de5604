"""Keeps every call within one tenant's rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial

from agent_persistence.backends.base import only_row
from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, ColumnNotAllowedError, FailureState, PersistencePermissionError
from agent_persistence.operations import (
    KNOWN,
    Call,
    GetColumns,
    Operation,
    Query,
    Read,
    Result,
    each_level,
    looks_elsewhere,
    unknown,
    with_related,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Row


class Tenancy:
    """Runs once per caller's call, below all that a caller can influence: what it adds, nobody can take away.

    It looks again at what comes back: a row of another tenant, or one that does not say whose it is, is an
    AdapterError, whatever the server was asked for. Of what a function returns, rows that have the tenant's column are
    looked at.
    """

    def __init__(self, primary_key: Callable[[str], tuple[str, ...]]) -> None:
        self._primary_key = primary_key

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        tenant = context.identity.tenant
        if type(operation) not in KNOWN:
            raise unknown(operation)
        if tenant is not None and looks_elsewhere(operation):
            operation = with_related(operation, partial(self._own, tenant))
            if isinstance(operation, Query) and operation.include:
                return self._related(operation, tenant, context, call_next)
        if tenant is None or operation.table in tenant.shared or isinstance(operation, GetColumns):
            return call_next(operation, context)
        if isinstance(operation, Call):
            return _called(operation, tenant, context, call_next)
        return self._held(operation, tenant, context, call_next)

    async def _related(self, query: Query, tenant: TenantScope, context: CallContext, call_next: Rest) -> Result:
        """A query of which those within it are held to the tenant's rows already."""
        result = await call_next(self._own(tenant, query), context)
        return replace(result, value=each_level(query, result.value, partial(_cleaned, tenant)))

    def _own(self, tenant: TenantScope, query: Query) -> Query:
        """The query held to the tenant's rows, whose column it asks for."""
        if query.table in tenant.shared:
            return query
        own = query.restricted(tenant.scope, self._primary_key(query.table))
        return own.asking_also_for(tenant.column) if _leaves_out(own, tenant.column) else own

    async def _held(self, operation: Operation, tenant: TenantScope, context: CallContext, call_next: Rest) -> Result:
        own = operation.restricted(tenant.scope, self._primary_key(operation.table))
        unasked = _leaves_out(own, tenant.column)
        result = await call_next(own.asking_also_for(tenant.column) if unasked else own, context)
        if operation.returns == "count":
            return result
        returned = result.value if isinstance(result.value, list) else [result.value]
        _check(operation, [row for row in returned if row is not None], tenant)  # None is a record that was ignored
        rows = [row and _without(row, tenant.column) for row in returned] if unasked else returned
        if isinstance(operation, Read):
            return replace(result, value=only_row(operation.table, operation.id_column, rows))
        return replace(result, value=rows if isinstance(result.value, list) else rows[0])


def _cleaned(tenant: TenantScope, query: Query, rows: list[Row]) -> list[Row]:
    """Rows of one table, which are the tenant's; without its column where that was not asked for."""
    if query.table in tenant.shared:
        return rows
    _check(query, rows, tenant)
    return [_without(row, tenant.column) for row in rows] if _leaves_out(query, tenant.column) else rows


def _without(row: Row, column: str) -> Row:
    """A row of our own: the one that came back may be somebody else's, too."""
    return {name: value for name, value in row.items() if name != column}


async def _called(call: Call, tenant: TenantScope, context: CallContext, call_next: Rest) -> Result:
    name = tenant.arguments.get(call.table)
    if name is None:
        raise PersistencePermissionError(
            f"{call.table} is not called for a tenant: say which of its arguments takes the tenant, in"
            f" TenantScope(…, arguments={{{call.table!r}: …}}), or list it in shared=, if it belongs to all"
        )
    if name in call.arguments and call.arguments[name] != tenant.value:
        raise ColumnNotAllowedError(call.table, name, "it takes the tenant of this service, and no other")
    result = await call_next(replace(call, arguments={**call.arguments, name: tenant.value}), context)
    returned = result.value if isinstance(result.value, list) else [result.value]
    _check(call, [row for row in returned if isinstance(row, dict) and tenant.column in row], tenant)
    return result


def _check(operation: Operation, rows: Iterable[Row], tenant: TenantScope) -> None:
    column, value = tenant.column, tenant.value
    if any(column not in row or row[column] != value for row in rows):
        raise AdapterError(
            f"{operation.verb} on {operation.table}: the server sent a row of another tenant, or one without"
            f" {column}, which is withheld; if the table belongs to all tenants, list it in shared=",
            state=FailureState.APPLIED if operation.writes else FailureState.REJECTED,
        )


def _leaves_out(operation: Operation, column: str) -> bool:
    """Whether the rows are asked for without the column, though not without any."""
    asked = operation.asked_columns
    return bool(asked) and column not in (asked or ())
