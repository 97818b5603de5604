"""PostgreSQL itself, over connections of our own: the rows, errors and rights are those that PostgREST gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import anyio

from agent_persistence._extras import command_for
from agent_persistence.backends.base import CAPABILITIES, only_row
from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.installation import SCHEMA
from agent_persistence.backends.postgres import catalogue, copying, sql
from agent_persistence.backends.postgres.catalogue import FunctionFacts, TableFacts
from agent_persistence.backends.postgres.dsn import Server, checked_server
from agent_persistence.backends.postgres.filters import depends_on_types, simplified
from agent_persistence.backends.postgres.roles import Claims, Roles
from agent_persistence.backends.postgres.statements import Statement, quoted
from agent_persistence.backends.postgres.transactions import Transaction, TransactionResult
from agent_persistence.backends.postgres.units import AppliedBeforeError, WritingUnit, ledger_table
from agent_persistence.backends.transport.connections import Lifetimes
from agent_persistence.backends.units import conflict_target, not_installed
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    RowsDroppedError,
    ValidationError,
)
from agent_persistence.operations import Part, Unit
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.query.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.predicates import FALSE, Filter
from agent_persistence.query.records import Record, Row, differ_in_keys
from agent_persistence.runtime.hiding import Unpicklable, hidden

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agent_persistence.backends.postgres.connections import PostgresPool

_CAPABILITIES: Final = MappingProxyType(dict.fromkeys(CAPABILITIES, True))
_SPARE_S: Final = 0.1
"""How much longer than its call a statement may run: the call ends first, and the server stops by itself."""
_NO_LEDGER: Final = frozenset({"42P01", "3F000", "42883", "42501"})
"""Codes of a table, a schema or a function that there is not, or that the role may not use."""
_MOST_MS: Final = 2**31 - 1
"""The longest statement_timeout that PostgreSQL takes, 24 days."""


class PostgresAdapter(Unpicklable):
    """Runs each call as one transaction, by default in one round trip; pooled connections in transaction mode do.

    `dsn` is a URL or libpq's `key=value`. `role` is taken on for each transaction, as PostgREST does, so that its
    rights and the policies of row-level security are those that hold. `claims` are the claims of a token that somebody
    else has verified, or a callable (plain or async) that returns those of whoever asks, and is asked for every call;
    functions such as `auth.uid()` read them. Their "role" counts where no `role` is given. `anon_role` is taken on for
    a user of whom no claims are given, where there is no `role`. `db_schema` is the database schema that the tables and
    functions are in. A connection that was idle for `max_idle_s` seconds, or was made `max_age_s` seconds ago, is
    closed; nothing under way is cut. TLS is demanded of every host but this machine, unless `allow_plaintext`.
    `error_texts` repeats in errors what functions and triggers of the database raise (P0001, PTxxx), row content
    included if they tell it. `ledger_schema` is where `agent-persistence sql install` has made the ledger, which units
    of work with a key need.
    """

    def __init__(
        self,
        dsn: str | SecretStr,
        *,
        role: str | None = None,
        claims: Claims | None = None,
        anon_role: str = "anon",
        db_schema: str = "public",
        max_connections: int = 10,
        max_idle_s: float = 300.0,
        max_age_s: float = 1800.0,
        allow_plaintext: bool = False,
        error_texts: bool = False,
        ledger_schema: str = SCHEMA,
    ) -> None:
        dsn = hidden(dsn)
        if type(max_connections) is not int or max_connections < 1:
            raise ConfigurationError("max_connections is a number from 1")
        lifetimes = Lifetimes(max_idle_s, max_age_s)
        self._pool, server = _connecting(dsn, max_connections, lifetimes, allow_plaintext=allow_plaintext)
        self.server, self.namespace = server.address, server.namespace(db_schema)
        self._roles = Roles(role, claims, anon_role)
        self._user: Identity | None = None
        self._db_schema = db_schema
        self._error_texts = error_texts
        self._ledger_schema = ledger_schema
        self._first_schema = None if db_schema == "public" else db_schema
        self._tables: dict[str, TableFacts] = {}
        self._functions: dict[str, tuple[FunctionFacts, ...]] = {}

    row_cap: Final = inf
    remembers_units: Final = False

    @property
    def capabilities(self) -> Mapping[str, bool]:
        return _CAPABILITIES

    @property
    def identity(self) -> Identity | None:
        """The role and claims given to the adapter; None where a callable gives those of every call."""
        return self._roles.fixed and OWN

    async def identify(self) -> Identity:
        return await self._roles.current()

    def identity_of(self, *, access_token: object = None, claims: object = None) -> Identity:
        """The user of these claims, or nobody."""
        access_token = hidden(access_token)
        if access_token is not None:
            raise ConfigurationError(
                "PostgreSQL verifies no token: verify it and pass its claims=, or use SupabaseAdapter for access_token="
            )
        return self._roles.anonymous if claims is None else self._roles.user(claims)

    def acting_as(self, identity: Identity) -> PostgresAdapter:
        user = object.__new__(type(self))
        vars(user).update(vars(self), _user=identity)
        return user

    async def write(self, table: str, record: Record) -> Row:
        return (await self._insert("write", table, [record]))[0]

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        return await self._insert("batch_write", table, records) if records else []

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        return (await self._insert("upsert", table, [record], on_conflict=on_conflict or ()))[0]

    async def insert(
        self,
        table: str,
        records: Sequence[Record],
        *,
        on_conflict: Sequence[str] | None = None,
        returning: Sequence[str] = (),
    ) -> list[Row]:
        """Insert or merge, and return these columns alone: the role needs no right to SELECT others."""
        return await self._insert("write", table, records, on_conflict=on_conflict, returning=returning)

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        """Store the rows by COPY in one transaction; where rows are merged, or row-level security holds, by way of a
        temporary table. A few rows are inserted as others are."""
        if not records:
            return 0
        columns = tuple(records[0])
        differ = any(record.keys() != records[0].keys() for record in records)
        if differ and on_conflict is not None:
            raise ValidationError(table, "records that are merged have the same columns; send those of others apart")
        target = await self._target(table, on_conflict)
        facts = await self._facts(table)
        if differ or len(records) < copying.WORTHWHILE or not copying.can_be_copied(columns, facts):
            inserted = sql.insert(self._named(table), records, on_conflict=target, returning=())
            return (await self._run("bulk_write", table, inserted, writes=True)).affected
        load, statement = copying.loading(self._named(table), columns, records, facts, target)
        return (await self._run("bulk_write", table, statement, writes=True, load=load)).affected

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        predicate = parse_filters(table, {id_column: eq(id_value)})
        statement = sql.select(self._named(table), predicate, {}, limit=2)
        return only_row(table, id_column, await self._rows("read", table, statement))

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        predicate = simplified(parse_filters(table, filters))
        if predicate == FALSE:
            return []
        order, types = parse_order(table, order_by, descending), await self._types(table, predicate)
        statement = sql.select(
            self._named(table), predicate, types, columns=select, order=order, limit=limit, offset=offset
        )
        return await self._rows("query", table, statement)

    async def count(self, table: str, filters: Filters | None = None, *, select: Sequence[str] | None = None) -> int:
        """Count the rows. `select` is not needed: SQL counts where any one column may be read."""
        predicate = simplified(parse_filters(table, filters))
        if predicate == FALSE:
            return 0
        statement = sql.count(self._named(table), predicate, await self._types(table, predicate))
        return int((await self._run("count", table, statement)).value or 0)

    async def update(
        self,
        table: str,
        changes: Record,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        predicate = simplified(parse_some_rows(table, filters))
        if predicate == FALSE or not changes:
            return []
        types = await self._types(table, predicate)
        statement = sql.update(self._named(table), changes, predicate, types, returning=returning)
        check = sql.reading(self._named(table), [changes])
        return await self._rows("update", table, statement, check=check, writes=True, at_most=max_affected)

    async def delete(
        self,
        table: str,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        predicate = simplified(parse_some_rows(table, filters))
        if predicate == FALSE:
            return []
        types = await self._types(table, predicate)
        statement = sql.delete(self._named(table), predicate, types, returning=returning)
        return await self._rows("delete", table, statement, writes=True, at_most=max_affected)

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> Any:
        """Call the function, in a read-only transaction unless it `may_write`."""
        try:
            facts = catalogue.chosen(function, await self._overloads(function), arguments)
        except AdapterError:
            self._functions.pop(function, None)  # the one that is missed may be made now
            raise
        statement = catalogue.call(self._named(function), facts, arguments)
        answer = await self._run("call", function, statement, writes=may_write)
        return None if answer.value is None else _read(answer.value, "call", function, writes=may_write)

    async def transact(self, unit: Unit) -> list[Any]:
        """Carry out the unit as one transaction, in one round trip; the value of each part.

        A unit with a key needs the ledger that `agent-persistence sql install` makes. A key that was applied gives in a
        second round trip what it gave then.
        """
        writing = WritingUnit(
            unit,
            named=self._named,
            types=[await self._types_of(part) for part in unit.parts],
            targets=[await self._target(part.operation.table, conflict_target(part)) for part in unit.parts],
            ledger=ledger_table(self._ledger_schema),
        )
        try:
            settings, user = await self._acting_settings()
            asked = writing.transaction(settings, user.role, error_texts=self._error_texts)
            answer = await self._answered(asked)
            applied = writing.applied(answer)
        except AppliedBeforeError:
            entry = await self._run(unit.verb, unit.table, writing.entry())
            applied = writing.remembered(entry.value)
        except AdapterError as error:
            if unit.key is not None and error.part is None and error.code in _NO_LEDGER:
                raise not_installed(unit, "the ledger that a unit with a key needs") from error
            raise
        return applied.values(unit)

    async def _types_of(self, part: Part) -> Mapping[str, str]:
        return await self._types(part.operation.table, simplified(part.filters))

    async def get_columns(self, table: str) -> list[str] | None:
        self._tables.pop(table, None)
        return list((await self._facts(table)).columns) or None

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _insert(
        self,
        verb: str,
        table: str,
        records: Sequence[Record],
        *,
        on_conflict: Sequence[str] | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        target = await self._target(table, on_conflict)
        statement = sql.insert(self._named(table), records, on_conflict=target, returning=returning)
        # Records of different keys are read row by row: a rule that the first one breaks would hide a wrong value.
        check = sql.reading(self._named(table), records) if differ_in_keys(records) else None
        answer = await self._run(verb, table, statement, writes=True, check=check)
        rows: list[Row] = [] if answer.value is None else _read(answer.value, verb, table, writes=True)
        if answer.affected < len(records):
            raise RowsDroppedError(verb, table, sent=len(records), stored=answer.affected, rows=rows)
        return rows

    async def _target(self, table: str, on_conflict: Sequence[str] | None) -> Sequence[str] | None:
        """The columns by which rows are merged: the primary key if none are named. A table without one only grows."""
        if on_conflict is None or on_conflict:
            return on_conflict
        return (await self._facts(table)).primary_key or None

    async def _types(self, table: str, predicate: Filter | None) -> Mapping[str, str]:
        """The types of the table's columns, if the filter's SQL depends on them."""
        return (await self._facts(table)).types if depends_on_types(predicate) else {}

    async def _facts(self, table: str) -> TableFacts:
        """What the catalogue tells of the table; asked once, and again after an error that may come of a change.

        That a table or its key is missing is not remembered: it may be made any time.
        """
        if table in self._tables:
            return self._tables[table]
        answer = await self._run("get_columns", table, catalogue.ask_table(self._db_schema, table))
        facts = TableFacts.told(read_json(answer.value or b"null"))
        if facts.primary_key:
            self._tables[table] = facts
        return facts

    async def _overloads(self, function: str) -> tuple[FunctionFacts, ...]:
        if not self._functions.get(function):
            answer = await self._run("call", function, catalogue.ask_function(self._db_schema, function))
            self._functions[function] = FunctionFacts.told(read_json(answer.value or b"[]"))
        return self._functions[function]

    async def _rows(
        self, verb: str, table: str, statement: Statement, *, writes: bool = False, **about: Any
    ) -> list[Row]:
        answer = await self._run(verb, table, statement, writes=writes, **about)
        rows: list[Row] = [] if answer.value is None else _read(answer.value, verb, table, writes=writes)
        return rows

    async def _run(self, verb: str, table: str, statement: Statement | None, **about: Any) -> TransactionResult:
        settings, user = await self._acting_settings()
        asked = Transaction(verb, table, statement, settings, user.role, error_texts=self._error_texts, **about)
        return await self._answered(asked)

    async def _acting_settings(self) -> tuple[Statement | None, Identity]:
        """What holds for a transaction that begins now, and as whom it runs."""
        user = self._user or await self._roles.current()
        claims = None if user.claims is None else user.claims.get_secret_value()
        return sql.settings(user.role, claims, self._first_schema, _limit_ms()), user

    async def _answered(self, asked: Transaction) -> TransactionResult:
        answer = await self._pool.send(asked)
        if answer.error is None:
            return answer
        if (answer.error.code or "").startswith(("42", "0A")):
            for part in (asked, *asked.parts):
                self._tables.pop(part.table, None)
                self._functions.pop(part.table, None)
        raise answer.error

    def _named(self, name: str) -> str:
        return f"{quoted(self._db_schema)}.{quoted(name)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pool!r})"


def _read(value: bytes, verb: str, table: str, *, writes: bool) -> Any:
    """The JSON value. PostgreSQL nests documents deeper than Python reads them; what was written is written then."""
    try:
        return read_json(value)
    except ValueError:
        state = FailureState.APPLIED if writes else FailureState.REJECTED
    raise AdapterError(f"{verb} on {table}: a document that came back is nested too deeply to be read", state=state)


def _limit_ms() -> int | None:
    """How long a statement may run, by the deadline of the call; one that is cancelled already sends nothing."""
    remaining_s = max(0.0, anyio.current_effective_deadline() - anyio.current_time())
    return None if remaining_s == inf else min(round((remaining_s + _SPARE_S) * 1000), _MOST_MS)


def _connecting(
    dsn: SecretStr, size: int, lifetimes: Lifetimes, *, allow_plaintext: bool
) -> tuple[PostgresPool, Server]:
    try:
        from agent_persistence.backends.postgres.connections import PostgresPool
        from agent_persistence.backends.postgres.libpq import parsed
    except ImportError as error:
        remedy = command_for("postgres")
        raise ConfigurationError(f"PostgresAdapter needs psycopg, 3.2 or later: {remedy}") from error
    server = checked_server(dsn, parsed, allow_plaintext=allow_plaintext)
    return PostgresPool(server, size=size, lifetimes=lifetimes), server
