"""Which of the clients moves the bytes: a choice of the user's, or of the event loop's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from agent_persistence._extras import command_for
from agent_persistence.backends.transport.connections import HttpConnection, HttpPool, Lifetimes
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.runtime.event_loop import asyncio_loop

if TYPE_CHECKING:
    import httpx

Transport: TypeAlias = Literal["auto", "httpx", "httptools", "aiohttp"]
"""`auto` is httptools for what runs under asyncio, where it is installed, and httpx for all else; `aiohttp` is what
httptools was called before."""
_NAMES: Final = ("auto", "httpx", "httptools")


def checked_transport(transport: object, *, stacklevel: int) -> Transport:
    """The name of a transport; that of an earlier one is replaced, with a DeprecationWarning at the caller's caller."""
    if transport not in get_args(Transport):
        raise ConfigurationError(f"transport is {', '.join(map(repr, _NAMES[:-1]))} or {_NAMES[-1]!r}")
    if transport != "aiohttp":
        return transport  # type: ignore[return-value]  # one of the names, as the line above says
    warnings.warn(
        'transport="aiohttp" is now called "httptools", and the default, "auto", takes it under asyncio where the extra'
        " `fast` is installed: leave the option out",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
    return "httptools"


def pool_for(url: httpx.URL, transport: Transport, lifetimes: Lifetimes) -> HttpPool:
    """Connections to the server over the transport of this name."""
    if transport == "httpx":
        return _over_httpx(url, lifetimes=lifetimes)
    try:
        from agent_persistence.backends.transport.over_httptools import HttptoolsPool
    except ImportError as error:
        if transport == "auto":
            return _over_httpx(url, lifetimes=lifetimes)
        remedy = command_for("fast")
        raise ConfigurationError(f'transport="httptools" needs httptools, 0.6.4 or later: {remedy}') from error
    if transport == "auto":
        return AutomaticPool(HttptoolsPool(url, lifetimes=lifetimes), partial(_over_httpx, url), lifetimes)
    return HttptoolsPool(url, lifetimes=lifetimes)


def _over_httpx(url: httpx.URL, lifetimes: Lifetimes) -> HttpPool:
    from agent_persistence.backends.transport.over_httpcore import HttpcorePool

    return HttpcorePool(url, lifetimes=lifetimes)


class AutomaticPool(HttpPool):
    """Each event loop's connections are of the pool for its kind; that for other loops than asyncio's is made when one
    is met."""

    def __init__(self, asyncios: HttpPool, others: Callable[[Lifetimes], HttpPool], lifetimes: Lifetimes) -> None:
        super().__init__(lifetimes=lifetimes)
        self._asyncios = asyncios
        self._others = cache(partial(others, lifetimes))

    def _new_connection(self) -> HttpConnection:
        pool = self._others() if asyncio_loop() is None else self._asyncios
        return pool._new_connection()
