"""A name for this machine that an event loop can be made to lose, as when DNS fails. No question leaves the process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

HOST: Final = "faults.localhost"


class Names:
    """An event loop's getaddrinfo, which knows HOST but for the ports in `lost`; other names are asked for as ever."""

    def __init__(self, others: Callable[..., Awaitable[list[Any]]]) -> None:
        self.lost: set[int] = set()
        self._others = others

    async def __call__(self, host: str | bytes | None, port: Any, **options: Any) -> list[Any]:
        if host not in (HOST, HOST.encode()):
            return await self._others(host, port, **options)
        if int(port) in self.lost:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", int(port)))]


def names_of(loop: asyncio.AbstractEventLoop) -> Names:
    """The event loop's names, which it has from then on."""
    known = vars(loop).get("getaddrinfo")
    if not isinstance(known, Names):
        known = vars(loop)["getaddrinfo"] = Names(loop.getaddrinfo)
    return known
