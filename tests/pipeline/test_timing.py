"""Timing: the line of PERSIST_LOGGING, and the metrics of every call."""

from __future__ import annotations

import re

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    ColumnNotAllowedError,
    TableNotAllowedError,
    create_persistence_agent,
    metrics,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import HangingAdapter, RecordingAdapter

pytestmark = pytest.mark.anyio


def _line(verb: str, table: str) -> str:
    return rf"\[persistence\] op={verb} table={re.escape(table)} ms=\d+\.\d\d\n"


async def test_every_call_prints_the_documents_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`[persistence] op=<op> table=<t> ms=<dur>`, in milliseconds with two decimals, one line a call, on stdout."""
    service = AsyncPersistenceService(RecordingAdapter(), log=True)
    await service.write("leads", {"email": "a@a.example"})
    await service.batch_write("leads", [{"email": "b@a.example"}])
    await service.upsert("leads", {"email": "c@a.example"}, ["email"])
    await service.read("leads", "1")
    await service.query("messages")
    await service.get_columns("clients")
    out, err = capsys.readouterr()
    calls = [
        ("write", "leads"),
        ("batch_write", "leads"),
        ("upsert", "leads"),
        ("read", "leads"),
        ("query", "messages"),
        ("get_columns", "clients"),
    ]
    assert re.fullmatch("".join(_line(*call) for call in calls), out)
    assert err == ""


async def test_failures_are_printed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A call that fails took its time too."""
    service = AsyncPersistenceService(RecordingAdapter(failures=[AdapterError("no")]), log=True)
    with pytest.raises(AdapterError):
        await service.query("leads")
    assert re.fullmatch(_line("query", "leads"), capsys.readouterr().out)
    assert (metrics.snapshot()["query"]["leads"]["count"], metrics.snapshot()["query"]["leads"]["errors"]) == (1, 1)


@pytest.mark.parametrize("table", ["clients", "evil\n[persistence] op=write", "x" * 1000])
async def test_a_refused_table_is_printed_as_denied(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name chosen by a stranger neither forges a line nor fills the log."""
    service = AsyncPersistenceService(RecordingAdapter(), log=True)
    with pytest.raises(TableNotAllowedError):
        await service.write(table, {"email": "a@a.example"})
    assert re.fullmatch(_line("write", "<denied>"), capsys.readouterr().out)


async def test_a_refused_column_is_printed_under_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is allowed, and its name of our choosing; the denial counts as an error."""
    service = AsyncPersistenceService(RecordingAdapter(), log=True)
    with pytest.raises(ColumnNotAllowedError):
        await service.query("leads", {"clients.ssn": 1})
    assert re.fullmatch(_line("query", "leads"), capsys.readouterr().out)
    assert metrics.snapshot()["query"]["leads"]["errors"] == 1


async def test_a_cancelled_call_is_printed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """It took its time and gave nothing."""
    adapter = HangingAdapter()
    service = AsyncPersistenceService(adapter, log=True)
    async with anyio.create_task_group() as group:
        group.start_soon(service.query, "leads")
        await adapter.hanging.wait()
        group.cancel_scope.cancel()
    assert re.fullmatch(_line("query", "leads"), capsys.readouterr().out)
    assert metrics.snapshot()["query"]["leads"]["errors"] == 1


@pytest.mark.parametrize("value", ["1", "0", "false", "no", ""])
@pytest.mark.parametrize("made_by", ["service", "factory"])
async def test_logging_is_on_when_the_variable_is_present(
    value: str, made_by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PERSIST_LOGGING counts whatever its value, also the empty one."""
    monkeypatch.setenv("PERSIST_LOGGING", value)
    if made_by == "service":
        await AsyncPersistenceService(RecordingAdapter()).query("leads")
    else:
        await create_persistence_agent("memory").query("leads")
    assert re.fullmatch(_line("query", "leads"), capsys.readouterr().out)


@pytest.mark.parametrize("log", [None, False])
async def test_logging_is_off_otherwise(
    log: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed without the variable, nor against `log=False`; the metrics count all the same."""
    if log is False:
        monkeypatch.setenv("PERSIST_LOGGING", "1")
    await AsyncPersistenceService(RecordingAdapter(), log=log).query("leads")
    assert capsys.readouterr() == ("", "")
    assert metrics.snapshot()["query"]["leads"]["count"] == 1


async def test_a_call_is_timed_once_however_often_it_is_tried() -> None:
    """Timing is outermost: it measures what the caller waits for."""
    failures = [AdapterError("busy", state=state) for state in (FailureState.RETRYABLE, FailureState.NOT_SENT)]

    async def at_once(pause_s: float) -> None:
        pass

    await AsyncPersistenceService(RecordingAdapter(failures=failures), sleep=at_once).query("leads")
    assert (metrics.snapshot()["query"]["leads"]["count"], metrics.snapshot()["query"]["leads"]["errors"]) == (1, 0)
