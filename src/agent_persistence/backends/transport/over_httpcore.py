"""Connections over httpcore, the engine of httpx: what httpx lays around it costs more than a request itself."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from agent_persistence.backends.transport.connections import (
    CONNECT_TIMEOUT_S,
    HEADERS,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    HttpConnection,
    HttpPool,
    Lifetimes,
    RequestBody,
    is_readable,
    looked_up,
)
from agent_persistence.backends.transport.failures import as_adapter_error
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpx import tls_context
from agent_persistence.backends.transport.quiet import quietly
from agent_persistence.backends.transport.unpacking import Unpacked, whole
from agent_persistence.exceptions import FailureState
from agent_persistence.runtime.attempts import connecting

if TYPE_CHECKING:
    import httpx

STATES: Final[Mapping[type[Exception], FailureState]] = {
    httpcore.ConnectError: FailureState.NOT_SENT,
    httpcore.ConnectTimeout: FailureState.NOT_SENT,
    httpcore.PoolTimeout: FailureState.NOT_SENT,
    httpcore.ConnectionNotAvailable: FailureState.NOT_SENT,
    httpcore.UnsupportedProtocol: FailureState.NOT_SENT,
    httpcore.ProxyError: FailureState.NOT_SENT,
    httpcore.TimeoutException: FailureState.AMBIGUOUS,
    httpcore.NetworkError: FailureState.AMBIGUOUS,
    httpcore.ProtocolError: FailureState.AMBIGUOUS,
}
"""What each exception of the client says about the request; the nearest class in an exception's ancestry counts."""


class HttpcorePool(HttpPool):
    """HTTP/1.1 over asyncio or trio; no redirects, no proxies and no authorities from the environment."""

    def __init__(
        self,
        url: httpx.URL,
        *,
        size: int = MAX_CONNECTIONS,
        lifetimes: Lifetimes | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        super().__init__(size, lifetimes)
        self._server = _Server(url)
        self._max_response_bytes = max_response_bytes

    def _new_connection(self) -> HttpConnection:
        return _Connection(self._server, self._max_response_bytes)


class _Server:
    """Where requests go, and what of them is always the same."""

    def __init__(self, url: httpx.URL) -> None:
        self.host = url.host
        self._origin = httpcore.Origin(url.raw_scheme, url.raw_host, url.port or _PORTS[url.scheme])
        self._prefix = url.raw_path.rstrip(b"/")
        self._headers = [(b"Host", url.netloc), *_encoded(HEADERS)]

    def message(self, request: Request) -> httpcore.Request:
        """The request as httpcore sends it: nothing of it is parsed or rewritten on the way."""
        headers = [*self._headers, *_encoded(request.headers)]
        if request.body or request.method not in _WITHOUT_BODY:
            headers.append((b"Content-Length", b"%d" % len(request.body)))
        target = self._prefix + request.target.encode("ascii")
        url = httpcore.URL(scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port, target=target)
        return httpcore.Request(request.method, url, headers=headers, content=RequestBody(request.body))

    async def stream(self) -> _Stream:
        """A new connection, encrypted where the URL says so."""
        try:
            with connecting(), anyio.fail_after(CONNECT_TIMEOUT_S):
                return _Stream(await self._connected())
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise httpcore.ConnectError(str(error)) from error

    async def _connected(self) -> ByteStream:
        name = self._origin.host.decode("ascii")
        stream = await anyio.connect_tcp(name, self._origin.port)
        if self._origin.scheme == b"http":
            return stream
        try:
            return await TLSStream.wrap(stream, hostname=name, ssl_context=tls_context(), standard_compatible=False)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise

    def connection(self, stream: _Stream) -> httpcore.AsyncHTTP11Connection:
        """One that is never shared: its lock, which would give the event loop a turn twice a request, is left out."""
        connection = httpcore.AsyncHTTP11Connection(self._origin, stream)
        connection._state_lock = nullcontext()  # type: ignore[assignment]
        return connection


_PORTS: Final = {"http": 80, "https": 443}
_WITHOUT_BODY: Final = ("GET", "DELETE")


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


class _Stream(httpcore.AsyncNetworkStream):
    """anyio's stream for httpcore, without the timeouts and tables that httpcore's own sets up at every call."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  not Django's
        self.holds_head = False
        """Whether the next write is to wait for the one after it, so that a request's head and body leave together."""
        self._unsent = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's
        self._unsent += buffer
        del buffer  # it holds the credentials
        if self.holds_head:
            self.holds_head = False
        elif self._unsent:
            try:
                await self._stream.send(self._taken())
            except _BROKEN as error:
                raise httpcore.WriteError(str(error)) from error

    def _taken(self) -> bytes:
        unsent, self._unsent = self._unsent, b""
        return unsent

    async def aclose(self) -> None:
        await self._stream.aclose()

    def is_readable(self) -> bool:
        return is_readable(self._socket)


_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


class _Connection:
    def __init__(self, server: _Server, max_response_bytes: int) -> None:
        self._server = server
        self._max_response_bytes = max_response_bytes
        self._stream: _Stream | None = None
        self._connection: Any = None

    async def exchange(self, request: Request) -> Response:
        message = self._server.message(request)
        with quietly():
            try:
                return await self._exchanged(message, has_body=bool(request.body))
            except tuple(STATES) as error:
                raise as_adapter_error(error, STATES, self._server.host) from error

    async def _exchanged(self, message: httpcore.Request, *, has_body: bool) -> Response:
        if self._stream is None:
            self._stream = await self._server.stream()
            self._connection = self._server.connection(self._stream)
        self._stream.holds_head = has_body
        received = await self._connection.handle_async_request(message)
        headers = looked_up(received.headers)
        unpacked = Unpacked(headers.get("content-encoding", "identity"), self._max_response_bytes, received.status)
        return Response(received.status, headers, await whole(aiter(received.stream), unpacked, received.aclose))

    def is_spoilt(self) -> bool:
        """h11 keeps what came behind a response, and would take it for the next one.

        httpcore offers no public view of it; a connection that cannot be looked into counts as spoilt.
        """
        try:
            return not self._connection.is_idle() or bool(self._connection._h11_state.trailing_data[0])
        except AttributeError:
            return True

    def is_stale(self) -> bool:
        return self._stream is None or self._stream.is_readable()

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()
