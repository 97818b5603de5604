"""The only file that knows an HTTP client: requests out, responses in, its exceptions into ours."""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import httpx

from agent_persistence._version import __version__
from agent_persistence.adapters._postgrest import Request, Response
from agent_persistence.adapters._quiet import quietly
from agent_persistence.adapters._slots import Slots
from agent_persistence.adapters._unpacking import Unpacked
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState

MAX_RESPONSE_BYTES: Final = 64 * 2**20
CONNECT_TIMEOUT_S: Final = 5.0
LANES: Final = 20
DRAIN_S: Final = 5.0

_TIMEOUTS: Final = {"connect": CONNECT_TIMEOUT_S, "read": None, "write": None, "pool": None}
"""Only connecting has a timeout of its own: httpx's others start anew with every byte, so that the operation's
deadline, a cancel scope around the whole call, is what bounds a request."""


class HttpTransport(Protocol):
    """Sends one request and returns its whole response, or raises AdapterError."""

    async def send(self, request: Request) -> Response: ...

    async def aclose(self) -> None: ...


_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]+", re.IGNORECASE)


def base_url(url: object, *, allow_http: bool) -> httpx.URL:
    """The project's base URL, checked: http or https, a host, nothing behind it but a path."""
    if not isinstance(url, str) or not url.strip():
        raise ConfigurationError(
            "the Supabase URL is empty; it looks like https://<project>.supabase.co (SUPABASE_URL)"
        )
    if "://" not in url:
        raise ConfigurationError("the Supabase URL lacks its scheme; it looks like https://<project>.supabase.co")
    parsed = _parsed(url.strip())
    if parsed is None:
        raise ConfigurationError("the Supabase URL cannot be parsed; it looks like https://<project>.supabase.co")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError("the Supabase URL needs a scheme and a host: https://<project>.supabase.co")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError("the Supabase URL holds more than scheme, host and path; leave out the rest")
    if parsed.scheme == "http" and not allow_http and not _is_local(parsed.host):
        raise ConfigurationError(
            f"http:// to {parsed.host} would send the API key unencrypted; use https://, or allow_http=True"
        )
    return parsed.copy_with(raw_path=parsed.raw_path.rstrip(b"/").removesuffix(b"/rest/v1") or b"/")


def _parsed(url: str) -> httpx.URL | None:
    try:
        parsed = httpx.URL(url)
        plain = _HOST.fullmatch(parsed.host) and 0 < (parsed.port or 1) < 65536
    except (httpx.InvalidURL, ValueError):
        return None
    return parsed if plain else None


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _addressed(base: httpx.URL, target: str) -> httpx.URL:
    """The project's URL with the raw target behind its path; one that the client would rewrite is refused."""
    raw = base.raw_path.rstrip(b"/") + target.encode("ascii")
    url = base.copy_with(raw_path=raw)
    if url.raw_path != raw:
        raise AdapterError("the request's path would be rewritten on the way", state=FailureState.REJECTED)
    return url


class Lanes:
    """Connections of our own: each is a transport with a single connection, used by one request at a time.

    A lane whose request failed or was cancelled is closed and forgotten, so that no later request can meet its
    remains. Every event loop has its own lanes, which are closed when it ends. HTTP/1.1 only; no redirects, no
    proxies from the environment.
    """

    def __init__(self, url: httpx.URL, *, lanes: int = LANES, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._url = url
        self._lanes = lanes
        self._max_response_bytes = max_response_bytes
        self._tls: ssl.SSLContext | bool = False
        self._here: anyio.lowlevel.RunVar[_Pool | None] = anyio.lowlevel.RunVar(f"lanes of {id(self)}", None)
        self._closed = False

    async def send(self, request: Request) -> Response:
        if self._closed:
            raise _closed()
        pool = self._here.get() or await self._open()
        message = httpx.Request(
            request.method,
            _addressed(self._url, request.target),
            headers=[*_HEADERS, *request.headers],
            content=request.body or None,
            extensions={"timeout": _TIMEOUTS},
        )
        async with pool.slots.taken(writing=request.method != "GET"):
            if self._closed:
                raise _closed()
            with quietly():
                return await self._exchange(pool, message)

    async def _exchange(self, pool: _Pool, message: httpx.Request) -> Response:
        lane = (
            pool.idle.pop()
            if pool.idle
            else httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, http2=False, limits=_ONE_CONNECTION)
        )
        try:
            with mapped_exceptions(self._url.host):
                received = await lane.handle_async_request(message)
                response = Response(
                    received.status_code, received.headers, await _body(received, self._max_response_bytes)
                )
        except BaseException:
            await _discard(lane)
            raise
        if self._closed or _holds_stray_bytes(lane):
            await _discard(lane)
        else:
            pool.idle.append(lane)
        return response

    async def aclose(self) -> None:
        """Refuse further requests, give those under way DRAIN_S seconds to end, and close this event loop's lanes."""
        if self._closed:
            return
        self._closed = True
        pool = self._here.get()
        if pool is not None:
            await pool.slots.drained(DRAIN_S)
            await pool.keeper.aclose()

    async def _open(self) -> _Pool:
        if self._url.scheme == "https" and self._tls is False:
            self._tls = httpx.create_ssl_context(trust_env=False)
        pool = _Pool(self._lanes)
        self._here.set(pool)
        await anext(pool.keeper)
        return pool


