"""Single reads and writes against a canned server: the whole stack over each transport, and postgrest-py.

The client has one core to itself as far as the machine allows, the server another. `wall` are microseconds between
one call's end and the next one's, of all callers together; `CPU` is what of them this process was computing. The whole
stack is a service with both guards (by a middleware that passes on), timing, an audit hook and retries; `transport
alone` sends the same request, rendered beforehand, through the same lanes; `the floor` is a hand parser on asyncio
streams that can do nothing else.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from _measure import Rounds, Target, arguments, drawing, interleave, missing, pinned, report, speedup
from _plot import bars, curves, write
from canned_server import ROW, canned_server

from agent_persistence import AsyncPersistenceService, AuditEvent, Next, Result, SupabaseAdapter
from agent_persistence.backends.postgrest.rendering import render_insert
from agent_persistence.backends.transport.connections import HttpTransport
from agent_persistence.backends.transport.messages import Request
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httptools import HttptoolsPool
from agent_persistence.backends.transport.over_httpx import base_url
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Operation

Call: TypeAlias = Callable[[], Awaitable[object]]

KEY: Final = str(ROW["id"])
RECORD: Final = {name: value for name, value in ROW.items() if name != "created_at"}
"""With the key that the server answers with: rows of other keys would be taken for another call's."""
SECRET: Final = "sb_secret_benchmark"
MANY: Final = 1000
CALLERS: Final = (1, 16, 64, 256, MANY)
PEER: Final = "postgrest-py"
HTTPX, HTTPTOOLS = "whole stack, httpx", "whole stack, httptools"
BARE_HTTPX, BARE_HTTPTOOLS = "transport alone, httpx", "transport alone, httptools"
FLOOR: Final = "the floor"
TARGETS: Final[dict[str, dict[str, dict[int, float]]]] = {
    "read": {HTTPX: {1: 2, 16: 5.5, 64: 7, 256: 8}, HTTPTOOLS: {1: 5, 16: 20, 64: 20, 256: 22}},
    "write": {HTTPX: {1: 2, 16: 5.5, 64: 7, 256: 8}, HTTPTOOLS: {1: 5, 16: 16, 64: 18, 256: 22}},
}
OVERHEAD_TARGETS: Final = ((HTTPX, BARE_HTTPX, 1, 0.85), (HTTPTOOLS, BARE_HTTPTOOLS, 16, 0.75))
"""What share of its transport's speed the whole stack has, with so many callers."""
SCALING_TARGET: Final = 0.95
CALLS: Final = {PEER: 300, HTTPX: 600, HTTPTOOLS: 1500, BARE_HTTPX: 600, BARE_HTTPTOOLS: 1500, FLOOR: 4000}
"""Calls a round, so that none of the cases takes much longer than another."""


async def pass_on(operation: Operation, call_next: Next) -> Result:
    return await call_next(operation)


def ignore(event: AuditEvent) -> None:
    """The audit hook."""


def service(url: str, transport: Any) -> AsyncPersistenceService:
    # persistence-guard: allow AP001 it is what is measured
    adapter = SupabaseAdapter(url, SECRET, transport=transport)
    return AsyncPersistenceService(
        adapter, middleware=[pass_on], audit=ignore, metrics=Metrics(), log=False, owns_adapter=True
    )


HEADERS: Final = (("apikey", SECRET), ("Accept", "application/json"))
READ: Final = Request("GET", f"/rest/v1/leads?select=*&id=eq.{KEY}&limit=2", HEADERS)


def written() -> Request:
    """What the service sends for RECORD."""
    request = render_insert("leads", [RECORD])
    return Request(request.method, request.target, HEADERS + request.headers, request.body)


