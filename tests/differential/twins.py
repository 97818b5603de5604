"""The two adapters side by side, what each made of a call, and PostgreSQL itself as the judge of a filter."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import psycopg
from anyio.from_thread import BlockingPortal
from pydantic_core import to_json

from agent_persistence import InMemoryAdapter, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.exceptions import AdapterError, ConflictError, UnsupportedOperationError
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import (
    FALSE,
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Not,
    Operator,
    comparisons,
    fold,
)
from agent_persistence.query.records import Row, exact_number
from agent_persistence.schema_registry import Schema, Table
from tests.differential.known_differences import as_the_server_tells, excused
from tests.differential.strategies import array_text
from tests.server import LocalServer
from tests.stack import as_chosen

Call: TypeAlias = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a JSON value, an error's class, code, constraint and state, or a refusal of the twin."""

    value: str | None = None
    error: tuple[str, str | None, str | None, str] | None = None
    refused: bool = False

    @property
    def code(self) -> str | None:
        return self.error[1] if self.error else None


def canonical(value: object) -> str:
    """JSON in which 1, 1.0 and true differ, Decimals are told by their digits and the order of keys does not count."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr)


def query_of(table: str, filters: Any = None, **about: Any) -> Call:
    """A query, to be put to either adapter."""
    return lambda adapter: adapter.query(table, filters, **about)


def write_of(table: str, record: Row) -> Call:
    """A write, to be put to either adapter."""
    return lambda adapter: adapter.write(table, record)


@dataclass
class Tally:
    """How many calls the twin was asked for, and how many of them it refused to follow.

    What is refused is compared with nothing, so that a test passes only where at most the share `most` was.
    """

    most: float = 0.03
    asked: int = 0
    refused: int = 0

    def count(self, *, refused: bool) -> None:
        self.asked += 1
        self.refused += refused

    def check(self) -> None:
        """Two more than the share are allowed, for the tests that ask for little."""
        assert self.refused <= 2 + self.most * self.asked, f"the twin refused {self.refused} of {self.asked} calls"


@dataclass(repr=False)
class Twins:
    """The in-memory adapter and one over the real server or its PostgreSQL, on one event loop."""

    server: LocalServer
    portal: BlockingPortal
    real: SupabaseAdapter | PostgresAdapter
    memory: InMemoryAdapter
    schema: Schema
    tally: Tally = field(default_factory=Tally)

    def outcome(self, adapter: object, call: Call) -> Outcome:
        """What came of the call; those of the twin are counted."""
        outcome = self._outcome(adapter, call)
        if isinstance(adapter, InMemoryAdapter):
            self.tally.count(refused=outcome.refused)
        return outcome

    def _outcome(self, adapter: object, call: Call) -> Outcome:
        try:
            return Outcome(canonical(self.portal.call(call, self._door if adapter is self.real else adapter)))
        except UnsupportedOperationError:
            return Outcome(refused=True)
        except AdapterError as error:
            constraint = error.constraint if isinstance(error, ConflictError) else None
            return Outcome(error=(type(error).__name__, error.code, constraint, str(error.state)))

    @cached_property
    def _door(self) -> SupabaseAdapter | PostgresAdapter:
        """What calls to the real one are put to."""
        return as_chosen(self.real)

    def both(self, call: Call) -> tuple[Outcome, Outcome]:
        """What the twin and what the server made of the same call."""
        ours = self.outcome(self.memory, call)
        if self.is_excused:
            ours = replace(ours, value=as_the_server_tells(ours.value))
        return ours, self.outcome(self.real, call)

    @property
    def is_excused(self) -> bool:
        """Whether the real one asks the test server, whose differences are known: neither PostgREST nor PostgreSQL."""
        return isinstance(self.real, SupabaseAdapter) and not self.server.is_postgrest

    def excuses(self, table: Table, filters: Filter | None) -> bool:
        """Whether the answers to such a query are not compared."""
        return self.is_excused and excused(table, filters)

    def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Both hold these rows and no others, foreign keys unchecked; the database reads them as PostgREST does."""
        self.load_all({table: rows})

    def load_all(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """The same of several tables."""
        self.server.reset()
        free = Schema({name: replace(declared, foreign_keys=()) for name, declared in self.schema.tables.items()})
        self.memory = InMemoryAdapter(schema=free)
        self.server.execute("set session_replication_role = replica")
        for table, rows in tables.items():
            self.portal.call(self.memory.batch_write, table, rows)
            self.server.execute(
                f"insert into {table} select * from json_populate_recordset(null::{table}, %s::json)",
                to_json(list(rows)).decode(),
            )
        self.server.execute("set session_replication_role = origin")


# --- SQL --------------------------------------------------------------------------------------------------------------

_INFIX = {
    Operator.EQ: "=",
    Operator.NE: "<>",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.LIKE: "like",
    Operator.ILIKE: "ilike",
    Operator.MATCH: "~",
    Operator.IMATCH: "~*",
    Operator.CONTAINS: "@>",
    Operator.CONTAINED_BY: "<@",
    Operator.OVERLAPS: "&&",
}
_SUFFIX = {
    Operator.IS_NULL: "is null",
    Operator.NOT_NULL: "is not null",
    Operator.IS_TRUE: "is true",
    Operator.IS_FALSE: "is false",
}


def sql(tree: Filter, types: Mapping[str, str], bound: list[str]) -> str:
    """The filter as PostgREST writes it (SqlFragment.hs), operands as parameters of unknown type."""
    match tree:
        case AllOf(terms):
            return "(" + (" and ".join(sql(term, types, bound) for term in terms) or "true") + ")"
        case AnyOf(terms):
            return "(" + (" or ".join(sql(term, types, bound) for term in terms) or "false") + ")"
        case Not(term):
            return f"(not {sql(term, types, bound)})"
        case Exists():
            raise NotImplementedError("what is related is compared between adapters")
        case Comparison(operator, operand, column):
            field = expression(column or "")
            if operator in _SUFFIX:
                return f"({field} {_SUFFIX[operator]})"
            if operator in (Operator.IN, Operator.NOT_IN):
                bound.append(array_text([text_of(item) for item in operand]))
                return f"({'not ' if operator is Operator.NOT_IN else ''}{field} = any (%s))"
            bound.append(_operand(operand, types.get(column or "", "")))
            return f"({field} {_INFIX[operator]} %s)"


def expression(column: str) -> str:
    """The column, or the part of it that a path reads."""
    base, *steps = re.split("(->>?)", column)
    keys = (step if re.fullmatch(r"->>?|-?\d+", step) else f"'{step}'" for step in steps)
    return f'("{base}"{"".join(keys)})'


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _operand(operand: Any, type_name: str) -> str:
    if isinstance(operand, tuple) and type_name != "jsonb":
        return array_text([None if item is None else text_of(item) for item in operand])
    return text_of(list(operand) if isinstance(operand, tuple) else operand)


def judged(
    server: LocalServer, table: str, tree: Filter, types: Mapping[str, str], order: Sequence[Order] = ()
) -> list[str] | str:
    """The keys of the rows that PostgreSQL selects by the filter, in order, or the SQLSTATE of its refusal."""
    folded = fold(tree)
    if folded == FALSE:
        return []
    bound: list[str] = []
    where = sql(folded, types, bound)
    by = ", ".join(expression(key.column) + (" desc" if key.descending else "") for key in order) or f"{table}.id"
    try:
        rows = server.execute(f"select {table}.id::text as key from {table} where {where} order by {by}", *bound)
    except psycopg.Error as error:
        return str(error.sqlstate)
    return [row["key"] for row in rows]


def keys(rows: Sequence[Row]) -> list[str]:
    return [str(row["id"]) for row in rows]


def check_against_postgresql(twins: Twins, table: str, tree: Filter, order: Sequence[Order]) -> None:
    """The twin selects the rows that PostgreSQL selects, in its order, or refuses for a reason that it has.

    Of several comparisons that are refused, any may be the one that is told: which comes first is up to a parser.
    """
    declared = twins.schema.tables[table]
    names = {leaf.column or "" for leaf in comparisons(tree)}
    types = {name: column.type for name in names if (column := declared.column(name))}
    ours = twins.outcome(twins.memory, lambda memory: memory.query(table, tree, order_by=list(order)))
    if ours.refused:
        return
    theirs = judged(twins.server, table, tree, types, order)
    if isinstance(theirs, str):
        told = [judged(twins.server, table, leaf, types) for leaf in comparisons(tree)]
        assert ours.code in {theirs, *(code for code in told if isinstance(code, str))}, f"{ours}, there {theirs}"
    else:
        assert ours.value is not None, f"refused here only: {ours.error}"
        assert keys(json.loads(ours.value)) == theirs


def read_by_postgresql(twins: Twins, name: str, value: Any) -> str:
    """The JSON of the value in a column of the type, or the SQLSTATE."""
    try:
        (row,) = twins.server.execute(
            f"select to_json(c)::text as told from json_to_record(%s::json) as r(c {name})",
            to_json({"c": value}).decode(),
        )
    except psycopg.Error as error:
        return str(error.sqlstate)
    return canonical(json.loads(row["told"] or "null", parse_float=exact_number))
