"""The server of the soak, in a process of its own: a ledger behind a proxy that strikes some requests at random."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from random import Random
from typing import Final

from tests.backends.stub_server import answer
from tests.faults.backend import Fate, RefusedError
from tests.faults.faults import Answered, Cut, Fault
from tests.faults.proxy import Ending, Proxy

_KEY: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAKEN: Final = RefusedError(409, "23505", 'duplicate key value violates unique constraint "conversations_pkey"')


class Ledger:
    """Inserts into one table, whose rows hold a number each: as much of PostgREST as a write and a look at it need."""

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        head, _, body = raw.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            asked = [key.decode() for key in _KEY.findall(head.partition(b" HTTP/")[0])]
            return answer(_rows({key: self.numbers[key] for key in asked if key in self.numbers}))
        told = json.loads(body)
        records = {record["id"]: record["subject"] for record in (told if isinstance(told, list) else [told])}
        if any(key in self.numbers for key in records):
            return _TAKEN.answer
        self.numbers |= records
        return answer(_rows(records), status=201)

    def times_applied(self, count: int) -> bytearray:
        """For every number below `count`, how many rows hold it."""
        times = bytearray(count)
        for number in self.numbers.values():
            times[int(number)] += 1
        return times


def _rows(records: dict[str, str]) -> bytes:
    rows = (f'{{"id":"{key}","subject":"{number}"}}' for key, number in records.items())
    return f"[{','.join(rows)}]".encode()


class Weather(Proxy):
    """A proxy that strikes each request with probability `rate`."""

    rate = 0.0
    random = Random(1)

    def next_fault(self) -> Fault | None:
        return _any_fault(self.random) if self.random.random() < self.rate else None


REQUEST_BYTES: Final = 330
RESPONSE_BYTES: Final = 120
_ANSWERED: Final = (
    Answered("502 with HTML", "after"),
    Answered("503 with PGRST000", "before"),
    Answered("504 with HTML", "before"),
)
_ENDINGS: Final[tuple[Ending, ...]] = ("FIN", "RST", "garbage", "FIN", "RST", "garbage", "blackhole")


def _any_fault(random: Random) -> Fault:
    """A canned answer, or a cut in the request or in the response."""
    kind = random.choice(("answer", "request", "response"))
    if kind == "answer":
        return random.choice(_ANSWERED)
    by = random.choice(_ENDINGS)
    if kind == "request":
        return Cut("request", random.randrange(1, REQUEST_BYTES), by)
    return Cut("response", random.randrange(RESPONSE_BYTES), by)


async def _serve(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    ledger = Ledger()
    async with Weather.before(ledger) as proxy:
        assert isinstance(proxy, Weather)
        pipe.send(proxy.url)
        while (asked := await loop.run_in_executor(None, pipe.recv)) is not None:
            told, value = asked
            if told == "rate":
                proxy.rate = value
                ledger.numbers.clear()
                pipe.send(None)
            else:
                await proxy.settled()
                pipe.send(ledger.times_applied(value))


def _main(pipe: Connection) -> None:
    asyncio.run(_serve(pipe))


class Server:
    """The other end: its URL, and what may be asked of it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def begin(self, rate: float) -> None:
        """Forget all rows, and strike this share of the requests from now on."""
        self._pipe.send(("rate", rate))
        self._pipe.recv()

    def times_applied(self, count: int) -> bytearray:
        self._pipe.send(("times", count))
        times: bytearray = self._pipe.recv()
        return times


@contextmanager
def running_server() -> Iterator[Server]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Server(ours)
    finally:
        ours.send(None)
        process.join(10)
