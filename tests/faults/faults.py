"""The faults as frozen values, each with a name that a failure can print."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tests.faults.answers import ANSWERS, OF_ANOTHER_CALL, UNAVAILABLE
from tests.faults.backend import Fate
from tests.faults.manglers import MANGLERS

if TYPE_CHECKING:
    from tests.faults.proxy import Ending, Exchange, Proxy


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one attempt. `precedes` says that it happens before a request is sent."""

    precedes: ClassVar[bool] = False
    outlasts: ClassVar[bool] = False
    """Whether the next call on the connection meets it too, and can tell by the keys of the rows alone."""

    @property
    def denies(self) -> bool:
        """Whether the client is told that nothing was applied, though it was: no client can see through that."""
        return False

    @property
    def claims(self) -> bool:
        """Whether the client is told that the write was applied, though it was not."""
        return False

    def prepare(self, proxy: Proxy) -> None:
        """Carry out a fault that precedes the request."""

    @abstractmethod
    async def strike(self, exchange: Exchange) -> None:
        """Carry out the fault on a request whose first byte has arrived."""


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The connection ends behind so many bytes of the request, or of the response to a request that was applied, but
    never behind the whole of it: that would befall the next request, not this one."""

    part: Literal["request", "response"]
    offset: int
    by: Ending

    def __str__(self) -> str:
        return f"{self.part} cut at byte {self.offset} by {self.by}"

    async def strike(self, exchange: Exchange) -> None:
        if self.part == "request":
            await exchange.receive(self.offset)
        else:
            response = await exchange.forwarded()
            await exchange.send(response[: min(self.offset, len(response) - 1)])
        await exchange.end(self.by)


@dataclass(frozen=True, slots=True)
class Answered(Fault):
    """A canned answer, by its name in ANSWERS, in place of the backend: before it saw the request, or after it did."""

    name: str
    when: Literal["before", "after"]

    def __str__(self) -> str:
        return f"{self.name} {self.when} the commit"

    @property
    def denies(self) -> bool:
        said = ANSWERS[self.name]
        return said.judges or (self.when == "after" and said.says in ("rejected", "retryable"))

    @property
    def claims(self) -> bool:
        return self.when == "before" and ANSWERS[self.name].says == "applied"

    async def strike(self, exchange: Exchange) -> None:
        raw = await (exchange.request() if self.when == "before" else exchange.forwarded())
        del raw
        await exchange.send(ANSWERS[self.name].raw.replace(b"{port}", b"%d" % exchange.proxy.port))


@dataclass(frozen=True, slots=True)
class Mangled(Fault):
    """The backend's own answer after the commit, changed by a function in MANGLERS; the connection ends or stays."""

    name: str

    def __str__(self) -> str:
        return self.name

    async def strike(self, exchange: Exchange) -> None:
        mangle, ending = MANGLERS[self.name]
        await exchange.send(mangle(await exchange.forwarded()))
        if ending is not None:
            await exchange.end(ending)


@dataclass(frozen=True, slots=True)
class AnsweredTwice(Fault):
    """The answer comes again on the same connection, so late that the next request may have been sent.

    One without rows comes once: nothing could tell its double from the next answer, which is a limit that the page on
    reliability names.
    """

    pause_s: float
    outlasts: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"answered again {self.pause_s} s later"

    async def strike(self, exchange: Exchange) -> None:
        response = await exchange.forwarded()
        await exchange.send(response)
        if response.startswith(b"HTTP/1.1 2") and not response.endswith((b"[]", b"\r\n\r\n")):
            with exchange.late():
                await asyncio.sleep(self.pause_s)
                await exchange.send(response)


@dataclass(frozen=True, slots=True)
class AnsweredForAnother(Fault):
    """The row of another call comes as the answer, in place of the backend: before it saw the request, or after."""

    when: Literal["before", "after"]

    def __str__(self) -> str:
        return f"answer of another call {self.when} the commit"

    async def strike(self, exchange: Exchange) -> None:
        await (exchange.request() if self.when == "before" else exchange.forwarded())
        await exchange.send(OF_ANOTHER_CALL)


@dataclass(frozen=True, slots=True)
class Dropped(Fault):
    """Success without a row, and no row is stored: a trigger or a rule has dropped it."""

    def __str__(self) -> str:
        return "row dropped, 201 with no row"

    async def strike(self, exchange: Exchange) -> None:
        await exchange.request()
        await exchange.send(ANSWERS["201 with no row"].raw)


