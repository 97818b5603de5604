"""Kills of writers, of flushes and of the server, at random moments, with SQL as the judge.

`python -m tests.spool.killing --kills 1000` runs so many over PostgreSQL and PostgREST together, and prints the scores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import psycopg
from anyio.abc import ByteStream

from tests.backends.pg_proxies import Relay, listening, through
from tests.server import LocalServer, running_server
from tests.server.local import running_rest
from tests.spool.workers import service_of
from tests.units.conftest import install

A_ROUND: Final = 10_000
"""Tags of one writer."""


@dataclass
class Scores:
    """What was killed, what the writers were told, and what the database says of it."""

    kills: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.halves or self.overtaken or self.set_aside)

    def __str__(self) -> str:
        found = {name: getattr(self, name) for name in ("lost", "doubled", "halves", "overtaken", "set_aside")}
        counts = ", ".join(f"{len(tags)} {name}" for name, tags in found.items())
        first = [f"{name}: {tags[:5]}" for name, tags in found.items() if tags]
        return "\n".join([f"kills {dict(self.kills)}; told {dict(self.told)}; {counts}", *first])


class Outage(Relay):
    """A relay that can be cut: nobody gets through, and who was through is out."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.down = False
        self._cut = anyio.Event()

    def set(self, *, down: bool) -> None:
        self.down = down
        if down:
            cut, self._cut = self._cut, anyio.Event()
            cut.set()

    async def handle(self, client: ByteStream) -> None:
        if self.down:
            await client.aclose()
            return
        async with client, anyio.create_task_group() as group:
            group.start_soon(self._ended, group.cancel_scope, self._cut)
            with contextlib.suppress(OSError, anyio.BrokenResourceError):
                await super().handle(client)
            group.cancel_scope.cancel()

    async def _ended(self, scope: anyio.CancelScope, cut: anyio.Event) -> None:
        await cut.wait()
        scope.cancel()


