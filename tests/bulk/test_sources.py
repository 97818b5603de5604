"""What can be imported: CSV, JSON lines, Parquet, files in a packing, file objects, iterables of both kinds."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent_persistence import NULL, ConfigurationError, ValidationError
from agent_persistence.bulk import ImportStoppedError, Reject, bulk_import
from tests.bulk.imports import emails, service, written

pyarrow: Any = import_module("pyarrow")
parquet: Any = import_module("pyarrow.parquet")

pytestmark = pytest.mark.anyio

CSV = "email,score\na@x.io,1\nb@x.io,\n"
TSV = "email\tscore\na@x.io\t1\nb@x.io\t\n"
JSON = '{"email": "a@x.io", "score": 1}\n\n{"email": "b@x.io", "score": null}\n'
RECORDS = [{"email": "a@x.io", "score": 1}, {"email": "b@x.io", "score": NULL}]


class Lead(BaseModel):
    email: str
    score: int | None = None


class Scored(BaseModel):
    email: str
    score: int = 1


def parquet_file(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


async def stored(source: Any, **options: Any) -> list[tuple[str, Any]]:
    """The leads that the import leaves, by email and score."""
    made = service()
    report = await bulk_import(made, "leads", source, **options)
    rows = await made.query("leads", order_by="email")
    assert report.rows == len(rows)
    return [(row["email"], row["score"]) for row in rows]


def shown(value: object) -> str:
    """The value as the id of a test: the same in every process, so that no address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("leads.csv", CSV),
        ("leads.CSV", CSV),
        ("leads.csv.gz", CSV),
        ("leads.tsv", TSV),
        ("leads.jsonl", JSON),
        ("leads.ndjson.gz", JSON),
    ],
)
async def test_a_file_is_read_as_its_ending_says(tmp_path: Path, name: str, text: str) -> None:
    """Packed with gzip or not; the path is a str or a Path."""
    path = written(tmp_path / name, text)
    assert await stored(path) == await stored(str(path)) == [("a@x.io", 1), ("b@x.io", None)]


async def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    """A missing value is NULL."""
    path = parquet_file(tmp_path / "leads.parquet", email=["a@x.io", "b@x.io"], score=[1, None])
    assert await stored(path) == [("a@x.io", 1), ("b@x.io", None)]


async def test_a_file_object_is_read_and_stays_open() -> None:
    """It tells no format, which is to be said."""
    file = io.BytesIO(CSV.encode())
    assert await stored(file, format="csv") == [("a@x.io", 1), ("b@x.io", None)]
    assert not file.closed


async def given() -> AsyncIterator[dict[str, Any]]:
    for record in RECORDS:
        yield record


@pytest.mark.parametrize("source", [RECORDS, tuple(RECORDS), iter, given, "models"], ids=shown)
async def test_iterables_of_records_are_read(source: Any) -> None:
    """Lists, iterators, async iterators; records are mappings or pydantic models."""
    if source == "models":
        source = [Lead(email="a@x.io", score=1), Lead(email="b@x.io")]
    if callable(source):
        source = iter(RECORDS) if source is iter else source()
    assert await stored(source) == [("a@x.io", 1), ("b@x.io", None)]


async def test_models_that_are_merged_change_only_what_was_set() -> None:
    """A default of the model is not put over what is stored; rows that set other columns may follow."""
    made = service()
    await made.write("leads", {"email": "a@x.io", "score": 7})
    await bulk_import(made, "leads", [Scored(email="a@x.io"), Scored(email="b@x.io", score=2)], on_conflict=["email"])
    assert [(row["email"], row["score"]) for row in await made.query("leads")] == [("a@x.io", 7), ("b@x.io", 2)]


async def test_none_in_a_record_means_not_given() -> None:
    """As in every verb: the column takes its default. NULL is an explicit null, and so is null in a file."""
    made = service()
    await bulk_import(
        made, "leads", [{"email": "a@x.io", "is_qualified": None}, {"email": "b@x.io", "is_qualified": NULL}]
    )
    assert [row["is_qualified"] for row in await made.query("leads")] == [False, None]


