"""Supabase, and any other PostgREST that is served below /rest/v1, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from pydantic import SecretStr
from pydantic_core import to_json

from agent_persistence.adapter import CAPABILITIES, only_row
from agent_persistence.adapters import _postgrest, _responses
from agent_persistence.adapters._http import InjectedClient, base_url
from agent_persistence.adapters._lanes import HttpTransport
from agent_persistence.adapters._postgrest import Request, Response
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState, UnsupportedOperationError
from agent_persistence.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.identity import OWN, Identity, RefreshingToken, asked, checked_token, unverified_claims
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

AccessToken: TypeAlias = str | SecretStr | RefreshingToken | Callable[[], str | Awaitable[str]]
Transport: TypeAlias = Literal["httpx", "aiohttp"]

_CONTAINMENT: Final = (Operator.CONTAINS, Operator.CONTAINED_BY)
_CAPABILITIES: Final = MappingProxyType(dict.fromkeys(CAPABILITIES, True))


class SupabaseAdapter:
    """Sends each call as one request to `url`/rest/v1.

    `key` is a publishable, secret or legacy JWT key; `access_token` is a user's JWT beside it, a `RefreshingToken`, or
    a callable (plain or async) that returns the token of whoever asks, and is asked for every call. `client` is an
    httpx.AsyncClient of the caller's, used in place of connections of our own and never closed. `schema` tells columns
    where the server does not, `db_schema` is the database schema the tables are in. `http://` is refused but for
    loopback or `allow_http`. `transport="aiohttp"`, which the extra of this name installs, is faster and works under
    asyncio alone.
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
        self._credentials = _Credentials(_checked_key(key), db_schema)
        self._ask = access_token if callable(access_token) else None
        self._token = None if access_token is None or self._ask else _checked_user(access_token)
        self._schema = schema or default_schema()
        self.server = (base.host, base.port or (80 if base.scheme == "http" else 443))
        self.namespace = db_schema
        self._http = _http_transport(base, client, transport)
        self._learnt = _Learnt()

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
        if claims is not None:
            raise ConfigurationError(
                "PostgREST reads claims from a signed token: pass access_token=, or use PostgresAdapter for claims="
            )
        if access_token is not None:
            return Identity(access_token=_checked_user(access_token))
        self._credentials.check_publishable()
        return Identity()

    def acting_as(self, identity: Identity) -> SupabaseAdapter:
        user = object.__new__(type(self))
        vars(user).update(vars(self), _ask=None, _token=identity.access_token)
        return user

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
        _responses.parse_nothing(response, "write", table)
        return []

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        """Store the rows by one request with `Prefer: return=minimal`, which is one transaction."""
        if records:
            await self.insert(table, records, on_conflict=on_conflict)
        return len(records)

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
        if self._learnt.fills_defaults or not _postgrest.differ_in_keys(records):
            return
        try:
            response = await self._send(_postgrest.render_question(table, records))
            self._learnt.fills_defaults = _responses.applies(response, "missing=default", "batch_write", table)
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

    async def _send(self, request: Request) -> Response:
        token = self._token if self._ask is None else (await self.identify()).access_token
        if not isinstance(token, RefreshingToken):
            return await self._http.send(self._credentials.sign(request, token))
        current = await token.current()
        response = await self._http.send(self._credentials.sign(request, current))
        if response.status == 401:
            current = await token.current(refused=current)
            response = await self._http.send(self._credentials.sign(request, current))
        return response

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http!r})"


@dataclass(slots=True)
class _Learnt:
    """What all users of the adapter's connections have found out about the server."""

    fills_defaults: bool = False


class _Credentials:
    """The API key, and the headers it takes: new keys go into `apikey` alone, a legacy JWT is its own bearer token."""

    def __init__(self, key: SecretStr, db_schema: str) -> None:
        self._key = key
        plain = key.get_secret_value()
        self._alone = () if plain.startswith("sb_") else (("Authorization", f"Bearer {plain}"),)
        self._common = (("apikey", plain), ("Accept", "application/json"), *_profile_headers(db_schema))

    def sign(self, request: Request, token: SecretStr | None) -> Request:
        """The request with the credentials of a user, or with the key alone."""
        user = self._alone if token is None else (("Authorization", f"Bearer {token.get_secret_value()}"),)
        named = {name for name, _ in request.headers}
        common = [header for header in self._common if header[0] not in named]
        return Request(request.method, request.target, (*common, *user, *request.headers), request.body)

    def check_publishable(self) -> None:
        """Refuse a key that may do everything, or of which nobody knows: whoever it stands for alone is not nobody."""
        plain = self._key.get_secret_value()
        role = unverified_claims(plain).get("role")
        if plain.startswith("sb_publishable_") or role == "anon":
            return
        kind = (
            f"a key with the role {role}" if role else "a secret key" if plain.startswith("sb_secret_") else "another"
        )
        raise ConfigurationError(
            "without access_token= a user's calls run with the publishable key alone (sb_publishable_…, or a legacy key"
            f" with the role anon), and this adapter was given {kind}; pass access_token=, or make the adapter with the"
            " publishable key"
        )


def _checked_key(key: str | SecretStr) -> SecretStr:
    try:
        return checked_token("key", key)
    except ConfigurationError as refused:
        raise ConfigurationError(f"{refused}; set SUPABASE_SERVICE_KEY or SUPABASE_KEY, or pass it") from None


def _checked_user(token: object) -> SecretStr | RefreshingToken:
    if isinstance(token, RefreshingToken):
        return token
    if callable(token):
        raise ConfigurationError("access_token of one user is a text, or RefreshingToken(fetch) where it is fetched")
    return checked_token("access_token", token)


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
    name = checked_token("db_schema", db_schema).get_secret_value()
    return (("Accept-Profile", name), ("Content-Profile", name))
