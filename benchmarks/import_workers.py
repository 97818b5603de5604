"""What more importing processes bring: the processor time of a chunk is measured, and so many workers simulated.

Measured, on this machine: the processor time that a chunk of 5,000 leads costs the importing process, and that it costs
its backend in PostgreSQL, by COPY. Simulated: workers with a core each, which prepare a chunk and then wait for one of
the server's cores to store it, first come first served. Disks, networks and locks are not in it, so that what it says
is the most that can be had.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from _measure import arguments, missing, report
from bulk_import import service, written

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.bulk import bulk_import
from tests.server import LocalServer, running_server

WORKERS: Final = (1, 2, 4, 8, 16, 32, 64, 100)
CORES: Final = (4, 16, 64)
CHUNK_ROWS: Final = 5_000
CHUNKS: Final = 2_000
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def backends_s(server: LocalServer) -> float:
    """The processor time of all backends that serve a client."""
    found = server.execute("select pid from pg_stat_activity where backend_type = 'client backend'")
    stats = [Path(f"/proc/{row['pid']}/stat").read_text().rpartition(")")[2].split() for row in found]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) * _TICK_S


async def measure(server: LocalServer, path: Path, rows: int) -> tuple[float, float]:
    """The processor time of one chunk here, and in PostgreSQL."""
    # persistence-guard: allow AP001 it is what is measured
    async with service(PostgresAdapter(server.database_url)) as made:
        await bulk_import(made, "leads", path, concurrency=1)
        server.reset()
        client_s, server_s = time.process_time(), backends_s(server)
        await bulk_import(made, "leads", path, concurrency=1)
        chunks = rows / CHUNK_ROWS
        return (time.process_time() - client_s) / chunks, (backends_s(server) - server_s) / chunks


def simulated_s(workers: int, cores: int, client_s: float, server_s: float) -> float:
    """How long the workers take over CHUNKS chunks."""
    ready = [client_s] * workers
    free = [0.0] * cores
    end = 0.0
    for _ in range(CHUNKS):
        begins = max(heapq.heappop(ready), free[0])
        end = max(end, begins + server_s)
        heapq.heapreplace(free, begins + server_s)
        heapq.heappush(ready, begins + server_s + client_s)
    return end


def table(client_s: float, server_s: float) -> list[str]:
    title = f"a chunk of {CHUNK_ROWS:,} rows: {client_s * 1e3:.0f} ms here, {server_s * 1e3:.0f} ms in PostgreSQL"
    lines = [title, "", f"{'workers':>8}" + "".join(f"{f'{cores} cores, rows/s':>22}" for cores in CORES)]
    for workers in WORKERS:
        rates = [CHUNKS * CHUNK_ROWS / simulated_s(workers, cores, client_s, server_s) for cores in CORES]
        lines.append(f"{workers:>8}" + "".join(f"{rate:>22,.0f}" for rate in rates))
    return lines


def main(rows: int, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as made, running_server() as server:
        Path(made).chmod(0o755)
        path = written(Path(made) / "leads.csv", rows)
        client_s, server_s = asyncio.run(measure(server, path, rows))
    figures = {"client_s": client_s, "server_s": server_s}
    report(table(client_s, server_s), [], figures, as_json=as_json)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the file that is measured (default 100,000)")
    options = parser.parse_args()
    if absent := missing("psycopg"):
        sys.exit(absent)
    main(options.rows, options.json)
