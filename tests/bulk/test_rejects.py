"""Rows that do not go in: where they are told, what becomes of the others, and how they are mended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_persistence import AdapterError, ConfigurationError, InMemoryAdapter
from agent_persistence.bulk import ImportStoppedError, Reject, bulk_import
from agent_persistence.bulk.lines import MAX_LINE_BYTES
from agent_persistence.bulk.opening import BLOCK_BYTES
from agent_persistence.query.records import Record
from agent_persistence.schema_registry import default_schema
from tests.bulk.imports import HEADER, BulkAdapter, emails, json_lines, lead, leads, service, written

pytestmark = pytest.mark.anyio

BAD = f'{HEADER}\na@x.io,A,1\nb@x.io,"B\nB",one\nc@x.io,C\nd@x.io,D,2\na@x.io,A again,3\n,E,4\ne@x.io,E,5\n'
"""Seven records: a text in the column of a number, a ragged one, an email that is there, none at all."""


async def test_good_rows_go_in_and_bad_ones_into_the_file(tmp_path: Path) -> None:
    """In the order of the source, with line and reason in front of the record as it stood there."""
    made = service()
    report = await bulk_import(made, "leads", written(tmp_path / "l.csv", BAD), rejects=tmp_path / "rejects.csv")
    assert await emails(made) == ["a@x.io", "d@x.io", "e@x.io"]
    assert (report.rows, report.rejected, report.rejects) == (3, 4, str(tmp_path / "rejects.csv"))
    assert (tmp_path / "rejects.csv").read_text() == (
        f"reject_line,reject_reason,{HEADER}\n"
        '3,"score is a number, and this is none",b@x.io,"B\nB",one\n'
        '5,"2 fields, where 3 belong",c@x.io,C\n'
        '7,"a row of leads with this email exists (leads_email_key)",a@x.io,A again,3\n'
        '8,"leads.email may not be null",,E,4\n'
    )
    assert (report.first_reject, report.last_reject) == (
        Reject(3, "score is a number, and this is none", "score"),
        Reject(8, "leads.email may not be null"),
    )


async def test_a_mended_rejects_file_is_imported_as_it_is(tmp_path: Path) -> None:
    """What stands in front of its records is left out; what is rejected once more has one line and reason."""
    made = service()
    await bulk_import(made, "leads", written(tmp_path / "l.csv", BAD), rejects=tmp_path / "first.csv")
    mended = (tmp_path / "first.csv").read_text().replace(",one", ",1.5").replace("c@x.io,C", "c@x.io,C,9")
    report = await bulk_import(made, "leads", written(tmp_path / "mended.csv", mended), rejects=tmp_path / "second.csv")
    assert report.rows == 2
    assert await emails(made) == ["a@x.io", "d@x.io", "e@x.io", "b@x.io", "c@x.io"]
    head, *rest = (tmp_path / "second.csv").read_text().splitlines()
    assert head == f"reject_line,reject_reason,{HEADER}"
    assert [line.split('",')[1] for line in rest] == ["a@x.io,A again,3", ",E,4"]


async def test_rejects_of_json_lines_are_json_lines(tmp_path: Path) -> None:
    """An object has line and reason in it and is mended in place; what is no object stands in one as a text."""
    text = '{"email": "a@x.io", "score": true}\n{"email": "b@x.io", }\n{"email": "c@x.io"}\n[1]\n{}\n'
    made = service(schema=default_schema())
    await bulk_import(made, "leads", written(tmp_path / "l.jsonl", text), rejects=tmp_path / "r.jsonl")
    first, second, third, fourth = json_lines(tmp_path / "r.jsonl")
    assert first["reject_line"] == 1
    assert (first["email"], first["score"]) == ("a@x.io", True)
    assert second["reject_record"] == '{"email": "b@x.io", }'
    assert third["reject_record"] == "[1]"
    assert fourth == {"reject_line": 5, "reject_reason": "the object names no column"}
    mended = json.dumps({**first, "score": 1})
    again = f"{mended}\n{json.dumps(third)}\n"
    report = await bulk_import(made, "leads", written(tmp_path / "m.jsonl", again), rejects=tmp_path / "r2.jsonl")
    assert (report.rows, report.rejected) == (1, 1)


async def test_rejects_of_iterables_are_json_lines(tmp_path: Path) -> None:
    """The line is the number of the item."""
    made = service()
    await bulk_import(made, "leads", [{"email": "a@x.io"}, {"score": 2}, "x"], rejects=tmp_path / "r.jsonl")
    assert json_lines(tmp_path / "r.jsonl") == [
        {"reject_line": 2, "reject_reason": "leads.email may not be null", "score": 2},
        {
            "reject_line": 3,
            "reject_reason": "the item is a mapping of column to value or a pydantic model, not str",
            "reject_record": "str",
        },
    ]


async def test_a_function_is_called_with_each_reject(tmp_path: Path) -> None:
    """A plain one or an async one, in the order of the source, whatever the order in which chunks end."""
    plain: list[Reject] = []
    awaited: list[Reject] = []

    async def keep(reject: Reject) -> None:
        awaited.append(reject)

    for rejects in (plain.append, keep):
        await bulk_import(service(), "leads", written(tmp_path / "l.csv", BAD), rejects=rejects, chunk_rows=1)
    assert [reject.line for reject in plain] == [3, 5, 7, 8]
    assert plain == awaited
    assert plain[1].record == "c@x.io,C"


async def test_invalid_bytes_are_written_as_they_were(tmp_path: Path) -> None:
    """So that nothing of the record is lost."""
    path = written(tmp_path / "l.csv", b"email,company\na@x.io,\xff\xfe\n")
    await bulk_import(service(), "leads", path, rejects=tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_bytes().endswith(b"a@x.io,\xff\xfe\n")


async def test_a_line_too_long_to_be_read_is_a_reject_of_json_lines(tmp_path: Path) -> None:
    """It is told, as every other row that is not in."""
    too_long = f'{{"email": "b@x.io", "notes": "{"x" * (MAX_LINE_BYTES + BLOCK_BYTES)}"}}'
    path = written(tmp_path / "l.jsonl", f'{{"email": "a@x.io"}}\n{too_long}\n{{"email": "c@x.io"}}\n')
    made, rejects = service(), list[Reject]()
    report = await bulk_import(made, "leads", path, rejects=rejects.append)
    assert (report.rows, report.rejected) == (2, 1)
    assert [(reject.line, "longer" in reject.reason) for reject in rejects] == [(2, True)]
    assert await emails(made) == ["a@x.io", "c@x.io"]


async def test_a_bad_row_that_begins_a_chunk_leaves_the_lines_before_it(tmp_path: Path) -> None:
    """The report names no lines of a chunk of which nothing is in."""
    path = written(tmp_path / "l.csv", "email,score\na@x.io,1\nb@x.io,2\nc@x.io,high\n")
    with pytest.raises(ImportStoppedError) as stopped:
        await bulk_import(service(), "leads", path, chunk_rows=2)
    assert stopped.value.report.lines == ((1, 3),)


@pytest.mark.parametrize(
    ("message", "sent"),
    [("permission denied for table leads", 1), ("new row violates row-level security policy", 3)],
)
async def test_a_right_that_the_role_lacks_is_about_no_row(message: str, sent: int) -> None:
    """Every row would be rejected for it; those that row-level security refuses are rejected one by one."""
    refused = AdapterError(f"bulk_write on leads: {message} (42501)", code="42501")
    adapter, rejects = BulkAdapter(failures=[refused] * sent), list[Reject]()
    importing = bulk_import(
        service(adapter), "leads", [{"email": "a@x.io"}, {"email": "b@x.io"}], rejects=rejects.append
    )
    if sent > 1:
        assert (await importing).rejected == len(rejects) == 2
        return
    with pytest.raises(ImportStoppedError, match="permission denied"):
        await importing
    assert rejects == []


async def test_the_first_bad_row_stops_an_import_without_rejects(tmp_path: Path) -> None:
    """The error says line, column and reason, and what is in: all rows before it, and none behind."""
    made = service()
    with pytest.raises(ImportStoppedError) as stopped:
        await bulk_import(made, "leads", written(tmp_path / "l.csv", BAD))
    error = stopped.value
    assert (error.line, error.column, error.reason) == (3, "score", "score is a number, and this is none")
    assert str(error) == ("leads: line 3, column score: score is a number, and this is none; 1 row is in, of lines 1-2")
    assert (error.report.rows, error.report.rejected, error.report.lines) == (1, 1, ((1, 2),))
    assert await emails(made) == ["a@x.io"]


async def test_of_two_bad_rows_the_first_stops_it(tmp_path: Path) -> None:
    """Also where the second was found when the file was read, and the first by the database."""
    path = written(tmp_path / "l.csv", f"{HEADER}\n{lead(1)},nobody,2\n{lead(3)}short\n")
    made = service()
    with pytest.raises(ImportStoppedError) as stopped:
        await bulk_import(made, "leads", path)
    assert (stopped.value.line, stopped.value.report.rejected) == (3, 1)
    assert await emails(made) == ["u1@a.example"]


async def test_a_row_that_the_database_refuses_stops_it_there(tmp_path: Path) -> None:
    """Rows before it are in, though they were in one chunk with it."""
    path = written(tmp_path / "l.csv", f"{HEADER}\n" + "".join(map(lead, range(9))) + lead(4) + lead(10))
    made = service()
    with pytest.raises(ImportStoppedError, match="line 11: a row of leads with this email exists") as stopped:
        await bulk_import(made, "leads", path)
    assert len(await emails(made)) == 9
    assert stopped.value.report.rows == 9


@pytest.mark.parametrize("bad", [{0}, {99}, {0, 99}, {50, 51, 52}, set(range(0, 100, 7)), set(range(100))], ids=str)
async def test_a_refused_chunk_is_halved_down_to_the_bad_rows(bad: set[int]) -> None:
    """All others go in, by at most twice as many requests as it has rows."""
    adapter = BulkAdapter()
    made = service(adapter)
    records = [{"email": None if n in bad else f"u{n}@x.io", "company": str(n)} for n in range(100)]
    rejects: list[Reject] = []
    report = await bulk_import(made, "leads", records, rejects=rejects.append)
    assert {reject.line - 1 for reject in rejects} == bad
    assert [row["company"] for row in await made.query("leads")] == [str(n) for n in range(100) if n not in bad]
    assert report.rows == 100 - len(bad)
    assert len(adapter.sent) < 200


def ignored(reject: Reject) -> None:
    """Puts up with it."""


class Refusing(InMemoryAdapter):
    """Refuses bulk writes with one error, if they hold more than `most` rows."""

    def __init__(self, error: AdapterError, most: int = 0) -> None:
        super().__init__()
        self.error = error
        self.most = most
        self.calls = 0

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.calls += 1
        if len(records) > self.most:
            raise self.error
        return await super().bulk_write(table, records, on_conflict=on_conflict)


@pytest.mark.parametrize("code", ["42P01", "PGRST204", "42703", "28P01", None])
async def test_a_failure_that_is_not_about_rows_is_not_halved(code: str | None) -> None:
    """A table that is not there is not there for a single row either."""
    adapter = Refusing(AdapterError("no", code=code, status=404))
    with pytest.raises(ImportStoppedError, match="nothing is in") as stopped:
        await bulk_import(service(adapter), "leads", [{"email": f"{n}"} for n in range(50)], rejects=ignored)
    assert adapter.calls == 1
    assert isinstance(stopped.value.__cause__, AdapterError)
    assert stopped.value.reject is None


@pytest.mark.parametrize(
    "error",
    [
        AdapterError("too large", status=413),
        AdapterError("statement timeout", code="57014"),
    ],
    ids=str,
)
async def test_a_chunk_that_is_too_much_is_halved(error: AdapterError) -> None:
    """For the server's bounds on bodies and time, too."""
    adapter = Refusing(error, most=10)
    report = await bulk_import(service(adapter), "leads", [{"email": f"{n}"} for n in range(50)])
    assert report.rows == 50


