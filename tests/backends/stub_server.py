"""A server that answers with the bytes a test wrote down, for what a real server never sends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

HEAD_LIMIT = 4 * 2**20
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived: the target is raw, header names are lower-case, connections are counted from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(slots=True)
class Exchange:
    """One request to be answered. `number` counts the requests of the whole server from 1."""

    request: Received
    number: int
    _stream: ByteStream

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def close(self) -> None:
        """End the connection in order, with a FIN."""
        await self._stream.aclose()

    def reset(self) -> None:
        """Drop the connection with an RST."""
        raw: socket.socket = self._stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def until_client_leaves(self) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self._stream.receive()


Script: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class StubServer:
    """`url` is the base URL; `requests` grows with every request, `connections` counts those accepted."""

    script: Script
    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    arrived: Event = field(default_factory=Event)
    """Set when the first request is there."""
    released: Event = field(default_factory=Event)
    """For scripts to wait on with `held`, and for tests to set."""
    left: Event = field(default_factory=Event)
    """Set when the first connection has ended."""

    async def held(self) -> None:
        """Wait until the test sets `released`."""
        if not await anyio.to_thread.run_sync(self.released.wait, PATIENCE_S):
            raise TimeoutError("no test released the answer")

    async def serve(self, tls: ssl.SSLContext | None, *, task_status: TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra(SocketAttribute.local_port)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        task_status.started()
        async with listener:
            if tls is None:
                await listener.serve(self._connection)
            else:
                await TLSListener(listener, tls, standard_compatible=False).serve(self._connection)

    async def _connection(self, stream: ByteStream) -> None:
        self.connections += 1
        number = self.connections
        gone = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)
        try:
            async with stream:
                with contextlib.suppress(*gone):
                    incoming = BufferedByteReceiveStream(stream)
                    while True:
                        request = await _request(incoming, number)
                        self.requests.append(request)
                        self.arrived.set()
                        await self.script(Exchange(request, len(self.requests), stream))
        finally:
            self.left.set()


async def _request(incoming: BufferedByteReceiveStream, connection: int) -> Received:
    head = (await incoming.receive_until(b"\r\n\r\n", HEAD_LIMIT)).decode("latin-1")
    start, *lines = head.split("\r\n")
    method, target, _ = start.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await incoming.receive_exactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, connection)


@contextlib.contextmanager
def stub_server(script: Script | bytes, *, tls: ssl.SSLContext | None = None) -> Iterator[StubServer]:
    """A server in a thread of its own, so that any event loop may talk to it; bytes are the answer to every request."""

    async def constant(exchange: Exchange) -> None:
        assert isinstance(script, bytes)
        await exchange.send(script)

    server = StubServer(constant if isinstance(script, bytes) else script)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            await group.start(server.serve, tls)
            try:
                yield
            finally:
                server.released.set()
                group.cancel_scope.cancel()

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running()):
        yield server


def answer(body: bytes = b"[]", *, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 response, JSON unless the headers say otherwise."""
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body
