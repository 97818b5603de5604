"""A CSV file into a table: `bulk_import` over REST against postgrest-py, over COPY against `psql \\copy`; and memory.

The server is the one of the tests: a PostgREST-compatible one in Node, far slower than PostgREST itself, on a
PostgreSQL of its own, which does not wait for its disk. postgrest-py gets chunks of 1,000 rows from Python's csv
module, one after the other; psql sends the file as it is. bulk_import has its defaults: it checks and types every row,
gives it a key, sends it through the policy and a middleware, and tells the audit. What it holds in memory is measured
with a file of --memory-mb against a server that answers at once, less what the process held before.
"""

from __future__ import annotations

import asyncio
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from _measure import Rounds, Target, arguments, interleave, missing, report, speedup
from canned_server import canned_server

sys.path.insert(0, str(Path(__file__).parents[1]))

from throughput import ignore, pass_on
from waiting_memory import resident_mb

from agent_persistence import AsyncPersistenceService, PersistenceAdapter, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.local.wheel import installed
from agent_persistence.bulk import bulk_import
from agent_persistence.metrics import Metrics
from tests.server import LocalServer, running_server

COLUMNS: Final = "email,first_name,last_name,company,score,is_qualified,last_contacted_at"
PEER: Final = "postgrest-py, 1,000 rows a request"
REST: Final = "bulk_import over REST"
PSQL: Final = "psql \\copy"
COPY: Final = "bulk_import over COPY"
MERGE: Final = "bulk_import over COPY, merging"
REST_TARGET: Final = 2.0
COPY_TARGET: Final = 0.5
MEMORY_TARGET_MB: Final = 100.0


def written(path: Path, rows: int, *, padding: int = 0) -> Path:
    """A CSV file of so many leads."""
    notes = f",{'x' * padding}" if padding else ""
    with path.open("w") as file:
        file.write(COLUMNS + (",notes\n" if padding else "\n"))
        for number in range(rows):
            at = f"2026-01-02T03:{number // 60 % 60:02}:{number % 60:02}Z"
            file.write(f"u{number}@tannheim.example,Ada,Lovelace,Molkerei,{number % 100 / 100},true,{at}{notes}\n")
    return path


def service(adapter: PersistenceAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(
        adapter, middleware=[pass_on], audit=ignore, metrics=Metrics(), log=False, owns_adapter=True
    )


async def by_peer(peer: Any, path: Path) -> None:
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        while chunk := list(islice(rows, 1000)):
            await peer.from_("leads").insert(chunk).execute()


async def by_psql(server: LocalServer, path: Path) -> None:
    command = [str(installed() / "bin" / "psql"), "-q", "-d", server.database_url]
    copy = f"\\copy leads ({COLUMNS}) from '{path}' with (format csv, header)"
    process = await asyncio.create_subprocess_exec(*command, "-c", copy)
    if await process.wait():
        raise RuntimeError("psql failed")


@asynccontextmanager
async def cases(server: LocalServer, path: Path) -> AsyncIterator[dict[str, Callable[[], Awaitable[object]]]]:
    from postgrest import AsyncPostgrestClient

    key = server.service_key
    # persistence-guard: allow AP003 it is the peer
    peer = AsyncPostgrestClient(f"{server.url}/rest/v1", headers={"apikey": key, "Authorization": f"Bearer {key}"})
    # persistence-guard: allow AP001 it is what is measured
    rest, direct = service(SupabaseAdapter(server.url, key)), service(PostgresAdapter(server.database_url))
    yield {
        PEER: partial(by_peer, peer, path),
        REST: partial(bulk_import, rest, "leads", path),
        PSQL: partial(by_psql, server, path),
        COPY: partial(bulk_import, direct, "leads", path),
        MERGE: partial(bulk_import, direct, "leads", path, on_conflict=["email"]),
    }
    await peer.aclose()
    await rest.aclose()
    await direct.aclose()


async def timed(server: LocalServer, rows: int, run: Callable[[], Awaitable[object]]) -> float:
    """The seconds it takes into an empty table."""
    server.reset()
    start = time.perf_counter()
    await run()
    took_s = time.perf_counter() - start
    stored = server.execute("select count(*) as rows from leads")
    if stored != [{"rows": rows}]:
        raise RuntimeError(f"{rows} rows are in the file, {stored} in the table")
    return took_s


async def measure(server: LocalServer, directory: Path, rows: int, rounds: int) -> dict[str, Rounds]:
    path = written(directory / "leads.csv", rows)
    async with cases(server, path) as runs:
        return await interleave({name: partial(timed, server, rows, run) for name, run in runs.items()}, rounds=rounds)


async def resident(url: str, path: Path) -> dict[str, float]:
    """What this process held before an import and at the most, in MB, and how long it took."""
    # persistence-guard: allow AP001 it is what is measured
    async with service(SupabaseAdapter(url, "sb_secret_x")) as made:
        await bulk_import(made, "leads", written(path.with_name("first.csv"), 10))
        before_mb, start = resident_mb(), time.perf_counter()
        report = await bulk_import(made, "leads", path)
        took_s = time.perf_counter() - start
    most_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"before_mb": before_mb, "most_mb": most_mb, "seconds": took_s, "rows": report.rows}