_GZIP: Final = ("Accept-Encoding", "gzip")
_HEADERS: Final = (("User-Agent", f"agent-persistence/{__version__}"), _GZIP)
_ONE_CONNECTION: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)


class _Pool:
    """One event loop's lanes; the last one used is the first to be used again."""

    def __init__(self, lanes: int) -> None:
        self.slots = Slots(lanes)
        self.idle: list[httpx.AsyncHTTPTransport] = []
        self.keeper = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        """Closes the idle lanes when it is closed, which an ending event loop does to every open async generator."""
        try:
            yield
        finally:
            while self.idle:
                await _discard(self.idle.pop())


def _holds_stray_bytes(lane: httpx.AsyncHTTPTransport) -> bool:
    """Whether bytes came behind the response: h11 keeps them, and would take them for the next request's answer.

    httpcore offers no public view of them; a lane that cannot be looked into counts as spoilt.
    """
    try:
        connection: Any
        (connection,) = lane._pool.connections
        return bool(connection._connection._h11_state.trailing_data[0])
    except (AttributeError, ValueError):
        return True


async def _discard(lane: httpx.AsyncHTTPTransport) -> None:
    with anyio.move_on_after(1, shield=True):
        await lane.aclose()


class InjectedClient:
    """The caller's own httpx.AsyncClient, which stays theirs: it is not closed, and its pool is not exceeded.

    Redirects are not followed, whatever the client's setting; its log lines, which hold URLs with filter values,
    are suppressed for our requests.
    """

    def __init__(
        self, client: httpx.AsyncClient, url: httpx.URL, *, max_response_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._client = client
        self._slots: anyio.lowlevel.RunVar[Slots] = anyio.lowlevel.RunVar(f"slots of {id(self)}")
        self._url = url
        self._max_response_bytes = max_response_bytes

    async def send(self, request: Request) -> Response:
        message = self._client.build_request(
            request.method,
            _addressed(self._url, request.target),
            headers=[_GZIP, *request.headers],
            content=request.body or None,
        )
        if self._client.is_closed:
            raise AdapterError("the httpx.AsyncClient that was passed in is closed")
        async with self._limiter().taken(writing=request.method != "GET"):
            with quietly(), mapped_exceptions(self._url.host):
                received = await self._client.send(message, stream=True, follow_redirects=False)
                return Response(received.status_code, received.headers, await _body(received, self._max_response_bytes))

    def _limiter(self) -> Slots:
        """As many slots as the client's pool has connections: a pool that never queues cannot be poisoned."""
        try:
            return self._slots.get()
        except LookupError:
            pool = getattr(getattr(self._client, "_transport", None), "_pool", None)
            slots = Slots(min(LANES, getattr(pool, "_max_connections", LANES)))
            self._slots.set(slots)
            return slots

    async def aclose(self) -> None:
        """Change nothing: the client is its owner's to close."""


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    """The whole body, decompressed; what exceeds `max_bytes` is refused before it is in memory."""
    if response.is_stream_consumed:  # a transport that answers from memory
        return response.content
    encoding = response.headers.get("content-encoding", "identity").lower()
    unpacked = Unpacked(encoding, max_bytes, response.status_code)
    pieces = response.aiter_raw()
    try:
        async for piece in pieces:
            unpacked.add(piece)
        return unpacked.whole()
    finally:
        await response.aclose()
        with suppress(Exception):  # the connection is closed: this ends the generators behind it, as trio demands
            async for _ in pieces:
                pass


def _closed() -> AdapterError:
    return AdapterError("the adapter is closed; make a new one")


STATES: Final[Mapping[type[Exception], FailureState]] = {
    httpx.ConnectError: FailureState.NOT_SENT,
    httpx.ConnectTimeout: FailureState.NOT_SENT,
    httpx.PoolTimeout: FailureState.NOT_SENT,
    httpx.UnsupportedProtocol: FailureState.NOT_SENT,
    httpx.InvalidURL: FailureState.NOT_SENT,
    httpx.ProxyError: FailureState.NOT_SENT,
    httpx.TransportError: FailureState.AMBIGUOUS,
    httpx.RequestError: FailureState.AMBIGUOUS,
    httpx.HTTPError: FailureState.AMBIGUOUS,
    httpx.StreamError: FailureState.AMBIGUOUS,
    zlib.error: FailureState.AMBIGUOUS,
}
"""What each exception of the client says about the request; the nearest class in an exception's ancestry counts."""


@contextmanager
def mapped_exceptions(host: str = "the server") -> Iterator[None]:
    try:
        yield
    except tuple(STATES) as error:
        raise _mapped(error, host) from error


def _mapped(error: Exception, host: str = "the server") -> AdapterError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)
    ):
        return AdapterError("the server's TLS certificate was not accepted; nothing was sent")
    state = next(STATES[cls] for cls in type(error).__mro__ if cls in STATES)
    if state is FailureState.NOT_SENT:
        return AdapterError(f"{type(error).__name__}: {host} was not reached, nothing was sent", state=state)
    return AdapterError(f"{type(error).__name__} on the way to {host}; the request may have arrived", state=state)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
