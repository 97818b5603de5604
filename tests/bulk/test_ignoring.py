"""An import that ignores duplicates: what is stored, what is counted, and what a crash or a lost answer changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    ConfigurationError,
    InMemoryAdapter,
    OutcomeUnknownError,
    UnsupportedOperationError,
    sync,
)
from agent_persistence.bulk import ImportStoppedError, bulk_import
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Operation, Result
from agent_persistence.schema_registry import default_schema
from tests.bulk.imports import BulkAdapter, emails, leads, memory, service, written

pytestmark = pytest.mark.anyio


async def test_rows_whose_key_is_taken_are_ignored_and_counted(tmp_path: Path) -> None:
    """The stored rows stay as they are; of two with one key in the source the first is stored."""
    made = service(memory())
    await made.write("leads", {"email": "u3@a.example", "first_name": "Old"})
    path = leads(tmp_path / "leads.csv", 20)
    path.write_text(path.read_text() + "u5@a.example,Second,1\n")
    report = await bulk_import(made, "leads", path, on_duplicate="ignore", chunk_rows=4, concurrency=4)
    assert (report.rows, report.ignored, report.rejected, report.skipped_by_database) == (19, 2, 0, 0)
    assert "2 ignored, whose key was taken" in str(report)
    assert report.lines == ((1, 22),)
    names = {row["email"]: row["first_name"] for row in await made.query("leads")}
    assert (len(names), names["u3@a.example"], names["u5@a.example"]) == (20, "Old", "Ada 5")
    again = await bulk_import(made, "leads", path, on_duplicate="ignore", on_conflict=["email"])
    assert (again.rows, again.ignored, again.note) == (0, 21, None)


async def test_without_it_they_stop_the_import(tmp_path: Path) -> None:
    """Control: the same file."""
    made = service(memory())
    await made.write("leads", {"email": "u3@a.example"})
    with pytest.raises(ImportStoppedError):
        await bulk_import(made, "leads", leads(tmp_path / "leads.csv", 5))


async def test_rejects_are_put_aside_as_ever(tmp_path: Path) -> None:
    """A row is ignored, another rejected, and the rest is in."""
    made = service(memory())
    await made.write("leads", {"email": "u1@a.example"})
    path = written(tmp_path / "leads.csv", "email,score\nu1@a.example,1\nu2@a.example,high\nu3@a.example,3\n")
    report = await bulk_import(made, "leads", path, on_duplicate="ignore", rejects=tmp_path / "bad.csv")
    assert (report.rows, report.ignored, report.rejected) == (1, 1, 1)
    assert sorted(await emails(made)) == ["u1@a.example", "u3@a.example"]


async def test_the_key_is_known_or_named() -> None:
    """The one whose values are made here is none; an unknown choice is refused."""
    made = service(memory())
    records: list[dict[str, Any]] = [{"lead_id": None, "subject": "a"}]
    with pytest.raises(ConfigurationError, match=r"on_conflict=; known: none"):
        await bulk_import(made, "conversations", records, on_duplicate="ignore")
    with pytest.raises(ConfigurationError, match='"error" or "ignore"'):
        await bulk_import(made, "leads", [{"email": "a@a.example"}], on_duplicate="skip")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="stands without"):
        await bulk_import(made, "leads", [{"email": "a@a.example"}], on_duplicate="ignore", key="spring")
    blocking = sync.PersistenceService(memory())
    assert sync.bulk_import(blocking, "leads", [{"email": "a@a.example"}] * 2, on_duplicate="ignore").ignored == 1


async def test_an_adapter_of_others_is_not_asked(tmp_path: Path) -> None:
    """Before the first row is sent."""
    adapter = BulkAdapter()
    with pytest.raises(UnsupportedOperationError, match="ignore_duplicates"):
        await bulk_import(service(adapter), "leads", leads(tmp_path / "leads.csv", 3), on_duplicate="ignore")
    assert adapter.calls == []


class Failing(InMemoryAdapter):
    """Of the writes that leave, `fates` says before or after which the process is killed, or the answer lost."""

    def __init__(self, *fates: str) -> None:
        super().__init__({"leads": [{"email": "u3@a.example"}]}, schema=default_schema())
        self.fates = list(fates)

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        fate = self.fates.pop(0) if operation.writes and self.fates else ""
        if fate == "killed before":
            raise KilledError
        result = await super().execute(operation, context)
        if fate == "killed after":
            raise KilledError
        if fate == "lost":
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return result


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("fate", ["killed before", "killed after"])
@pytest.mark.parametrize("chunk", [0, 1])
async def test_after_a_crash_rows_of_the_earlier_run_are_not_told_as_ignored(
    tmp_path: Path, fate: str, chunk: int
) -> None:
    """Their keys are the import's own, which the journal keeps."""
    adapter = Failing(*[""] * chunk, fate)
    path = leads(tmp_path / "leads.csv", 10)
    options: dict[str, Any] = {"resume": tmp_path / "journal", "chunk_rows": 5}
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(service(adapter), "leads", path, on_duplicate="ignore", concurrency=1, **options)
    report = await bulk_import(service(adapter), "leads", path, on_duplicate="ignore", **options)
    assert (report.rows, report.ignored) == (9, 1)
    assert len(await emails(service(adapter))) == 10
    with pytest.raises(ConfigurationError, match="on_duplicate differ"):
        await bulk_import(service(adapter), "leads", path, on_conflict=["email"], **options)


async def test_a_lost_answer_is_found_out(tmp_path: Path) -> None:
    """The chunk is sent again, and what the first try has stored is in."""
    adapter = Failing("lost", "", "lost")
    report = await bulk_import(
        service(adapter), "leads", leads(tmp_path / "leads.csv", 10), on_duplicate="ignore", chunk_rows=5, concurrency=1
    )
    assert (report.rows, report.ignored) == (9, 1)


async def test_rows_with_keys_of_their_own_cannot_be_told_from_others(tmp_path: Path) -> None:
    """A journal is refused for them, and a lost answer ends the import with what may be in."""
    key = "00000000-0000-0000-0000-00000000000"
    path = written(tmp_path / "leads.csv", "id,email\n" + "".join(f"{key}{n},v{n}@a.example\n" for n in range(4)))
    with pytest.raises(ConfigurationError, match="keys that are made here"):
        await bulk_import(service(Failing()), "leads", path, on_duplicate="ignore", resume=tmp_path / "journal")
    with pytest.raises(ImportStoppedError) as caught:
        await bulk_import(service(Failing("lost")), "leads", path, on_duplicate="ignore")
    assert isinstance(caught.value.__cause__, OutcomeUnknownError)
    assert caught.value.report.unknown_lines == ((2, 5),)
