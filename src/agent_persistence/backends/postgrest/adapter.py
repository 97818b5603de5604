"""Supabase, and any other PostgREST that is served below /rest/v1, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from pydantic import SecretStr
from pydantic_core import to_json

from agent_persistence.adapter import CAPABILITIES, only_row
from agent_persistence.backends.postgrest import parsing, rendering
from agent_persistence.backends.postgrest.credentials import ApiKey, checked_user
from agent_persistence.backends.postgrest.expected import ExpectedRows
from agent_persistence.backends.transport.choice import Transport as Transport, checked_transport, pool_for
from agent_persistence.backends.transport.connections import HttpTransport, Lifetimes
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpx import InjectedClient, base_url
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    RowsDroppedError,
    UnsupportedOperationError,
)
from agent_persistence.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.hiding import Unpicklable, hidden
from agent_persistence.identity import OWN, Identity, RefreshingToken, asked, checked_token
from agent_persistence.operations import Page, Query
from agent_persistence.ordering import OrderBy, parse_order
from agent_persistence.predicates import (
    FALSE,
    TRUE,
    Comparison,
    Filter,
    Operator,
    fold,
    map_comparisons,
)
from agent_persistence.records import Record, Row, differ_in_keys
from agent_persistence.schema_registry import Schema, default_schema

if TYPE_CHECKING:
    import httpx

AccessToken: TypeAlias = str | SecretStr | RefreshingToken | Callable[[], str | Awaitable[str]]

T = TypeVar("T")
HOSTED: Final = ".supabase.co"
HOSTED_ROW_CAP: Final = 1_000
"""What hosted Supabase has for max-rows, if nobody has changed it."""
_CONTAINMENT: Final = (Operator.CONTAINS, Operator.CONTAINED_BY)
_CAPABILITIES: Final = MappingProxyType(dict.fromkeys(CAPABILITIES, True))


class SupabaseAdapter(Unpicklable):
    """Sends each call as one request to `url`/rest/v1.

    `key` is a publishable, secret or legacy JWT key; `access_token` is a user's JWT beside it, a `RefreshingToken`, or
    a callable (plain or async) that returns the token of whoever asks, and is asked for every call. `client` is an
    httpx.AsyncClient of the caller's, used in place of connections of our own and never closed. `schema` tells columns
    where the server does not, `db_schema` is the database schema the tables are in. `http://` is refused but for
    loopback or `allow_http`. `transport="auto"` sends over httptools what runs under asyncio, where the extra `fast`
    has installed it, and over httpx's engine all else; "httptools" and "httpx" stand for one alone. A connection that
    was idle for `max_idle_s` seconds, or was made `max_age_s` seconds ago, is closed; nothing under way is cut.
    `error_texts` repeats in errors what functions and triggers of the database raise (P0001, PTxxx), row content
    included if they tell it.
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
        self.row_cap = HOSTED_ROW_CAP if base.host.endswith(HOSTED) else None
        self.server = (base.host, base.port or (80 if base.scheme == "http" else 443))
        self.namespace = db_schema
        self._http = _http_transport(base, client, transport, Lifetimes(max_idle_s, max_age_s))
        self._learnt = _Learnt()
        self._error_texts = error_texts
        self._expected = ExpectedRows(self._schema)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        return _CAPABILITIES

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

    def acting_as(self, identity: Identity) -> SupabaseAdapter:
        user = object.__new__(type(self))
        vars(user).update(vars(self), _ask=None, _token=identity.access_token)
        return user

    async def write(self, table: str, record: Record) -> Row:
        return (await self._inserted("write", table, [record]))[0]

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        return await self._inserted("batch_write", table, records) if records else []

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        return (await self._inserted("upsert", table, [record], on_conflict=on_conflict or ()))[0]

    async def insert(
        self,
        table: str,
        records: Sequence[Record],
        *,
        on_conflict: Sequence[str] | None = None,
        returning: Sequence[str] = (),
    ) -> list[Row]:
        """Insert or merge, and ask for these columns alone: the role needs no right to SELECT others.

        Without any it is `Prefer: return=minimal`, for which the table need not be readable at all.
        """
        return await self._inserted("write", table, records, on_conflict=on_conflict, returning=returning)

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        """Store the rows by one request, which is one transaction and reads nothing back; how many were stored."""
        if not records:
            return 0
        return await self._stored("bulk_write", table, records, on_conflict=on_conflict)

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        keys = self._expected.selected(table, Comparison(Operator.EQ, id_value, id_column), None)
        parse = partial(parsing.parse_rows, verb="read", table=table, keys=keys)
        return only_row(table, id_column, await self._send(_by_key(table, id_column, id_value), parse))

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
        predicate = self._predicate(table, parse_filters(table, filters))
        if predicate == FALSE:
            return []
        order = parse_order(table, order_by, descending)
        request = rendering.render_select(table, predicate, select=select, order=order, limit=limit, offset=offset)
        keys = self._expected.selected(table, predicate, select)
        return await self._send(request, partial(parsing.parse_rows, verb="query", table=table, keys=keys))

    async def page(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> Page:
        predicate = self._predicate(table, parse_filters(table, filters))
        if predicate == FALSE:
            return Page([], 0)
        order = parse_order(table, order_by, descending)
        selected = rendering.render_select(table, predicate, select=select, order=order, limit=limit, offset=offset)
        keys = self._expected.selected(table, predicate, select)
        return await self._send(
            rendering.counted(selected), partial(parsing.parse_page, verb="query", table=table, keys=keys)
        )

    def url_size(self, query: Query) -> int:
        """How many bytes of URL, path and parameters, the query would need."""
        predicate = self._predicate(query.table, query.filters)
        order, limit, offset = query.order, query.limit, query.offset
        return len(rendering.target_of(query.table, predicate, query.select, order, limit, offset))

    async def count(self, table: str, filters: Filters | None = None, *, select: Sequence[str] | None = None) -> int:
        predicate = self._predicate(table, parse_filters(table, filters))
        if predicate == FALSE:
            return 0
        request = rendering.render_count(table, predicate, select=select)
        return await self._send(request, partial(parsing.parse_count, table=table))

    async def update(
        self,
        table: str,
        changes: Record,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        predicate = self._predicate(table, parse_some_rows(table, filters)) or TRUE
        if predicate == FALSE:
            return []
        request = rendering.render_update(table, changes, predicate, max_affected=max_affected, returning=returning)
        kept = self._expected.changed(table, predicate, changes, returning)
        return await self._send(request, partial(parsing.parse_rows, verb="update", table=table, keys=kept))

    async def delete(
        self,
        table: str,
        filters: Filters,
        *,
        max_affected: int | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        predicate = self._predicate(table, parse_some_rows(table, filters)) or TRUE
        if predicate == FALSE:
            return []
        request = rendering.render_delete(table, predicate, max_affected=max_affected, returning=returning)
        keys = self._expected.selected(table, predicate, returning)
        return await self._send(request, partial(parsing.parse_rows, verb="delete", table=table, keys=keys))

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> Any:
        """Call by GET, which cannot write; by POST if it `may_write`, or where a URL would change what it means.

        PostgREST runs a POST in a read-only transaction too if the function is STABLE or IMMUTABLE: a function that
        is meant only to read must be declared so. A text that is no document is tried by POST after the GET was
        refused: a parameter of type json takes it for a string there.
        """
        parse = partial(parsing.parse_value, function=function, may_write=may_write)
        request = rendering.render_call(function, arguments, by_url=not may_write)
        try:
            return await self._send(request, parse)
        except AdapterError as error:
            if request.method == "POST" or error.code != "22P02" or not _has_text(arguments):
                raise
        return await self._send(rendering.render_call(function, arguments, by_url=False), parse)

    async def get_columns(self, table: str) -> list[str] | None:
        """Ask the server's OpenAPI description, which needs a secret key on hosted Supabase; else the schema."""
        told = await self._send(rendering.render_openapi(), partial(parsing.parse_columns, table=table))
        return told or list(self._schema.columns(table)) or None

    async def exchange(self, request: Request) -> Response:
        """The response to a request of your own, sent with the credentials of this adapter, whatever its status."""
        return await self._send(request, lambda response: response)

    async def aclose(self) -> None:
        await self._http.aclose()

    def _predicate(self, table: str, predicate: Filter | None) -> Filter | None:
        """The filter without constants, and with lists for JSON columns as documents instead of arrays."""

        def document(leaf: Comparison) -> Comparison:
            declared = self._schema.column(table, leaf.column or "")
            is_json = declared is not None and declared.type in ("json", "jsonb")
            if is_json and isinstance(leaf.operand, tuple) and leaf.operator in _CONTAINMENT:
                return replace(leaf, operand=to_json(leaf.operand).decode())
            return leaf

        folded = TRUE if predicate is None else fold(map_comparisons(predicate, document))
        return None if folded == TRUE else folded

    async def _inserted(
        self,
        verb: str,
        table: str,
        records: Sequence[Record],
        *,
        on_conflict: Sequence[str] | None = None,
        returning: Sequence[str] | None = None,
    ) -> list[Row]:
        if returning is not None and not returning:
            stored = await self._stored(verb, table, records, on_conflict=on_conflict)
            if stored < len(records):
                raise RowsDroppedError(verb, table, sent=len(records), stored=stored)
            return []
        await self._check_defaults(table, records)
        request = rendering.render_insert(table, records, on_conflict=on_conflict, returning=returning)
        keys = self._expected.stored(table, records, on_conflict or self._schema.primary_key(table), returning)
        parse = partial(parsing.parse_rows, verb=verb, table=table, expected=len(records), keys=keys)
        return await self._send(request, parse)

    async def _stored(
        self, verb: str, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None
    ) -> int:
        """How many of the rows were stored; none of them comes back."""
        await self._check_defaults(table, records)
        request = rendering.render_insert(table, records, on_conflict=on_conflict, returning=())
        return await self._send(request, partial(parsing.parse_stored, verb=verb, table=table, sent=len(records)))

    async def _check_defaults(self, table: str, records: Sequence[Record]) -> None:
        """Refuse records of different keys where the server would write NULL, not the default, for those they lack.

        It is asked once; a failure to learn it leaves nothing written.
        """
        if self._learnt.fills_defaults or not differ_in_keys(records):
            return
        try:
            answer = partial(parsing.applies, preference="missing=default", verb="batch_write", table=table)
            self._learnt.fills_defaults = await self._send(rendering.render_question(table, records), answer)
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

    async def _send(self, request: Request, parse: Callable[[Response], T]) -> T:
        if self._error_texts:
            return await self._asked(request, lambda response: parse(replace(response, error_texts=True)))
        return await self._asked(request, parse)

    async def _asked(self, request: Request, parse: Callable[[Response], T]) -> T:
        token = self._token if self._ask is None else (await self.identify()).access_token
        if not isinstance(token, RefreshingToken):
            return await self._http.ask(self._credentials.sign(request, token), parse)
        current = await token.current()
        try:
            return await self._http.ask(self._credentials.sign(request, current), parse)
        except AdapterError as error:
            if error.status != 401:
                raise
        current = await token.current(refused=current)
        return await self._http.ask(self._credentials.sign(request, current), parse)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http!r})"


@dataclass(slots=True)
class _Learnt:
    """What all users of the adapter's connections have found out about the server."""

    fills_defaults: bool = False


def _has_text(arguments: Record) -> bool:
    return any(isinstance(value, str) for value in arguments.values())


def _by_key(table: str, column: str, value: object) -> Request:
    """A read; a plain text, as most keys are, needs none of the checks."""
    if type(value) is str and value.isascii():
        return rendering.render_read(table, column, value)
    return rendering.render_select(table, parse_filters(table, {column: eq(value)}), limit=2)


def _http_transport(
    url: httpx.URL, client: httpx.AsyncClient | None, transport: Transport, lifetimes: Lifetimes
) -> HttpTransport:
    transport = checked_transport(transport, stacklevel=3)
    if client is None:
        return pool_for(url, transport, lifetimes)
    if transport == "httptools":
        raise ConfigurationError('client is an httpx.AsyncClient; leave out transport="httptools", or the client')
    return InjectedClient(client, url)