class Floor:
    """Twenty connections; the answer is taken apart by its first blank line and the length it tells."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(20)

    def raw(self, request: Request) -> bytes:
        named = {"Host": "127.0.0.1", "Content-Length": str(len(request.body)), **dict(request.headers)}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return f"{request.method} {request.target} HTTP/1.1\r\n{head}\r\n".encode() + request.body

    async def send(self, raw: bytes) -> bytes:
        async with self._slots:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + 15
            body = await reader.readexactly(int(head[start : head.index(b"\r", start)]))
            self._idle.append((reader, writer))
            return body

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[dict[str, dict[str, Call]]]:
    """A read and a write of each client, by its name and the verb."""
    from postgrest import AsyncPostgrestClient

    # persistence-guard: allow AP003 it is the peer
    peer = AsyncPostgrestClient(f"{url}/rest/v1", headers={"apikey": SECRET, "Authorization": f"Bearer {SECRET}"})
    httpx, httptools = service(url, "httpx"), service(url, "httptools")
    base = base_url(url, allow_http=False)
    bare: dict[str, HttpTransport] = {BARE_HTTPX: HttpcorePool(base), BARE_HTTPTOOLS: HttptoolsPool(base)}
    floor = Floor(url)
    yield {
        PEER: {
            "read": lambda: peer.from_("leads").select("*").eq("id", KEY).execute(),
            "write": lambda: peer.from_("leads").insert(RECORD).execute(),
        },
        **{
            name: {"read": partial(whole.read, "leads", KEY), "write": partial(whole.write, "leads", RECORD)}
            for name, whole in ((HTTPX, httpx), (HTTPTOOLS, httptools))
        },
        **{
            name: {"read": partial(lanes.send, READ), "write": partial(lanes.send, written())}
            for name, lanes in bare.items()
        },
        FLOOR: {
            "read": partial(floor.send, floor.raw(READ)),
            "write": partial(floor.send, floor.raw(written())),
        },
    }
    await peer.aclose()
    await httpx.aclose()
    await httptools.aclose()
    for lanes in bare.values():
        await lanes.aclose()
    floor.close()


class Timed:
    """So many callers, each calling again and again; a round's wall time a call is returned, its CPU time kept."""

    def __init__(self, call: Call, callers: int, calls: int) -> None:
        self._call = call
        self._callers = callers
        self._calls = max(calls, callers * 2)
        self.cpu_s: list[float] = []
        self.latencies_s: list[float] = []

    async def __call__(self) -> float:
        left = self._calls
        latencies: list[float] = []

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                before = time.perf_counter()
                await self._call()
                latencies.append(time.perf_counter() - before)

        start, computing = time.perf_counter(), time.process_time()
        await asyncio.gather(*(caller() for _ in range(self._callers)))
        took, computed = time.perf_counter() - start, time.process_time() - computing
        self.cpu_s.append(computed / self._calls)
        self.latencies_s = sorted(latencies)
        return took / self._calls

    def latency_ms(self, share: float) -> float:
        """Of the last round."""
        return self.latencies_s[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)] * 1e3


Key: TypeAlias = tuple[str, int]
Found: TypeAlias = dict[str, dict[Key, tuple[Rounds, Rounds]]]
"""By verb, client and number of callers: seconds a call, by the wall clock and of the processor."""


async def measure(url: str, rounds: int, callers: Sequence[int], names: Sequence[str]) -> tuple[Found, list[Any]]:
    found: Found = {"read": {}, "write": {}}
    latencies = []
    async with clients(url) as calls:
        for verb in found:
            for many in callers:
                timed = {name: Timed(calls[name][verb], many, CALLS[name]) for name in names}
                if many == MANY:  # in the same rounds as the number of callers it is compared with
                    ours = (HTTPX, HTTPTOOLS)
                    timed = {name: Timed(calls[name][verb], MANY, 3 * MANY) for name in ours}
                    timed |= {f"{name}, 16": Timed(calls[name][verb], 16, 3 * MANY) for name in ours}
                walls = await interleave(timed, rounds=rounds)
                for name, wall in walls.items():
                    cpu = Rounds(tuple(timed[name].cpu_s[1:]))
                    found[verb][name, many] = (wall, cpu)
                    shares = {f"p{share:g}_ms": timed[name].latency_ms(share / 100) for share in (50, 95, 99)}
                    latencies.append({"verb": verb, "client": name, "callers": many, **shares})
    return found, latencies


