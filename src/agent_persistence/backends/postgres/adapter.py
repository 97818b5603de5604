"""PostgreSQL itself, over connections of our own: the rows, errors and rights are those that PostgREST gives."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from agent_persistence._extras import command_for
from agent_persistence.backends.backend import Capabilities, UsersBackend, sent_rows
from agent_persistence.backends.base import CAPABILITIES, only_row
from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.installation import SCHEMA
from agent_persistence.backends.postgres import catalogue, copying, sql
from agent_persistence.backends.postgres.catalogue import FunctionFacts, TableFacts
from agent_persistence.backends.postgres.dsn import Server, checked_server
from agent_persistence.backends.postgres.filters import FilterFacts, depends_on_types, simplified
from agent_persistence.backends.postgres.roles import Claims, Roles
from agent_persistence.backends.postgres.statements import Statement, quoted
from agent_persistence.backends.postgres.transactions import Transaction, TransactionResult
from agent_persistence.backends.postgres.units import AppliedBeforeError, WritingUnit, ledger_table
from agent_persistence.backends.transport.connections import Lifetimes
from agent_persistence.backends.units import conflict_target, not_installed
from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    RowsDroppedError,
    ValidationError,
    printable,
)
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
    Unit,
    UnitPart,
    Update,
    Upsert,
    Write,
    WriteNew,
    related,
    unknown,
)
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.query.identifiers import base_column
from agent_persistence.query.predicates import FALSE, Filter, RowLink
from agent_persistence.query.records import Row, differ_in_keys
from agent_persistence.runtime.attempts import ends_at
from agent_persistence.runtime.event_loop import current_time
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


class PostgresAdapter(Unpicklable, UsersBackend):
    """Runs each call as one transaction, by default in one round trip; pooled connections in transaction mode do.

    `dsn` is a URL or libpq's `key=value`. `role` is taken on for each transaction, as PostgREST does, so that its
    rights and the policies of row-level security are those that hold. `claims` are the claims of a token that somebody
    else has verified, or a callable (plain or async) that returns those of whoever asks, and is asked for every call;
    functions such as `auth.uid()` read them. Their "role" counts where no `role` is given. `anon_role` is taken on for
    a user of whom no claims are given, where there is no `role`. `db_schema` is the database schema that the tables and
    functions are in. A connection that was idle for `max_idle_s` seconds, or was made `max_age_s` seconds ago, is
    closed; nothing under way is cut. TLS is demanded of every host but this machine, unless `allow_plaintext`.
    `prepare` has the server parse and plan a statement once for each connection, from its second time on; by default
    that is done where no pooler stands between, which each connection finds out.
    `error_texts` repeats in errors what functions and triggers of the database raise (P0001, PTxxx), row content
    included if they hold it. `ledger_schema` is where `agent-persistence sql install` has made the ledger, which units
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
        prepare: bool | None = None,
        allow_plaintext: bool = False,
        error_texts: bool = False,
        ledger_schema: str = SCHEMA,
    ) -> None:
        dsn = hidden(dsn)
        if type(max_connections) is not int or max_connections < 1:
            raise ConfigurationError("max_connections is a number from 1")
        if prepare is not None and type(prepare) is not bool:
            raise ConfigurationError(f"prepare is True, False or None, not {type(prepare).__name__}")
        server, pool = _connecting(dsn, allow_plaintext=allow_plaintext)
        self._pool = pool(server, size=max_connections, lifetimes=Lifetimes(max_idle_s, max_age_s), prepare=prepare)
        self._capabilities = Capabilities(
            _CAPABILITIES,
            row_cap=inf,
            returning=True,
            counts_pages=True,
            server=server.address,
            namespace=server.namespace(db_schema),
        )
        self._roles = Roles(role, claims, anon_role)
        self._db_schema = db_schema
        self._error_texts = error_texts
        self._ledger_schema = ledger_schema
        self._first_schema = None if db_schema == "public" else db_schema
        self._tables: dict[str, TableFacts] = {}
        self._functions: dict[str, tuple[FunctionFacts, ...]] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

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

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        adapter = self if context.identity.own else self.acting_as(context.identity)
        if isinstance(operation, Query) and operation.counted:
            return await adapter._paged(operation)
        return Result(await adapter._done(operation))

    async def _done(self, operation: Operation) -> Any:
        match operation:
            case Unit():
                return await self._applied(operation)
            case Query():
                return await self._queried(operation)
            case Read(table=table, id_column=id_column):
                statement = sql.select(sql.Selection(FilterFacts(self._named(table)), operation.filter, limit=2))
                return only_row(table, id_column, await self._rows(operation, statement))
            case Count():
                return await self._counted(operation)
            case BulkWrite():
                return await self._bulk_written(operation) if operation.records else 0
            case Write() | BatchWrite() | Upsert():
                return await self._inserted(operation)
            case Update():
                return await self._updated(operation)
            case Delete():
                return await self._deleted(operation)
            case Call():
                return await self._called(operation)
            case GetColumns(table=table):
                self._tables.pop(table, None)
                return list((await self._facts(table)).columns) or None
        raise unknown(operation)

    async def _queried(self, query: Query) -> list[Row]:
        if simplified(query.filters) == FALSE:
            return []
        return await self._rows(query, sql.select(await self._selection(query)))

    async def _paged(self, query: Query) -> Result:
        if simplified(query.filters) == FALSE:
            return Result([], total=0)
        answer = await self._run("query", query.table, sql.page(await self._selection(query)))
        page = _read(answer.value or b"{}", "query", query.table, writes=False)
        return Result(page["rows"], total=page["total"])

    async def _selection(self, query: Query) -> sql.Selection:
        predicate = simplified(query.filters)
        related = []
        for include in query.include:
            await self._check_columns(include.query, include.link)
            related.append((include, await self._selection(include.query)))
        return sql.Selection(
            await self._known(query.table, predicate),
            predicate,
            columns=query.select,
            order=query.order,
            limit=query.limit,
            offset=query.offset,
            related=related,
        )

    async def _check_columns(self, query: Query, link: RowLink) -> None:
        """Refuse a column that related rows do not have: SQL would take one of the rows around for it."""
        has = (await self._facts(query.table)).columns
        for column in map(base_column, (*query.columns(), link.theirs)):
            if column not in has:
                self._tables.pop(query.table, None)  # it may be added
                raise AdapterError(f"query on {query.table}: it has no column {printable(column)}", code="42703")

    async def _counted(self, count: Count) -> int:
        """The number of rows; SQL counts where any one column may be read, so that it need not know which."""
        predicate = simplified(count.filters)
        if predicate == FALSE:
            return 0
        ask = sql.estimate if count.estimated else sql.count
        statement = ask(await self._known(count.table, predicate), predicate)
        counted = (await self._run("count", count.table, statement)).value
        return sql.estimated(counted or b"") if count.estimated else int(counted or 0)

    async def _inserted(self, operation: Write | BatchWrite | Upsert) -> Any:
        table, records = operation.table, operation.inserted
        if not records:
            return []
        new = operation if isinstance(operation, WriteNew) else None
        target = await self._target(table, operation.merges_by) if new is None else new.key
        statement = sql.insert(
            self._named(table), records, on_conflict=target, merges=new is None, returning=operation.returning
        )
        # Records of different keys are read row by row: a rule that the first one breaks would hide a wrong value.
        check = sql.reading(self._named(table), records) if differ_in_keys(records) else None
        answer = await self._run(operation.verb, table, statement, writes=True, check=check)
        rows: list[Row] = [] if answer.value is None else _read(answer.value, operation.verb, table, writes=True)
        if answer.affected < len(records) and new is None:
            raise RowsDroppedError(operation.verb, table, sent=len(records), stored=answer.affected, rows=rows)
        if operation.returning == ():
            return sent_rows(operation)
        return rows[0] if operation.returns == "row" else rows

    async def _bulk_written(self, write: BulkWrite) -> int:
        """Store the rows by COPY in one transaction; where rows are merged, or row-level security holds, by way of a
        temporary table. A few rows are inserted as others are."""
        table, records, columns = write.table, write.records, tuple(write.records[0])
        differ = any(record.keys() != records[0].keys() for record in records)
        if differ and write.on_conflict is not None:
            raise ValidationError(table, "records that are merged have the same columns; send those of others apart")
        target = await self._target(table, write.on_conflict)
        facts = await self._facts(table)
        if differ or len(records) < copying.WORTHWHILE or not copying.can_be_copied(columns, facts):
            inserted = sql.insert(self._named(table), records, on_conflict=target, returning=())
            return (await self._run("bulk_write", table, inserted, writes=True)).affected
        load, statement = copying.loading(self._named(table), columns, records, facts, target)
        return (await self._run("bulk_write", table, statement, writes=True, load=load)).affected

    async def _updated(self, update: Update) -> list[Row]:
        table, changes, predicate = update.table, update.changes, simplified(update.filters)
        if predicate == FALSE or not changes:
            return []
        known = await self._known(table, predicate)
        statement = sql.update(known, changes, predicate, returning=update.returning)
        check = sql.reading(self._named(table), [changes])
        return await self._rows(update, statement, check=check, at_most=update.max_affected)

    async def _deleted(self, delete: Delete) -> list[Row]:
        table, predicate = delete.table, simplified(delete.filters)
        if predicate == FALSE:
            return []
        statement = sql.delete(await self._known(table, predicate), predicate, returning=delete.returning)
        return await self._rows(delete, statement, at_most=delete.max_affected)

    async def _applied(self, unit: Unit) -> list[Any]:
        """The value of each part of a unit, which is one transaction in one round trip.

        A unit with a key needs the ledger that `agent-persistence sql install` makes. A key that was applied gives in a
        second round trip what it gave then.
        """
        writing = WritingUnit(
            unit,
            named=self._named,
            known=[await self._known_of(part) for part in unit.parts],
            targets=[await self._target(part.operation.table, conflict_target(part)) for part in unit.parts],
            ledger=ledger_table(self._ledger_schema),
            calls={
                index: await self._calling(part.operation)
                for index, part in enumerate(unit.parts)
                if isinstance(part.operation, Call)
            },
        )
        try:
            settings, user = await self._settings(writes=True)
            answer = await self._answered(writing.transaction(settings, user.role, error_texts=self._error_texts))
            applied = writing.applied(answer)
        except AppliedBeforeError:
            entry = await self._run(unit.verb, unit.table, writing.entry())
            applied = writing.remembered(entry.value)
        except AdapterError as error:
            if unit.key is not None and error.part is None and error.code in _NO_LEDGER:
                raise not_installed(unit, "the ledger that a unit with a key needs") from error
            raise
        return applied.values(unit)

    async def _known_of(self, part: UnitPart) -> FilterFacts:
        """What the part's SQL depends on. What later parts take of it is looked for here: a column that
        there is not would be NULL to them."""
        table, referred = part.operation.table, part.operation.referred_columns
        columns = (await self._facts(table)).columns if referred else {}
        missing = next((name for name in referred if columns and name not in columns), None)
        if missing is not None:
            raise AdapterError(f"{part.operation.verb} on {table}: column {missing} does not exist", code="42703")
        return await self._known(table, simplified(part.operation.filter))

    async def _called(self, call: Call) -> Any:
        """Call the function, in a read-only transaction unless it may write."""
        function = call.table
        answer = await self._run("call", function, await self._calling(call), writes=call.writes)
        return None if answer.value is None else _read(answer.value, "call", function, writes=call.writes)

    async def _calling(self, call: Call) -> Statement:
        function = call.table
        try:
            facts = catalogue.chosen(function, await self._overloads(function), call.arguments)
        except AdapterError:
            self._functions.pop(function, None)  # the one that is missed may be made now
            raise
        return catalogue.call(self._named(function), facts, call.arguments)

    async def ask(self, statement: Statement) -> bytes | None:
        """What a statement of your own returns, in a transaction that cannot write: its one value, as JSON text."""
        return (await self._run("query", "pg_catalog", statement)).value

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _target(self, table: str, on_conflict: Sequence[str] | None) -> Sequence[str] | None:
        """The columns by which rows are merged: the primary key if none are named. A table without one only grows."""
        if on_conflict is None or on_conflict:
            return on_conflict
        return (await self._facts(table)).primary_key or None

    async def _known(self, table: str, predicate: Filter | None) -> FilterFacts:
        """What the filter's SQL depends on: the types of the table's columns only if it does."""
        tables = {}
        for each in related(Query(table, predicate)):
            other = each.query.table
            await self._check_columns(each.query, each.link)
            tables[other] = FilterFacts(self._named(other), (await self._facts(other)).types)
        types = (await self._facts(table)).types if depends_on_types(predicate) else {}
        return FilterFacts(self._named(table), types, tables)

    async def _facts(self, table: str) -> TableFacts:
        """What the catalogue says of the table; asked once, and again after an error that may come of a change.

        That a table or its key is missing is not remembered: it may be made any time.
        """
        if table in self._tables:
            return self._tables[table]
        answer = await self._run("get_columns", table, catalogue.ask_table(self._db_schema, table))
        facts = TableFacts.of(read_json(answer.value or b"null"))
        if facts.primary_key:
            self._tables[table] = facts
        return facts

    async def _overloads(self, function: str) -> tuple[FunctionFacts, ...]:
        if not self._functions.get(function):
            answer = await self._run("call", function, catalogue.ask_function(self._db_schema, function))
            self._functions[function] = FunctionFacts.all_of(read_json(answer.value or b"[]"))
        return self._functions[function]

    async def _rows(self, operation: Operation, statement: Statement, **about: Any) -> list[Row]:
        verb, table, writes = operation.verb, operation.table, operation.writes
        answer = await self._run(verb, table, statement, writes=writes, **about)
        rows: list[Row] = [] if answer.value is None else _read(answer.value, verb, table, writes=writes)
        return rows

    async def _run(
        self, verb: str, table: str, statement: Statement | None, *, writes: bool = False, **about: Any
    ) -> TransactionResult:
        settings, user = await self._settings(writes=writes)
        asked = Transaction(verb, table, statement, settings, user.role, writes, error_texts=self._error_texts, **about)
        return await self._answered(asked)

    async def _settings(self, *, writes: bool) -> tuple[Statement | None, Identity]:
        """What holds for a transaction that begins now, and as whom it runs."""
        user = await self._roles.current() if self._user.own else self._user
        claims = None if user.claims is None else user.claims.get_secret_value()
        return sql.settings(user.role, claims, self._first_schema, _limit_ms(), writes=writes), user

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
    remaining_s = max(0.0, ends_at() - current_time())
    return None if remaining_s == inf else min(round((remaining_s + _SPARE_S) * 1000), _MOST_MS)


def _connecting(dsn: SecretStr, *, allow_plaintext: bool) -> tuple[Server, type[PostgresPool]]:
    try:
        from agent_persistence.backends.postgres.connections import PostgresPool
        from agent_persistence.backends.postgres.libpq import parsed
    except ImportError as error:
        remedy = command_for("postgres")
        raise ConfigurationError(f"PostgresAdapter needs psycopg, 3.2 or later: {remedy}") from error
    return checked_server(dsn, parsed, allow_plaintext=allow_plaintext), PostgresPool
