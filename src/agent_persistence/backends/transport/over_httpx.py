"""The project's URL, and a way over the caller's own httpx.AsyncClient: requests out, its exceptions into ours."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from functools import cache, partial
from ipaddress import ip_address
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import anyio
import httpx

from agent_persistence.backends.transport.admission import Slots, UnderWay
from agent_persistence.backends.transport.connections import (
    DRAIN_S,
    HEADERS,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    RequestBody,
    closed,
)
from agent_persistence.backends.transport.failures import mapped_exceptions
from agent_persistence.backends.transport.messages import MisdeliveredError, Request, Response
from agent_persistence.backends.transport.quiet import quietly
from agent_persistence.backends.transport.unpacking import Unpacked, whole
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.runtime.attempts import connecting, is_set_apart
from agent_persistence.runtime.per_loop import PerLoop

T = TypeVar("T")
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


@cache
def tls_context() -> ssl.SSLContext:
    """The authorities that httpx trusts, and none of the environment's. Making it takes twenty milliseconds."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Stream(RequestBody, httpx.AsyncByteStream):
    """A body of the class that httpx demands."""


class InjectedClient:
    """The caller's own httpx.AsyncClient, which stays theirs: it is not closed, and its pool is not exceeded.

    Redirects are not followed, whatever the client's setting; its log lines, which hold URLs with filter values,
    are suppressed for our requests. Which connection a request goes over is up to the client; that of one which is
    `set_apart` is closed afterwards.
    """

    def __init__(
        self, client: httpx.AsyncClient, url: httpx.URL, *, max_response_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        self._client = client
        self._pool = _Pool.of(client)
        self._url = url
        self._max_response_bytes = max_response_bytes
        self._here: PerLoop[UnderWay] = PerLoop(UnderWay)
        self._closed = False

    async def send(self, request: Request) -> Response:
        return await self.ask(request, lambda response: response)

    async def ask(self, request: Request, parse: Callable[[Response], T]) -> T:
        message = self._client.build_request(
            request.method,
            _addressed(self._url, request.target),
            headers=[HEADERS[1], *request.headers],
            content=request.body or None,
        )
        if request.body:
            message.stream = _Stream(request.body)
        if self._client.is_closed:
            raise AdapterError("the httpx.AsyncClient that was passed in is closed")
        if self._closed:
            raise closed()
        with self._here.get():
            return await self._exchanged(request, message, parse)

    async def _exchanged(self, request: Request, message: httpx.Request, parse: Callable[[Response], T]) -> T:
        async with self._pool.slots.get().taken(writing=request.method != "GET"):
            if self._closed:
                raise closed()
            with quietly(), mapped_exceptions(STATES, self._url.host):
                received = await self._sent(message)
                response = Response(received.status_code, received.headers, await self._body(received))
            fit = not is_set_apart()
            try:
                return parse(response)
            except MisdeliveredError:
                fit = False
                raise
            finally:
                if not fit:
                    await _disconnect(received)

    async def _sent(self, message: httpx.Request) -> httpx.Response:
        """The head of the response. Until the request leaves it may wait for the client's pool, or for a connection."""
        leaving, way = connecting(), (message.method, str(message.url.copy_with(raw_path=b"/")))

        async def trace(event: str, info: object) -> None:
            self._pool.traced.add(way)
            if event.endswith(_LEAVES):
                leaving.__exit__(None)

        message.extensions = {**message.extensions, "trace": trace}
        if way in self._pool.traced:
            leaving.__enter__()
        return await self._client.send(message, stream=True, follow_redirects=False)

    async def _body(self, received: httpx.Response) -> bytes:
        if received.is_stream_consumed:  # a transport that answers from memory
            return received.content
        encoding = received.headers.get("content-encoding", "identity")
        unpacked = Unpacked(encoding, self._max_response_bytes, received.status_code)
        return await whole(received.aiter_raw(), unpacked, received.aclose)

    async def aclose(self) -> None:
        """Refuse further requests, and give those under way DRAIN_S seconds to end; the client is its owner's to close.

        A client that is closed while a request still connects, such as one that others have left, keeps the connection
        that it gets, and nobody closes it.
        """
        self._closed = True
        here = self._here.found()
        if here is not None:
            await here.drained(DRAIN_S)


async def _disconnect(received: httpx.Response) -> None:
    """End the connection that the response came on, so that the client's pool makes another in its place; one of
    HTTP/2, which others are using, stays (https://www.python-httpx.org/advanced/extensions/#network_stream)."""
    stream = received.extensions.get("network_stream")
    if stream is not None and received.http_version != "HTTP/2":
        with anyio.move_on_after(1, shield=True):
            await stream.aclose()


_LEAVES: Final = ".send_request_headers.started"
"""How the event ends by which httpcore traces that a request leaves (https://www.encode.io/httpcore/extensions/#trace)."""


class _Pool:
    """What all adapters over one client share in an event loop: as many slots as the client's pool has connections."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        # A pool that never queues cannot be poisoned. httpx has no public way to ask how large it is.
        pool = getattr(getattr(client, "_transport", None), "_pool", None)
        self.slots: PerLoop[Slots] = PerLoop(
            partial(Slots, min(MAX_CONNECTIONS, getattr(pool, "_max_connections", MAX_CONNECTIONS)))
        )
        self.traced: set[tuple[str, str]] = set()
        """By which methods and to which servers a request was traced: then none has left before its trace says so."""

    @classmethod
    def of(cls, client: httpx.AsyncClient) -> _Pool:
        return _pools.setdefault(client, cls(client))


_pools: Final[WeakKeyDictionary[httpx.AsyncClient, _Pool]] = WeakKeyDictionary()


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
}
"""What each exception of the client says about the request; the nearest class in an exception's ancestry counts."""
