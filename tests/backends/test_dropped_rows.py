"""Rows that a trigger or rule of the database keeps out: what is told of them, over both ways to PostgreSQL."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    PersistenceError,
    RowsDroppedError,
    SupabaseAdapter,
    TablePolicy,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres import copying
from agent_persistence.bulk import bulk_import
from agent_persistence.exceptions import FailureState
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

DROP = """
drop table if exists triggered, ruled, archive, numbered, computed cascade;
drop function if exists keep_out cascade;
"""
SQL = """
create table triggered (id uuid primary key default gen_random_uuid(), name text not null unique);
create function keep_out() returns trigger language plpgsql
  as 'begin if new.name like ''drop%'' then return null; end if; return new; end';
create trigger keep_out before insert on triggered for each row execute function keep_out();
create table archive (id uuid, name text);
create table ruled (id uuid primary key default gen_random_uuid(), name text);
create rule copied as on insert to ruled do also insert into archive values (new.id, new.name);
create table numbered (n bigint generated always as identity primary key, name text);
create table computed (name text primary key, loud text generated always as (upper(name)) stored);
"""
TABLES = ("triggered", "ruled", "archive", "numbered", "computed")


Make: TypeAlias = Callable[..., AsyncPersistenceService]


@pytest.fixture(scope="module")
def _tables(local_server: LocalServer) -> Iterator[None]:
    local_server.execute(DROP + SQL)
    local_server.execute(f"grant all on {', '.join(TABLES)} to service_role")
    local_server.reload_schema()
    yield
    local_server.execute(DROP)
    local_server.reload_schema()


@pytest.fixture(params=["REST", "SQL"])
async def make(
    request: pytest.FixtureRequest, local_server: LocalServer, _tables: None, anyio_backend: Any
) -> AsyncIterator[Make]:
    """What makes services of either kind over empty tables."""
    local_server.execute(f"truncate {', '.join(TABLES)} restart identity")
    url, key = local_server.url, local_server.service_key
    adapter: Any = SupabaseAdapter(url, key) if request.param == "REST" else PostgresAdapter(local_server.database_url)
    policy = TablePolicy(read=set(TABLES), write=set(TABLES))
    yield lambda **options: AsyncPersistenceService(
        adapter, **{"policy": policy, "client_keys": {"triggered": "id"}, **options}
    )
    await adapter.aclose()


def named(rows: int, *, every: int = 3) -> list[dict[str, str]]:
    """So many rows, of which every third one is kept."""
    return [{"name": f"{'drop' if number % every else 'keep'} {number}"} for number in range(rows)]


async def outcomes(*calls: Callable[[], Any]) -> list[Any]:
    """What each of the calls, made at once, gave: the name of its row, or its error."""
    told: dict[int, Any] = {}

    async def one(number: int, call: Callable[[], Any]) -> None:
        try:
            told[number] = (await call())["name"]
        except PersistenceError as error:
            told[number] = error

    async with anyio.create_task_group() as group:
        for number, call in enumerate(calls):
            group.start_soon(one, number, call)
    return [told[number] for number in range(len(calls))]


@pytest.mark.parametrize("readable", [True, False], ids=["readable", "write only"])
@pytest.mark.parametrize("verb", ["write", "upsert"])
async def test_a_single_row_that_is_kept_out_is_rejected(make: Make, verb: str, readable: bool) -> None:
    """Nothing was stored, and that is known; the audit says that it went wrong."""
    events: list[AuditEvent] = []
    policy = TablePolicy(read=set(TABLES) if readable else set(), write=set(TABLES))
    service = make(policy=policy, audit=events.append)
    with pytest.raises(RowsDroppedError, match="stored 0 of 1 rows") as caught:
        await getattr(service, verb)("triggered", {"name": "drop"})
    assert (caught.value.state, caught.value.attempts) == (FailureState.REJECTED, 1)
    assert [event.outcome for event in events] == ["error"]


async def test_a_batch_of_which_rows_are_kept_out_says_how_many_are_in(make: Make) -> None:
    """It is not sent again."""
    service = make()
    with pytest.raises(RowsDroppedError, match="stored 2 of 4 rows") as caught:
        await service.batch_write("triggered", [{"name": name} for name in ("a", "drop 1", "b", "drop 2")])
    assert caught.value.state is FailureState.APPLIED
    assert [row["name"] for row in caught.value.rows] == ["a", "b"]
    assert await service.count("triggered") == 2


@pytest.mark.parametrize("on_conflict", [None, ["name"]], ids=["insert", "merge"])
@pytest.mark.parametrize("rows", [copying.WORTHWHILE - 50, copying.WORTHWHILE + 100])
async def test_a_bulk_write_returns_how_many_rows_are_stored(make: Make, rows: int, on_conflict: Any) -> None:
    """Not how many were sent, by whatever way they went."""
    service = make()
    stored = await service.bulk_write("triggered", named(rows), on_conflict)
    assert stored == await service.count("triggered") == len(range(0, rows, 3))


@pytest.mark.parametrize("on_conflict", [None, ["name"]], ids=["insert", "merge"])
async def test_an_import_tells_what_the_database_kept_out(
    make: Make, tmp_path: Path, on_conflict: list[str] | None
) -> None:
    """The report counts the rows that are stored, those that were refused and those that were taken and dropped."""
    source = tmp_path / "rows.csv"
    source.write_text("name\n" + "".join(f"{row['name']}\n" for row in named(300)) + '""x\n')
    service = make()
    report = await bulk_import(
        service, "triggered", source, chunk_rows=120, rejects=tmp_path / "rejects", on_conflict=on_conflict
    )
    assert (report.rows, report.skipped_by_database, report.rejected) == (100, 200, 1)
    assert report.rows == await service.count("triggered")
    assert "the database stored 100 of 300: a trigger or rule dropped the others" in str(report)


async def test_a_resumed_import_remembers_what_was_kept_out(make: Make, tmp_path: Path) -> None:
    """Its report is of the whole."""
    source = tmp_path / "rows.csv"
    source.write_text("name\n" + "".join(f"{row['name']}\n" for row in named(30)))
    for _ in range(2):
        report = await bulk_import(make(), "triggered", source, chunk_rows=7, resume=tmp_path / "journal")
        assert (report.rows, report.skipped_by_database) == (10, 20)


async def test_callers_who_share_a_request_each_get_their_own_answer(make: Make) -> None:
    """A row that is kept out is its caller's alone, and no row is sent twice."""
    service = make(coalesce=True)
    names = ["a", "drop 1", "b", "drop 2", "c"]
    told = await outcomes(*(partial(service.write, "triggered", {"name": name}) for name in names))
    assert [one if isinstance(one, str) else type(one) for one in told] == [
        "a", RowsDroppedError, "b", RowsDroppedError, "c",
    ]  # fmt: skip
    assert {one.state for one in told if isinstance(one, RowsDroppedError)} == {FailureState.REJECTED}
    assert await service.count("triggered") == 3


