"""Refuses what the policy does not allow, and holds the rest within it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent_persistence.backends.base import only_row
from agent_persistence.context import CallContext
from agent_persistence.exceptions import ColumnNotAllowedError, ConfigurationError, TableNotAllowedError, printable
from agent_persistence.operations import (
    KNOWN,
    Call,
    GetColumns,
    Operation,
    Query,
    Read,
    Related,
    Result,
    Scope,
    each_level,
    looks_elsewhere,
    related,
    unknown,
    with_related,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.guard.allowed import Allowed
from agent_persistence.pipeline.guard.bounds import check_bounds, check_related
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.query.identifiers import RESERVED, are_columns, base_column, is_identifier, is_path
from agent_persistence.query.records import Row
from agent_persistence.schema.checks import did_you_mean
from agent_persistence.schema.registry import Schema


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the policy says about one table beyond its name: columns to read and to write (None is all), and rows."""

    readable: frozenset[str] | None
    writable: frozenset[str] | None
    scope: Scope | None


class Guard:
    """Runs once per caller's call, and again below the user's middleware, which may have changed the operation.

    A table that is not listed, a name that is no plain identifier or that PostgREST would read as an instruction,
    a column that the policy does not list, and what exceeds the policy's bounds are refused. What the schema declares
    may have any name: a policy that lists a table of another name that it does not declare is a ConfigurationError. A
    path that it declares may be filtered by, selected and sorted by, but not written.
    Of what comes back nothing passes that was not asked for. Operations are held to the policy's bounds, rows and
    columns by the guard that `narrows`, the inner one where there are two: it would refuse what another had added.
    """

    def __init__(self, policy: TablePolicy, schema: Schema, *, narrows: bool = True) -> None:
        _check_tables(policy, schema)
        self._policy = policy
        self._narrows = narrows
        self._allowed = Allowed(policy)
        self._schema = schema
        self._rules = {
            table: _Rules(
                policy.readable(table) if table in policy.read else frozenset(),
                policy.writable(table),
                Scope.of(policy.rows[table]) if table in policy.rows else None,
            )
            for table in {*policy.columns, *policy.rows, *(policy.write - policy.read)}
        }

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if type(operation) not in KNOWN:
            raise unknown(operation)
        rules = self._checked(operation)
        if looks_elsewhere(operation):
            operation = self._held_elsewhere(operation)
        if isinstance(operation, Query):
            if operation.include:
                return self._related(operation, rules, context, call_next)
            if rules is None:
                as_it_is = operation.select is None and operation.limit is None
                return call_next(operation, context) if as_it_is else _as_asked(operation, context, call_next)
        if rules is not None and not isinstance(operation, Call):
            return self._ruled(operation, rules, context, call_next)
        return call_next(operation, context)

    def _checked(self, operation: Operation) -> _Rules | None:
        """What the policy says about the operation's table beyond its name, if it allows the operation."""
        allowed = self._allowed(operation)
        table = operation.table
        if type(table) is not str or table not in allowed:
            raise TableNotAllowedError(table, operation.verb, allowed)
        columns = operation.columns()
        if not are_columns(columns):
            self._check_declared(operation, columns)
        if self._narrows:
            check_bounds(operation, self._policy)
        rules = self._rules.get(table)
        if rules is not None and not isinstance(operation, Call):
            self._check_columns(operation, rules)
        return rules

    def _held_elsewhere(self, operation: Operation) -> Operation:
        """The operation, whose other tables have passed as if each were queried alone, within the policy's rows and
        columns of these."""
        check_related(operation)
        for each in related(operation):
            self._check_link(each, self._checked(each.query))
        return with_related(operation, self._held) if self._narrows else operation

    async def _related(self, query: Query, rules: _Rules | None, context: CallContext, call_next: Rest) -> Result:
        """A query and those within it, which are held already."""
        result = await call_next(query if rules is None or not self._narrows else self._within(query, rules), context)
        rows = each_level(query, result.value, self._cleaned)
        return Result(rows[: query.limit], result.attempts, result.total)

    def _check_link(self, each: Related, rules: _Rules | None) -> None:
        """Refuse a name that could be taken for a column, and to compare what may not be read."""
        table, name, theirs = each.query.table, each.name, each.link.theirs
        if name is not None and not are_columns((name,)) and (name != table or name in RESERVED):
            raise ColumnNotAllowedError(table, name, "related rows have a plain name, or that of their table")
        if not are_columns((theirs,)) and theirs not in self._schema.columns(table):
            raise ColumnNotAllowedError(table, theirs, "related rows are found by a column")
        if rules is not None:
            _check_listed(table, (theirs,), rules.readable, "read, and so no row be found by it")

    def _held(self, query: Query) -> Query:
        rules = self._rules.get(query.table)
        if rules is None:
            return query
        held: Query = self._within(query, rules)
        return held

    def _cleaned(self, query: Query, rows: list[Row]) -> list[Row]:
        """Rows of one table without what was not asked for, or may not be read."""
        rules = self._rules.get(query.table)
        shown = None if query.select is None else frozenset(query.select)
        cleaned: list[Row] = _stripped(rows, shown if rules is None else _shown(query, rules))
        return cleaned

    async def _ruled(self, operation: Operation, rules: _Rules, context: CallContext, call_next: Rest) -> Result:
        """Call within the policy's columns and rows."""
        result = await call_next(self._within(operation, rules) if self._narrows else operation, context)
        if isinstance(operation, GetColumns):
            return replace(result, value=_known(result.value, rules))
        rows = _stripped(result.value, _shown(operation, rules))
        if isinstance(operation, Read) and isinstance(rows, list):
            return replace(result, value=only_row(operation.table, operation.id_column, rows))
        return replace(result, value=rows[: operation.limit] if isinstance(operation, Query) else rows)

    def _within(self, operation: Operation, rules: _Rules) -> Any:
        """The operation that reaches the policy's rows alone, and asks the server for its columns alone."""
        table = operation.table
        if rules.scope is not None:
            operation = operation.restricted(rules.scope, self._schema.primary_key(table))
        columns = self._in_order(table, rules.readable)
        return operation if columns is None else operation.asking_for(columns)

    def _check_columns(self, operation: Operation, rules: _Rules) -> None:
        table, made = operation.table, operation.own_key
        _check_listed(table, (name for name in operation.columns_written() if name != made), rules.writable, "written")
        _check_listed(table, map(base_column, operation.columns_read()), rules.readable, "read")
        merges_by = operation.merges_by
        if merges_by is not None and rules.readable:  # what comes back shows the row merged
            merged_by = merges_by or self._schema.primary_key(table)
            _check_listed(table, merged_by, rules.readable, "read, and so no row be merged by it")

    def _in_order(self, table: str, readable: frozenset[str] | None) -> tuple[str, ...] | None:
        """The columns to ask for, in the order of the table where that is declared."""
        if readable is None:
            return None
        declared = [column for column in self._schema.columns(table) if column in readable]
        return (*declared, *sorted(readable.difference(declared)))

    def _check_declared(self, operation: Operation, columns: Iterable[str]) -> None:
        if isinstance(operation, Call):
            return _check_arguments(operation)
        declared, paths = self._schema.columns(operation.table), self._schema.paths(operation.table)
        whole = frozenset(_whole(operation)) if paths else frozenset()
        for column in columns:
            if are_columns((column,)):
                continue
            if type(column) is not str or (column not in declared and (column not in paths or column in whole)):
                raise ColumnNotAllowedError(operation.table, column, *_reason(operation.table, column, paths))
        return None


