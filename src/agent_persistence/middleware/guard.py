"""Refuses what the policy does not allow."""

from __future__ import annotations

from collections.abc import Awaitable, Container, Iterable, Sequence
from dataclasses import replace

from agent_persistence._schema.checks import did_you_mean
from agent_persistence.chain import Next
from agent_persistence.exceptions import ColumnNotAllowedError, TableNotAllowedError, ValidationError
from agent_persistence.identifiers import RESERVED, are_columns, base_column, is_identifier, is_path
from agent_persistence.operations import (
    BatchWrite,
    Call,
    Delete,
    Operation,
    Query,
    Read,
    Result,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.policy import TablePolicy
from agent_persistence.records import Row
from agent_persistence.schema_registry import Schema


class Guard:
    """Runs once per caller's call, and again below the user's middleware, which may have changed the operation.

    A table that is not listed, a name that is no plain identifier or that PostgREST would read as an instruction,
    and a limit above the policy's are refused; a column that the schema declares may have any name, and a path that it
    declares may be filtered by, selected and sorted by, but not written.
    """

    def __init__(self, policy: TablePolicy, schema: Schema) -> None:
        self._policy = policy
        self._allowed: dict[str, frozenset[str]] = {
            right: getattr(policy, right) for right in ("read", "write", "delete", "call", "call_write")
        }
        self._schema = schema

    def __call__(self, operation: Operation, call_next: Next, /) -> Awaitable[Result]:
        allowed = self._allowed[operation.right]
        if isinstance(operation, (Update, Delete)):
            allowed &= self._policy.read  # whose rows are affected tells what they hold
        table = operation.table
        if type(table) is not str or table not in allowed:
            raise TableNotAllowedError(table, operation.verb, allowed)
        columns = operation.columns()
        if not are_columns(columns):
            self._check_declared(operation, columns)
        if isinstance(operation, Query):
            self._check_bounds(operation)
        if operation.writes and table not in self._policy.read and not isinstance(operation, WritingCall):
            return self._blindly(operation, call_next)
        return call_next(operation)

    async def _blindly(self, operation: Operation, call_next: Next) -> Result:
        """Write to a table that may not be read: show of its rows what was sent, and the key."""
        if isinstance(operation, (Write, BatchWrite, Upsert)):
            operation = replace(operation, returning=False)
        result = await call_next(operation)
        known = {*operation.columns(), *self._schema.primary_key(operation.table)}
        if isinstance(result.value, list):
            return replace(result, value=[_only(known, row) for row in result.value])
        return replace(result, value=_only(known, result.value))

    def _check_declared(self, operation: Operation, columns: Iterable[str]) -> None:
        if isinstance(operation, Call):
            return _check_arguments(operation)
        declared, paths = self._schema.columns(operation.table), self._schema.paths(operation.table)
        whole = frozenset(_whole(operation)) if paths else frozenset()
        for column in columns:
            if are_columns((column,)):
                continue
            if type(column) is not str or (column not in declared and (column not in paths or column in whole)):
                raise ColumnNotAllowedError(operation.table, column, _reason(operation.table, column, paths))
        return None

    def _check_bounds(self, query: Query) -> None:
        if query.limit is not None and query.limit > self._policy.max_rows:
            raise ValidationError(query.table, f"the limit is above the policy's max_rows of {self._policy.max_rows}")


def _whole(operation: Operation) -> Iterable[str]:
    """The names that must be columns, not parts of one."""
    match operation:
        case Write(record=record):
            return record
        case Upsert(record=record):
            return (*record, *operation.on_conflict)
        case BatchWrite(records=records):
            return (name for record in records for name in record)
        case Update(changes=changes):
            return changes
        case Read():
            return (operation.id_column,)
        case _:
            return ()


def _only(columns: Container[str], row: Row) -> Row:
    return {name: value for name, value in row.items() if name in columns}


def _check_arguments(call: Call) -> None:
    for name in call.arguments:
        if not is_identifier(name):
            raise ColumnNotAllowedError(call.table, name, "arguments of functions are lower-case letters, digits and _")


def _reason(table: str, column: object, paths: Sequence[str]) -> str:
    if type(column) is str and is_path(column):
        return _reason_for_path(table, column, paths)
    if type(column) is str and column in RESERVED:
        return "PostgREST reads this name as an instruction; declare the column in the Schema if the table has it"
    if isinstance(column, str) and (column.startswith("-") or column.lower().endswith((" desc", " asc"))):
        return "to sort, write desc(column) or asc(column) with the name alone"
    return (
        "names are lower-case letters, digits and _, without embedding, alias, cast or path;"
        " a column with another name must be declared in the Schema"
    )


def _reason_for_path(table: str, path: str, paths: Sequence[str]) -> str:
    if path in paths:
        return f"a path is for filters, select and order_by; write the whole of {base_column(path)}"
    return (
        f"this path is not declared{did_you_mean(path, paths)}; to declare it, write"
        f' paths = ["{path}"] at [tables.{table}] of the Schema, or Table(…, paths=["{path}"])'
    )
