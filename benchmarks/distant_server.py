"""A server as far away as one in the same region: a relay, in a process of its own, that holds what it passes on."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import cast
from urllib.parse import urlsplit, urlunsplit


class _Side(asyncio.Protocol):
    """One end of a connection; what it receives is written to the other end after `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.other: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._pass_on, data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other.done():
            self.other.result().close()

    def _pass_on(self, data: bytes) -> None:
        if self.other.done():
            self.other.result().write(data)
        else:  # the server has not accepted yet
            self.other.add_done_callback(lambda other: other.result().write(data))


class _Arriving(_Side):
    """The end of the client; a connection to the server is made for it."""

    def __init__(self, port: int, delay_s: float) -> None:
        super().__init__(delay_s)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        transport, leaving = await loop.create_connection(lambda: _Side(self._delay_s), "127.0.0.1", self._port)
        leaving.other.set_result(self.transport)
        self.other.set_result(transport)


def serve(tell_port: Connection, port: int, delay_s: float) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Arriving(port, delay_s), "127.0.0.1", 0)
        tell_port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@contextmanager
def distant(url: str, *, round_trip_s: float) -> Iterator[str]:
    """The URL by which the server of 127.0.0.1 answers so much later; afterwards the way has ended."""
    place = urlsplit(url)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, place.port, round_trip_s / 2), daemon=True
    )
    process.start()
    theirs.close()  # so that a relay that could not start ends the wait for its port
    try:
        login = f"{place.username}:{place.password}@" if place.username else ""
        yield urlunsplit(place._replace(netloc=f"{login}127.0.0.1:{ours.recv()}"))
    finally:
        process.terminate()
        process.join()
