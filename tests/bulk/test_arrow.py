"""Every type of Arrow's that Parquet stores, with its edges: PostgreSQL has the value as it is, or it is a reject."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, Schema, SupabaseAdapter, TablePolicy, sync
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.bulk import ImportStoppedError, Reject, bulk_import
from agent_persistence.exceptions import ValidationError
from agent_persistence.schema_registry import Column, Table
from tests.bulk.imports import json_lines
from tests.server import LocalServer

pa: Any = import_module("pyarrow")
parquet: Any = import_module("pyarrow.parquet")

pytestmark = pytest.mark.anyio

I64: Final = 2**63
NAN, INF = float("nan"), float("inf")
AT: Final = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
COLUMNS: Final = {
    "whole": "integer", "small": "smallint", "big": "bigint", "exact": "numeric", "real8": "double precision",
    "flag": "boolean", "body": "text", "raw": "bytea", "day": "date", "at": "timestamp", "atz": "timestamptz",
    "clock": "time", "span": "interval", "uid": "uuid", "doc": "jsonb", "words": "text[]", "numbers": "integer[]",
    "times": "timestamptz[]",
}  # fmt: skip


def counted(kind: Any, *counts: int) -> Any:
    """Values of a type of times by what they are stored as."""
    return pa.array(counts, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)


def stamps(unit: str, *counts: int, zone: str | None = None) -> Any:
    return counted(pa.timestamp(unit, zone), *counts)


DAYS_10K, LAST_DAY = 2_932_897, 2_145_042_905
SECONDS_10K = DAYS_10K * 86_400
GOOD: Final[list[tuple[str, Any, list[str | None]]]] = [
    ("whole", pa.array([1.0, -2.0, 2147483647.0]), ["1", "-2", "2147483647"]),
    ("whole", pa.array([Decimal("3.00")], pa.decimal128(10, 2)), ["3"]),
    ("whole", pa.array([7, None], pa.uint8()), ["7", None]),
    ("big", pa.array([I64 - 1, -I64]), [str(I64 - 1), str(-I64)]),
    ("exact", pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
    ("exact", pa.array([Decimal("1.50"), Decimal("-99999999.99")], pa.decimal128(10, 2)), ["1.50", "-99999999.99"]),
    ("exact", pa.array([Decimal("9" * 76)], pa.decimal256(76, 0)), ["9" * 76]),
    ("exact", pa.array([NAN, INF, -INF]), ["NaN", "Infinity", "-Infinity"]),
    ("real8", pa.array([NAN, INF, -INF]), ["NaN", "Infinity", "-Infinity"]),
    ("real8", pa.array([1e308, 5e-324, -0.0]), ["1e+308", "5e-324", "-0"]),
    ("real8", pa.array([0.5], pa.float32()), ["0.5"]),
    ("real8", pa.array([0.5, 65504.0], pa.float32()).cast(pa.float16()), ["0.5", "65504"]),
    ("flag", pa.array([True, False, None]), ["true", "false", None]),
    ("body", pa.array(["", "now", "é\u2028\\N", None]), ["", "now", "é\u2028\\N", None]),
    ("body", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    ("body", pa.array(["x"], pa.large_string()), ["x"]),
    ("raw", pa.array([b"", b"\x00\xff"]), ["\\x", "\\x00ff"]),
    ("raw", pa.array([b"ab"], pa.binary(2)), ["\\x6162"]),
    ("day", counted(pa.date32(), 0, DAYS_10K, -719_163), ["1970-01-01", "10000-01-01", "0001-12-31 BC"]),
    ("day", counted(pa.date32(), -2_440_588, LAST_DAY), ["4714-11-24 BC", "5874897-12-31"]),
    ("day", counted(pa.date64(), 86_400_000), ["1970-01-02"]),
    ("day", stamps("us", 86_400_000_000), ["1970-01-02"]),
    ("at", stamps("us", AT * 10**6 + 1), ["2026-01-02 03:04:05.000001"]),
    ("at", stamps("ms", SECONDS_10K * 1000), ["10000-01-01 00:00:00"]),
    ("at", stamps("s", AT), ["2026-01-02 03:04:05"]),
    ("atz", stamps("us", AT * 10**6, zone="Europe/Berlin"), ["2026-01-02 03:04:05+00"]),
    ("atz", stamps("us", SECONDS_10K * 10**6 + 5, zone="UTC"), ["10000-01-01 00:00:00.000005+00"]),
    ("atz", stamps("us", -719_163 * 86_400 * 10**6, zone="UTC"), ["0001-12-31 00:00:00+00 BC"]),
    ("atz", stamps("us", (SECONDS_10K - 1) * 10**6, zone="Asia/Tokyo"), ["9999-12-31 23:59:59+00"]),
    ("atz", stamps("ns", -1, zone="UTC"), ["1969-12-31 23:59:59.999999+00"]),
    ("atz", stamps("ns", AT * 10**9 + 999, zone="UTC"), ["2026-01-02 03:04:05+00"]),
    ("clock", counted(pa.time64("us"), 0, 86_400 * 10**6), ["00:00:00", "24:00:00"]),
    ("clock", counted(pa.time64("ns"), 1_999), ["00:00:00.000001"]),
    ("clock", counted(pa.time32("ms"), 86_400_000), ["24:00:00"]),
    ("span", counted(pa.duration("us"), 90 * 10**6, -500_000), ["00:01:30", "-00:00:00.5"]),
    ("span", counted(pa.duration("s"), 10**12), ["277777777:46:40"]),
    ("uid", pa.array([UUID(int=1).bytes], pa.binary(16)), [str(UUID(int=1))]),
    ("uid", pa.array([UUID(int=2).bytes], pa.uuid()), [str(UUID(int=2))]),
    ("uid", pa.array([str(UUID(int=3))]), [str(UUID(int=3))]),
    ("doc", pa.array(['{"a": [1, null]}', '"text"', None], pa.json_()), ['{"a": [1, null]}', '"text"', None]),
    ("doc", pa.array(["{}"]), ['"{}"']),
    ("doc", pa.array([[("a", 1), ("b", None)], []], pa.map_(pa.string(), pa.int64())), ['{"a": 1, "b": null}', "{}"]),
    ("doc", pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())), ['[[1, "x"]]']),
    ("doc", pa.array([{"at": [AT * 10**9 + 7]}, None], pa.struct({"at": pa.list_(pa.timestamp("ns"))})),
     ['{"at": ["2026-01-02T03:04:05"]}', None]),
    ("doc", pa.array([{"n": Decimal("1.50")}], pa.struct({"n": pa.decimal128(9, 2)})), ['{"n": 1.5}']),
    ("doc", pa.array([[[("k", [1.5])]]], pa.list_(pa.map_(pa.string(), pa.list_(pa.float64())))), ['[{"k": [1.5]}]']),
    ("doc", pa.StructArray.from_arrays([pa.array(['{"x": 1}'], pa.json_())], names=["j"]), ['{"j": {"x": 1}}']),
    ("words", pa.array([["a", None, "c,d"], [], None]), ['{a,NULL,"c,d"}', "{}", None]),
    ("numbers", pa.array([[1.0, 2.0]]), ["{1,2}"]),
    ("numbers", pa.array([[1, 2]], pa.list_(pa.int64(), 2)), ["{1,2}"]),
    ("numbers", pa.array([[[1], [2]]]), ["{{1},{2}}"]),
    ("times", pa.array([[-1, AT * 10**9 + 1]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns", "UTC"))),
     ['{"1969-12-31 23:59:59.999999+00","2026-01-02 03:04:05+00"}']),
    ("body", pa.nulls(2), [None, None]),
]  # fmt: skip
BAD: Final[list[tuple[str, Any]]] = [
    ("whole", pa.array([1.5])),
    ("whole", pa.array([NAN])),
    ("whole", pa.array([INF])),
    ("whole", pa.array([1e300])),
    ("whole", pa.array([2**31])),
    ("whole", pa.array([Decimal("1.01")], pa.decimal128(10, 2))),
    ("whole", pa.array([True])),
    ("small", pa.array([40_000])),
    ("big", pa.array([2**63], pa.uint64())),
    ("body", pa.array([NAN])),
    ("body", pa.array([b"bytes"])),
    ("undeclared", pa.array([INF])),
    ("day", counted(pa.date32(), 2**31 - 1)),
    ("day", counted(pa.date32(), -(2**31))),
    ("day", stamps("us", AT * 10**6)),
    ("day", pa.array(["tomorrow"])),
    ("at", stamps("us", I64 - 1)),
    ("at", stamps("ms", I64 - 1)),
    ("at", stamps("ms", 10**17)),
    ("atz", stamps("us", -I64 + 1, zone="UTC")),
    ("atz", stamps("ms", -(10**15), zone="Europe/Berlin")),
    ("clock", counted(pa.time64("us"), 86_400 * 10**6 + 1)),
    ("clock", counted(pa.time64("us"), -1)),
    ("span", counted(pa.duration("s"), I64 - 1)),
    ("uid", pa.array([b"short"])),
    ("doc", pa.array(["{", '{"a": NaN}'], pa.json_())),
    ("doc", pa.array(['{"a": 1, "a": 2}'], pa.json_())),
    ("doc", pa.array([{"n": [INF]}])),
    ("doc", pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))),
    ("doc", pa.array([{"n": Decimal("12345678901234567.891")}], pa.struct({"n": pa.decimal128(20, 3)}))),
    ("numbers", pa.array([[1.0, 1.5]])),
    ("times", pa.array([[I64 - 1]]).cast(pa.list_(pa.timestamp("us", "UTC")))),
    ("times", pa.array([["yesterday"]])),
    ("body", pa.array([b"\xff"]).view(pa.string())),
]


def named(cases: list[Any]) -> list[str]:
    return [f"{number}-{case[0]}-{case[1].type}" for number, case in enumerate(cases)]


def file(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path, coerce_timestamps=None, use_deprecated_int96_timestamps=False)
    return path


def schema() -> Schema:
    columns = {"n": Column("integer"), **{name: Column(type_name) for name, type_name in COLUMNS.items()}}
    return Schema({"kinds": Table(columns, primary_key=("n",))})


def service(adapter: Any, declared: Schema | None = None) -> AsyncPersistenceService:
    policy = TablePolicy(read={"kinds"}, write={"kinds"})
    return AsyncPersistenceService(adapter, policy=policy, schema=declared or schema(), client_keys=False)


@pytest.fixture(scope="module")
def _kinds(local_server: LocalServer) -> Iterator[None]:
    columns = ", ".join(f"{name} {type_name}" for name, type_name in COLUMNS.items())
    local_server.execute(f"drop table if exists kinds; create table kinds (n integer primary key, {columns})")
    local_server.execute("grant all on kinds to service_role")
    local_server.reload_schema()
    yield
    local_server.execute("drop table kinds")
    local_server.reload_schema()


@pytest.fixture(params=["REST", "SQL"])
async def made(
    request: pytest.FixtureRequest, local_server: LocalServer, _kinds: None, anyio_backend: Any
) -> AsyncIterator[AsyncPersistenceService]:
    local_server.execute("truncate kinds")
    url, key = local_server.url, local_server.service_key
    adapter: Any = SupabaseAdapter(url, key) if request.param == "REST" else PostgresAdapter(local_server.database_url)
    yield service(adapter)
    await adapter.aclose()


@pytest.mark.parametrize(("column", "array", "texts"), GOOD, ids=named(GOOD))
async def test_a_value_is_stored_as_what_it_is(
    made: AsyncPersistenceService, local_server: LocalServer, tmp_path: Path, column: str, array: Any, texts: list[Any]
) -> None:
    """By PostgreSQL's own print of it, over both ways."""
    path = file(tmp_path / "kinds.parquet", **{"n": list(range(len(array))), column: array})
    report = await bulk_import(made, "kinds", path)
    assert report.rows == len(texts)
    stored = local_server.execute(f"select {column}::text as shown from kinds order by n")
    assert [row["shown"] for row in stored] == texts


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("column", "array"), BAD, ids=named(BAD))
async def test_a_value_that_its_column_cannot_hold_costs_its_row_alone(
    tmp_path: Path, column: str, array: Any, anyio_backend: str
) -> None:
    """It is a reject that names the column and can be written down; without `rejects=` it is where the import stops."""
    rows = pa.concat_arrays([array, pa.nulls(1, array.type)])
    path = file(tmp_path / "kinds.parquet", **{"n": list(range(len(rows))), column: rows})
    made = service(InMemoryAdapter(), Schema({}) if column == "undeclared" else schema())
    rejects: list[Reject] = []
    report = await bulk_import(made, "kinds", path, rejects=rejects.append)
    assert (report.rows, [reject.column for reject in rejects]) == (1, [column] * len(array))
    assert all(reject.reason.startswith(f"{column} ") for reject in rejects)
    with pytest.raises(ImportStoppedError, match=rf"line 1, column {column}: {column} "):
        await bulk_import(made, "kinds", path)
    await bulk_import(made, "kinds", path, rejects=tmp_path / "rejects.jsonl", dry_run=True)
    assert [line["reject_line"] for line in json_lines(tmp_path / "rejects.jsonl")] == [
        number + 1 for number in range(len(array))
    ]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_year_that_the_store_cannot_follow_is_a_reject(tmp_path: Path, anyio_backend: str) -> None:
    """The in-memory adapter has the years 1 to 9999."""
    path = file(tmp_path / "kinds.parquet", n=[0, 1], at=stamps("s", SECONDS_10K, 0))
    rejects: list[Reject] = []
    report = await bulk_import(service(InMemoryAdapter(schema=schema())), "kinds", path, rejects=rejects.append)
    assert report.rows == 1
    assert "kinds.at" in rejects[0].reason


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_values_stay_in_their_rows_over_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    """Lists and maps of different lengths, and rows without any, wherever a batch begins."""
    monkeypatch.setattr("agent_persistence.bulk.parquet.BATCH_ROWS", 3)
    lists = [None if n % 5 == 0 else [str(n)] * (n % 4) for n in range(20)]
    maps = [None if n % 7 == 0 else {f"k{i}": n for i in range(n % 3)} for n in range(20)]
    pairs = pa.array([each and list(each.items()) for each in maps], pa.map_(pa.string(), pa.int64()))
    path = file(tmp_path / "kinds.parquet", n=list(range(20)), words=lists, doc=pairs)
    made = service(InMemoryAdapter(schema=schema()))
    await bulk_import(made, "kinds", path)
    rows = await made.query("kinds", order_by="n")
    assert [(row["words"], row["doc"]) for row in rows] == list(zip(lists, maps, strict=True))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_type_without_a_form_is_refused_before_a_row_is_read(tmp_path: Path, anyio_backend: str) -> None:
    """A struct with a field twice is neither an object nor anything else."""
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = file(tmp_path / "kinds.parquet", n=[0], doc=twice)
    made = service(InMemoryAdapter(schema=schema()))
    with pytest.raises(ValidationError, match=r"column 'doc' of the source is a struct with a field twice"):
        await bulk_import(made, "kinds", path)
    assert (await bulk_import(made, "kinds", path, columns={"doc": None})).rows == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_json_is_known_by_parquet_s_own_word_for_it(tmp_path: Path, anyio_backend: str) -> None:
    """Next to a list and a struct, which Parquet stores in columns of their own; a plain text stays one."""
    nested = pa.array([{"a": ["x"], "b": "y"}])
    documents = pa.array(['{"a": 1}'], pa.json_())
    path = file(tmp_path / "kinds.parquet", n=[0], words=pa.array([["{}"]]), skipped=nested, doc=documents, body=["{}"])
    made = service(InMemoryAdapter(schema=schema()))
    await bulk_import(made, "kinds", path, columns={"skipped": None})
    (row,) = await made.query("kinds")
    assert (row["doc"], row["body"], row["words"]) == ({"a": 1}, "{}", ["{}"])
    assert json.dumps(row["doc"]) == '{"a": 1}'


