"""An import with a key stores each of its rows once, wherever and however often it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    ConfigurationError,
    TablePolicy,
    TenantScope,
)
from agent_persistence.bulk import ImportStoppedError, Reject, bulk_import
from agent_persistence.policy.tables import Columns
from agent_persistence.schema_registry import default_schema
from tests.bulk.imports import leads, service
from tests.bulk.test_resume import KilledError, Mortal

pytestmark = pytest.mark.anyio
POLICY = TablePolicy(read={"clients"}, write={"clients"})
SAME = [{"name": "same"}] * 45


def clients(adapter: Any, **options: Any) -> AsyncPersistenceService:
    return service(adapter, **{"policy": POLICY, "schema": default_schema(), **options})


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("chunk", range(5))
async def test_no_row_is_lost_or_doubled_without_a_journal(chunk: int, fate: str) -> None:
    """Killed in any chunk, and run again with other chunks, by another process; rows that are all alike."""
    adapter = Mortal()
    adapter.kills = [""] * chunk + [fate]
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(clients(adapter), "clients", SAME, key="k", chunk_rows=10, concurrency=1)
    stored = await clients(adapter).count("clients")
    report = await bulk_import(clients(adapter), "clients", SAME, key="k", chunk_rows=7)
    assert await clients(adapter).count("clients") == 45
    assert (report.rows, report.resumed_rows) == (45, stored)


async def test_another_key_is_another_import() -> None:
    """The control: it is the key by which rows are known again."""
    adapter = Mortal()
    for key in ("a", "b", "a"):
        await bulk_import(clients(adapter), "clients", SAME, key=key)
    assert await clients(adapter).count("clients") == 90


@pytest.mark.parametrize("cache", [False, True])
async def test_a_source_that_has_changed_is_refused_before_anything_is_written(cache: bool) -> None:
    """Its rows would be there beside the old ones."""
    adapter = Mortal()
    made = clients(adapter, cache=cache)
    await bulk_import(made, "clients", [{"name": f"n{n}"} for n in range(9)], key="k")
    with pytest.raises(ImportStoppedError, match="its source has changed"):
        await bulk_import(made, "clients", [{"name": f"n{n}"} for n in range(1, 12)], key="k")
    assert await made.count("clients") == 9


async def test_no_part_of_a_changed_source_goes_in_beside_its_rejects() -> None:
    """It is not the rows that are refused: in halves, those that are new would be stored beside the old ones."""
    adapter = Mortal()
    await bulk_import(clients(adapter), "clients", [{"name": f"n{n}"} for n in range(9)], key="k")
    rejects: list[Reject] = []
    changed = [{"name": f"n{n}"} for n in range(1, 20)]
    with pytest.raises(ImportStoppedError, match="its source has changed"):
        await bulk_import(clients(adapter), "clients", changed, key="k", rejects=rejects.append)
    assert (await clients(adapter).count("clients"), rejects) == (9, [])


async def test_what_is_deleted_meanwhile_is_not_taken_for_stored() -> None:
    """Whoever counts on the import hears of it."""

    class Emptied(Mortal):
        async def bulk_write(self, table: str, records: Any, **options: Any) -> int:
            stored = await super().bulk_write(table, records, **options)
            await self.delete(table, {"name": "same"})
            return stored

    with pytest.raises(ImportStoppedError, match="deleted while it ran"):
        await bulk_import(clients(Emptied()), "clients", SAME, key="k")


async def test_parts_share_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run twice; a row is of one part."""
    monkeypatch.setattr("agent_persistence.bulk.shards.BLOCK_ROWS", 4)
    path, adapter = leads(tmp_path / "l.csv", 30), Mortal()
    for part in (0, 2, 1, 1, 0, 2):
        await bulk_import(service(adapter), "leads", path, key="k", shard=(part, 3))
    assert await service(adapter).count("leads") == 30


async def test_a_tenant_s_import_is_its_own() -> None:
    """The same key of two tenants names two imports, of rows that are all alike."""
    adapter = Mortal()
    tenants = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
    made = clients(adapter, tenant=TenantScope(tenants[0], column="name"))
    for tenant in tenants * 2:
        view = made.as_user(tenant=tenant)
        await bulk_import(view, "clients", [{"plan": "same"}] * 5, key="k")
        assert await view.count("clients") == 5
    assert len(await adapter.query("clients")) == 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": " "}, "a text that names the import"),
        ({"key": 7}, "a text that names the import"),
        ({"key": "k", "on_conflict": ["id"]}, "without resume=, on_conflict= and on_duplicate="),
        ({"key": "k", "resume": "journal"}, "without resume=, on_conflict= and on_duplicate="),
    ],
)
async def test_what_cannot_be_meant_is_refused(options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        await bulk_import(clients(Mortal()), "clients", SAME, **options)


async def test_rows_that_could_not_be_known_again_are_refused() -> None:
    """Keys of their own, keys of the database, and a table that may not be read."""
    own = [{"id": "11111111-1111-4111-8111-111111111111", "name": "x"}]
    with pytest.raises(ConfigurationError, match="keys of their own"):
        await bulk_import(clients(Mortal()), "clients", own, key="k")
    messages = TablePolicy(read={"messages"}, write={"messages"})
    with pytest.raises(ConfigurationError, match="needs a uuid key"):
        await bulk_import(clients(Mortal(), policy=messages), "messages", [{"content": "x"}], key="k")
    for policy in (
        TablePolicy(write={"clients"}),
        TablePolicy(
            read={"clients"}, write={"clients"}, columns={"clients": Columns(frozenset({"name"}), frozenset({"name"}))}
        ),
    ):
        with pytest.raises(ConfigurationError, match="needs to read id"):
            await bulk_import(clients(Mortal(), policy=policy), "clients", SAME, key="k")
