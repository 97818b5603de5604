"""Connections of our own, each used by one request at a time, whichever client moves their bytes."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, Generic, Protocol, TypeVar

import anyio

from agent_persistence._version import __version__
from agent_persistence.backends.transport.admission import Slots
from agent_persistence.backends.transport.messages import MisdeliveredError, Request, Response
from agent_persistence.exceptions import AdapterError
from agent_persistence.policy.retry import checked_seconds
from agent_persistence.runtime.attempts import is_set_apart
from agent_persistence.runtime.background import later
from agent_persistence.runtime.event_loop import clock
from agent_persistence.runtime.per_loop import PerLoop

MAX_RESPONSE_BYTES: Final = 64 * 2**20
MAX_HEADER_BYTES: Final = 100 * 2**10
CONNECT_TIMEOUT_S: Final = 5.0
"""Only connecting has a timeout of its own: the clients' others start anew with every byte, so that the operation's
deadline, a cancel scope around the whole call, is what bounds a request."""
MAX_CONNECTIONS: Final = 20
DRAIN_S: Final = 5.0
HEADERS: Final = (("User-Agent", f"agent-persistence/{__version__}"), ("Accept-Encoding", "gzip"))


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How many seconds a connection may be idle, and how many it may live: poolers and gateways close idle ones after
    minutes, and after a failover the server's name leads elsewhere."""

    max_idle_s: float = 60.0
    max_age_s: float = 900.0

    def __post_init__(self) -> None:
        checked_seconds("max_idle_s", self.max_idle_s)
        checked_seconds("max_age_s", self.max_age_s)


class HttpTransport(Protocol):
    """Sends requests and receives their whole responses, or raises AdapterError."""

    async def send(self, request: Request) -> Response:
        """The response to the request."""
        ...

    async def ask(self, request: Request, parse: Callable[[Response], T]) -> T:
        """What `parse` makes of the response. Where it raises MisdeliveredError, the connection is not used again."""
        ...

    async def aclose(self) -> None: ...


T = TypeVar("T")
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
_Asked = TypeVar("_Asked", contravariant=True)
_Answer = TypeVar("_Answer", covariant=True)


class Connection(Protocol[_Asked, _Answer]):
    """One connection, made at the first request and kept alive."""

    async def exchange(self, request: _Asked, /) -> _Answer:
        """Send the request once and return its response, or raise AdapterError."""
        ...

    def is_spoilt(self) -> bool:
        """Whether the response that has just come leaves the connection unfit for another request."""
        ...

    def is_stale(self) -> bool:
        """Whether the connection has ended while it was idle, or bytes have come on it that no request asked for."""
        ...

    async def aclose(self) -> None: ...


class HttpConnection(Connection[Request, Response], Protocol):
    """A connection for HTTP, on which no redirect is followed."""


class Pool(Generic[Asked, Answer]):
    """At most `size` connections for each event loop, which are closed when it ends.

    A connection whose request failed or was cancelled is closed, so that no later request can receive its answer. One
    whose time is over, by its `lifetimes`, is closed as soon as it is idle; and so is the one that has been idle for
    longest, where a request needs a connection of another kind and there are `size`.
    """

    def __init__(self, size: int = MAX_CONNECTIONS, lifetimes: Lifetimes | None = None) -> None:
        self._here: PerLoop[_Idle[Asked, Answer]] = PerLoop(partial(_Idle, size, lifetimes or Lifetimes()))
        self._closed = False

    def _new_connection(self) -> Connection[Asked, Answer]:
        raise NotImplementedError

    def _is_writing(self, request: Asked) -> bool:
        raise NotImplementedError

    def _kind(self, request: Asked) -> str | None:
        """Requests of one kind share connections; None is a connection of its own, which is closed afterwards."""
        return "any"

    async def send(self, request: Asked) -> Answer:
        return await self.ask(request, _itself)

    async def ask(self, request: Asked, parse: Callable[[Answer], T]) -> T:
        if self._closed:
            raise closed()
        here = self._here.get()
        if not here.is_kept:
            await here.begin()
        writing = self._is_writing(request)
        if not here.slots.take_free(writing=writing):
            await here.slots.take(writing=writing)
        try:
            if self._closed:
                raise closed()
            return await self._exchange(here, request, parse)
        finally:
            here.slots.release(writing=writing)

    async def _exchange(self, here: _Idle[Asked, Answer], request: Asked, parse: Callable[[Answer], T]) -> T:
        kind = self._kind(request)
        kept = here.fresh(kind) or await here.taken(kind) or here.aged(self._new_connection(), kind)
        fit = False
        try:
            response = await kept.connection.exchange(request)
            fit = not (kind is None or self._closed or kept.connection.is_spoilt())
            return parse(response)
        except MisdeliveredError:
            fit = False
            raise
        finally:
            if fit:
                here.keep(kept)
            else:
                await _discard(kept.connection)

    async def aclose(self) -> None:
        """Refuse further requests, give those under way DRAIN_S seconds to end, and close what is idle in this loop."""
        if self._closed:
            return
        self._closed = True
        here = self._here.found()
        if here is not None:
            await here.slots.drained(DRAIN_S)
            await here.aclose()