def in_a_process(url: str, directory: Path, megabytes: float) -> dict[str, float]:
    path = written(directory / "large.csv", int(megabytes * 1000), padding=920)
    command = [sys.executable, __file__, "--resident", url, str(path)]
    told: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {**told, "file_mb": path.stat().st_size / 1e6, "above_mb": told["most_mb"] - told["before_mb"]}


def table(found: dict[str, Rounds], rows: int, memory: list[dict[str, float]]) -> list[str]:
    lines = [f"{rows:,} rows {'':<24} {'s':>7} {'rows/s':>9}  {'vs postgrest-py':<24} {'vs psql':<24}"]
    for name, case in found.items():
        ratios = f"{speedup(case, found[PEER]):<24} {speedup(case, found[PSQL]):<24}"
        lines.append(f"{name:<36} {case.median:7.2f} {rows / case.median:9,.0f}  {ratios}")
    weighed = [
        f"{told['file_mb']:6,.0f} MB, {told['rows']:,.0f} rows: {told['above_mb']:.0f} MB above"
        f" {told['before_mb']:.0f} MB, {told['seconds']:.0f} s"
        for told in memory
    ]
    return [*lines, "", *weighed]


def targets(found: dict[str, Rounds], memory: list[dict[str, float]]) -> list[Target]:
    rest = median(found[REST].speedups(found[PEER]))
    copy = median(found[COPY].speedups(found[PSQL]))
    return [
        Target("CSV over REST vs postgrest-py", rest, REST_TARGET, "x", is_floor=True),
        Target("CSV over COPY vs psql \\copy", copy, COPY_TARGET, "x", is_floor=True),
        *(
            Target(f"memory for a file of {told['file_mb']:,.0f} MB", told["above_mb"], MEMORY_TARGET_MB, " MB")
            for told in memory
        ),
    ]


def main(rows: int, memory_mb: float, rounds: int, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o755)
        with running_server() as server:
            found = asyncio.run(measure(server, directory, rows, rounds))
        with canned_server() as url:
            memory = [in_a_process(url, directory, size) for size in (memory_mb / 10, memory_mb)]
    figures = {"cases": {name: case.summary() for name, case in found.items()}, "memory": memory, "rows": rows}
    report(table(found, rows, memory), targets(found, memory), figures, as_json=as_json)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the file that is timed (default 100,000)")
    parser.add_argument("--memory-mb", type=float, default=100, help="size of the file that is weighed (default 100)")
    parser.add_argument("--resident", nargs=2, metavar=("URL", "PATH"), help="weigh an import in this process")
    options = parser.parse_args()
    if options.resident:
        url, path = options.resident
        print(json.dumps(asyncio.run(resident(url, Path(path)))))
    elif absent := missing("postgrest", "psycopg"):
        sys.exit(absent)
    else:
        main(options.rows, options.memory_mb, options.rounds, options.json)
