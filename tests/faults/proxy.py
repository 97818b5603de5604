"""A proxy on loopback between a client and a backend, which strikes requests with the faults it was armed with.

It parses no more of HTTP than where a request ends. A fault is carried out on one `Exchange`: it decides whether the
backend sees the request, and what the client gets back.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator
from math import inf
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from tests.faults.backend import Fate
from tests.faults.names import HOST, names_of

if TYPE_CHECKING:
    from tests.faults.faults import Fault

Ending: TypeAlias = Literal["FIN", "RST", "garbage", "blackhole"]

GARBAGE = b"\x00\xff\x16\x03\x01garbage\r\n\r\n{]"
HEAD_LIMIT = 2**20
SETTLE_S = 60.0
MORE_THAN_WAIT = 3
TURNS_TO_ARRIVE = 12
"""More turns than asyncio takes to accept a connection and to read from it: a request that was given up on at once may
still be in the kernel's hands."""
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Upstream(Protocol):
    """What carries requests out: `Backend`, or `Relay` to a real server."""

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes: ...


class Exchange:
    """One request on one connection. `forwarded` may be awaited once: the backend then sees the whole request."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        self.proxy = proxy
        self._reader = reader
        self._writer = writer
        self._received = first

    async def receive(self, count: int) -> None:
        """Wait for the first `count` bytes of the request."""
        if count > len(self._received):
            self._received += await self._reader.readexactly(count - len(self._received))

    async def request(self) -> bytes:
        """The whole request."""
        if b"\r\n\r\n" not in self._received:
            self._received += await self._reader.readuntil(b"\r\n\r\n")
        head = self._received.index(b"\r\n\r\n") + 4
        length = _LENGTH.search(self._received, 0, head)
        await self.receive(head + (int(length.group(1)) if length else 0))
        return self._received

    async def forwarded(self, fate: Fate | None = None) -> bytes:
        """The backend's answer to the whole request."""
        raw = await self.request()
        self.proxy.forwarded += 1
        if b"/elsewhere" in raw[: raw.index(b"\r\n")]:
            self.proxy.strays += 1
        response = await self.proxy.upstream.answer(raw, fate)
        self.proxy.sizes = (len(raw), len(response))
        return response

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def half_close(self) -> None:
        """Send FIN and go on listening."""
        self._writer.write_eof()

    @contextlib.contextmanager
    def late(self) -> Iterator[None]:
        """What is sent within is not under way; `Proxy.quiet` waits for it, and `settled` does not."""
        self._conclude()
        self.proxy.late.add(self)
        try:
            yield
        finally:
            self.proxy.late.discard(self)
            self.proxy.changed.set()

    def _conclude(self) -> None:
        self.proxy.under_way.discard(self)
        self.proxy.changed.set()

    async def until_client_leaves(self) -> None:
        """Answer nothing any more, so that nothing is under way."""
        self._conclude()
        while await self._reader.read(65_536):
            pass

    async def end(self, how: Ending) -> None:
        """End the connection; a blackhole ends when the client does."""
        if how == "blackhole":
            await self.until_client_leaves()
        elif how == "garbage":
            await self.send(GARBAGE)
        _close(self._writer, reset=how == "RST")


