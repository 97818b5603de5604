"""An import that was broken off goes on where it ended: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.lowlevel
import pytest

from agent_persistence import (
    AdapterError,
    ConfigurationError,
    InMemoryAdapter,
    OutcomeUnknownError,
    TablePolicy,
)
from agent_persistence.bulk import ImportStoppedError, Reject, bulk_import
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Record
from agent_persistence.schema_registry import default_schema
from tests.bulk.imports import HEADER, BulkAdapter, emails, lead, leads, service, written

pytestmark = pytest.mark.anyio


class KilledError(BaseException):
    """The process ends here."""


class Mortal(InMemoryAdapter):
    """A database that survives the process: of the bulk writes, `kills` says before or after which it is killed."""

    def __init__(self) -> None:
        super().__init__(schema=default_schema())
        self.kills: list[str] = []
        self.writes = 0

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.writes += 1
        fate = self.kills.pop(0) if self.kills else ""
        if fate == "before":
            raise KilledError
        stored = await super().bulk_write(table, records, on_conflict=on_conflict)
        if fate == "after":
            raise KilledError
        return stored


async def killed(adapter: Mortal, path: Path, *kills: str, **options: Any) -> None:
    """An import that ends in mid-air."""
    adapter.kills = list(kills)
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(service(adapter), "leads", path, chunk_rows=10, concurrency=1, **options)
    adapter.kills = []


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("chunk", range(5))
async def test_no_row_is_lost_or_doubled(tmp_path: Path, chunk: int, fate: str) -> None:
    """Whichever chunk it was killed in, before the database had it or after."""
    adapter, journal = Mortal(), tmp_path / "j"
    path = leads(tmp_path / "l.csv", 45)
    await killed(adapter, path, *[""] * chunk, fate, resume=journal)
    report = await bulk_import(service(adapter), "leads", path, chunk_rows=10, resume=journal)
    assert await emails(service(adapter)) == [f"u{n}@a.example" for n in range(45)]
    assert (report.rows, report.resumed_rows) == (45, chunk * 10)
    assert report.lines == ((1, 46),)


async def test_a_table_of_rows_that_are_all_alike_is_resumed(tmp_path: Path) -> None:
    """Their keys tell them apart, which are the same in every run."""
    adapter, journal = Mortal(), tmp_path / "j"
    path = written(tmp_path / "c.csv", "name\n" + "same\n" * 40)
    policy = TablePolicy(read={"clients"}, write={"clients"})
    adapter.kills = ["", "", "after"]
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(service(adapter, policy=policy), "clients", path, chunk_rows=10, resume=journal)
    adapter.kills = []
    await bulk_import(service(adapter, policy=policy), "clients", path, resume=journal)
    assert await service(adapter).count("clients") == 40


async def test_with_other_keys_rows_would_be_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it is the keys that tell a chunk that is there already."""
    monkeypatch.setattr("agent_persistence.bulk.feeding.row_keys", lambda seed, made_ms: lambda *row: str(uuid4()))
    adapter, journal = Mortal(), tmp_path / "j"
    path = written(tmp_path / "c.csv", "name\n" + "same\n" * 40)
    made = service(adapter, policy=TablePolicy(read={"clients"}, write={"clients"}))
    adapter.kills = ["after"]
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(made, "clients", path, resume=journal)
    await bulk_import(made, "clients", path, resume=journal)
    assert await made.count("clients") == 80


