"""The only file that knows an HTTP client: requests out, responses in, its exceptions into ours."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel
import httpx

from agent_persistence._version import __version__
from agent_persistence.adapters._postgrest import Request, Response
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState, OverloadedError

MAX_RESPONSE_BYTES: Final = 64 * 2**20
CONNECT_TIMEOUT_S: Final = 5.0
LANES: Final = 20
MAX_WAITING: Final = 10_000

_TIMEOUTS: Final = {"connect": CONNECT_TIMEOUT_S, "read": None, "write": None, "pool": None}
"""Only connecting has a timeout of its own: httpx's others start anew with every byte, so that the operation's
deadline, a cancel scope around the whole call, is what bounds a request."""


class HttpTransport(Protocol):
    """Sends one request and returns its whole response, or raises AdapterError."""

    async def send(self, request: Request) -> Response: ...

    async def aclose(self) -> None: ...


def base_url(url: object, *, allow_http: bool) -> httpx.URL:
    """The project's base URL, checked: http or https, a host, nothing behind it but a path."""
    if not isinstance(url, str) or not url.strip():
        raise ConfigurationError(
            "the Supabase URL is empty; it looks like https://<project>.supabase.co (SUPABASE_URL)"
        )
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise ConfigurationError(
            "the Supabase URL cannot be parsed; it looks like https://<project>.supabase.co"
        ) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError("the Supabase URL needs a scheme and a host: https://<project>.supabase.co")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ConfigurationError("the Supabase URL holds more than scheme, host and path; leave out the rest")
    if parsed.scheme == "http" and not allow_http and not _is_local(parsed.host):
        raise ConfigurationError(
            f"http:// to {parsed.host} would send the API key unencrypted; use https://, or allow_http=True"
        )
    return parsed.copy_with(path=parsed.path.rstrip("/").removesuffix("/rest/v1") or "/")


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


class Lanes:
    """Connections of our own: each is a transport with a single connection, used by one request at a time.

    A lane whose request failed or was cancelled is closed and forgotten, so that no later request can meet its
    remains. Every event loop has its own lanes, which are closed when it ends. HTTP/1.1 only; no redirects, no
    proxies from the environment.
    """

    def __init__(self, url: httpx.URL, *, lanes: int = LANES, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._url = url
        self._prefix = url.path.rstrip("/")
        self._lanes = lanes
        self._max_response_bytes = max_response_bytes
        self._tls: ssl.SSLContext | bool = False
        self._here: anyio.lowlevel.RunVar[_Pool | None] = anyio.lowlevel.RunVar("lanes", None)
        self._closed = False

    async def send(self, request: Request) -> Response:
        if self._closed:
            raise AdapterError("the adapter is closed; make a new one")
        pool = self._here.get() or await self._open()
        if pool.slots.statistics().tasks_waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} calls are waiting for a connection already")
        message = httpx.Request(
            request.method,
            self._url.copy_with(raw_path=(self._prefix + request.target).encode("ascii")),
            headers=[*_HEADERS, *request.headers],
            content=request.body or None,
            extensions={"timeout": _TIMEOUTS},
        )
        async with pool.slots:
            return await self._exchange(pool, message)

    async def _exchange(self, pool: _Pool, message: httpx.Request) -> Response:
        lane = (
            pool.idle.pop()
            if pool.idle
            else httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, http2=False, limits=_ONE_CONNECTION)
        )
        try:
            with mapped_exceptions():
                received = await lane.handle_async_request(message)
                response = Response(
                    received.status_code, received.headers, await _body(received, self._max_response_bytes)
                )
        except BaseException:
            await _discard(lane)
            raise
        if self._closed:
            await _discard(lane)
        else:
            pool.idle.append(lane)
        return response

    async def aclose(self) -> None:
        """Close this event loop's idle connections and refuse further requests."""
        self._closed = True
        pool = self._here.get()
        if pool is not None:
            await pool.keeper.aclose()

    async def _open(self) -> _Pool:
        if self._url.scheme == "https" and self._tls is False:
            self._tls = httpx.create_ssl_context(trust_env=False)
        pool = _Pool(self._lanes)
        self._here.set(pool)
        await anext(pool.keeper)
        return pool


