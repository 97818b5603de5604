"""Ray writes a dataset while its workers are killed, on this machine, and PostgreSQL is asked what it has.

    python -m tests.ext.ray_cluster [--rows N] [--workers N] [--kill-share P]

Prints the rows lost and doubled, and the speed beside that of one process; ends with 1 if there are any. It needs
`pip install 'ray[data]'`.
"""

# persistence-guard: allow-file AP001 the adapter is made by hand in each worker

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import ray

from agent_persistence import PersistenceAgent, Schema, TablePolicy, create_persistence_agent
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.bulk import bulk_import
from agent_persistence.ext.embeddings import NonSemanticEmbedder
from agent_persistence.ext.ray import PersistenceSink, embed_dataset
from agent_persistence.schema_registry import Column, Table
from tests.server import running_server

DIMENSIONS: Final = 8
SCHEMA: Final = Schema(
    {
        "documents": Table(
            {"id": Column("uuid"), "number": Column("bigint"), "body": Column("text"), "embedding": Column("vector")},
            primary_key=("id",),
        )
    }
)
_DDL: Final = f"""
create extension if not exists vector with schema public;
create table documents (id uuid primary key, number bigint, body text, embedding vector({DIMENSIONS}));
grant all on documents to service_role;
"""
LATEST_KILL_S: Final = 0.4


class Connect:
    """Makes a worker's agent; with the chance `kill_share` the worker dies within half a second."""

    def __init__(self, dsn: str, kill_share: float, killed: Path) -> None:
        self._dsn = dsn
        self._kill_share = kill_share
        self._killed = killed

    def __call__(self) -> PersistenceAgent:
        random = SystemRandom()
        if random.random() < self._kill_share:
            threading.Thread(target=self._die, args=(random.random() * LATEST_KILL_S,), daemon=True).start()
        policy = TablePolicy(read={"documents"}, write={"documents"})
        return create_persistence_agent(adapter=PostgresAdapter(self._dsn), policy=policy, schema=SCHEMA)

    def _die(self, after_s: float) -> None:
        time.sleep(after_s)
        (self._killed / f"{os.getpid()}-{time.time_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def record(row: dict[str, Any]) -> dict[str, Any]:
    return {"number": row["id"], "body": f"document {row['id'] % 10}"}


def dataset(rows: int, blocks: int) -> Any:
    texts = ray.data.range(rows, override_num_blocks=blocks).map(record)
    return embed_dataset(texts, lambda: NonSemanticEmbedder(DIMENSIONS), text="body")


def by_ray(connect: Connect, rows: int, workers: int) -> tuple[float, PersistenceSink]:
    sink = PersistenceSink(connect, "documents")
    started = time.perf_counter()
    made = dataset(rows, blocks=workers * 8)
    made.write_datasink(sink, ray_remote_args={"max_retries": -1}, concurrency=workers)
    return time.perf_counter() - started, sink


def alone(connect: Connect, rows: int) -> float:
    async def work() -> None:
        embedder = NonSemanticEmbedder(DIMENSIONS)
        records = [record({"id": number}) for number in range(rows)]
        vectors = await embedder.embed([each["body"] for each in records])
        async with connect() as agent:
            given = ({**each, "embedding": vector} for each, vector in zip(records, vectors, strict=True))
            await bulk_import(agent, "documents", given)

    started = time.perf_counter()
    anyio.run(work)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.ext.ray_cluster", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-share", type=float, default=0.3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder, running_server() as server:
        server.execute(_DDL)
        killed = Path(folder)
        ray.init(
            num_cpus=options.workers + 1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
        )
        try:
            took_s, sink = by_ray(
                Connect(server.database_url, options.kill_share, killed), options.rows, options.workers
            )
            kills = len([*killed.iterdir()])
            (found,) = server.execute("select count(*) as stored, count(distinct number) as numbers from documents")
            lost, doubled = options.rows - found["numbers"], found["stored"] - found["numbers"]
            print(f"{sink.report}\n{kills} workers killed in {took_s:.1f} s: {lost} rows lost, {doubled} doubled")
            server.execute("truncate documents")
            quiet_s, _ = by_ray(Connect(server.database_url, 0, killed), options.rows, options.workers)
            server.execute("truncate documents")
            alone_s = alone(Connect(server.database_url, 0, killed), options.rows)
            print(f"{options.workers} workers without kills {quiet_s:.1f} s, one process {alone_s:.1f} s")
            return 1 if lost or doubled or not kills else 0
        finally:
            ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
