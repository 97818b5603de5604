"""Connections over aiohttp's protocol and parser, for asyncio alone: several times as fast as those over httpcore, and
as safe for writes.

aiohttp's session and connector are left out: what they add to a request costs more than everything else, and they send
one again by themselves.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from aiohappyeyeballs import start_connection
from aiohttp import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from agent_persistence.backends.transport.connections import (
    CONNECT_TIMEOUT_S,
    HEADERS,
    MAX_CONNECTIONS,
    MAX_HEADER_BYTES,
    MAX_RESPONSE_BYTES,
    HttpConnection,
    HttpPool,
    Lifetimes,
    is_readable,
    looked_up,
)
from agent_persistence.backends.transport.failures import as_adapter_error
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpx import tls_context
from agent_persistence.backends.transport.unpacking import Unpacked
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.runtime.attempts import connecting

if TYPE_CHECKING:
    import httpx

CONNECTING: Final[Mapping[type[Exception], FailureState]] = {OSError: FailureState.NOT_SENT}
STATES: Final[Mapping[type[Exception], FailureState]] = {
    ClientError: FailureState.AMBIGUOUS,
    HttpProcessingError: FailureState.AMBIGUOUS,
    OSError: FailureState.AMBIGUOUS,
}
"""What each exception says about a request that has a connection; the nearest class in its ancestry counts."""


class AiohttpPool(HttpPool):
    """HTTP/1.1 over asyncio; no redirects, no cookies, and nothing from the environment."""

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
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError('transport="aiohttp" needs asyncio; leave it out under trio') from None
        return _Connection(self._server, self._max_response_bytes)


class _Server:
    """Where requests go, and what of them is always the same."""

    def __init__(self, url: httpx.URL) -> None:
        self.host = url.host
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._is_encrypted = url.scheme == "https"
        self._prefix = url.raw_path.rstrip(b"/").decode("ascii")
        self._headers = (("Host", url.netloc.decode("ascii")), *HEADERS)

    def check(self, request: Request) -> None:
        """Refuse what could begin a line of its own."""
        if not (request.target.isprintable() and all(map(str.isprintable, chain.from_iterable(request.headers)))):
            raise AdapterError("a header or the path holds a line end; nothing was sent")

    def message(self, request: Request) -> bytes:
        """The request as it is sent."""
        headers = (*self._headers, *request.headers)
        lines = [f"{request.method} {self._prefix}{request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers]
        if request.body or request.method not in _WITHOUT_BODY:
            lines.append(f"Content-Length: {len(request.body)}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + request.body

    async def protocol(self) -> Any:
        """aiohttp's protocol over a new connection, encrypted where the URL says so."""
        try:
            with connecting():
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    return await self._connected()
        except OSError as error:
            raise as_adapter_error(error, CONNECTING, self.host) from error

    async def _connected(self) -> Any:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM)
        sock = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_S)
        _, protocol = await loop.create_connection(lambda: ResponseHandler(loop), sock=sock, **self._tls())
        return protocol

    def _tls(self) -> dict[str, Any]:
        return {"ssl": tls_context(), "server_hostname": self.host} if self._is_encrypted else {}


HAPPY_EYEBALLS_S: Final = 0.25
"""How long one address may take before the next is tried beside it (RFC 8305, section 5)."""
_WITHOUT_BODY: Final = ("GET", "DELETE")


class _Connection:
    def __init__(self, server: _Server, max_response_bytes: int) -> None:
        self._server = server
        self._max_response_bytes = max_response_bytes
        self._protocol: Any = None
        self._transport: Any = None

    async def exchange(self, request: Request) -> Response:
        self._server.check(request)
        if self._protocol is None:
            self._protocol = await self._server.protocol()
            self._transport = self._protocol.transport
        self._protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        self._transport.write(self._server.message(request))
        try:
            return await self._received()
        except tuple(STATES) as error:
            raise as_adapter_error(error, STATES, self._server.host) from error

    async def _received(self) -> Response:
        head, body = await self._protocol.read()
        while 100 <= head.code < 200 and head.code != _SWITCHING:
            head, body = await self._protocol.read()
        headers = looked_up(head.raw_headers)
        unpacked = Unpacked(headers.get("content-encoding", "identity"), self._max_response_bytes, head.code)
        while not body.at_eof():
            unpacked.add(await body.readany())
        return Response(head.code, headers, unpacked.whole())

    def is_spoilt(self) -> bool:
        """The parser keeps a part of a response that nobody asked for, and would take it for the next one's beginning.

        aiohttp offers no public view of it; a connection that cannot be looked into counts as spoilt.
        """
        try:
            return (
                self._transport.is_closing()
                or self._protocol.should_close
                or self._transport.get_write_buffer_size() > 0
                or self._protocol._parser.feed_eof() is not None
            )
        except AttributeError:
            return True

    def is_stale(self) -> bool:
        return self.is_spoilt() or is_readable(self._transport.get_extra_info("socket"))

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)  # the turn in which the transport closes its socket


_SWITCHING: Final = 101