_HEADERS: Final = (("User-Agent", f"agent-persistence/{__version__}"), ("Accept-Encoding", "gzip"))
_ONE_CONNECTION: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)


class _Pool:
    """One event loop's lanes; the last one used is the first to be used again."""

    def __init__(self, lanes: int) -> None:
        self.slots = anyio.Semaphore(lanes, fast_acquire=True)
        self.idle: list[httpx.AsyncHTTPTransport] = []
        self.keeper = self._keep()

    async def _keep(self) -> AsyncGenerator[None, None]:
        """Closes the idle lanes when it is closed, which an ending event loop does to every open async generator."""
        try:
            yield
        finally:
            while self.idle:
                await _discard(self.idle.pop())


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
        _install_log_filter()
        self._client = client
        self._url = url
        self._prefix = url.path.rstrip("/")
        self._max_response_bytes = max_response_bytes

    async def send(self, request: Request) -> Response:
        message = self._client.build_request(
            request.method,
            self._url.copy_with(raw_path=(self._prefix + request.target).encode("ascii")),
            headers=list(request.headers),
            content=request.body or None,
        )
        quiet = _quiet.set(True)
        try:
            with mapped_exceptions():
                received = await self._client.send(message, stream=True, follow_redirects=False)
                try:
                    body = await _body(received, self._max_response_bytes)
                finally:
                    await received.aclose()
        finally:
            _quiet.reset(quiet)
        return Response(received.status_code, received.headers, body)

    async def aclose(self) -> None:
        """Change nothing: the client is its owner's to close."""


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    """The whole body, decompressed; a larger one than `max_bytes` is refused while it arrives."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > max_bytes:
            raise AdapterError(
                f"the response is larger than {max_bytes} bytes; ask for fewer rows or columns",
                state=FailureState.AMBIGUOUS,
                status=response.status_code,
            )
        chunks.append(chunk)
    await response.aclose()
    return b"".join(chunks)


STATES: Final[Mapping[type[Exception], FailureState]] = {
    httpx.ConnectError: FailureState.NOT_SENT,
    httpx.ConnectTimeout: FailureState.NOT_SENT,
    httpx.PoolTimeout: FailureState.NOT_SENT,
    httpx.UnsupportedProtocol: FailureState.NOT_SENT,
    httpx.InvalidURL: FailureState.NOT_SENT,
    httpx.ProxyError: FailureState.NOT_SENT,
    httpx.TransportError: FailureState.AMBIGUOUS,
    httpx.RequestError: FailureState.AMBIGUOUS,
    httpx.StreamError: FailureState.AMBIGUOUS,
}
"""What each exception of the client says about the request; the nearest class in an exception's ancestry counts."""


@contextmanager
def mapped_exceptions() -> Any:
    try:
        yield
    except tuple(STATES) as error:
        raise _mapped(error) from error


def _mapped(error: Exception) -> AdapterError:
    if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return AdapterError("the server's TLS certificate was not accepted; nothing was sent")
    state = next(STATES[cls] for cls in type(error).__mro__ if cls in STATES)
    sent = "nothing was sent" if state is FailureState.NOT_SENT else "the request may have arrived"
    return AdapterError(f"{type(error).__name__} on the way to the server; {sent}", state=state)


_quiet: ContextVar[bool] = ContextVar("agent_persistence_quiet", default=False)


def _install_log_filter() -> None:
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        if _unless_quiet not in logger.filters:
            logger.addFilter(_unless_quiet)


def _unless_quiet(record: logging.LogRecord) -> bool:
    return not _quiet.get()