class Proxy:
    """`arm` says what befalls the next attempts, one fault each; after them requests pass untouched, unless a fault has
    left another in `afterwards`, which befalls each of them until the next `arm`.

    `requests` counts those that began to arrive, `forwarded` those that the backend saw, `strays` those for another
    host, `sizes` are the bytes of the last request and response that were forwarded. `named_url` is known to the event
    loop that the proxy runs in.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.requests = 0
        self.forwarded = 0
        self.strays = 0
        self.sizes: tuple[int, int] = (0, 0)
        self.armed: deque[Fault] = deque()
        self.afterwards: Fault | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.under_way: set[Exchange] = set()
        self.late: set[Exchange] = set()
        self.changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._full: list[socket.socket] = []
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.named_url = f"http://{HOST}:{self.port}"
        self._names = names_of(asyncio.get_running_loop())

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, upstream: Upstream) -> AsyncIterator[Proxy]:
        """A proxy that listens; afterwards its connections are gone."""
        proxy = cls(upstream)
        await proxy.listen()
        try:
            yield proxy
        finally:
            proxy.refuse()
            proxy.drop_connections(reset=True)
            await proxy.settled(connections=0)
            proxy._reserved.close()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def arm(self, *faults: Fault) -> None:
        """Strike the next attempts with these faults. Call `next_attempt` between two attempts."""
        self.armed = deque(faults)
        self.afterwards = None
        await self.next_attempt()

    async def next_attempt(self) -> None:
        """Carry out what befalls the next attempt before it begins, such as a refused connection."""
        await self.listen()
        if self.armed and self.armed[0].precedes:
            self.armed.popleft().prepare(self)
            await self.settled(connections=0)
            await asyncio.sleep(0)  # asyncio closes a socket in the turn after its transport

    async def listen(self) -> None:
        """Listen, and be known by name."""
        self._names.lost.discard(self.port)
        self._empty()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=_bound(self.port), limit=HEAD_LIMIT)

    def refuse(self) -> None:
        """Refuse connections until `listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._empty()

    def swallow(self) -> None:
        """Answer no connection that begins, until `listen`: as many wait to be accepted as Linux lets wait."""
        self.refuse()
        listening = _bound(self.port)
        listening.listen(0)
        self._full = [listening, *(_beginning(self.port) for _ in range(MORE_THAN_WAIT))]

    def _empty(self) -> None:
        while self._full:
            self._full.pop().close()

    def lose_name(self) -> None:
        """Be unknown by name until `listen`."""
        self._names.lost.add(self.port)

    def drop_connections(self, *, reset: bool) -> None:
        for writer in list(self._open):
            _close(writer, reset=reset)

    async def settled(self, connections: float = inf) -> None:
        """Wait until no request is under way any more, so that nothing can be applied later, and until no more than
        these connections are open; TimeoutError if it does not come to that."""
        await _turns()
        async with asyncio.timeout(SETTLE_S):
            while self.under_way or self.connections > connections:
                self.changed.clear()
                await self.changed.wait()

    async def quiet(self) -> None:
        """Wait until what is sent late has arrived."""
        while self.late:
            self.changed.clear()
            await self.changed.wait()
            await _turns()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while not writer.is_closing() and (first := await reader.read(1)):
                self.requests += 1
                exchange = Exchange(self, reader, writer, first)
                self.under_way.add(exchange)
                try:
                    await self._exchange(exchange)
                finally:
                    self.under_way.discard(exchange)
                    self.changed.set()
        except (OSError, EOFError):  # the client left
            pass
        finally:
            self._open.discard(writer)
            self.changed.set()
            _close(writer, reset=False)

    def next_fault(self) -> Fault | None:
        """What befalls the request that is arriving now."""
        return self.armed.popleft() if self.armed and not self.armed[0].precedes else self.afterwards

    async def _exchange(self, exchange: Exchange) -> None:
        fault = self.next_fault()
        if fault is None:
            await exchange.send(await exchange.forwarded())
        else:
            await fault.strike(exchange)


async def _turns() -> None:
    for _ in range(TURNS_TO_ARRIVE):
        await asyncio.sleep(0)


class Relay:
    """Passes requests on to a real server, on a connection for each."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            response = await reader.read()
        finally:
            writer.close()
        if not response:
            raise EOFError("the server ended before it answered")
        return re.sub(rb"(?i)connection: close", b"Connection: keep-alive", response, count=1)


def _bound(port: int) -> socket.socket:
    """A socket bound to the port, which others of ours may share: one that does not listen keeps the port ours."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _beginning(port: int) -> socket.socket:
    """A connection to the port, made or not."""
    beginning = socket.socket()
    beginning.setblocking(False)
    beginning.connect_ex(("127.0.0.1", port))
    return beginning


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        raw: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
