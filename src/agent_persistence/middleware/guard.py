"""Refuses what the policy does not allow."""

from __future__ import annotations

from collections.abc import Awaitable, Container

from agent_persistence.chain import Next
from agent_persistence.exceptions import ColumnNotAllowedError, TableNotAllowedError, ValidationError
from agent_persistence.identifiers import RESERVED, is_identifier
from agent_persistence.operations import Operation, Query, Result
from agent_persistence.policy import TablePolicy
from agent_persistence.schema_registry import Schema


class Guard:
    """Runs once per caller's call, and again below the user's middleware, which may have changed the operation.

    A table that is not listed, a name that is no plain identifier or that PostgREST would read as an instruction,
    and a limit above the policy's are refused; a column that the schema declares may have any name.
    """

    def __init__(self, policy: TablePolicy, schema: Schema) -> None:
        self._policy = policy
        self._schema = schema

    def __call__(self, operation: Operation, call_next: Next, /) -> Awaitable[Result]:
        self._check_table(operation)
        self._check_columns(operation)
        self._check_bounds(operation)
        return call_next(operation)

    def _check_table(self, operation: Operation) -> None:
        allowed = self._policy.allowed(operation.verb, writes=operation.writes)
        if type(operation.table) is not str or operation.table not in allowed:
            raise TableNotAllowedError(operation.table, operation.verb, allowed)

    def _check_columns(self, operation: Operation) -> None:
        declared: Container[str] = self._schema.columns(operation.table)
        for column in operation.columns():
            if is_identifier(column) and column not in RESERVED:
                continue
            if type(column) is str and column in declared:
                continue
            raise ColumnNotAllowedError(operation.table, column, _reason(column))

    def _check_bounds(self, operation: Operation) -> None:
        if isinstance(operation, Query) and (operation.limit or 0) > self._policy.max_rows:
            raise ValidationError(
                operation.table, f"limit {operation.limit} is above the policy's max_rows of {self._policy.max_rows}"
            )


def _reason(column: object) -> str:
    if column in RESERVED:
        return "PostgREST reads this name as an instruction; declare the column in the Schema if the table has it"
    return (
        "names are lower-case letters, digits and _, without embedding, alias, cast or path;"
        " a column with another name must be declared in the Schema"
    )