async def test_too_many_rejects_stop_the_import() -> None:
    """A file of another kind is noticed before it is all in the rejects."""
    adapter = BulkAdapter()
    rejects: list[Reject] = []
    with pytest.raises(ImportStoppedError, match="more than 5 rows are rejected, at last line 6") as stopped:
        await bulk_import(
            service(adapter), "leads", [{"score": 1}] * 10_000, rejects=rejects.append, max_rejects=5, chunk_rows=100
        )
    assert 6 <= len(rejects) <= 24
    assert len(adapter.sent) < 100
    assert stopped.value.report.rows == 0


async def test_every_row_may_be_rejected_where_that_is_said() -> None:
    """None is no bound."""
    report = await bulk_import(service(), "leads", ["x"] * 1500, rejects=ignored, max_rejects=None)
    assert report.rejected == 1500


async def test_a_rejects_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """It may be the source, or the rejects of another import."""
    path = leads(tmp_path / "l.csv", 3)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is there already"):
        await bulk_import(service(), "leads", path, rejects=path)
    assert path.read_bytes() == before


async def test_a_rejects_file_that_cannot_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Not when the first row is rejected, and others are in."""
    made = service()
    with pytest.raises(ConfigurationError, match="its directory does not exist"):
        await bulk_import(made, "leads", leads(tmp_path / "l.csv", 3), rejects=tmp_path / "no" / "r.csv")
    assert await emails(made) == []


async def test_without_a_reject_there_is_no_file(tmp_path: Path) -> None:
    """And the report names none."""
    report = await bulk_import(service(), "leads", leads(tmp_path / "l.csv", 3), rejects=tmp_path / "r.csv")
    assert report.rejects is None
    assert not (tmp_path / "r.csv").exists()


async def test_what_rejects_raises_ends_the_import() -> None:
    """As itself: nobody would know of the rows otherwise."""

    def fail(reject: Reject) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await bulk_import(service(), "leads", ["x"], rejects=fail)
