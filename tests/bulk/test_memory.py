"""An import holds a few chunks in memory, however large its source is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from agent_persistence.bulk import bulk_import
from agent_persistence.query.records import Record
from tests.bulk.imports import leads, service
from tests.doubles import RecordingAdapter

pytestmark = pytest.mark.anyio


class Forgetful(RecordingAdapter):
    """Keeps nothing."""

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        return len(records)


async def imported(path: Path) -> None:
    await bulk_import(service(Forgetful()), "leads", path, chunk_rows=100)


async def read_whole(path: Path) -> None:
    """The control: all lines at once."""
    with path.open("rb") as file:
        assert list(file)


async def peak_bytes(run: Callable[[Path], Awaitable[None]], path: Path) -> int:
    """What the run has allocated at the most."""
    tracemalloc.start()
    try:
        await run(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_memory_does_not_grow_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows take less than half as much again; where all is read at once, they take ten times as much."""
    monkeypatch.setattr("agent_persistence.bulk.opening.BLOCK_BYTES", 4096)
    small, large = leads(tmp_path / "small.csv", 1_500), leads(tmp_path / "large.csv", 15_000)
    await imported(small)  # what is made once
    assert await peak_bytes(imported, large) < 1.5 * await peak_bytes(imported, small)
    assert await peak_bytes(read_whole, large) > 5 * await peak_bytes(read_whole, small)
