"""Connections over asyncio's protocols and httptools, for asyncio alone: several times as fast as those over httpcore,
and as safe for writes.

httptools is llhttp, the parser of Node.js, with callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from agent_persistence.backends.transport.connections import (
    CONNECT_TIMEOUT_S,
    HEADERS,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    HttpConnection,
    HttpPool,
    Lifetimes,
)
from agent_persistence.backends.transport.dialling import dialled
from agent_persistence.backends.transport.failures import as_adapter_error
from agent_persistence.backends.transport.http_protocol import BROKEN, HttpProtocol
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpx import tls_context
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.runtime.attempts import connecting
from agent_persistence.runtime.event_loop import asyncio_loop

if TYPE_CHECKING:
    import httpx

CONNECTING: Final[Mapping[type[Exception], FailureState]] = {
    OSError: FailureState.NOT_SENT,
    UnicodeError: FailureState.NOT_SENT,
}
"""What each exception says about a request that has no connection yet; UnicodeError is a name that none can have."""
STATES: Final[Mapping[type[Exception], FailureState]] = dict.fromkeys(BROKEN, FailureState.AMBIGUOUS)
"""What each exception says about a request that has a connection; the nearest class in its ancestry counts."""


class HttptoolsPool(HttpPool):
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
        if asyncio_loop() is None:
            raise ConfigurationError('transport="httptools" needs asyncio; leave it out under trio')
        return _Connection(self._server, self._max_response_bytes)


class _Server:
    """Where requests go, and what of them is always the same."""

    def __init__(self, url: httpx.URL) -> None:
        self.host = url.host
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._is_encrypted = url.scheme == "https"
        self._prefix = url.raw_path.rstrip(b"/").decode("ascii")
        headers = (("Host", url.netloc.decode("ascii")), *HEADERS)
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers)

    def check(self, request: Request) -> None:
        """Refuse what could begin a line of its own, and what has no place in a head."""
        text = "".join(chain((request.method, request.target), *request.headers))
        if not (text.isascii() and text.isprintable()):
            del text, request  # they hold the credentials
            raise AdapterError("a header or the path holds a line end, or is not in ASCII; nothing was sent")

    def message(self, request: Request) -> bytes:
        """The request as it is sent."""
        lines = [f"{request.method} {self._prefix}{request.target} HTTP/1.1\r\n", self._headers]
        lines += [f"{name}: {value}\r\n" for name, value in request.headers]
        if request.body or request.method not in _WITHOUT_BODY:
            lines.append(f"Content-Length: {len(request.body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("ascii") + request.body

    async def connect(self, protocol: HttpProtocol) -> None:
        """Give the protocol a new connection, encrypted where the URL says so."""
        try:
            with connecting():
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connected(protocol)
        except tuple(CONNECTING) as error:
            raise as_adapter_error(error, CONNECTING, self.host) from error

    async def _connected(self, protocol: HttpProtocol) -> None:
        connection = await dialled(self.host, self._port)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: protocol, sock=connection, **self._tls())
        # TLS may have more to send and to say than the handshake, of which nothing is the server's answer.
        if protocol.has_ended() or (protocol.is_stale() and not self._is_encrypted):
            raise ConnectionAbortedError("the server has ended the connection, or spoken before it was asked")

    def _tls(self) -> dict[str, Any]:
        return {"ssl": tls_context(), "server_hostname": self.host} if self._is_encrypted else {}


_WITHOUT_BODY: Final = ("GET", "HEAD", "DELETE")


class _Connection(HttpProtocol):
    def __init__(self, server: _Server, max_response_bytes: int) -> None:
        super().__init__(max_response_bytes)
        self._server = server

    async def exchange(self, request: Request) -> Response:
        self._server.check(request)
        if self._transport is None:
            await self._server.connect(self)
        answer = self.ask(self._server.message(request), is_head=request.method == "HEAD")
        try:
            return await answer
        except BROKEN as error:
            raise as_adapter_error(error, STATES, self._server.host) from error
        finally:
            self.forget()
