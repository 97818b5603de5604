"""What stands between a client and PostgreSQL: a relay that cuts the connection, and a transaction pooler.

Messages: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import psycopg
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream


@asynccontextmanager
async def listening(handle: Any) -> AsyncIterator[int]:
    """The port on loopback whose connections `handle` serves."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()


def through(url: str, port: int) -> str:
    """The URL with another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()


@dataclass
class Relay:
    """Passes bytes on both ways until `request_bytes` or `response_bytes` more have passed, then ends both ends.

    `passed` counts what has passed since it was last armed.
    """

    url: str
    request_bytes: float = inf
    response_bytes: float = inf
    cuts: float = inf
    passed: dict[str, int] = field(default_factory=lambda: {"request": 0, "response": 0})

    def arm(self, *, request_bytes: float = inf, response_bytes: float = inf, cuts: float = inf) -> None:
        """From now on, on `cuts` connections."""
        self.request_bytes, self.response_bytes, self.cuts = request_bytes, response_bytes, cuts
        self.passed = {"request": 0, "response": 0}

    async def handle(self, client: ByteStream) -> None:
        parts = urlsplit(self.url)
        async with client:
            server = await anyio.connect_tcp(str(parts.hostname), parts.port or 5432)
            async with server, anyio.create_task_group() as group:
                group.start_soon(self._pass, client, server, "request", group.cancel_scope)
                group.start_soon(self._pass, server, client, "response", group.cancel_scope)

    async def _pass(self, source: ByteStream, target: ByteStream, way: str, scope: anyio.CancelScope) -> None:
        try:
            async for chunk in source:
                limit = self.request_bytes if way == "request" else self.response_bytes
                left = limit - self.passed[way] if self.cuts else inf
                self.passed[way] += len(chunk)
                await target.send(chunk if left > len(chunk) else chunk[: int(left)])
                if left <= len(chunk):
                    self.cuts -= 1
                    break
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        scope.cancel()


class Pooler:
    """A transaction pooler: it logs clients in by itself, and gives each of their transactions another session."""

    def __init__(self, url: str, sessions: int) -> None:
        self._held = [psycopg.connect(url) for _ in range(sessions)]
        self.pids = [connection.info.backend_pid for connection in self._held]
        self._idle = deque(
            _Session(os.dup(connection.fileno()), connection.info.backend_pid) for connection in self._held
        )
        self._free = anyio.Semaphore(sessions)
        self.used: list[int] = []
        """The session of each transaction, by its process."""

    def close(self) -> None:
        for session in self._idle:
            session.socket.close()
        for connection in self._held:
            connection.close()

    async def handle(self, client: ByteStream) -> None:
        async with client:
            received = BufferedByteReceiveStream(client)
            try:
                await _log_in(client, received)
                while True:
                    await self._transaction(client, received, await _message(received))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def _transaction(self, client: ByteStream, received: BufferedByteReceiveStream, first: bytes) -> None:
        """Pass messages on until the session is idle and owes no answer."""
        if first[:1] == b"X":
            raise anyio.EndOfStream
        session = await self._taken()
        owed = _Owed()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._forward, received, session, first, owed)
                last = await _answers(session, client, owed)
                group.cancel_scope.cancel()
        finally:
            self._idle.append(session)
            self._free.release()
        await client.send(last)

    async def _taken(self) -> _Session:
        await self._free.acquire()
        session = self._idle.popleft()
        self.used.append(session.pid)
        return session

    async def _forward(
        self, received: BufferedByteReceiveStream, session: _Session, message: bytes, owed: _Owed
    ) -> None:
        while True:
            owed.answers += message[:1] in (b"S", b"Q")
            await session.send(message)
            message = await _message(received)


@dataclass
class _Owed:
    answers: int = 0


class _Session:
    """An open connection to PostgreSQL that psycopg has logged in."""

    def __init__(self, descriptor: int, pid: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(False)
        self.pid = pid
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        while data:
            await anyio.wait_writable(self.socket)
            data = data[self.socket.send(data) :]

    async def message(self) -> bytes:
        while len(self.buffer) < 5 or len(self.buffer) < 1 + _length(self.buffer):
            await anyio.wait_readable(self.socket)
            self.buffer += self.socket.recv(65_536)
        size = 1 + _length(self.buffer)
        message, self.buffer = self.buffer[:size], self.buffer[size:]
        return message


def _length(message: bytes) -> int:
    return cast("int", struct.unpack_from("!I", message, 1)[0])


async def _answers(session: _Session, client: ByteStream, owed: _Owed) -> bytes:
    """Pass on what the session tells but the last message, which lets the client begin anew."""
    while True:
        message = await session.message()
        if message[:1] == b"Z":
            owed.answers -= 1
            if message[5:] == b"I" and not owed.answers:
                return message
        await client.send(message)


async def _message(received: BufferedByteReceiveStream) -> bytes:
    head = await received.receive_exactly(5)
    return head + await received.receive_exactly(_length(head) - 4)


_SETTINGS = {"server_version": "18.4", "client_encoding": "UTF8", "standard_conforming_strings": "on"}


async def _log_in(client: ByteStream, received: BufferedByteReceiveStream) -> None:
    """Let the client in without a password; encryption is declined."""
    while True:
        size, version = struct.unpack("!II", await received.receive_exactly(8))
        await received.receive_exactly(size - 8)
        if version >> 16 != 1234:
            break
        await client.send(b"N")
    told: Sequence[tuple[bytes, bytes]] = [
        (b"R", struct.pack("!I", 0)),
        *((b"S", f"{name}\0{value}\0".encode()) for name, value in _SETTINGS.items()),
        (b"K", struct.pack("!II", 1, 1)),
        (b"Z", b"I"),
    ]
    await client.send(b"".join(kind + struct.pack("!I", len(body) + 4) + body for kind, body in told))