def table(found: Found) -> list[str]:
    lines = []
    for verb, cases in found.items():
        lines.append(
            f"{verb:<32} {'callers':>7} {'wall us':>8} {'CPU us':>8}  {'vs postgrest-py, wall':<24} {'CPU':<24}"
        )
        for (name, callers), (wall, cpu) in cases.items():
            base = cases.get((PEER, callers))
            ratios = f"{speedup(wall, base[0]):<24} {speedup(cpu, base[1]):<24}" if base else ""
            lines.append(f"  {name:<30} {callers:7} {wall.median * 1e6:8.0f} {cpu.median * 1e6:8.0f}  {ratios}")
        lines.append("")
    return lines


def targets(found: Found) -> list[Target]:
    made = []
    for verb, cases in found.items():
        for name, floors in TARGETS[verb].items():
            for callers, floor in floors.items():
                if (name, callers) in cases:
                    ratio, computing = (
                        median(mine.speedups(theirs))
                        for mine, theirs in zip(cases[name, callers], cases[PEER, callers], strict=True)
                    )
                    what = f"{verb}, {name}, {callers} caller{'s' * (callers > 1)} vs {PEER}"
                    beside = f"{computing:.1f} x by processor time"
                    made.append(Target(what, ratio, floor, "x", is_floor=True, beside=beside))
        for name, bare, callers, floor in OVERHEAD_TARGETS:
            if (name, callers) in cases:
                ratio = median(cases[name, callers][0].speedups(cases[bare, callers][0]))
                what = f"{verb}, {name}, {callers} caller{'s' * (callers > 1)} against its transport"
                made.append(Target(what, ratio, floor, "x", is_floor=True))
        for name in (HTTPX, HTTPTOOLS):
            if (name, MANY) in cases:
                scaled = median(cases[name, MANY][0].speedups(cases[f"{name}, 16", MANY][0]))
                what = f"{verb}, {name}, {MANY} callers against 16"
                made.append(Target(what, scaled, SCALING_TARGET, "x", is_floor=True))
    return made


def figures(found: Found) -> list[Mapping[str, Any]]:
    return [
        {"verb": verb, "client": name, "callers": callers, "wall": wall.summary(), "cpu": cpu.summary()}
        for verb, cases in found.items()
        for (name, callers), (wall, cpu) in cases.items()
    ]


def drawings(found: Found, latencies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Calls a second against callers, of reads and writes; and the latencies of 64 callers that read."""
    drawn = {}
    for verb, cases in found.items():
        series = {
            name: [
                (callers, 1 / cases[name, callers][0].median) for callers in CALLERS[:-1] if (name, callers) in cases
            ]
            for name in (HTTPTOOLS, HTTPX, PEER)
        }
        drawn[f"throughput-{verb}"] = curves(f"{verb.capitalize()}s a second", series, across="callers", up="calls/s")
    waited = {
        str(each["client"]): {share: float(each[f"{share}_ms"]) for share in ("p50", "p95", "p99")}
        for each in latencies
        if each["verb"] == "read" and each["callers"] == 64 and each["client"] in (PEER, HTTPX, HTTPTOOLS)
    }
    drawn["latency"] = bars("How long 64 callers wait for a read", waited, unit="ms")
    return drawn


def main(rounds: int, as_json: bool, svg: Path | None, callers: Sequence[int]) -> None:
    with canned_server(core=pinned()) as url:
        found, latencies = asyncio.run(measure(url, rounds, callers, list(CALLS)))
    if svg is not None:
        write(svg, drawings(found, latencies))
    report(table(found), targets(found), {"cases": figures(found), "latencies": latencies}, as_json=as_json)


if __name__ == "__main__":
    parser = drawing(arguments(__doc__, rounds=7))
    parser.add_argument("--callers", type=int, nargs="+", default=CALLERS, help="other numbers of callers")
    options = parser.parse_args()
    if absent := missing("httptools", "postgrest"):
        sys.exit(absent)
    main(options.rounds, options.json, options.svg, options.callers)