class HttpPool(Pool[Request, Response]):
    """Connections for HTTP, which does not say which request an answer belongs to.

    What reads and what writes never share one: the answer to a read, should it come twice, is not taken for that to a
    write, which would pass for applied. What is `set_apart` shares with nobody.
    """

    def _is_writing(self, request: Request) -> bool:
        return request.method != "GET"

    def _kind(self, request: Request) -> str | None:
        if is_set_apart():
            return None
        return "writing" if self._is_writing(request) else "reading"


@dataclass(slots=True, eq=False)
class _Kept(Generic[Asked, Answer]):
    """A connection, the kind of its requests, until when it may live and until when it may be used again; on the event
    loop's clock."""

    connection: Connection[Asked, Answer]
    kind: str | None
    lives_until: float
    good_until: float = inf


class _Idle(Generic[Asked, Answer]):
    """One event loop's idle connections; the last one used is the first to be used again by requests of its kind."""

    def __init__(self, size: int, lifetimes: Lifetimes) -> None:
        self._size = size
        self.slots = Slots(size)
        self.kept: deque[_Kept[Asked, Answer]] = deque()
        self.keeper = self._close_at_end()
        self.is_kept = False
        self._call_off: Callable[[], None] | None = None
        self._lifetimes = lifetimes
        self._now = clock()

    async def begin(self) -> None:
        """Have the event loop close what is idle when it ends."""
        self.is_kept = True
        await anext(self.keeper)

    def keep(self, kept: _Kept[Asked, Answer]) -> None:
        """Add a connection that is fit for another request; it is closed when its time is over."""
        kept.good_until = min(self._now() + self._lifetimes.max_idle_s, kept.lives_until)
        self.kept.append(kept)
        if self._call_off is None:
            self._expire_later()

    async def taken(self, kind: str | None) -> _Kept[Asked, Answer] | None:
        """A connection of the kind that is still good; those that are not are closed. Where there is none, there is
        space for a new one."""
        while (kept := self._last_of(kind)) is not None:
            if (good := self.fresh(kind)) is not None:
                return good
            self.kept.remove(kept)
            await _discard(kept.connection)
        while self.kept and len(self.kept) + self.slots.under_way > self._size:
            await _discard(self.kept.popleft().connection)
        return None

    def fresh(self, kind: str | None) -> _Kept[Asked, Answer] | None:
        """The connection of the kind that was used last, if it is still good."""
        kept = self._last_of(kind)
        if kept is not None and kept.good_until > self._now() and not kept.connection.is_stale():
            self.kept.remove(kept)
            return kept
        return None

    def _last_of(self, kind: str | None) -> _Kept[Asked, Answer] | None:
        return next((kept for kept in reversed(self.kept) if kept.kind == kind), None)

    def aged(self, connection: Connection[Asked, Answer], kind: str | None) -> _Kept[Asked, Answer]:
        """A new connection, whose time begins."""
        return _Kept(connection, kind, self._now() + self._lifetimes.max_age_s)

    def _expire_later(self) -> None:
        end = min(kept.good_until for kept in self.kept)
        self._call_off = later(max(0.0, end - self._now()), self.expire)

    async def expire(self) -> None:
        """Close the connections whose time is over."""
        self._call_off = None
        now = self._now()
        over = [kept for kept in self.kept if kept.good_until <= now]
        self.kept = deque(kept for kept in self.kept if kept not in over)
        if self.kept:
            self._expire_later()
        for kept in over:
            await _discard(kept.connection)

    async def aclose(self) -> None:
        if self._call_off is not None:
            self._call_off()
        await self.keeper.aclose()

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        """Closes what is idle when it is closed, which an ending event loop does to every open async generator."""
        try:
            yield
        finally:
            while self.kept:
                await _discard(self.kept.pop().connection)


def _itself(response: T) -> T:
    return response


async def _discard(connection: Connection[Asked, Answer]) -> None:
    with anyio.move_on_after(1, shield=True):
        await connection.aclose()


def closed() -> AdapterError:
    """The refusal of a request that comes after the closing."""
    return AdapterError("the adapter is closed; make a new one")


class RequestBody:
    """The bytes of a request. The clients' own streams are async generators, which a cancelled request leaves open."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def is_readable(connection: socket.socket | int) -> bool:
    """Whether bytes, or the connection's end, have come."""
    return watched(connection)()


def watched(connection: socket.socket | int) -> Callable[[], bool]:
    """Says, whenever it is called, whether bytes, or the connection's end, have come."""
    if not hasattr(select, "poll"):  # as on Windows
        return lambda: bool(select.select([connection], [], [], 0)[0])
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return lambda: bool(waiting.poll(0))


def looked_up(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by lower-case name; the values of one that came several times are joined (RFC 9110, section 5.2)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
