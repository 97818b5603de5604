"""Refuses what the declared schema shows to be a mistake, before a request leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from agent_persistence.context import CallContext
from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.operations import (
    KNOWN,
    BatchWrite,
    BulkWrite,
    Call,
    Operation,
    Query,
    Read,
    Result,
    Upsert,
    UpsertMany,
    Write,
    related,
    unknown,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.query.computed import Computed, Increment, Merge
from agent_persistence.query.predicates import Comparison, Filter, Operator, comparisons
from agent_persistence.query.references import Reference
from agent_persistence.schema.checks import did_you_mean
from agent_persistence.schema.registry import Column, Schema, Table
from agent_persistence.schema.types import Family, base_name, family, takes

Finding: TypeAlias = tuple[str, str]
"""What is wrong, and in which part of the call."""
MAX_PLACES: Final = 3


class Validation:
    """Runs once per caller's call; all problems of the call are reported in one ValidationError.

    Columns must be declared; NULL and values outside `one_of` are not written where the column forbids them; a value
    or operator that PostgreSQL takes for no column of this type is refused, while its exact coercion is left to the
    server; an upsert needs a key that is declared. Filters may ask for values that no row can have. Tables that are
    not declared, and functions, are not checked.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if type(operation) not in KNOWN:
            raise unknown(operation)
        tenant = context.identity.tenant
        is_held = tenant is not None and operation.table not in tenant.shared
        added = frozenset({tenant.column} if tenant is not None and is_held else ())
        self._check(operation, added)
        for each in related(operation):
            self._check(each.query, added)
        return call_next(operation, context)

    def _check(self, operation: Operation, added: frozenset[str]) -> None:
        """Raise all problems; to the columns by which rows are found tenancy adds these."""
        table = self._schema.tables.get(operation.table)
        if table is not None and not isinstance(operation, Call):
            unlisted = [_shown(finding) for finding in _grouped(_unknown(operation, table))]
            if unlisted:
                unlisted[-1] += f"; {operation.table} has {', '.join((*table.columns, *table.paths))}"
                if isinstance(operation, Read) and operation.id_column == "id":
                    unlisted[-1] += f"; {_read_by(table.key)}"
            if table.read_only and operation.writes:
                unlisted.append("it takes no writes: it is declared as read-only, as a view of several tables is")
            problems = unlisted + [_shown(finding) for finding in _grouped(_misfits(operation, table, added))]
            if problems:
                raise ValidationError(operation.table, problems)


def _read_by(key: tuple[str, ...]) -> str:
    """How to name a row of a table that has not the column of a read."""
    if len(key) > 1:
        return f"its key is ({', '.join(key)}): give id_value as a mapping with a value for each"
    return f"its key is {key[0]}: name it as id_column" if key else "it has no key: use query"


def _grouped(findings: Iterable[Finding]) -> Iterable[tuple[str, list[str]]]:
    """Each problem once, with every place where it was found."""
    places: dict[str, list[str]] = {}
    for problem, place in findings:
        places.setdefault(problem, []).append(place)
    return places.items()


def _shown(found: tuple[str, list[str]]) -> str:
    problem, places = found
    more = [f"{len(places) - MAX_PLACES} more"] if len(places) > MAX_PLACES else []
    return f"{', '.join([*places[:MAX_PLACES], *more])}: {problem}"


def _unknown(operation: Operation, table: Table) -> Iterator[Finding]:
    known = (*table.columns, *table.paths)
    for place, names in _named(operation):
        for name in names:
            if name not in known:
                yield f"no column {printable(name)}{did_you_mean(name, known)}", place


def _named(operation: Operation) -> Iterator[tuple[str, Iterable[str]]]:
    """The names that are used as columns, by the argument that holds them."""
    yield from operation.given()
    match operation:
        case Query():
            yield "select", operation.select or ()
            yield "order_by", [key.column for key in operation.order]
        case Read():
            yield "id_column", (operation.id_column,)
    yield "on_conflict", _target(operation) or ()
    yield "a handle", operation.referred_columns
    yield "filters", [leaf.column or "" for leaf in comparisons(_filters(operation))]


def _target(operation: Operation) -> tuple[str, ...] | None:
    """The key by which stored rows are found, () for the primary one; None where none is looked for."""
    match operation:
        case Upsert() | UpsertMany() | BulkWrite(on_conflict=tuple()):
            return operation.on_conflict
        case Write() | BatchWrite():
            return operation.ignoring
        case _:
            return None


def _filters(operation: Operation) -> Filter | None:
    return None if isinstance(operation, Read) else operation.filter