class Workers:
    """The process that forks those to be killed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.spool.workers"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **told: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill(self, pid: int) -> None:
        """The worker ends by SIGKILL, and by nothing else."""
        os.kill(pid, signal.SIGKILL)
        assert self.ask(reap=pid) == signal.SIGKILL

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@dataclass
class Stage:
    """A database of its own, which may be killed, and a way to it that may be cut."""

    server: LocalServer
    backend: str
    outage: Outage
    told: dict[str, Any]
    rest: contextlib.ExitStack

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: LocalServer, backend: str, folder: Path) -> AsyncIterator[Stage]:
        server.execute("alter database postgres set synchronous_commit = on")  # one that is killed keeps its commits
        with contextlib.ExitStack() as rest:
            outage = Outage(server.database_url)
            async with listening(outage.handle) as port:
                url = through(server.database_url, port) if backend == "postgres" else f"http://127.0.0.1:{port}"
                told = {
                    "backend": backend,
                    "url": url,
                    "key": server.service_key,
                    "spool": str(folder / f"{backend}.spool"),
                    "journal": str(folder / f"{backend}.journal"),
                }
                stage = cls(server, backend, outage, told, rest)
                if backend != "postgres":
                    stage.serve()
                yield stage

    def serve(self) -> None:
        """Another REST process, instead of the one there was."""
        self.rest.close()
        self.outage.url, self._rest = self.rest.enter_context(running_rest(self.server.settings))

    def kill_server(self, random: Random) -> None:
        """The REST process, or a backend of PostgreSQL, on which all of PostgreSQL starts again."""
        if self.backend != "postgres":
            self._rest.process.kill()
            self.serve()
            return
        ask = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        pids = [pid for (pid,) in self.sql(f"{ask} and usename <> 'nobody'")]
        if pids:
            os.kill(random.choice(pids), signal.SIGKILL)

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database says, as soon as it says anything."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self.server.database_url, autocommit=True) as db:
                    return db.execute(sql.encode()).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


async def killed(server: LocalServer, backend: str, kills: int, seed: int, folder: Path) -> Scores:
    """The scores of so many kills."""
    scores, random = Scores(), Random(f"{seed} {backend}")
    workers = Workers()
    try:
        async with Stage.opened(server, backend, folder) as stage:
            rounds = 0
            while scores.kills.total() < kills:
                rounds += 1
                if random.random() < 0.25:
                    stage.outage.set(down=False)
                    await _emptied(stage, scores)
                await _round(stage, workers, random, scores, rounds)
            stage.outage.set(down=False)
            await _emptied(stage, scores)
            _judge(stage, scores)
    finally:
        workers.close()
    return scores


async def _round(stage: Stage, workers: Workers, random: Random, scores: Scores, number: int) -> None:
    """A writer while the database comes and goes, beside a flush; both are killed, and now and then the server."""
    stage.outage.set(down=random.random() < 0.6)
    flusher = workers.ask(do="flush", **stage.told) if random.random() < 0.7 else None
    writer = workers.ask(do="write", first=number * A_ROUND, **stage.told)
    slowness = 1.0 if stage.backend == "postgres" else 2.0
    await anyio.sleep(random.uniform(0.01, 0.35) * slowness)
    stage.outage.set(down=random.random() < 0.3)
    await anyio.sleep(random.uniform(0.0, 0.2) * slowness)
    if random.random() < (0.1 if stage.backend == "postgres" else 0.05):
        await anyio.to_thread.run_sync(stage.kill_server, random)
        scores.kills["server"] += 1
        await anyio.sleep(random.uniform(0.0, 0.1))
    workers.kill(writer)
    scores.kills["client"] += 1
    if flusher is not None:
        await anyio.sleep(random.uniform(0.0, 0.1))
        workers.kill(flusher)
        scores.kills["flush"] += 1


async def _emptied(stage: Stage, scores: Scores) -> None:
    """Nothing waits any more."""
    with anyio.fail_after(300):
        async with service_of(stage.told, stage.told["spool"]) as service:
            while (await service.flush_spool()).waiting:  # noqa: ASYNC110  it waits for a server
                await anyio.sleep(0.05)
            assert service.spool is not None
            set_aside = await service.spool.writes(refused=True)
    scores.set_aside = [f"{each.tables} {each.reason}" for each in set_aside]


def _judge(stage: Stage, scores: Scores) -> None:
    found = {
        "keyed": Counter(email.partition("@")[0] for (email,) in stage.sql(_EMAILS.format("keyed"))),
        "batch": Counter(tag for (tag,) in stage.sql("select subject from conversations")),
        "keyless": Counter(tag for (tag,) in stage.sql(_BODIES.format("keyless"))),
        "unit": Counter(tag for (tag,) in stage.sql(_BODIES.format("unit"))),
    }
    leads = {email.partition("@")[0]: notes for email, notes in stage.sql(_NOTES)}
    for kind, tag, how in _journal(stage):
        scores.told[how] += 1
        whole = 2 if kind == "batch" else 1
        if how in ("stored", "spooled") and found[kind][tag] < whole:
            scores.lost.append(f"{kind} {tag} {how} {found[kind][tag]}")
    for kind, counts in found.items():
        whole = 2 if kind == "batch" else 1
        scores.doubled += [f"{kind} {tag}" for tag, count in counts.items() if count > whole]
        scores.halves += [f"{kind} {tag}" for tag, count in counts.items() if count < whole]
    scores.halves += [f"unit {tag}" for tag in found["unit"].keys() ^ leads.keys()]
    scores.halves += [f"unit {tag}" for tag, notes in leads.items() if notes != tag]
    scores.overtaken += _overtaken(stage)


_EMAILS: Final = "select email from leads where email like '%@{}.x'"
_NOTES: Final = "select email, notes from leads where email like '%@unit.x'"
_BODIES: Final = "select body from inquiries where email = '{}'"


def _overtaken(stage: Stage) -> Iterator[str]:
    """Inquiries whose key is below that of one that was acknowledged before them."""
    acknowledged = {tag for _, tag, how in _journal(stage) if how in ("stored", "spooled")}
    last = ""
    for (tag,) in stage.sql("select body from inquiries order by id"):
        if tag in acknowledged:
            if tag < last:
                yield f"{last} before {tag}"
            last = tag


def _journal(stage: Stage) -> Iterator[list[str]]:
    lines = Path(stage.told["journal"]).read_text().splitlines()
    return (line.split() for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.spool.killing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    holds = True
    for backend in ("postgres", "supabase"):
        with running_server() as server, tempfile.TemporaryDirectory() as folder:
            install(server)
            start_s = time.perf_counter()
            scores = anyio.run(killed, server, backend, -(-options.kills // 2), options.seed, Path(folder))
            print(f"{backend}: {scores}\n{time.perf_counter() - start_s:.0f} s", flush=True)
            holds = holds and scores.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
