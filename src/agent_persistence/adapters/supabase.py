"""Supabase, and any other PostgREST that is served below /rest/v1, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from inspect import isawaitable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import anyio
from anyio.lowlevel import RunVar
from pydantic import SecretStr
from pydantic_core import to_json

from agent_persistence.adapter import CAPABILITIES, only_row
from agent_persistence.adapters import _postgrest, _responses
from agent_persistence.adapters._http import InjectedClient, base_url
from agent_persistence.adapters._lanes import HttpTransport
from agent_persistence.adapters._postgrest import Request, Response
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    RowsDroppedError,
    UnsupportedOperationError,
)
from agent_persistence.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.operations import Query
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
from agent_persistence.records import Record, Row
from agent_persistence.schema_registry import Schema, default_schema

if TYPE_CHECKING:
    import httpx

AccessToken: TypeAlias = str | Callable[[], str | Awaitable[str]]
Headers: TypeAlias = tuple[tuple[str, str], ...]
Transport: TypeAlias = Literal["httpx", "aiohttp"]

_CONTAINMENT: Final = (Operator.CONTAINS, Operator.CONTAINED_BY)
_CAPABILITIES: Final = MappingProxyType(dict.fromkeys(CAPABILITIES, True))


class SupabaseAdapter:
    """Sends each call as one request to `url`/rest/v1.

    `key` is a publishable, secret or legacy JWT key; `access_token` is a user's JWT beside it, or a callable (plain
    or async) that gives one and is asked again after a 401. `client` is an httpx.AsyncClient of the caller's, used
    in place of connections of our own and never closed. `schema` tells columns where the server does not,
    `db_schema` is the database schema the tables are in. `http://` is refused but for loopback or `allow_http`.
    `transport="aiohttp"`, which the extra of this name installs, is faster and works under asyncio alone.
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
        transport: Transport = "httpx",
    ) -> None:
        base = base_url(url, allow_http=allow_http)
        self._key = SecretStr(_header_value("key", key.get_secret_value() if isinstance(key, SecretStr) else key))
        self._tokens = None if access_token is None else _AccessTokens(access_token)
        self._schema = schema or default_schema()
        self._profile = _profile_headers(db_schema)
        self.server = (base.host, base.port or (80 if base.scheme == "http" else 443))
        self.namespace = db_schema
        self._http = _http_transport(base, client, transport)
        self._fills_defaults = False
        self._credentials = lru_cache(maxsize=64)(self._with_token)

    @property
    def capabilities(self) -> Mapping[str, bool]:
        return _CAPABILITIES

    async def write(self, table: str, record: Record) -> Row:
        response = await self._send(_postgrest.render_insert(table, [record]))
        return _responses.parse_rows(response, "write", table, expected=1)[0]

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        if not records:
            return []
        await self._check_defaults(table, records)
        response = await self._send(_postgrest.render_insert(table, records))
        return _responses.parse_rows(response, "batch_write", table, expected=len(records))

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        response = await self._send(_postgrest.render_insert(table, [record], on_conflict=on_conflict or ()))
        return _responses.parse_rows(response, "upsert", table, expected=1)[0]

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
        await self._check_defaults(table, records)
        request = _postgrest.render_insert(table, records, on_conflict=on_conflict, returning=returning)
        response = await self._send(request)
        if returning:
            return _responses.parse_rows(response, "write", table, expected=len(records))
        stored = _responses.parse_stored(response, "write", table, len(records))
        if stored < len(records):
            raise RowsDroppedError("write", table, sent=len(records), stored=stored)
        return []

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        """Store the rows by one request with `Prefer: return=minimal, count=exact`, which is one transaction."""
        if not records:
            return 0
        await self._check_defaults(table, records)
        request = _postgrest.render_insert(table, records, on_conflict=on_conflict, returning=())
        return _responses.parse_stored(await self._send(request), "bulk_write", table, len(records))

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        response = await self._send(_by_key(table, id_column, id_value))
        return only_row(table, id_column, _responses.parse_rows(response, "read", table))

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
        request = _postgrest.render_select(table, predicate, select=select, order=order, limit=limit, offset=offset)
        return _responses.parse_rows(await self._send(request), "query", table)

    def url_size(self, query: Query) -> int:
        """How many bytes of URL, path and parameters, the query would need."""
        predicate = self._predicate(query.table, query.filters)
        order, limit, offset = query.order, query.limit, query.offset
        return len(_postgrest.target_of(query.table, predicate, query.select, order, limit, offset))

    async def count(self, table: str, filters: Filters | None = None, *, select: Sequence[str] | None = None) -> int:
        predicate = self._predicate(table, parse_filters(table, filters))
        if predicate == FALSE:
            return 0
        request = _postgrest.render_count(table, predicate, select=select)
        return _responses.parse_count(await self._send(request), table)

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
        request = _postgrest.render_update(table, changes, predicate, max_affected=max_affected, returning=returning)
        return _responses.parse_rows(await self._send(request), "update", table)

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
        request = _postgrest.render_delete(table, predicate, max_affected=max_affected, returning=returning)
        return _responses.parse_rows(await self._send(request), "delete", table)

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> Any:
        """Call by GET, which cannot write; by POST if it `may_write`, or if the arguments are too long for a URL.

        PostgREST runs a POST in a read-only transaction too if the function is STABLE or IMMUTABLE: a function that
        is meant only to read must be declared so.
        """
        request = _postgrest.render_call(function, arguments, may_write=may_write)
        return _responses.parse_value(await self._send(request), function)

    async def get_columns(self, table: str) -> list[str] | None:
        """Ask the server's OpenAPI description, which needs a secret key on hosted Supabase; else the schema."""
        told = _responses.parse_columns(await self._send(_postgrest.render_openapi()), table)
        return told or list(self._schema.columns(table)) or None

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

    async def _check_defaults(self, table: str, records: Sequence[Record]) -> None:
        """Refuse records of different keys where the server would write NULL, not the default, for those they lack.

        It is asked once; a failure to learn it leaves nothing written.
        """
        if self._fills_defaults or not _postgrest.differ_in_keys(records):
            return
        try:
            response = await self._send(_postgrest.render_question(table, records))
            self._fills_defaults = _responses.applies(response, "missing=default", "batch_write", table)
        except AdapterError as error:
            if error.state is FailureState.AMBIGUOUS:
                error.state = FailureState.NOT_SENT
            raise
        if not self._fills_defaults:
            raise UnsupportedOperationError(
                table,
                "missing_defaults",
                "the records have different keys, and the server does not confirm `Prefer: missing=default`, so that it"
                " would write NULL where one lacks a key; give every record the same keys, NULL where it has no value",
            )

    async def _send(self, request: Request) -> Response:
        if self._tokens is None:
            return await self._http.send(self._signed(request, None))
        token = await self._tokens.current()
        response = await self._http.send(self._signed(request, token))
        if response.status == 401 and self._tokens.renewable:
            response = await self._http.send(self._signed(request, await self._tokens.current(refused=token)))
        return response

    def _signed(self, request: Request, token: SecretStr | None) -> Request:
        headers = self._credentials(request.headers) if token is None else self._with_token(request.headers, token)
        return Request(request.method, request.target, headers, request.body)

    def _with_token(self, own: Headers, token: SecretStr | None = None) -> Headers:
        """The headers with the credentials: new keys go into `apikey` alone, a legacy JWT is its own bearer token."""
        key = self._key.get_secret_value()
        headers = [("apikey", key), ("Accept", "application/json"), *self._profile]
        if token is not None:
            headers.append(("Authorization", f"Bearer {token.get_secret_value()}"))
        elif not key.startswith("sb_"):
            headers.append(("Authorization", f"Bearer {key}"))
        named = dict(own)
        return (*((name, value) for name, value in headers if name not in named), *own)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http!r})"


