"""CallLog: one structured event a call, for structlog and for the standard library's logging."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from structlog.testing import CapturingLogger, capture_logs

from agent_persistence import AdapterError, OutcomeUnknownError, TableNotAllowedError
from agent_persistence.exceptions import FailureState
from agent_persistence.ext.call_log import EVENT, LOGGER, CallLog
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, Lying, RecordingAdapter, shown

pytestmark = pytest.mark.anyio


def _service(log: CallLog, *failures: BaseException | None, **options: Any) -> AsyncPersistenceService:
    time = FakeTime()
    return AsyncPersistenceService(
        RecordingAdapter(failures=failures), observers=log, clock=time.clock, sleep=time.sleep, **options
    )


@pytest.fixture
def structured() -> Iterator[list[Any]]:
    """The events that structlog has been given."""
    with capture_logs() as events:
        yield events


def _without_time(event: Any) -> dict[str, Any]:
    assert event["duration_ms"] >= 0
    return {name: value for name, value in event.items() if name != "duration_ms"}


async def test_structlog_gets_keys_and_values(structured: list[Any]) -> None:
    """One event a call, of one name; what does not apply is left out."""
    await _service(CallLog(structlog.get_logger())).batch_write("leads", [{"email": "a"}, {"email": "b"}])
    assert [_without_time(event) for event in structured] == [
        {
            "event": EVENT,
            "log_level": "info",
            "verb": "batch_write",
            "table": "leads",
            "outcome": "ok",
            "attempts": 1,
            "row_count": 2,
            "batch_size": 2,
        }
    ]


async def test_the_standard_library_gets_extra_fields(caplog: pytest.LogCaptureFixture) -> None:
    """The line can be read without them, and a formatter finds them on the record."""
    caplog.set_level(logging.INFO)
    await _service(CallLog()).write("leads", {"email": "a"})
    (record,) = caplog.records
    assert (record.name, record.levelname) == (LOGGER, "INFO")
    fields = vars(record)
    assert record.getMessage() == f"write on leads: ok in {fields['duration_ms']} ms"
    named = ("verb", "table", "outcome", "attempts", "row_count")
    assert [fields[name] for name in named] == ["write", "leads", "ok", 1, 1]
    assert not {"batch_size", "error_type", "code"} & fields.keys()


async def test_structlogs_formatter_finds_the_fields_of_the_standard_library() -> None:
    """For applications that render everything through structlog's ProcessorFormatter."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ExtraAdder(), without_meta, structlog.processors.JSONRenderer()]
        )
    )
    logger = logging.Logger("application", logging.INFO)
    logger.addHandler(handler)
    await _service(CallLog(logger)).query("leads")
    event = json.loads(written.getvalue())
    assert (event["verb"], event["table"], event["outcome"]) == ("query", "leads", "ok")


async def test_a_logger_of_structlog_over_the_standard_library_serves_too() -> None:
    """`structlog.stdlib.BoundLogger`, as its documentation configures it, with what was bound to it."""
    captured = CapturingLogger()
    logger: Any = structlog.wrap_logger(captured, processors=[], wrapper_class=structlog.stdlib.BoundLogger)
    await _service(CallLog(logger.bind(service="outreach"))).query("leads")
    (call,) = captured.calls
    assert (call.method_name, call.kwargs["service"], call.kwargs["verb"]) == ("info", "outreach", "query")


async def test_a_failure_is_a_warning_with_its_class_and_code(structured: list[Any]) -> None:
    """And the number of attempts."""
    failures = [AdapterError("s3cret", state=FailureState.RETRYABLE, status=503) for _ in range(4)]
    with pytest.raises(AdapterError):
        await _service(CallLog(structlog.get_logger()), *failures).query("leads")
    assert [_without_time(event) for event in structured] == [
        {
            "event": EVENT,
            "log_level": "warning",
            "verb": "query",
            "table": "leads",
            "outcome": "error",
            "attempts": 4,
            "row_count": 0,
            "error_type": "BackendUnavailableError",
            "code": "503",
        }
    ]


async def test_a_write_that_may_have_been_applied_is_told_as_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has to look; the line names the class."""
    failure = AdapterError("lost", state=FailureState.AMBIGUOUS)
    with pytest.raises(OutcomeUnknownError):
        await _service(CallLog(), failure, client_keys=False, retry=False).write("inquiries", {"email": "a"})
    (record,) = caplog.records
    assert (record.levelname, vars(record)["outcome"]) == ("WARNING", "unknown")
    assert record.getMessage().startswith("write on inquiries: OutcomeUnknownError in ")


@pytest.mark.parametrize("table", ["s3cret", "s3cret\nINFO forged", Lying("s3cret", "leads"), 7], ids=shown)
async def test_a_refusal_is_told_without_the_name(
    table: Any, structured: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger neither forges a line nor fills the log."""
    logs = [CallLog(), CallLog(structlog.get_logger())]
    with pytest.raises(TableNotAllowedError):
        await AsyncPersistenceService(RecordingAdapter(), observers=logs).write(table, {"email": "s3cret"})
    assert [(event["table"], event["outcome"]) for event in structured] == [("<denied>", "denied")]
    assert [vars(record)["table"] for record in caplog.records] == ["<denied>"]
    assert "s3cret" not in repr(structured) + caplog.text


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_what_went_well_is_told_at_the_level_asked_for(
    level: Literal["debug", "info"], structured: list[Any]
) -> None:
    """Failures are warnings all the same."""
    service = _service(CallLog(structlog.get_logger(), level=level), None, AdapterError("no"))
    await service.query("leads")
    with pytest.raises(AdapterError):
        await service.query("leads")
    assert [event["log_level"] for event in structured] == [level, "warning"]


_UNCONFIGURED = """
import asyncio
from agent_persistence import TableNotAllowedError, create_persistence_agent
from agent_persistence.ext.call_log import CallLog

agent = create_persistence_agent("memory", observers=[CallLog()])
try:
    asyncio.run(agent.write("clients", {"name": "a"}))
except TableNotAllowedError:
    print("refused")
"""


def test_an_application_that_configures_no_logging_sees_nothing() -> None:
    """Python prints warnings of loggers without a handler; this one has a handler that does nothing."""
    done = subprocess.run(
        [sys.executable, "-c", _UNCONFIGURED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
