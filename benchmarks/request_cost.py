"""Where the microseconds of a read and a write go: the chain, the adapter's work, the transports, and their floor.

The rows above the transports are without input and output. From there on a row is what this process computes for one
request of a lone caller, kernel calls included, against a canned server in another process. The floor is a hand parser
on asyncio streams; below it are an asyncio protocol that hands over whatever came, and a blocking socket.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from _measure import Rounds, arguments, interleave, pinned, report
from canned_server import ROW, canned_server
from throughput import KEY, READ, RECORD, Floor, service, written

from agent_persistence.backends.postgrest import parsing, rendering
from agent_persistence.backends.transport.admission import Slots
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httptools import HttptoolsPool
from agent_persistence.backends.transport.over_httpx import base_url

T = TypeVar("T")

CALLS: Final = 400
ANSWER: Final = Response(200, {"content-type": "application/json"}, json.dumps([ROW], ensure_ascii=False).encode())


class Unparsed(asyncio.Protocol):
    """One connection, whose next bytes are the answer."""

    async def __call__(self, raw: bytes) -> bytes:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return await self._answer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._answer.set_result(data)


def blocking(connection: socket.socket, raw: bytes) -> bytes:
    connection.send(raw)
    return connection.recv(65_536)


class Answering:
    """A transport that has the answer already."""

    async def send(self, request: Request) -> Response:
        return ANSWER

    async def ask(self, request: Request, parse: Callable[[Response], T]) -> T:
        return parse(ANSWER)

    async def aclose(self) -> None: ...


async def computing(call: Callable[[], Awaitable[object]]) -> float:
    """The processor's seconds for one call on average."""
    start = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - start) / CALLS


async def plain(call: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS


def pieces(verb: str) -> dict[str, Callable[[], Awaitable[float]]]:
    """What a call is made of, without input and output."""
    whole = service("http://127.0.0.1:1", "httpx")
    adapter: Any = whole._adapter
    adapter._http = Answering()
    slots = Slots(20)
    writes = verb == "write"

    async def slot() -> None:
        await slots.take(writing=writes)
        slots.release(writing=writes)

    call: Callable[[], Awaitable[object]]
    if writes:
        call, alone = partial(whole.write, "leads", RECORD), partial(adapter.write, "leads", RECORD)
        render: Callable[[], Request] = partial(rendering.render_insert, "leads", [RECORD])
    else:
        call, alone = partial(whole.read, "leads", KEY), partial(adapter.read, "leads", KEY)
        render = partial(rendering.render_read, "leads", "id", KEY)
    return {
        "verb, chain and adapter": partial(computing, call),
        "of them the adapter": partial(computing, alone),
        "of it rendering": partial(plain, render),
        "of it credentials": partial(plain, partial(adapter._credentials.sign, render(), None)),
        "of it parsing the rows": partial(plain, partial(parsing.parse_rows, ANSWER, verb, "leads")),
        "a slot, taken and released": partial(computing, slot),
    }


async def measure(url: str, rounds: int) -> dict[str, dict[str, Rounds]]:
    base = base_url(url, allow_http=False)
    httpx, httptools, floor = HttpcorePool(base), HttptoolsPool(base), Floor(url)
    address = base.host, base.port or 80
    _, unparsed = await asyncio.get_running_loop().create_connection(Unparsed, *address)
    connection = socket.create_connection(address)
    found = {}
    for verb, request in (("read", READ), ("write", written())):
        cases = pieces(verb)
        cases["transport httpx"] = partial(computing, partial(httpx.send, request))
        cases["transport httptools"] = partial(computing, partial(httptools.send, request))
        cases["floor"] = partial(computing, partial(floor.send, floor.raw(request)))
        cases["asyncio protocol alone"] = partial(computing, partial(unparsed, floor.raw(request)))
        cases["blocking socket"] = partial(plain, partial(blocking, connection, floor.raw(request)))
        found[verb] = await interleave(cases, rounds=rounds)
    await httpx.aclose()
    await httptools.aclose()
    floor.close()
    unparsed.transport.close()
    connection.close()
    return found


def table(found: Mapping[str, Mapping[str, Rounds]]) -> list[str]:
    lines = []
    for verb, cases in found.items():
        lines.append(f"{verb:<30} {'us':>8} {'least':>8}")
        lines += [f"  {name:<28} {case.median * 1e6:8.1f} {case.least * 1e6:8.1f}" for name, case in cases.items()]
        lines.append("")
    return lines


def main(rounds: int, as_json: bool) -> None:
    with canned_server(core=pinned()) as url:
        found = asyncio.run(measure(url, rounds))
    figures = {verb: {name: case.summary() for name, case in cases.items()} for verb, cases in found.items()}
    report(table(found), [], figures, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=15).parse_args()
    main(options.rounds, options.json)