def _misfits(operation: Operation, table: Table, added: frozenset[str]) -> Iterator[Finding]:
    for place, record in operation.given():
        for name, value in record.items():
            problem = _unwritable(table.columns.get(name, _UNDECLARED), value)
            if problem:
                yield f"{name} {problem}", place
    for leaf in comparisons(_filters(operation)):
        problem = _incomparable(table.column(leaf.column or "") or _UNDECLARED, leaf)
        if problem:
            yield f"{leaf.column} {problem}", "filters"
    if isinstance(operation, Read):
        column = table.columns.get(operation.id_column, _UNDECLARED)
        if not takes(column.type, operation.id_value):
            yield f"{operation.id_column} {_not_taken(column, operation.id_value)}", "id_value"
    target = _target(operation)
    if target is not None:
        yield from _unkeyed(target, table, added)


_UNDECLARED: Final = Column("any")
"""Stands for a column that is reported as unknown already: it takes every value."""


def _unwritable(column: Column, value: Any) -> str | None:
    if isinstance(value, Reference):
        return None  # the server reads it
    if isinstance(value, (Increment, Merge)):
        return _uncomputable(column, value)
    if value is None:
        return None if column.nullable else "may not be NULL"
    if not takes(column.type, value):
        return _not_taken(column, value)
    if column.one_of and value not in column.one_of:
        return f"is one of {', '.join(map(repr, column.one_of))}"
    return None


def _uncomputable(column: Column, value: Computed) -> str | None:
    if isinstance(value, Increment):
        fits = family(column.type) in (Family.NUMBER, Family.UNKNOWN)
        return None if fits else f"is {column.type}, to which no number is added"
    fits = base_name(column.type) == "jsonb" or family(column.type) is Family.UNKNOWN
    return None if fits else f"is {column.type}, into which no document is merged; that takes jsonb"


def _not_taken(column: Column, value: Any) -> str:
    return f"is {column.type}, which takes no {_JSON_NAMES[type(value)]}"


_JSON_NAMES: Final[dict[type, str]] = {
    bool: "boolean",
    int: "number",
    float: "number",
    list: "list",
    dict: "mapping",
}
_OF_TEXT: Final = frozenset({Family.TEXT})
_OF_SEVERAL: Final = frozenset({Family.ARRAY, Family.JSON, Family.RANGE})
_NEEDED: Final = {
    Operator.IS_TRUE: frozenset({Family.BOOLEAN}),
    Operator.IS_FALSE: frozenset({Family.BOOLEAN}),
    Operator.LIKE: _OF_TEXT,
    Operator.ILIKE: _OF_TEXT,
    Operator.MATCH: _OF_TEXT,
    Operator.IMATCH: _OF_TEXT,
    Operator.CONTAINS: _OF_SEVERAL,
    Operator.CONTAINED_BY: _OF_SEVERAL,
    Operator.OVERLAPS: frozenset({Family.ARRAY, Family.RANGE}),
    Operator.ADJACENT: frozenset({Family.RANGE}),
    Operator.TEXT_SEARCH: frozenset({Family.TEXT, Family.JSON}),
}
_WITH_SEVERAL: Final = (Operator.IN, Operator.NOT_IN)


def _incomparable(column: Column, leaf: Comparison) -> str | None:
    kind = family(column.type)
    needed = _NEEDED.get(leaf.operator)
    if needed is not None:
        fits = kind is Family.UNKNOWN or (kind in needed and _fits(kind, leaf.operand))
        return None if fits else f"is {column.type}, which {leaf.operator.function} does not compare"
    if isinstance(leaf.operand, tuple) and leaf.operator not in _WITH_SEVERAL:
        fits = kind in (Family.UNKNOWN, Family.ARRAY, Family.JSON)
        return None if fits else f"is {column.type}, which takes no list; use in_([…]) for any of several"
    operands = leaf.operand if leaf.operator in _WITH_SEVERAL else (leaf.operand,)
    refused = next((operand for operand in operands if not takes(column.type, operand)), None)
    return None if refused is None else _not_taken(column, refused)


def _fits(kind: Family, operand: Any) -> bool:
    """Whether an array, a range or a document is compared with such a value; the server reads a text as any of them."""
    if kind is Family.ARRAY:
        return not isinstance(operand, dict)
    return kind is not Family.RANGE or isinstance(operand, str)


def _unkeyed(on_conflict: tuple[str, ...], table: Table, added: frozenset[str]) -> Iterator[Finding]:
    target = on_conflict or table.primary_key
    keys = [key for key in (table.primary_key, *table.unique) if key]
    if {*target} <= table.columns.keys() and not any({*target} in ({*key}, {*key} - added) for key in keys):
        declared = ", ".join(f"({', '.join(key)})" for key in keys) or "none"
        yield f"({', '.join(target)}) is no declared key; keys are {declared}; add it to `unique`", "on_conflict"