async def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    """Texts that look like numbers stay texts, documents are documents, numbers keep their digits."""
    text = '{"email": "a@x.io", "company": "007", "score": 12345678901234567.891, "custom": {"a": [1, null]}}\n'
    made = service()
    await bulk_import(made, "leads", written(tmp_path / "leads.jsonl", text))
    (row,) = await made.query("leads")
    assert row["company"] == "007"
    assert row["score"] == Decimal("12345678901234567.891")
    assert row["custom"] == {"a": [1, None]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"email": "b@x.io", "email": "c@x.io"}', "holds a key twice"),
        ('{"email": "b@x.io", "score": NaN}', "NaN is none of its values"),
        ('["b@x.io"]', "is no JSON object"),
        ('"b@x.io"', "is no JSON object"),
        ("{}", "names no column"),
        ('{"email": ', "is no JSON"),
        ("[" * 50_000, "nested too deeply"),
        ('{"email": "b@x.io", "custom": {"n": 12345678901234567.891}}', "custom holds a number with more digits"),
    ],
)
async def test_a_line_that_is_no_object_is_a_reject(tmp_path: Path, line: str, reason: str) -> None:
    """The others go in."""
    path = written(tmp_path / "leads.jsonl", f'{{"email": "a@x.io"}}\n{line}\n{{"email": "d@x.io"}}\n')
    made = service()
    rejects: list[Reject] = []
    await bulk_import(made, "leads", path, rejects=rejects.append)
    assert await emails(made) == ["a@x.io", "d@x.io"]
    assert [(reject.line, reject.record) for reject in rejects] == [(2, line)]
    assert reason in rejects[0].reason


async def test_invalid_bytes_and_nul_characters_are_rejects(tmp_path: Path) -> None:
    """PostgreSQL could store neither."""
    path = written(tmp_path / "leads.csv", b"email,company\na@x.io,A\nb@x.io,\xff\r\nc@x.io,a\0b\nd@x.io,D\n")
    made = service()
    rejects: list[Reject] = []
    await bulk_import(made, "leads", path, rejects=rejects.append)
    assert await emails(made) == ["a@x.io", "d@x.io"]
    assert [(reject.line, reject.reason.split(";")[0]) for reject in rejects] == [
        (3, "holds bytes that are not utf-8"),
        (4, "company: PostgreSQL cannot store the NUL character"),
    ]


