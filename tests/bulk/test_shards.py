"""Parts of one source, imported by processes that know nothing of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.bulk import bulk_import
from agent_persistence.bulk.shards import Shard
from tests.bulk.imports import HEADER, BulkAdapter, emails, lead, leads, service, written
from tests.bulk.test_resume import Mortal, killed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def blocks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_persistence.bulk.shards.BLOCK_ROWS", 3)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
async def test_every_row_is_in_one_part(tmp_path: Path, count: int) -> None:
    """Whatever the chunks; each part reports the lines that are its own."""
    path, made = leads(tmp_path / "l.csv", 20), service(BulkAdapter())
    reports = [await bulk_import(made, "leads", path, shard=(part, count), chunk_rows=2) for part in range(count)]
    assert sorted(await emails(made)) == sorted(f"u{n}@a.example" for n in range(20))
    assert sum(report.rows for report in reports) == 20
    lines = [line for report in reports for first, last in report.lines for line in range(first, last + 1)]
    assert sorted(lines) == [*range(1, 22)]


async def test_a_part_is_resumed_by_its_own_journal(tmp_path: Path) -> None:
    """A crash in one part is no business of another's."""
    path, adapter = leads(tmp_path / "l.csv", 20), Mortal()
    await killed(adapter, path, "", "after", resume=tmp_path / "0", shard=(0, 2))
    for part in (0, 1):
        await bulk_import(service(adapter), "leads", path, resume=tmp_path / str(part), shard=(part, 2), chunk_rows=10)
    assert sorted(await emails(service(adapter))) == sorted(f"u{n}@a.example" for n in range(20))


async def test_a_journal_is_of_one_part(tmp_path: Path) -> None:
    """Another part would leave its rows out."""
    path, made = leads(tmp_path / "l.csv", 20), service()
    await bulk_import(made, "leads", path, resume=tmp_path / "j", shard=(0, 2))
    with pytest.raises(ConfigurationError, match="shard"):
        await bulk_import(made, "leads", path, resume=tmp_path / "j", shard=(1, 2))


async def test_rejects_are_those_of_the_part(tmp_path: Path) -> None:
    """A bad line is reported once, by the part that it falls to."""
    lines = [",nobody,0\n" if n in (1, 4) else lead(n) for n in range(6)]
    path = written(tmp_path / "l.csv", f"{HEADER}\n{''.join(lines)}")
    found: list[Any] = []
    for part in range(2):
        await bulk_import(service(), "leads", path, shard=(part, 2), rejects=lambda reject: found.append(reject.line))
    assert found == [3, 6]


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0.0, 1), 1, "0/2", (True, 2), (0, 1, 2)])
async def test_what_is_no_part_is_refused(shard: Any) -> None:
    with pytest.raises(ConfigurationError, match="the part i of n counted from 0"):
        await bulk_import(service(), "leads", [], shard=shard)


def test_neighbours_share_no_record() -> None:
    """The control for the arithmetic."""
    parts = [Shard(part, 3) for part in range(3)]
    assert all(sum(part.holds(number) for part in parts) == 1 for number in range(100))