@dataclass(frozen=True, slots=True)
class LookUpFails(Fault):
    """The answer to a request that was applied is lost, and who then looks for the row gets 503, once or always."""

    times: Literal["once", "always"]

    def __str__(self) -> str:
        return f"answer lost, look-up fails {self.times}"

    async def strike(self, exchange: Exchange) -> None:
        await exchange.forwarded()
        exchange.proxy.afterwards = ReadFails(self.times)
        await exchange.end("RST")


@dataclass(frozen=True, slots=True)
class ReadFails(Fault):
    """503 for what reads; writes pass."""

    times: Literal["once", "always"]

    def __str__(self) -> str:
        return f"503 for a read, {self.times}"

    async def strike(self, exchange: Exchange) -> None:
        if not (await exchange.request()).startswith(b"GET "):
            await exchange.send(await exchange.forwarded())
            return
        if self.times == "once":
            exchange.proxy.afterwards = None
        await exchange.send(UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Dribbled(Fault):
    """The answer comes a byte at a time, with a pause after each."""

    pause_s: float

    def __str__(self) -> str:
        return f"response dribbled, {self.pause_s} s a byte"

    async def strike(self, exchange: Exchange) -> None:
        for byte in await exchange.forwarded():
            await exchange.send(bytes((byte,)))
            await asyncio.sleep(self.pause_s)


@dataclass(frozen=True, slots=True)
class Delayed(Fault):
    """The request reaches the backend late, or its answer the client."""

    part: Literal["request", "response"]
    pause_s: float

    def __str__(self) -> str:
        return f"{self.part} delayed by {self.pause_s} s"

    async def strike(self, exchange: Exchange) -> None:
        if self.part == "request":
            await exchange.request()
            await asyncio.sleep(self.pause_s)
        response = await exchange.forwarded()
        if self.part == "response":
            await asyncio.sleep(self.pause_s)
        await exchange.send(response)


@dataclass(frozen=True, slots=True)
class HalfClosed(Fault):
    """The server sends FIN after half of the answer, and goes on listening."""

    def __str__(self) -> str:
        return "half-closed in the response"

    async def strike(self, exchange: Exchange) -> None:
        response = await exchange.forwarded()
        await exchange.send(response[: len(response) // 2])
        exchange.half_close()
        await exchange.until_client_leaves()


@dataclass(frozen=True, slots=True)
class HeldUncommitted(Fault):
    """The statement stays uncommitted until the client has sent the next one, and then ends in this way."""

    fate: Fate

    def __str__(self) -> str:
        return f"held uncommitted until the next request waits, then {self.fate}"

    async def strike(self, exchange: Exchange) -> None:
        await exchange.send(await exchange.forwarded(self.fate))


@dataclass(frozen=True, slots=True)
class Refused(Fault):
    """Nobody listens: connections are refused until the next attempt."""

    precedes: ClassVar[bool] = True

    def __str__(self) -> str:
        return "connection refused"

    def prepare(self, proxy: Proxy) -> None:
        proxy.refuse()
        proxy.drop_connections(reset=False)

    async def strike(self, exchange: Exchange) -> None:
        raise AssertionError("a refused request does not arrive")


@dataclass(frozen=True, slots=True)
class Unresolved(Fault):
    """The server's name cannot be resolved until the next attempt."""

    precedes: ClassVar[bool] = True

    def __str__(self) -> str:
        return "name not resolved"

    def prepare(self, proxy: Proxy) -> None:
        proxy.lose_name()
        proxy.drop_connections(reset=False)

    async def strike(self, exchange: Exchange) -> None:
        raise AssertionError("a request that has no address does not arrive")


@dataclass(frozen=True, slots=True)
class Swallowed(Fault):
    """Nothing answers the first packet of a connection until the next attempt."""

    precedes: ClassVar[bool] = True

    def __str__(self) -> str:
        return "connecting meets a blackhole"

    def prepare(self, proxy: Proxy) -> None:
        proxy.swallow()
        proxy.drop_connections(reset=False)

    async def strike(self, exchange: Exchange) -> None:
        raise AssertionError("a request without a connection does not arrive")


@dataclass(frozen=True, slots=True)
class IdleClosed(Fault):
    """The server ends the idle connection just before it is used again."""

    by: Literal["FIN", "RST"]
    precedes: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"idle connection closed by {self.by}"

    def prepare(self, proxy: Proxy) -> None:
        proxy.drop_connections(reset=self.by == "RST")

    async def strike(self, exchange: Exchange) -> None:
        raise AssertionError("it befalls no request")