class _AccessTokens:
    """The user's token: given once, or asked of a callable, by one task of an event loop for all that wait."""

    def __init__(self, given: AccessToken) -> None:
        self.renewable = callable(given)
        self._ask: Callable[[], Any] = given if callable(given) else lambda: given
        self._token = None if callable(given) else SecretStr(_header_value("access_token", given))
        self._asking: RunVar[anyio.Lock] = RunVar(f"asking of {id(self)}")

    async def current(self, *, refused: SecretStr | None = None) -> SecretStr:
        """The token; a new one if the last is the one that was refused."""
        if self._token is not None and self._token is not refused:
            return self._token
        async with self._lock():
            if self._token is None or self._token is refused:
                self._token = SecretStr(_header_value("access_token", await self._asked()))
            return self._token

    async def _asked(self) -> object:
        """What the callable tells. Its own error is not kept as a cause, because it may hold the token."""
        try:
            told: Any = self._ask()
            return await told if isawaitable(told) else told
        except Exception as error:  # the boundary to a callable that others write
            raised = type(error).__name__
        raise AdapterError(f"access_token raised {raised}, which may say more; nothing was sent", state="not_sent")

    def _lock(self) -> anyio.Lock:
        try:
            return self._asking.get()
        except LookupError:
            lock = anyio.Lock()
            self._asking.set(lock)
            return lock


def _by_key(table: str, column: str, value: object) -> Request:
    """A read; a plain text, as most keys are, needs none of the checks."""
    if type(value) is str and value.isascii():
        return _postgrest.render_read(table, column, value)
    return _postgrest.render_select(table, parse_filters(table, {column: eq(value)}), limit=2)


def _http_transport(url: httpx.URL, client: httpx.AsyncClient | None, transport: Transport) -> HttpTransport:
    if transport not in get_args(Transport):
        raise ConfigurationError(f"transport is {' or '.join(map(repr, get_args(Transport)))}")
    if client is not None:
        if transport != "httpx":
            raise ConfigurationError('client is an httpx.AsyncClient; leave out transport="aiohttp", or the client')
        return InjectedClient(client, url)
    if transport == "httpx":
        from agent_persistence.adapters._httpcore import Lanes

        return Lanes(url)
    try:
        from agent_persistence.adapters._aiohttp import AiohttpLanes
    except ImportError as error:
        remedy = "pip install 'agent-persistence[aiohttp]'"
        raise ConfigurationError(f'transport="aiohttp" needs aiohttp, 3.12 or later: {remedy}') from error
    return AiohttpLanes(url)


def _profile_headers(db_schema: str) -> tuple[tuple[str, str], ...]:
    if db_schema == "public":
        return ()
    name = _header_value("db_schema", db_schema)
    return (("Accept-Profile", name), ("Content-Profile", name))


def _header_value(option: str, value: object) -> str:
    """A credential as it may stand in a header; the message of a refusal does not repeat it."""
    if not isinstance(value, str) or not value.strip():
        remedy = "; set SUPABASE_SERVICE_KEY or SUPABASE_KEY, or pass it" if option == "key" else ""
        raise ConfigurationError(f"{option} is empty or no str{remedy}")
    stripped = value.strip()
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise ConfigurationError(f"{option} holds characters that none has (blanks, line ends or non-ASCII)")
    return stripped