class Frame:
    """What a data frame of any library is to an import: nothing but the stream."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        stream: object = self._table.__arrow_c_stream__(requested_schema)
        return stream


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("batch_rows", [2, 100])
async def test_a_data_frame_is_a_source(batch_rows: int, monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    """As exact as a file of Parquet: what is missing is NULL; columns can be left out."""
    monkeypatch.setattr("agent_persistence.bulk.parquet.BATCH_ROWS", batch_rows)
    frame = Frame(pa.table({"n": [1, 2, 3], "body": ["a", None, "c"], "other": ["x", "y", "z"]}))
    made = service(InMemoryAdapter(schema=schema()))
    report = await bulk_import(made, "kinds", frame, columns={"other": None})
    assert report.rows == 3
    assert [row["body"] for row in await made.query("kinds", order_by="n")] == ["a", None, "c"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_row_of_a_data_frame_that_does_not_fit_is_a_reject(anyio_backend: str) -> None:
    """It has the number of its row, as in a file."""
    found: list[Reject] = []
    frame = Frame(pa.table({"n": [1, 2], "at": stamps("s", SECONDS_10K, 0)}))
    report = await bulk_import(service(InMemoryAdapter(schema=schema())), "kinds", frame, rejects=found.append)
    assert (report.rows, [reject.line for reject in found]) == (1, [1])


def test_a_data_frame_without_await() -> None:
    """It is not iterated over in the calling thread, where its items would be columns."""
    options: Any = {"schema": schema(), "policy": TablePolicy(write={"kinds"}), "client_keys": False}
    with sync.create_persistence_agent(adapter=InMemoryAdapter(schema=schema()), **options) as agent:
        assert sync.bulk_import(agent, "kinds", Frame(pa.table({"n": [1, 2]}))).rows == 2
