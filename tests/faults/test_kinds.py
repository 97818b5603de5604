"""Late and wrong answers, dropped rows and failing look-ups: what the proxy does, without a client of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from agent_persistence.query.records import Row
from tests.faults.answers import OF_ANOTHER_CALL
from tests.faults.backend import Backend
from tests.faults.cases import others
from tests.faults.faults import AnsweredForAnother, AnsweredTwice, Dropped, Fault, LookUpFails
from tests.faults.lane import ATTEMPT_S
from tests.faults.loop import run
from tests.faults.proxy import Proxy
from tests.faults.verbs import VERBS

KINDS = {AnsweredTwice, AnsweredForAnother, Dropped, LookUpFails}
ROW = {"id": "0192f0c1-2b3c-7d4e-8f50-617283940a1b", "subject": "one", "channel": None}


@dataclass
class Wire:
    """One connection to the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, method: str, body: object = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /rest/v1/conversations HTTP/1.1\r\nPrefer: return=representation\r\nContent-Length: "
        self.writer.write(f"{head}{len(content)}\r\n\r\n".encode() + content)

    async def answer(self) -> tuple[int, Any]:
        """Status and body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        status = int(head.split(b" ", 2)[1])
        return status, json.loads(body) if body.startswith(b"[") else None

    async def asked(self, method: str, body: object = None) -> tuple[int, Any]:
        self.send(method, body)
        return await self.answer()


Talk = Callable[[Callable[[], Awaitable[Wire]], Proxy], Awaitable[None]]


def stored(fault: Fault, talk: Talk) -> list[Row]:
    """The rows that are there after `talk` with a proxy that is armed with the fault."""

    async def main() -> list[Row]:
        backend = Backend()
        async with Proxy.before(backend) as proxy:
            await proxy.arm(fault)

            async def wire() -> Wire:
                return Wire(*await asyncio.open_connection("127.0.0.1", proxy.port))

            await talk(wire, proxy)
            return await backend.rows("conversations")

    return run(main())


def test_a_late_second_answer_comes_before_that_of_the_next_request() -> None:
    """On the same connection, where a client may take it for what it asked for next; the row is there once."""

    async def talk(wire: Callable[[], Awaitable[Wire]], proxy: Proxy) -> None:
        line = await wire()
        first = await line.asked("POST", ROW)
        await proxy.settled()
        assert await line.asked("GET") == first == (201, [ROW])
        assert await line.answer() == (200, [ROW])
        line.writer.close()

    assert stored(AnsweredTwice(0.01), talk) == [ROW]


@pytest.mark.parametrize(("when", "rows"), [("before", []), ("after", [ROW])])
def test_the_answer_of_another_call_names_another_row(when: Any, rows: list[Row]) -> None:
    """Whether ours is stored or not, it is a success with one row."""

    async def talk(wire: Callable[[], Awaitable[Wire]], proxy: Proxy) -> None:
        line = await wire()
        status, told = await line.asked("POST", ROW)
        assert (status, len(told), told[0]["id"] == ROW["id"]) == (201, 1, False)
        line.writer.close()

    assert b"201" in OF_ANOTHER_CALL.split(b"\r\n")[0]
    assert stored(AnsweredForAnother(when), talk) == rows


def test_a_dropped_row_is_a_success_without_a_row() -> None:
    """And nothing is stored; the next request is served."""

    async def talk(wire: Callable[[], Awaitable[Wire]], proxy: Proxy) -> None:
        line = await wire()
        assert await line.asked("POST", ROW) == (201, [])
        assert await line.asked("GET") == (200, [])
        line.writer.close()

    assert stored(Dropped(), talk) == []


@pytest.mark.parametrize(("times", "statuses"), [("once", [503, 200, 200]), ("always", [503, 503, 503])])
def test_a_look_up_fails_after_the_answer_was_lost(times: Any, statuses: list[int]) -> None:
    """The row is stored, writes pass, and arming the proxy again ends it."""

    async def talk(wire: Callable[[], Awaitable[Wire]], proxy: Proxy) -> None:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await (await wire()).asked("POST", ROW)
        line = await wire()
        assert (await line.asked("POST", ROW))[0] == 409
        assert [(await line.asked("GET"))[0] for _ in statuses] == statuses
        await proxy.arm()
        assert await line.asked("GET") == (200, [ROW])
        line.writer.close()

    assert stored(LookUpFails(times), talk) == [ROW]


def test_every_verb_meets_what_it_can_see_through() -> None:
    """A table that may not be read tells no row, and a read has none to drop; a count is the same for many calls."""
    met = {name: {type(fault) for fault in others(verb, ATTEMPT_S)} & KINDS for name, verb in VERBS.items()}
    assert met["write"] == met["upsert, merging"] == KINDS
    assert met["update by key"] == KINDS - {Dropped}
    assert met["read"] == {AnsweredTwice, AnsweredForAnother}
    assert met["write, unreadable table"] == {AnsweredTwice}
    assert met["write, value taken"] == met["count"] == met["call"] == set()