async def test_parquet_values_become_json(tmp_path: Path) -> None:
    """Times as ISO 8601, cut to PostgreSQL's microseconds; decimals with all digits; lists and structs."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    path = parquet_file(
        tmp_path / "leads.parquet",
        email=["a@x.io"],
        score=pyarrow.array([Decimal("1.50")], pyarrow.decimal128(10, 2)),
        tags=[["a", "b"]],
        custom=[{"city": "Ulm"}],
        last_contacted_at=pyarrow.array([int(at.timestamp()) * 10**9 + 678901234], pyarrow.timestamp("ns", "UTC")),
    )
    made = service()
    await bulk_import(made, "leads", path)
    (row,) = await made.query("leads")
    assert row["tags"] == ["a", "b"]
    assert row["custom"] == {"city": "Ulm"}
    assert str(row["score"]) in ("1.5", "1.50")
    assert datetime.fromisoformat(row["last_contacted_at"]) == at


async def test_a_parquet_row_that_has_no_form_in_its_column_is_a_reject(tmp_path: Path) -> None:
    """NaN within a document, for one."""
    custom = [{"n": float("nan")}, {"n": 1.0}]
    path = parquet_file(tmp_path / "leads.parquet", email=["a@x.io", "b@x.io"], custom=custom)
    made = service()
    rejects: list[Reject] = []
    await bulk_import(made, "leads", path, rejects=rejects.append)
    assert await emails(made) == ["b@x.io"]
    assert (rejects[0].line, rejects[0].column) == (1, "custom")
    assert "custom is not a finite number" in rejects[0].reason


async def test_parquet_columns_are_renamed_and_checked(tmp_path: Path) -> None:
    """Before a row is read."""
    path = parquet_file(tmp_path / "leads.parquet", mail=["a@x.io"], score=[1], junk=[0])
    assert await stored(path, columns={"mail": "email", "junk": None}) == [("a@x.io", 1)]
    with pytest.raises(ValidationError, match=r"makes one of two"):
        await stored(path, columns={"mail": "email", "junk": "email"})


@pytest.mark.parametrize("name", ["leads.csv", "leads.jsonl", "leads.csv.gz", "leads.tsv"])
async def test_an_empty_file_is_an_error(tmp_path: Path, name: str) -> None:
    """Whatever made it has most likely failed."""
    with pytest.raises(ImportStoppedError, match="the source is empty, it has 0 bytes"):
        await bulk_import(service(), "leads", written(tmp_path / name, b""), rejects=tmp_path / "rejects")


async def test_a_file_with_a_header_alone_has_no_rows_and_the_report_says_so(tmp_path: Path) -> None:
    """It may be right."""
    report = await bulk_import(service(), "leads", written(tmp_path / "leads.csv", "email\n"))
    assert (report.rows, report.note) == (0, "the source holds no record")
    assert "the source holds no record" in str(report)


MOMENT = {"email": "a@x.io", "last_contacted_at": "Today"}


@pytest.mark.parametrize("source", ["leads.csv", "leads.jsonl", "leads.parquet", "records"])
async def test_a_word_that_means_another_time_each_day_is_refused_from_every_source(
    tmp_path: Path, source: str
) -> None:
    """Line and column are named."""
    path: Any = tmp_path / source
    match source:
        case "leads.csv":
            written(path, "email,last_contacted_at\na@x.io,Today\n")
        case "leads.jsonl":
            written(path, json.dumps(MOMENT))
        case "leads.parquet":
            parquet_file(path, **{name: [value] for name, value in MOMENT.items()})
        case _:
            path = [MOMENT]
    rejects: list[Reject] = []
    report = await bulk_import(service(), "leads", path, rejects=rejects.append)
    assert (report.rows, [reject.column for reject in rejects]) == (0, ["last_contacted_at"])
    assert "write the date or time" in rejects[0].reason


async def test_a_packed_file_that_is_cut_off_stops_the_import(tmp_path: Path) -> None:
    """No row is lost without a word."""
    path = written(tmp_path / "leads.csv.gz", CSV)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ImportStoppedError, match="damaged or cut off"):
        await bulk_import(service(), "leads", path)


async def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """What it holds is told at its end."""
    path = parquet_file(tmp_path / "leads.parquet", email=["a@x.io"])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ConfigurationError, match="no Parquet file"):
        await bulk_import(service(), "leads", path)


async def test_pyarrow_is_asked_for_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    path = parquet_file(tmp_path / "leads.parquet", email=["a@x.io"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[parquet\]"):
        await bulk_import(service(), "leads", path)


class Frame:
    """A table of a library that iterates over its column names."""

    def __iter__(self) -> Iterator[str]:
        return iter(["email"])

    def to_records(self) -> None: ...


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("leads.doc", {}, "say format="),
        ("nowhere.csv", {}, "cannot be opened"),
        (io.BytesIO(b""), {}, "say format="),
        (io.StringIO(""), {"format": "csv"}, "binary mode"),
        ([], {"format": "csv"}, "an iterable gives records"),
        ("leads.csv", {"format": "xml"}, "format is one of"),
        (b"email\n", {}, "source is a path"),
        ({"email": "a"}, {}, "source is a path"),
        (7, {}, "source is a path"),
        (Frame(), {}, "source is a path"),
        ([], {"columns": ["email"]}, "columns is a mapping here"),
        ([], {"columns": "email"}, "columns is a list"),
        ([], {"columns": {"a": 1}}, "columns: 'a'"),
        ([], {"chunk_rows": 0}, "chunk_rows is an int of at least 1"),
        ([], {"concurrency": True}, "concurrency is an int"),
        ([], {"max_rejects": 0}, "max_rejects is an int"),
        ([], {"on_conflict": "email"}, "on_conflict is a list"),
        ([], {"on_conflict": []}, "on_conflict is a list"),
        ([], {"resume": "journal"}, "resume= needs the path of a file"),
    ],
    ids=shown,
)
async def test_what_cannot_be_read_is_refused_at_once(source: Any, options: dict[str, Any], message: str) -> None:
    """Before anything is opened, with what would be right."""
    with pytest.raises(ConfigurationError, match=message):
        await bulk_import(service(), "leads", source, **options)


async def test_a_generator_is_closed_where_the_import_stops() -> None:
    """Its `finally` runs before the error is raised."""
    closed = []

    async def endless() -> AsyncIterator[Any]:
        try:
            while True:
                yield "no record"
        finally:
            closed.append(True)

    with pytest.raises(ImportStoppedError, match="line 1"):
        await bulk_import(service(), "leads", endless())
    assert closed == [True]


async def test_an_error_of_the_source_is_raised_as_it_is() -> None:
    """With a note that says what is in."""

    def failing() -> Iterator[dict[str, Any]]:
        yield {"email": "a@x.io"}
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        await bulk_import(service(), "leads", failing())
    assert "nothing is in" in raised.value.__notes__[0]