async def test_callers_whose_rows_nothing_tells_apart_learn_that_it_is_not_known(make: Make) -> None:
    """Without a key of the service's own, and none guessed; where no row is stored at all, that is known."""
    service = make(coalesce=True, client_keys={"triggered": None})
    calls = [partial(service.write, "triggered", {"name": name}) for name in ("a", "drop 1", "b")]
    told = await outcomes(*calls)
    assert any("nothing tells which" in str(one) for one in told)
    gone = await outcomes(*(partial(service.write, "triggered", {"name": f"drop {n}"}) for n in range(3)))
    assert [type(one) for one in gone] == [RowsDroppedError] * 3


@pytest.mark.parametrize("rows", [copying.WORTHWHILE - 1, copying.WORTHWHILE])
async def test_rules_hold_for_few_rows_and_for_many(make: Make, rows: int) -> None:
    """COPY would pass them by."""
    service = make()
    assert await service.bulk_write("ruled", named(rows)) == rows
    assert await service.count("archive") == rows


@pytest.mark.parametrize("rows", [copying.WORTHWHILE - 1, copying.WORTHWHILE])
@pytest.mark.parametrize(("table", "column"), [("numbered", "n"), ("computed", "loud")])
async def test_a_column_that_the_database_alone_fills_takes_no_value(
    make: Make, table: str, column: str, rows: int
) -> None:
    """COPY would put it over an identity's own, and leave the sequence behind."""
    service = make()
    given = [{column: number, "name": str(number)} for number in range(rows)]
    with pytest.raises(AdapterError, match="428C9") as caught:
        await service.bulk_write(table, given)
    assert (caught.value.state, await service.count(table)) == (FailureState.REJECTED, 0)
    assert await service.bulk_write(table, [{"name": row["name"]} for row in given]) == rows
