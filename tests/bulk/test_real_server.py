"""Imports into a real server on a real PostgreSQL, which is asked what became of the rows."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_persistence import AsyncPersistenceService, PersistenceAdapter, RetryPolicy, SupabaseAdapter, TablePolicy
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.bulk import Reject, bulk_import
from tests.bulk.imports import HEADER, lead, leads, written
from tests.faults.faults import Answered, Cut, Fault
from tests.faults.proxy import Proxy, Relay
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

DEEP = "AGENT_PERSISTENCE_DEEP" in os.environ
EVERYTHING = TablePolicy(read={"leads", "clients", "inquiries"}, write={"leads", "clients", "inquiries"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["REST", "COPY"])
async def service(server: LocalServer, request: pytest.FixtureRequest) -> AsyncIterator[AsyncPersistenceService]:
    adapter: PersistenceAdapter
    if request.param == "REST":
        # persistence-guard: allow AP001 what is tested is below the factory
        adapter = SupabaseAdapter(server.url, server.service_key)
    else:
        # persistence-guard: allow AP001 what is tested is below the factory
        adapter = PostgresAdapter(server.database_url)
    async with AsyncPersistenceService(adapter, policy=EVERYTHING, owns_adapter=True) as made:
        yield made


async def test_what_copy_reads_is_what_is_imported(
    server: LocalServer, service: AsyncPersistenceService, tmp_path: Path
) -> None:
    """Every value is as PostgreSQL's own COPY leaves it: NULLs, empty texts, digits, quotes, documents, times."""
    text = (
        "name,email,plan,budget,is_active,tags,metadata,created_at\n"
        'A,,"",1.50,t,"{a,""b c"",NULL}","{""n"": 1.25e3, ""m"": [1, null]}",2026-01-02 03:04:05.678901+00\n'
        '"B ""b""",b@x.io,,-0,off,{},[],2026-01-02T03:04:05+02:00\n'
        '"C\nc\r\nc",c@x.io,pro,9999999999.99,yes,"{""x,y""}","""text""",infinity\n'
        "Дa€😀,d@x.io,' ',007,0,{1},1e5,1999-12-31\n"
    )
    await bulk_import(service, "clients", written(tmp_path / "c.csv", text))
    columns = text.splitlines()[0]
    shown = "select to_jsonb(c) - 'id' - 'updated_at' as told from clients c order by name"
    ours = server.execute(shown)
    server.execute("truncate clients cascade")
    statement = f"copy clients ({columns}) from stdin with (format csv, header)"
    with server.connection.cursor().copy(statement.encode()) as copy:
        copy.write(text)
    assert len(ours) == 4
    assert ours == server.execute(shown)


async def test_rows_that_the_database_refuses_are_told_apart(
    server: LocalServer, service: AsyncPersistenceService, tmp_path: Path
) -> None:
    """By every kind of rule; the others are in."""
    text = (
        "email,client_id,score\na@x.io,,1\n,,2\nb@x.io,00000000-0000-0000-0000-000000000001,3\na@x.io,,4\nc@x.io,,5\n"
    )
    rejects: list[Reject] = []
    report = await bulk_import(service, "leads", written(tmp_path / "l.csv", text), rejects=rejects.append)
    assert [reject.line for reject in rejects] == [3, 4, 5]
    assert [row["email"] for row in server.execute("select email from leads order by email")] == ["a@x.io", "c@x.io"]
    assert report.rows == 2


async def test_rows_are_merged(server: LocalServer, service: AsyncPersistenceService, tmp_path: Path) -> None:
    """The later of two wins, columns that are not named keep their values."""
    server.execute("insert into leads (email, company, score) values ('u1@a.example', 'Old', 9)")
    path = written(tmp_path / "l.csv", f"{HEADER}\n" + "".join(f"u{n % 30}@a.example,A,{n}\n" for n in range(300)))
    await bulk_import(service, "leads", path, on_conflict=["email"], chunk_rows=50)
    told = server.execute("select email, score, company from leads order by score")
    assert [(row["email"], int(row["score"])) for row in told] == [(f"u{n % 30}@a.example", n) for n in range(270, 300)]
    assert [row["company"] for row in told if row["email"] == "u1@a.example"] == ["Old"]


FAULTS: list[Fault] = [
    Cut("request", 500, "RST"),
    Cut("response", 0, "FIN"),
    Cut("response", 40, "RST"),
    Cut("response", 0, "garbage"),
    Answered("503 with HTML", "before"),
    Answered("503 with HTML", "after"),
]


@pytest.mark.parametrize("on_conflict", [None, ["email"]], ids=["insert", "merge"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_broken_connection_loses_and_doubles_nothing(
    server: LocalServer, tmp_path: Path, fault: Fault, on_conflict: list[str] | None
) -> None:
    """Whether the chunk had been stored or not."""
    path = leads(tmp_path / "l.csv", 400)
    host, port = server.url.removeprefix("http://").split(":")
    async with Proxy.before(Relay(host, int(port))) as proxy:
        # persistence-guard: allow AP001 what is tested is below the factory
        adapter = SupabaseAdapter(proxy.url, server.service_key)
        retry = RetryPolicy(base_s=0.001)
        async with AsyncPersistenceService(adapter, retry=retry, owns_adapter=True) as service:
            await proxy.arm(fault, fault)
            report = await bulk_import(service, "leads", path, chunk_rows=100, on_conflict=on_conflict)
    assert report.rows == 400
    assert server.execute("select count(*) n, count(distinct email) d from leads") == [{"n": 400, "d": 400}]


def killed(server: LocalServer, directory: Path, way: str, die: tuple[int, float], **options: Any) -> bool:
    """Whether the process was killed before it had ended."""
    url = server.url if way == "REST" else server.database_url
    told = [url, server.service_key, str(directory), *map(str, die), json.dumps(options)]
    command = [sys.executable, "-m", "tests.bulk.killed_import", *told]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (0, -9), ended.stderr
    return ended.returncode == -9


def moment(directory: Path, chance: random.Random) -> tuple[int, float]:
    """Some bytes of the journal later than now, and a pause in seconds after that."""
    journal = directory / "journal"
    return (journal.stat().st_size if journal.exists() else 0) + chance.randint(1, 1000), chance.uniform(0, 0.01)


@pytest.mark.parametrize("on_conflict", [None, ["email"]], ids=["insert", "merge"])
@pytest.mark.parametrize("way", ["REST", "COPY"])
def test_an_import_may_be_killed_at_any_moment(
    server: LocalServer, tmp_path: Path, way: str, on_conflict: list[str] | None
) -> None:
    """Resumed until it ends, it has stored every good row once and rejected every bad one once."""
    chance = random.Random(20261123)
    bad = {n for n in range(6000) if n % 601 == 600}
    rows = [",nobody,0\n" if n in bad else lead(n) for n in range(6000)]
    written(tmp_path / "source.csv", f"{HEADER}\n" + "".join(rows))
    options = {"table": "leads", "chunk_rows": 100 if way == "REST" else 250, "on_conflict": on_conflict}
    kills = 0
    while kills < (100 if DEEP else 3) and killed(server, tmp_path, way, moment(tmp_path, chance), **options):
        kills += 1
    assert kills >= 2
    assert not killed(server, tmp_path, way, (0, 0), **options)
    stored = server.execute("select count(*) n, count(distinct email) d, sum(score) s from leads")
    expected = 6000 - len(bad)
    assert stored == [{"n": expected, "d": expected, "s": sum(set(range(6000)) - bad)}]
    lines = (tmp_path / "rejects.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) - 2 for line in lines] == sorted(bad)
