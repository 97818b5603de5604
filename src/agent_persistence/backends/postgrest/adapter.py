"""Supabase, and any other PostgREST that is served below /rest/v1, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from pydantic import SecretStr
from pydantic_core import to_json

from agent_persistence.backends.backend import Capabilities, UsersBackend, sent_rows
from agent_persistence.backends.base import CAPABILITIES, only_row
from agent_persistence.backends.installation import REMEDY
from agent_persistence.backends.postgrest import parsing, rendering
from agent_persistence.backends.postgrest.credentials import ApiKey, checked_user
from agent_persistence.backends.postgrest.expected import ExpectedRows
from agent_persistence.backends.postgrest.units import parse_unit, render_unit
from agent_persistence.backends.transport.choice import Transport as Transport, checked_transport, pool_for
from agent_persistence.backends.transport.connections import HttpTransport, Lifetimes
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpx import InjectedClient, base_url
from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    RowsDroppedError,
    UnsupportedOperationError,
)
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Include,
    Operation,
    Query,
    Read,
    Result,
    Unit,
    Update,
    Upsert,
    Write,
    WriteNew,
    unknown,
)
from agent_persistence.policy.identity import OWN, Identity, RefreshingToken, asked, checked_token
from agent_persistence.query.predicates import (
    FALSE,
    TRUE,
    Comparison,
    Exists,
    Filter,
    Operator,
    RowLink,
    comparisons,
    existence,
    fold,
    map_comparisons,
    map_existence,
)
from agent_persistence.query.records import Record, differ_in_keys
from agent_persistence.runtime.hiding import Unpicklable, hidden
from agent_persistence.schema.registry import Schema, default_schema

if TYPE_CHECKING:
    import httpx

AccessToken: TypeAlias = str | SecretStr | RefreshingToken | Callable[[], str | Awaitable[str]]

T = TypeVar("T")
HOSTED: Final = ".supabase.co"
HOSTED_ROW_CAP: Final = 1_000
"""What hosted Supabase has for max-rows, if nobody has changed it."""
_Asked: TypeAlias = tuple[Request, Callable[[Response], T]]
"""A request, and how its answer is read."""
_OF_LISTS: Final = (Operator.CONTAINS, Operator.CONTAINED_BY, Operator.EQ, Operator.NE)
_CAPABILITIES: Final = MappingProxyType(dict.fromkeys(CAPABILITIES, True))


class SupabaseAdapter(Unpicklable, UsersBackend):
    """Sends each call as one request to `url`/rest/v1.

    `key` is a publishable, secret or legacy JWT key; `access_token` is a user's JWT beside it, a `RefreshingToken`, or
    a callable (plain or async) that returns the token of whoever asks, and is asked for every call. `client` is an
    httpx.AsyncClient of the caller's, used in place of connections of our own and never closed. `schema` declares
    columns where the server does not, `db_schema` is the database schema the tables are in. `http://` is refused but
    for loopback or `allow_http`. `transport="auto"` sends over httptools what runs under asyncio, where the extra
    `fast` has installed it, and over httpx's engine all else; "httptools" and "httpx" stand for one alone. A connection
    that was idle for `max_idle_s` seconds, or was made `max_age_s` seconds ago, is closed; nothing under way is cut.
    `error_texts` repeats in errors what functions and triggers of the database raise (P0001, PTxxx), row content
    included if they hold it.
    """

    def __init__(
        self,
        url: str,
        key: str | SecretStr,
        *,
        access_token: AccessToken | None = None,
        client: httpx.AsyncClient | None = None,
        schema: Schema | None = None,
        db_schema: str = "public",
        allow_http: bool = False,
        transport: Transport = "auto",
        max_idle_s: float = 60.0,
        max_age_s: float = 900.0,
        error_texts: bool = False,
    ) -> None:
        key, access_token = hidden(key), hidden(access_token)
        base = base_url(url, allow_http=allow_http)
        self._credentials = ApiKey(key, db_schema)
        self._ask = access_token if callable(access_token) else None
        self._token = None if access_token is None or self._ask else checked_user(access_token)
        self._schema = schema or default_schema()
        self._row_cap = HOSTED_ROW_CAP if base.host.endswith(HOSTED) else None
        self._server = (base.host, base.port or (80 if base.scheme == "http" else 443))
        self._db_schema = db_schema
        self._http = _http_transport(base, client, transport, Lifetimes(max_idle_s, max_age_s))
        self._learnt = _Learnt()
        self._error_texts = error_texts
        self._expected = ExpectedRows(self._schema)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            _CAPABILITIES,
            row_cap=self._row_cap,
            url_size=self.url_size,
            returning=True,
            counts_pages=True,
            remembers_units=True,
            server=self._server,
            namespace=self._db_schema,
        )

    @property
    def identity(self) -> Identity | None:
        """The credentials given to the adapter; None where a callable gives the token of every call."""
        return OWN if self._ask is None else None

    async def identify(self) -> Identity:
        if self._ask is None:
            return OWN
        token = await asked("access_token", self._ask, partial(checked_token, "the token"))
        return Identity(access_token=token)

    def identity_of(self, *, access_token: object = None, claims: object = None) -> Identity:
        """The user whom the token names; without one, what the key alone may do, which must not be everything."""
        access_token = hidden(access_token)
        if claims is not None:
            raise ConfigurationError(
                "PostgREST reads claims from a signed token: pass access_token=, or use PostgresAdapter for claims="
            )
        if access_token is not None:
            return Identity(access_token=checked_user(access_token))
        self._credentials.check_publishable()
        return Identity()

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        user = context.identity
        match operation:
            case Unit():
                return Result(await self._applied(operation, user))
            case Query():
                asked = self._selected(operation)
                return Result([], total=0) if asked is None else await self._send(*asked, user)
            case Read(table=table, id_column=id_column):
                rows = await self._send(*self._looked_up(operation), user)
                return Result(only_row(table, id_column, rows.value))
            case Count():
                asked = self._counted(operation)
                return Result(0) if asked is None else await self._send(*asked, user)
            case BulkWrite():
                return Result(await self._stored(operation, user) if operation.records else 0)
            case Write() | BatchWrite() | Upsert():
                return await self._inserted(operation, user)
            case Update() | Delete():
                asked = self._changed(operation)
                return Result([]) if asked is None else await self._send(*asked, user)
            case Call():
                return Result(await self._called(operation, user))
            case GetColumns(table=table):
                columns = await self._send(
                    rendering.render_openapi(), partial(parsing.parse_columns, table=table), user
                )
                return Result(columns or list(self._schema.columns(table)) or None)
        raise unknown(operation)

    def url_size(self, query: Query) -> int:
        """How many bytes of URL, path and parameters, the query would need."""
        predicate = self._predicate(query.table, query.filters)
        order, limit, offset = query.order, query.limit, query.offset
        return len(rendering.target_of(query.table, predicate, query.select, order, limit, offset, query.include))

    async def exchange(self, request: Request) -> Response:
        """The response to a request of your own, sent with the credentials of this adapter, whatever its status."""
        return await self._send(request, lambda response: response, self._user)

    async def aclose(self) -> None:
        await self._http.aclose()

    def _predicate(self, table: str, predicate: Filter | None) -> Filter | None:
        """The filter without constants, and with lists for JSON columns as documents instead of arrays."""
        if predicate is None:
            return None
        predicate = map_existence(predicate, partial(self._looked_for, table))
        for leaf in comparisons(predicate):
            if leaf.operator in _OF_LISTS and isinstance(leaf.operand, tuple):
                predicate = map_comparisons(predicate, partial(self._document, table))
                break
        folded = fold(predicate)
        return None if folded is TRUE else folded

    def _looked_for(self, table: str, exists: Exists) -> Exists:
        """The condition as it is sent."""
        self._check_direction(table, exists.table, exists.chosen)
        return replace(exists, term=self._predicate(exists.table, exists.term) or TRUE)

    def _document(self, table: str, leaf: Comparison) -> Comparison:
        declared = self._schema.column(table, leaf.column or "")
        is_json = declared is not None and declared.type in ("json", "jsonb")
        if is_json and isinstance(leaf.operand, tuple) and leaf.operator in _OF_LISTS:
            return replace(leaf, operand=to_json(leaf.operand).decode())
        return leaf

    def _selected(self, query: Query) -> _Asked[Result] | None:
        """The request for a query's rows, and how its answer is read; None where the filter selects none."""
        table, select = query.table, query.select
        predicate = self._predicate(table, query.filters)
        if predicate is FALSE:
            return None
        order, limit, offset = query.order, query.limit, query.offset
        include = self._included(query) if query.include else ()
        request = rendering.render_select(
            table, predicate, select=select, order=order, limit=limit, offset=offset, include=include
        )
        keys = self._expected.selected(table, predicate, select)
        if query.counted:
            return rendering.counted(request), partial(parsing.parse_page, verb="query", table=table, keys=keys)
        return request, partial(parsing.parse_query, verb="query", table=table, keys=keys)

    def _included(self, query: Query) -> tuple[Include, ...]:
        """What is included, as it is sent."""
        included = []
        for each in query.include:
            inner = each.query
            self._check_direction(query.table, inner.table, each.link)
            predicate = self._predicate(inner.table, inner.filters)
            if predicate is FALSE:  # rows of which a column that they are found by is NULL are related to nothing
                predicate = Comparison(Operator.IS_NULL, column=each.link.theirs)
            inner = replace(inner, filters=predicate, include=self._included(inner))
            included.append(replace(each, query=inner))
        return tuple(included)

    def _check_direction(self, table: str, other: str, link: RowLink) -> None:
        """Refuse a way from a table to itself, whose directions PostgREST does not distinguish."""
        if table == other:
            raise UnsupportedOperationError(
                table,
                "include",
                f"PostgREST embeds no rows of {table} in rows of {table} by a foreign key alone; query them by"
                f" {link.via}, or make a computed relationship and call it",
            )

    def _looked_up(self, read: Read) -> _Asked[Result]:
        keys = self._expected.selected(read.table, read.filter, None)
        parse = partial(parsing.parse_query, verb="read", table=read.table, keys=keys)
        if type(read.id_value) is str and read.id_value.isascii():  # as most keys are: it needs none of the checks
            return rendering.render_read(read.table, read.id_column, read.id_value), parse
        return rendering.render_select(read.table, read.filter, limit=2), parse

    def _counted(self, count: Count) -> _Asked[Result] | None:
        predicate = self._predicate(count.table, count.filters)
        if predicate is FALSE:
            return None
        select = count.counting and (count.counting,)
        request = rendering.render_count(count.table, predicate, select=select, estimated=count.estimated)
        return request, partial(parsing.parse_count, table=count.table)

    def _changed(self, operation: Update | Delete) -> _Asked[Result] | None:
        table, most, shown = operation.table, operation.max_affected, operation.returning
        _check_own(operation)
        predicate = self._predicate(table, operation.filters) or TRUE
        if predicate is FALSE:
            return None
        if isinstance(operation, Update):
            changes = operation.changes
            if operation.computed:
                problem = "PostgREST sets values alone; what is computed goes by way of the function of a unit of work"
                raise UnsupportedOperationError(table, "computed", problem, f"update through a service, and {REMEDY}")
            request = rendering.render_update(table, changes, predicate, max_affected=most, returning=shown)
            keys = self._expected.changed(table, predicate, changes, shown)
        else:
            request = rendering.render_delete(table, predicate, max_affected=most, returning=shown)
            keys = self._expected.selected(table, predicate, shown)
        if shown == ():
            return request, partial(parsing.parse_unshown, verb=operation.verb, table=table)
        return request, partial(parsing.parse_query, verb=operation.verb, table=table, keys=keys)

    async def _applied(self, unit: Unit, user: Identity) -> list[Any]:
        """Carry out the unit by one call of the function that `agent-persistence sql install` makes, which is one
        transaction; UnsupportedOperationError, and nothing is applied, where the database lacks it."""
        for part in unit.parts:
            _check_own(part.operation)
        parts = tuple(
            part.with_filters(self._predicate(part.operation.table, part.operation.filter) or TRUE)
            for part in unit.parts
        )
        return await self._send(render_unit(replace(unit, parts=parts)), partial(parse_unit, unit=unit), user)

    async def _called(self, call: Call, user: Identity) -> Any:
        """Call by GET, which cannot write; by POST if it may, or where a URL would change what it means.

        PostgREST runs a POST in a read-only transaction too if the function is STABLE or IMMUTABLE: a function that
        is meant only to read must be declared so. A text that is no document is tried by POST after the GET was
        refused: a parameter of type json takes it for a string there.
        """
        function, arguments = call.table, call.arguments
        parse = partial(parsing.parse_value, function=function, may_write=call.writes)
        request = rendering.render_call(function, arguments, by_url=not call.writes)
        try:
            return await self._send(request, parse, user)
        except AdapterError as error:
            if request.method == "POST" or error.code != "22P02" or not _has_text(arguments):
                raise
        return await self._send(rendering.render_call(function, arguments, by_url=False), parse, user)

    async def _inserted(self, operation: Write | BatchWrite | Upsert, user: Identity) -> Result:
        """Insert or merge, and ask for the columns that are to be shown: the role needs no right to SELECT others.

        Without any it is `Prefer: return=minimal`, for which the table need not be readable at all.
        """
        table, records, shown = operation.table, operation.inserted, operation.returning
        if not records:
            return Result([])
        if shown == ():
            stored = await self._stored(operation, user)
            if stored < len(records):
                raise RowsDroppedError(operation.verb, table, sent=len(records), stored=stored)
            return Result(sent_rows(operation))
        if len(records) > 1 and differ_in_keys(records):
            await self._check_defaults(table, records, user)
        if isinstance(operation, WriteNew):
            return await self._added(operation, user)
        merged_by = operation.merges_by
        request = rendering.render_insert(table, records, on_conflict=merged_by, returning=shown)
        keys = self._expected.stored(table, records, merged_by or self._schema.primary_key(table), shown)
        parse = partial(parsing.parse_rows, verb=operation.verb, table=table, expected=len(records), keys=keys)
        rows = await self._send(request, parse, user)
        return Result(rows[0] if operation.returns == "row" else rows)

    async def _added(self, operation: WriteNew, user: Identity) -> Result:
        """The rows that were stored; how many they are is asked for beside them, so that none is missed."""
        table, records, shown = operation.table, operation.records, operation.returning
        request = rendering.render_insert(table, records, on_conflict=operation.key, merges=False, returning=shown)
        keys = self._expected.stored(table, records, (*self._schema.primary_key(table), *operation.key), shown)
        parse = partial(parsing.parse_added, verb=operation.verb, table=table, sent=len(records), keys=keys)
        return Result(await self._send(request, parse, user))

    async def _stored(self, operation: Write | BatchWrite | Upsert, user: Identity) -> int:
        """How many of the rows were stored; none of them comes back."""
        table, records = operation.table, operation.inserted
        if len(records) > 1 and differ_in_keys(records):
            await self._check_defaults(table, records, user)
        request = rendering.render_insert(table, records, on_conflict=operation.merges_by, returning=())
        parse = partial(parsing.parse_stored, verb=operation.verb, table=table, sent=len(records))
        return await self._send(request, parse, user)

    async def _check_defaults(self, table: str, records: Sequence[Record], user: Identity) -> None:
        """Refuse these records, of different keys, where the server would write NULL, not the default, for those they
        lack.

        It is asked once; a failure to learn it leaves nothing written.
        """
        if self._learnt.fills_defaults:
            return
        try:
            answer = partial(parsing.applies, preference="missing=default", verb="batch_write", table=table)
            self._learnt.fills_defaults = await self._send(rendering.render_question(table, records), answer, user)
        except AdapterError as error:
            if error.state is FailureState.AMBIGUOUS:
                error.state = FailureState.NOT_SENT
            raise
        if not self._learnt.fills_defaults:
            raise UnsupportedOperationError(
                table,
                "missing_defaults",
                "the records have different keys, and the server does not confirm that it takes defaults, so that it"
                " would write NULL where one lacks a key; give every record the same keys, NULL where it has no value",
            )

    async def _send(self, request: Request, parse: Callable[[Response], T], user: Identity) -> T:
        if self._error_texts:
            parse = partial(_with_texts, parse)
        token = user.access_token if not user.own else self._token if self._ask is None else await self._asked_token()
        if not isinstance(token, RefreshingToken):
            return await self._http.ask(self._signed(request, token), parse)
        current = await token.current()
        try:
            return await self._http.ask(self._signed(request, current), parse)
        except AdapterError as error:
            if error.status != 401:
                raise
        current = await token.current(refused=current)
        return await self._http.ask(self._signed(request, current), parse)

    def _signed(self, request: Request, token: SecretStr | None) -> Request:
        signed = self._credentials.sign(request, token)
        return signed if len(request.target) < rendering.SHORT else rendering.checked_head(signed)

    async def _asked_token(self) -> SecretStr | RefreshingToken | None:
        return (await self.identify()).access_token

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http!r})"


@dataclass(slots=True)
class _Learnt:
    """What all users of the adapter's connections have found out about the server."""

    fills_defaults: bool = False


def _check_own(operation: Operation) -> None:
    """Refuse to change rows by what is related to them: PostgREST embeds in the rows that come back, after the fact."""
    if existence(operation.filter):
        raise UnsupportedOperationError(
            operation.table,
            "exists",
            f"over PostgREST {operation.verb} chooses rows by their own columns alone; query the keys of the rows, and"
            " name these",
        )


def _has_text(arguments: Record) -> bool:
    return any(isinstance(value, str) for value in arguments.values())


def _with_texts(parse: Callable[[Response], T], response: Response) -> T:
    return parse(replace(response, error_texts=True))


def _http_transport(
    url: httpx.URL, client: httpx.AsyncClient | None, transport: Transport, lifetimes: Lifetimes
) -> HttpTransport:
    transport = checked_transport(transport, stacklevel=3)
    if client is None:
        return pool_for(url, transport, lifetimes)
    if transport == "httptools":
        raise ConfigurationError('client is an httpx.AsyncClient; leave out transport="httptools", or the client')
    return InjectedClient(client, url)