def _check_tables(policy: TablePolicy, schema: Schema) -> None:
    for rule in ("read", "write", "delete"):
        for name in sorted(getattr(policy, rule)):
            if not is_identifier(name) and name not in schema.tables:
                raise ConfigurationError(
                    f"{rule}: {printable(name)} is no plain name, which is lower-case letters, digits and _;"
                    f" a table of such a name must be declared in the schema{did_you_mean(name, schema.tables)}"
                )


async def _as_asked(query: Query, context: CallContext, call_next: Rest) -> Result:
    """No more rows and no other columns than were asked for, whatever the server sends."""
    result = await call_next(query, context)
    rows = _stripped(result.value, None if query.select is None else frozenset(query.select))
    return Result(rows[: query.limit], result.attempts, result.total)


def _stripped(value: Any, columns: frozenset[str] | None) -> Any:
    """The rows with these columns alone."""
    if columns is None:
        return value
    if isinstance(value, list):
        return [_only(columns, row) for row in value]
    return _only(columns, value) if isinstance(value, dict) else value


def _only(columns: frozenset[str], row: Row | None) -> Row | None:
    if row is None or row.keys() <= columns:
        return row
    return {name: value for name, value in row.items() if name in columns}


def _shown(operation: Operation, rules: _Rules) -> frozenset[str] | None:
    """The columns that the caller may see of the rows that come back; of a row just written also what was sent."""
    if isinstance(operation, Query) and operation.select is not None:
        return frozenset(operation.select)
    return None if rules.readable is None else rules.readable.union(*operation.inserted)


def _known(columns: list[str] | None, rules: _Rules) -> list[str] | None:
    """Of a table's columns those that may be read or written."""
    if columns is None or rules.readable is None or rules.writable is None:
        return columns
    return [column for column in columns if column in rules.readable or column in rules.writable]


def _check_listed(table: str, columns: Iterable[str], listed: frozenset[str] | None, done: str) -> None:
    if listed is None:
        return
    for column in columns:
        if column not in listed:
            allowed = f"allowed here: {', '.join(sorted(listed)) or 'none'}"
            reason = f"the policy does not let it be {done}{did_you_mean(column, listed)}; {allowed}"
            raise ColumnNotAllowedError(table, column, reason)


def _whole(operation: Operation) -> Iterable[str]:
    """The names that must be columns, not parts of one."""
    return (operation.id_column,) if isinstance(operation, Read) else operation.columns_written()


def _check_arguments(call: Call) -> None:
    for name in call.arguments:
        if not is_identifier(name):
            raise ColumnNotAllowedError(call.table, name, "arguments of functions are lower-case letters, digits and _")


def _reason(table: str, column: object, paths: Sequence[str]) -> tuple[str, str]:
    """Why a name is no column, and what to do if the table has it."""
    if type(column) is str and (column in paths or (is_path(column) and is_identifier(base_column(column)))):
        return _reason_for_path(table, column, paths)
    if type(column) is str and column in RESERVED:
        return "PostgREST reads this name as an instruction", "declare the column in the Schema if the table has it"
    if isinstance(column, str) and (column.startswith("-") or column.lower().endswith((" desc", " asc"))):
        return "to sort, write desc(column) or asc(column) with the name alone", ""
    return (
        "names are lower-case letters, digits and _, without embedding, alias, cast or path",
        "a column with another name must be declared in the Schema",
    )


def _reason_for_path(table: str, path: str, paths: Sequence[str]) -> tuple[str, str]:
    if path in paths:
        return f"a path is for filters, select and order_by; write the whole of {base_column(path)}", ""
    return (
        f"this path is not declared{did_you_mean(path, paths)}",
        f'to declare it, write paths = ["{path}"] at [tables.{table}] of the Schema, or Table(…, paths=["{path}"])',
    )
