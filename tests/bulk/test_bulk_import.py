"""bulk_import at the seam: what arrives at the adapter, in which order, and what the layers above do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agent_persistence import (
    AdapterError,
    AuditEvent,
    BackendUnavailableError,
    ColumnNotAllowedError,
    ConfigurationError,
    PersistenceAgent,
    ReadOnlyError,
    Redaction,
    TableNotAllowedError,
    TablePolicy,
    UnsupportedOperationError,
    ValidationError,
    create_persistence_agent,
)
from agent_persistence.bulk import ImportStoppedError, Progress, Reject, bulk_import
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Record
from agent_persistence.schema_registry import default_schema
from tests.bulk.imports import HEADER, BulkAdapter, emails, lead, leads, memory, service, written
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio


async def test_rows_arrive_in_chunks_of_bulk_writes(tmp_path: Path) -> None:
    """Each with the keys that the import has made, in ascending order."""
    adapter = BulkAdapter()
    report = await bulk_import(service(adapter), "leads", leads(tmp_path / "l.csv", 10), chunk_rows=4, concurrency=1)
    assert adapter.verbs == ["bulk_write"] * 3
    assert [len(sent) for sent in adapter.sent] == [4, 4, 2]
    keys = [record["id"] for records in adapter.records for record in records]
    assert keys == sorted(keys)
    assert len({*keys}) == 10
    assert (report.rows, report.chunks, report.rejected, report.lines) == (10, 3, 0, ((1, 11),))


async def test_chunks_are_bounded_by_bytes_and_by_the_policy(tmp_path: Path) -> None:
    """Whatever is reached first."""
    path = leads(tmp_path / "l.csv", 20)
    by_bytes, by_policy = BulkAdapter(), BulkAdapter()
    await bulk_import(service(by_bytes), "leads", path, chunk_bytes=250)
    await bulk_import(
        service(by_policy, policy=TablePolicy(read={"leads"}, write={"leads"}, max_batch=7)), "leads", path
    )
    assert {len(sent) for sent in by_bytes.sent} <= {3, 4, 5}
    assert [len(sent) for sent in by_policy.sent] == [7, 7, 6]


class Slow(BulkAdapter):
    """Counts the bulk writes that are under way together, and lets go of them when `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.most = 0
        self.release = anyio.Event()

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.release.wait()
        self.running -= 1
        return await super().bulk_write(table, records, on_conflict=on_conflict)


async def test_so_many_chunks_are_under_way_at_a_time() -> None:
    """The source is not read further than one chunk beyond them."""
    adapter, read = Slow(), []

    async def source() -> AsyncIterator[dict[str, str]]:
        for number in range(100):
            read.append(number)
            yield {"email": f"{number}"}

    async with anyio.create_task_group() as group:
        group.start_soon(_imported, adapter, source())
        await anyio.wait_all_tasks_blocked()
        assert adapter.running == 3
        assert len(read) == 5 * 4 + 1  # a chunk is full when there is one row more
        adapter.release.set()
    assert adapter.most == 3
    assert len(read) == 100


async def _imported(adapter: BulkAdapter, source: Any) -> None:
    await bulk_import(service(adapter), "leads", source, chunk_rows=5, concurrency=3)


async def test_with_on_conflict_rows_are_merged(tmp_path: Path) -> None:
    """What the source does not name keeps its value; keys are not made, since a row that is there has one."""
    adapter = BulkAdapter()
    made = service(adapter)
    before = await made.write("leads", {"email": "u1@a.example", "company": "Old", "score": 9})
    await bulk_import(made, "leads", leads(tmp_path / "l.csv", 3), on_conflict=["email"])
    rows = {row["email"]: row for row in await made.query("leads")}
    assert len(rows) == 3
    assert rows["u1@a.example"] == {**before, "first_name": "Ada 1", "score": 1}
    assert adapter.targets == [("email",)]
    assert not any("id" in record for record in adapter.records[0])


async def test_of_rows_with_one_key_the_later_wins_within_a_chunk() -> None:
    """One statement cannot touch a row twice: what both would leave is sent as one."""
    adapter = BulkAdapter()
    made = service(adapter)
    records = [{"email": "a@x.io", "score": 1}, {"email": "b@x.io", "score": 2}, {"email": "a@x.io", "score": 3}]
    report = await bulk_import(made, "leads", records, on_conflict=["email"])
    assert adapter.sent == [["a@x.io", "b@x.io"]]
    assert {row["email"]: row["score"] for row in await made.query("leads")} == {"a@x.io": 3, "b@x.io": 2}
    assert report.rows == 3


class Backwards(BulkAdapter):
    """Of the bulk writes that are under way together the one that came last is stored first."""

    arrivals = 0

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.arrivals += 1
        for _ in range(20 * (30 - self.arrivals)):
            await anyio.lowlevel.checkpoint()
        return await super().bulk_write(table, records, on_conflict=on_conflict)


async def test_of_rows_with_one_key_the_later_wins_in_other_chunks() -> None:
    """Chunks that share a key are written one after the other, however many may be under way."""
    made = service(Backwards())
    records = [{"email": f"{n % 3}@x.io", "score": n} for n in range(60)]
    await bulk_import(made, "leads", records, on_conflict=["email"], chunk_rows=2, concurrency=8)
    scores = {row["email"]: row["score"] for row in await made.query("leads")}
    assert scores == {"0@x.io": 57, "1@x.io": 58, "2@x.io": 59}


async def test_chunks_without_a_key_in_common_need_not_wait() -> None:
    """The control: the double stores them in another order than they came."""
    adapter = Backwards()
    records = [{"email": f"{n}@x.io", "score": n} for n in range(8)]
    await bulk_import(service(adapter), "leads", records, on_conflict=["email"], chunk_rows=2, concurrency=4)
    assert adapter.sent[0] == ["6@x.io", "7@x.io"]


class Stuck(BulkAdapter):
    """Lets go of its first bulk write when `release` is set; others end at once."""

    def __init__(self) -> None:
        super().__init__()
        self.release = anyio.Event()
        self.is_first = True

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        if self.is_first:
            self.is_first = False
            await self.release.wait()
        return await super().bulk_write(table, records, on_conflict=on_conflict)


async def test_chunks_do_not_run_far_ahead_of_one_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of them is kept until it is entered."""
    monkeypatch.setattr("agent_persistence.bulk.importing.AHEAD", 5)
    adapter = Stuck()
    async with anyio.create_task_group() as group:
        group.start_soon(_imported, adapter, [{"email": f"{n}"} for n in range(100)])
        await anyio.wait_all_tasks_blocked()
        assert len(adapter.sent) == 4
        adapter.release.set()
    assert len(adapter.sent) == 20


async def test_rows_that_are_merged_keep_what_they_do_not_name() -> None:
    """Records of other columns go in chunks of their own."""
    adapter = BulkAdapter()
    made = service(adapter)
    await made.write("leads", {"email": "a@x.io", "company": "A", "score": 1})
    records = [{"email": "a@x.io", "score": 2}, {"email": "b@x.io", "company": "B"}]
    await bulk_import(made, "leads", records, on_conflict=["email"], concurrency=1)
    assert len(adapter.sent) == 2
    rows = {row["email"]: (row["company"], row["score"]) for row in await made.query("leads")}
    assert rows == {"a@x.io": ("A", 2), "b@x.io": ("B", None)}


async def test_rows_keep_keys_of_their_own() -> None:
    """Others get one from the import."""
    key = "0190a0b0-0000-7000-8000-00000000000a"
    made = service()
    await bulk_import(made, "leads", [{"id": key, "email": "a@x.io"}, {"email": "b@x.io"}])
    first, second = [row["id"] for row in await made.query("leads")]
    assert first == key != second


@pytest.mark.parametrize("table", ["clients", "nowhere", "Leads", "leads; drop", None, ["leads"]], ids=shown)
async def test_a_table_that_may_not_be_written_is_refused_and_audited(table: Any) -> None:
    """Before the source is opened."""
    events: list[AuditEvent] = []
    adapter = BulkAdapter()
    with pytest.raises(TableNotAllowedError):
        await bulk_import(service(adapter, audit=events.append), table, "nowhere.csv")
    assert [(event.verb, event.outcome) for event in events] == [("bulk_write", "denied")]
    assert adapter.calls == []


@pytest.mark.parametrize("source", [f"{HEADER}\n" + lead(1), [{"email": "a@x.io", "first_name": "A", "score": 1}]])
async def test_a_column_that_may_not_be_written_is_refused(tmp_path: Path, source: Any) -> None:
    """Of a file by its header, before anything is sent; of records row by row."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": ["email", "first_name"]})
    adapter = BulkAdapter()
    given = written(tmp_path / "l.csv", source) if isinstance(source, str) else source
    with pytest.raises((ColumnNotAllowedError, ImportStoppedError), match="score"):
        await bulk_import(service(adapter, policy=policy), "leads", given)
    assert adapter.sent == []


async def test_a_header_is_checked_against_a_schema_of_the_callers_alone(tmp_path: Path) -> None:
    """The default one is a guess: there the database is asked."""
    path = written(tmp_path / "l.csv", "email,emial\na@x.io,x\n")
    with pytest.raises(ValidationError, match="did you mean 'email'"):
        await bulk_import(service(schema=default_schema()), "leads", path)
    with pytest.raises(ImportStoppedError, match="no column 'emial'"):
        await bulk_import(service(), "leads", path)


async def test_validation_applies_to_every_row() -> None:
    """As to any write; the row is named."""
    rejects: list[Reject] = []
    made = service(schema=default_schema())
    records = [{"email": "a@x.io"}, {"email": "b@x.io", "score": True}, {"email": "c@x.io", "emial": "x"}]
    await bulk_import(made, "leads", records, rejects=rejects.append)
    first, second = rejects
    assert (first.line, first.reason) == (2, "score is numeric, which takes no boolean")
    assert second.reason.startswith("no column 'emial'")
    assert await emails(made) == ["a@x.io"]


async def test_every_row_is_the_tenants() -> None:
    """Rows get the tenant's value; one of another tenant is a reject."""
    adapter = BulkAdapter()
    made = service(adapter, tenant=TenantScope(column="company", value="Molkerei"))
    rejects: list[Reject] = []
    records = [{"email": "a@x.io"}, {"email": "b@x.io", "company": "Other"}]
    await bulk_import(made, "leads", records, rejects=rejects.append)
    stored = [record for records in adapter.records for record in records]
    assert [(record["email"], record["company"]) for record in stored] == [("a@x.io", "Molkerei")]
    assert [(reject.line, reject.column) for reject in rejects] == [(2, "company")]


async def test_masking_applies_to_every_row() -> None:
    """Nothing that is masked on writing arrives."""
    adapter = BulkAdapter()
    made = service(adapter, mask_writes=Redaction.default())
    await bulk_import(made, "leads", [{"email": "a@x.io", "notes": "call ada@example.org"}] * 1)
    assert "ada@example.org" not in str(adapter.records)


async def test_an_agents_own_cleaning_applies() -> None:
    """`_clean` is the seam for masking, of an agent's subclass too."""

    class Shouting(PersistenceAgent):
        def _clean(self, record: Record) -> Record:
            return {**super()._clean(record), "company": "MASKED"}

    adapter = BulkAdapter()
    await bulk_import(Shouting(service(adapter)), "leads", [{"email": "a@x.io", "company": "secret"}])
    assert adapter.records[0][0]["company"] == "MASKED"


async def test_the_audit_hears_of_each_chunk(tmp_path: Path) -> None:
    """By count and columns."""
    events: list[AuditEvent] = []
    await bulk_import(service(audit=events.append), "leads", leads(tmp_path / "l.csv", 5), chunk_rows=3, concurrency=1)
    assert [(event.verb, event.outcome, event.row_count) for event in events] == [
        ("bulk_write", "ok", 3),
        ("bulk_write", "ok", 2),
    ]


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_a_failure_of_the_backend_stops_the_import(failing: int) -> None:
    """Chunks that are under way are brought to their end; the report says which lines are in."""
    failures = [None] * failing + [AdapterError("down", state="retryable")] * 100
    adapter = BulkAdapter(failures=failures)
    with pytest.raises(ImportStoppedError) as stopped:
        await bulk_import(
            service(adapter), "leads", [{"email": f"{n}"} for n in range(100)], chunk_rows=10, concurrency=1
        )
    assert isinstance(stopped.value.__cause__, BackendUnavailableError)
    assert stopped.value.report.rows == failing * 10
    assert stopped.value.report.lines == (((1, failing * 10),) if failing else ())


async def test_an_error_of_a_middleware_is_raised_as_it_is() -> None:
    """It is the caller's own."""

    async def broken(operation: Any, call_next: Any) -> Any:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await bulk_import(service(middleware=[broken]), "leads", [{"email": "a@x.io"}])


async def test_progress_is_told_and_ends_with_the_whole(tmp_path: Path) -> None:
    """Bytes of bytes, rows read, written and rejected; the last one is final."""
    path = leads(tmp_path / "l.csv", 10)
    told: list[Progress] = []
    await bulk_import(service(), "leads", path, chunk_rows=2, progress=told.append)
    assert [progress.is_final for progress in told] == [False] * (len(told) - 1) + [True]
    last = told[-1]
    assert (last.rows_read, last.rows_written, last.rejected) == (10, 10, 0)
    assert last.bytes_read == last.bytes_total == path.stat().st_size


def test_progress_estimates_what_is_left() -> None:
    """By the bytes; where the size is not known, nothing is estimated."""
    half = Progress(10, 10, 0, 50, 100, 4.0)
    assert (half.rows_per_second, half.seconds_left) == (2.5, 4.0)
    assert Progress(0, 0, 0, 0, None, 0.0).seconds_left is None
    assert Progress(0, 0, 0, 0, None, 0.0).rows_per_second == 0.0


async def test_progress_is_not_told_more_often_than_is_read() -> None:
    """At most ten times a second: on a clock that stands still, only at the end."""
    told: list[Progress] = []
    await bulk_import(service(), "leads", [{"email": f"{n}"} for n in range(50)], chunk_rows=1, progress=told.append)
    assert len(told) == 1


async def test_what_progress_raises_ends_the_import() -> None:
    """As itself."""

    def fail(progress: Progress) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await bulk_import(service(), "leads", [{"email": "a@x.io"}], progress=fail)


async def test_a_dry_run_that_is_stopped_says_that_nothing_is_in(tmp_path: Path) -> None:
    """What is told is what would be."""
    path = written(tmp_path / "l.csv", "email,score\na@x.io,1\nb@x.io,high\n")
    with pytest.raises(ImportStoppedError, match="1 row would go in"):
        await bulk_import(service(), "leads", path, dry_run=True)


async def test_a_dry_run_applies_every_rule_and_sends_nothing(tmp_path: Path) -> None:
    """Nor does it tell the audit of writes that were none."""
    events: list[AuditEvent] = []
    adapter = BulkAdapter()
    made = service(adapter, schema=default_schema(), audit=events.append)
    text = f"{HEADER}\n{lead(1)}b@x.io,B,one\n,C,1\n"
    rejects: list[Reject] = []
    report = await bulk_import(
        made, "leads", written(tmp_path / "l.csv", text), dry_run=True, rejects=rejects.append, resume=tmp_path / "j"
    )
    assert (report.rows, report.rejected, report.is_dry_run) == (1, 2, True)
    assert [reject.line for reject in rejects] == [3, 4]
    assert adapter.calls == []
    assert events == []
    assert not (tmp_path / "j").exists()
    assert "1 row would go in" in str(report)


async def test_an_adapter_without_bulk_gets_batches() -> None:
    """It inserts as well; only merging needs the capability."""
    adapter = RecordingAdapter(memory(), without={"bulk"})
    made = service(adapter)
    await bulk_import(made, "leads", [{"email": f"{n}"} for n in range(5)], chunk_rows=3, concurrency=1)
    assert adapter.verbs == ["batch_write"] * 2
    assert len(await emails(made)) == 5
    with pytest.raises(UnsupportedOperationError, match="on_conflict needs"):
        await bulk_import(made, "leads", [{"email": "a"}], on_conflict=["email"])


async def test_only_what_writes_can_be_imported_into() -> None:
    """A façade refuses with its own error, anything else with what would be right."""
    agent = create_persistence_agent("memory")
    with pytest.raises(ReadOnlyError):
        await bulk_import(agent.readonly(), "leads", [])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"agent_persistence\.sync\.bulk_import"):
        await bulk_import(object(), "leads", [])  # type: ignore[arg-type]


async def test_a_cancelled_import_leaves_the_adapter_usable() -> None:
    """What was under way is cancelled, nothing is raised but the cancellation."""
    adapter = Slow()
    made = service(adapter)
    with anyio.move_on_after(0.05) as scope:
        await bulk_import(made, "leads", [{"email": f"{n}"} for n in range(100)], chunk_rows=5)
    assert scope.cancelled_caught
    assert adapter.sent == []
    await made.write("leads", {"email": "a@x.io"})


async def test_nothing_to_import_is_nothing_done(tmp_path: Path) -> None:
    """No request, and a report that says so."""
    adapter = BulkAdapter()
    report = await bulk_import(service(adapter), "leads", written(tmp_path / "l.csv", f"{HEADER}\n"))
    assert (report.rows, report.chunks, report.lines) == (0, 0, ())
    assert adapter.calls == []


async def test_a_report_reads_as_a_sentence() -> None:
    """With what matters to whoever waited for it."""
    report = await bulk_import(service(), "leads", [{"email": f"{n}"} for n in range(1234)])
    assert str(report).startswith("leads: 1,234 rows are in; 1 chunk in 0.0 s")
