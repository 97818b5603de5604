"""A TCP connection to whichever of a host's addresses answers first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

import anyio

Address: TypeAlias = tuple[int, int, int, str, Any]
"""An address as `getaddrinfo` gives it: family, type, protocol, canonical name, and what `connect` takes."""

HEAD_START_S: Final = 0.25
"""How long one address may take before the next is tried beside it (RFC 8305, section 5)."""


async def dialled(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket. Where no address answers, the first one's OSError is raised.

    Addresses are tried in the order of RFC 8305, the next one beside those before it as soon as they have failed or
    had their head start. Every socket but the one returned is closed, also when this is cancelled.
    """
    addresses = in_turns(await _resolved(host, port))
    if len(addresses) == 1:
        return await _connected(addresses[0])
    return await _Race().won(addresses)


async def _resolved(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host; those of a literal address need no thread."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def in_turns(addresses: Iterable[Address]) -> list[Address]:
    """The addresses of the first one's family and the others, in turns; each family keeps its order."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


async def _connected(address: Address) -> socket.socket:
    family, kind, protocol, _, target = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, target)
    except BaseException:
        connection.close()
        raise
    return connection


class _Race:
    """Attempts side by side, of which one may win."""

    def __init__(self) -> None:
        self._winner: socket.socket | None = None
        self._errors: list[OSError] = []

    async def won(self, addresses: Sequence[Address]) -> socket.socket:
        try:
            await self._run(addresses)
        except BaseException:
            if self._winner is not None:
                self._winner.close()
            raise
        if self._winner is None:
            raise self._errors[0]
        return self._winner

    async def _run(self, addresses: Sequence[Address]) -> None:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(self._attempt, address, failed, group.cancel_scope)
                with anyio.move_on_after(HEAD_START_S):
                    await failed.wait()

    async def _attempt(self, address: Address, failed: anyio.Event, everybody: anyio.CancelScope) -> None:
        try:
            connection = await _connected(address)
        except OSError as error:
            self._errors.append(error)
            failed.set()
            return
        if self._winner is None:
            self._winner = connection
        else:
            connection.close()
        everybody.cancel()