async def test_without_its_refusals_a_half_would_be_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a journal that forgets that a chunk was refused loses the half that was not in."""
    monkeypatch.setattr("agent_persistence.bulk.journal.Journal.refuse", lambda journal, part: None)
    adapter, journal = Mortal(), tmp_path / "j"
    path = written(tmp_path / "l.csv", f"{HEADER}\n{''.join(map(lead, range(9)))},nobody,0\n")
    adapter.kills = ["", "after"]
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(service(adapter), "leads", path, resume=journal, rejects=ignored)
    await bulk_import(service(adapter), "leads", path, resume=journal, rejects=ignored)
    assert len(await emails(service(adapter))) == 5


def ignored(reject: Reject) -> None:
    """Puts up with it."""


@pytest.mark.parametrize("kills", range(1, 30))
async def test_a_refused_chunk_is_resumed_within(tmp_path: Path, kills: int) -> None:
    """Halves that are in are not taken for the whole, and none of its rejects is told twice."""
    adapter, journal, rejects = Mortal(), tmp_path / "j", tmp_path / "r.csv"
    rows = [",nobody,0\n" if n in (7, 12, 25) else lead(n) for n in range(30)]
    path = written(tmp_path / "l.csv", f"{HEADER}\n" + "".join(rows))
    for fate in ("after", "before"):
        adapter.kills = [""] * kills + [fate]
        try:
            await bulk_import(service(adapter), "leads", path, chunk_rows=16, resume=journal, rejects=rejects)
        except (KilledError, BaseExceptionGroup):
            continue
    adapter.kills = []
    report = await bulk_import(service(adapter), "leads", path, chunk_rows=16, resume=journal, rejects=rejects)
    assert {*await emails(service(adapter))} == {f"u{n}@a.example" for n in range(30) if n not in (7, 12, 25)}
    assert [line.split(",")[0] for line in rejects.read_text().splitlines()[1:]] == ["9", "14", "27"]
    assert (report.rows, report.rejected) == (27, 3)


async def test_rows_that_are_merged_are_sent_again(tmp_path: Path) -> None:
    """In their order, so that the later of two with one key wins."""
    adapter, journal = Mortal(), tmp_path / "j"
    text = f"{HEADER}\n" + "".join(f"u{n % 4}@a.example,A,{n}\n" for n in range(40))
    path = written(tmp_path / "l.csv", text)
    await killed(adapter, path, "", "after", resume=journal, on_conflict=["email"])
    await bulk_import(service(adapter), "leads", path, resume=journal, on_conflict=["email"])
    rows = await service(adapter).query("leads", order_by="email")
    assert [row["score"] for row in rows] == [36, 37, 38, 39]


async def test_an_import_that_has_ended_is_not_done_again(tmp_path: Path) -> None:
    """The report is that of the whole."""
    adapter = Mortal()
    path = leads(tmp_path / "l.csv", 5)
    await bulk_import(service(adapter), "leads", path, resume=tmp_path / "j")
    again = await bulk_import(service(adapter), "leads", path, resume=tmp_path / "j")
    assert (again.rows, again.resumed_rows, again.chunks) == (5, 5, 0)
    assert adapter.writes == 1


async def test_what_stopped_an_import_can_be_put_aside_by_the_next_run(tmp_path: Path) -> None:
    """The file is unchanged, and the bad row goes into the rejects."""
    path = written(tmp_path / "l.csv", f"{HEADER}\n{lead(1)}{lead(2)}c@x.io,C,three\n{lead(4)}")
    adapter = Mortal()
    with pytest.raises(ImportStoppedError):
        await bulk_import(service(adapter), "leads", path, resume=tmp_path / "j")
    rejects: list[Reject] = []
    report = await bulk_import(service(adapter), "leads", path, resume=tmp_path / "j", rejects=rejects.append)
    assert (report.rows, [reject.line for reject in rejects]) == (3, [4])
    assert await emails(service(adapter)) == ["u1@a.example", "u2@a.example", "u4@a.example"]


async def test_other_bounds_may_be_given_to_the_next_run(tmp_path: Path) -> None:
    """Chunks that may have been sent stay what they were."""
    adapter, journal = Mortal(), tmp_path / "j"
    path = leads(tmp_path / "l.csv", 45)
    await killed(adapter, path, "", "after", resume=journal)
    await bulk_import(service(adapter), "leads", path, chunk_rows=7, concurrency=3, resume=journal)
    assert sorted(await emails(service(adapter))) == sorted(f"u{n}@a.example" for n in range(45))


def appended(path: Path) -> None:
    path.write_text(path.read_text() + lead(99))


def touched(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def edited(path: Path) -> None:
    told = path.stat()
    path.write_text(path.read_text().replace("Ada", "Eda"))
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))


@pytest.mark.parametrize("change", [appended, touched, edited])
async def test_another_file_is_refused(tmp_path: Path, change: Any) -> None:
    """Its rows would get the keys of others."""
    path = leads(tmp_path / "l.csv", 5)
    await bulk_import(service(Mortal()), "leads", path, resume=tmp_path / "j")
    change(path)
    with pytest.raises(ConfigurationError, match="source differ"):
        await bulk_import(service(Mortal()), "leads", path, resume=tmp_path / "j")


@pytest.mark.parametrize(
    "options",
    [{"on_conflict": ["email"]}, {"columns": {"score": None}}, {"null": "-"}, {"encoding": "latin-1"}],
    ids=str,
)
async def test_other_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    """The rows would be others."""
    path = leads(tmp_path / "l.csv", 5)
    await bulk_import(service(Mortal()), "leads", path, resume=tmp_path / "j")
    with pytest.raises(ConfigurationError, match="is of another import"):
        await bulk_import(service(Mortal()), "leads", path, resume=tmp_path / "j", **options)


async def test_rows_that_cannot_be_recognised_are_not_resumed(tmp_path: Path) -> None:
    """A table whose keys the database makes: refused before anything is sent, with the ways out."""
    adapter = BulkAdapter()
    path = written(tmp_path / "l.csv", "email\na@x.io\n")
    with pytest.raises(ConfigurationError, match=r"rows that can be recognised.*\(id\)"):
        await bulk_import(service(adapter), "inquiries", path, resume=tmp_path / "j")
    assert adapter.sent == []


class Failing(BulkAdapter):
    """Fails the first bulk write, when three others are stored."""

    is_first = True

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        if not self.is_first:
            return await super().bulk_write(table, records, on_conflict=on_conflict)
        self.is_first = False
        while len(self.sent) < 3:
            await anyio.lowlevel.checkpoint()
        raise AdapterError("no such table", code="42P01")


async def test_what_came_behind_a_failure_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """Chunks are entered in the order of the source: the next run begins with the first one that is not in."""
    failing = Failing()
    path, journal = leads(tmp_path / "l.csv", 40), tmp_path / "j"
    with pytest.raises(ImportStoppedError, match="30 rows are in, of lines 12-41"):
        await bulk_import(service(failing), "leads", path, chunk_rows=10, resume=journal)
    report = await bulk_import(service(failing), "leads", path, chunk_rows=10, resume=journal)
    assert {*await emails(service(failing))} == {f"u{n}@a.example" for n in range(40)}
    assert (report.rows, report.resumed_rows) == (40, 0)


class Meddled(BulkAdapter):
    """Stores the first bulk write and loses its answer; before it is sent again, somebody changes a row of it."""

    is_first = True

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        stored = await super().bulk_write(table, records, on_conflict=on_conflict)
        if self.is_first:
            self.is_first = False
            await self.update(table, {"body": "changed"}, {"id": records[0]["id"]})
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return stored


async def test_of_a_chunk_that_others_have_changed_the_other_rows_are_recognised() -> None:
    """Its halves may be in as well as the whole."""
    rejects: list[Reject] = []
    rows = [{"id": n, "body": f"text {n}"} for n in range(1, 9)]
    given = service(Meddled(), schema=default_schema())
    report = await bulk_import(given, "inquiries", rows, rejects=rejects.append)
    assert [reject.line for reject in rejects] == [1]
    assert report.rows == 7


async def test_rows_with_keys_of_their_own_are_resumed(tmp_path: Path) -> None:
    """They are compared with what is there; that they are keys says the schema that was given."""
    adapter, journal = Mortal(), tmp_path / "j"
    path = written(tmp_path / "l.csv", "id,body\n" + "".join(f"{n},text {n}\n" for n in range(30)))
    adapter.kills = ["", "after"]
    with pytest.raises((KilledError, BaseExceptionGroup)):
        await bulk_import(service(adapter, schema=default_schema()), "inquiries", path, chunk_rows=10, resume=journal)
    adapter.kills = []
    report = await bulk_import(service(adapter, schema=default_schema()), "inquiries", path, resume=journal)
    assert report.rows == await service(adapter, schema=default_schema()).count("inquiries") == 30


async def test_without_a_journal_a_lost_answer_is_told_with_its_lines(tmp_path: Path) -> None:
    """Where the rows have no key, nothing else can be known."""

    class Silent(BulkAdapter):
        async def bulk_write(self, *args: Any, **options: Any) -> int:
            await super().bulk_write(*args, **options)
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)

    path = written(tmp_path / "l.csv", "email\na@x.io\nb@x.io\n")
    with pytest.raises(ImportStoppedError, match=r"lines 2-3 may be in") as stopped:
        await bulk_import(service(Silent()), "inquiries", path)
    assert isinstance(stopped.value.__cause__, OutcomeUnknownError)


async def test_rejects_that_the_journal_does_not_know_are_cut_off(tmp_path: Path) -> None:
    """They are written again when their chunk is; what is no rejects file is left alone."""
    adapter, journal, rejects = Mortal(), tmp_path / "j", tmp_path / "r.csv"
    path = written(tmp_path / "l.csv", f"{HEADER}\n{lead(1)}short\n{lead(2)}")
    await killed(adapter, path, "before", resume=journal, rejects=rejects)
    rejects.write_text("reject_line,reject_reason\n3,half a li")
    await bulk_import(service(adapter), "leads", path, resume=journal, rejects=rejects)
    reason = "1 field, where 3 belong; perhaps a note below or above the rows"
    assert rejects.read_text() == f'reject_line,reject_reason,{HEADER}\n3,"{reason}",short\n'
    other = tmp_path / "precious.txt"
    other.write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        await bulk_import(service(adapter), "leads", path, resume=journal, rejects=other)
    assert other.read_text() == "mine"
