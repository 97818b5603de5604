"""Controls: the judge finds every kind of breach, and nothing where there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_persistence import AdapterError, BackendUnavailableError, OutcomeUnknownError
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Row
from tests.faults.backend import Backend
from tests.faults.cases import Case
from tests.faults.faults import Answered, Cut, Fault
from tests.faults.judge import Ended, judged
from tests.faults.lane import Lane
from tests.faults.loop import run
from tests.faults.verbs import KEY, MARKS, OLD

ROW = {"id": KEY, "subject": "one", "channel": None}
AGAIN = ROW | {"id": "another"}
CUT = Cut("response", 0, "RST")
TIMELY_S = 0.1
DEADLINE_S = 1.0


def error(state: FailureState, error_class: type[AdapterError] = AdapterError) -> AdapterError:
    return error_class("failed", state=state)


REJECTED = error(FailureState.REJECTED)
UNAVAILABLE = error(FailureState.NOT_SENT, BackendUnavailableError)
CONFIRMED = error(FailureState.APPLIED, OutcomeUnknownError)


def breaches(case: Case, rows: list[dict[str, Any]], ended: Any, elapsed_s: float = TIMELY_S) -> list[str]:
    """The breaches, where the call ended with this value or error."""
    value, raised = (None, ended) if isinstance(ended, Exception) else (ended, None)
    return [finding.breach for finding in judged(case, Ended(rows, elapsed_s, value, raised), DEADLINE_S)]


@pytest.mark.parametrize(
    ("rows", "ended", "found"),
    [
        pytest.param([ROW], ROW, [], id="acknowledged, once there"),
        pytest.param([ROW], {"id": KEY, "subject": "one"}, [], id="acknowledged with what was sent"),
        pytest.param([], ROW, ["lost"], id="acknowledged, not there"),
        pytest.param([ROW, AGAIN], ROW, ["duplicated"], id="acknowledged, twice there"),
        pytest.param([ROW], AGAIN, ["wrong"], id="acknowledged with another row"),
        pytest.param([], OutcomeUnknownError("unknown"), [], id="unknown, not there"),
        pytest.param([ROW], OutcomeUnknownError("unknown"), [], id="unknown, once there"),
        pytest.param([ROW, AGAIN], OutcomeUnknownError("unknown"), ["duplicated"], id="unknown, twice there"),
        pytest.param([], REJECTED, [], id="rejected, not there"),
        pytest.param([ROW], REJECTED, ["wrong"], id="rejected, once there"),
        pytest.param([ROW], UNAVAILABLE, ["wrong"], id="unavailable, once there"),
        pytest.param([ROW], CONFIRMED, [], id="confirmed, once there"),
        pytest.param([], CONFIRMED, ["wrong"], id="confirmed, not there"),
        pytest.param([], ValueError("foreign"), ["wrong"], id="an error that is none of ours"),
    ],
)
def test_a_write_is_judged_by_the_rows(rows: list[dict[str, Any]], ended: Any, found: list[str]) -> None:
    """Acknowledged is exactly one row, anything else at most one, and what denies a row has none."""
    assert breaches(Case("write", CUT), rows, ended) == found


@pytest.mark.parametrize(
    ("fault", "rows", "ended"),
    [
        (Answered("400 with 23502", "after"), [ROW], REJECTED),
        (Answered("503 with PGRST000", "after"), [ROW], UNAVAILABLE),
        (Answered("201 with no row", "before"), [], CONFIRMED),
    ],
)
def test_nobody_sees_through_a_server_that_lies(fault: Fault, rows: list[dict[str, Any]], ended: AdapterError) -> None:
    """Where the answer itself denies or claims the row, believing it is no breach; doubling it would be one."""
    assert breaches(Case("write", fault), rows, ended) == []
    assert breaches(Case("write", fault), [ROW, AGAIN], ended) == ["duplicated"]


def test_a_part_of_a_batch_is_wrong() -> None:
    """All rows or none."""
    rows = [ROW, ROW | {"id": "2", "subject": "two"}]
    assert breaches(Case("batch_write", CUT), rows, OutcomeUnknownError("unknown")) == ["wrong"]


CROWD = [ROW | {"id": str(number), "subject": mark} for number, mark in enumerate(MARKS)]
LOST = OutcomeUnknownError("unknown")


@pytest.mark.parametrize(
    ("rows", "ended", "found"),
    [
        pytest.param(CROWD, CROWD, [], id="all acknowledged, all there"),
        pytest.param(CROWD[:2], CROWD, ["lost"], id="all acknowledged, one not there"),
        pytest.param(CROWD, [*CROWD[:2], LOST], [], id="one unknown, there"),
        pytest.param(CROWD[:2], [*CROWD[:2], LOST], [], id="one unknown, not there"),
        pytest.param([*CROWD, CROWD[0]], CROWD, ["duplicated"], id="one there twice"),
        pytest.param(CROWD, [CROWD[1], CROWD[0], CROWD[2]], ["wrong", "wrong"], id="two got each other's row"),
        pytest.param(CROWD, [*CROWD[:2], REJECTED], ["wrong"], id="one denied, there"),
    ],
)
def test_each_of_several_calls_at_once_is_judged(rows: list[Row], ended: list[Any], found: list[str]) -> None:
    """By its own row, whatever became of the others'."""
    assert breaches(Case("writes at once", CUT), rows, ended) == found


def test_a_read_that_changes_or_returns_another_row_is_wrong() -> None:
    """A reading verb leaves the rows alone and tells them as they are."""
    case = Case("read", CUT)
    assert breaches(case, [OLD], OLD) == []
    assert breaches(case, [OLD], OLD | {"id": "another"}) == ["wrong"]
    assert "wrong" in breaches(case, [], UNAVAILABLE)


def test_a_call_that_outlives_its_deadline_is_an_overrun() -> None:
    """A quarter of a second is forgiven."""
    case = Case("write", CUT)
    assert breaches(case, [], OutcomeUnknownError("unknown"), DEADLINE_S + 0.2) == []
    assert breaches(case, [], OutcomeUnknownError("unknown"), DEADLINE_S + 0.3) == ["overrun"]


def test_a_slot_that_is_taken_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a call that never ends there are only 19 of 20 slots, and one connection too many."""
    monkeypatch.setattr("tests.faults.house.PATIENCE_S", 0.2)
    monkeypatch.setattr("tests.faults.proxy.SETTLE_S", 0.2)

    async def main() -> tuple[str | None, str | None, str | None]:
        backend = Backend()
        async with Lane.open(backend, backend) as lane:
            await lane.proxy.arm(Cut("request", 1, "blackhole"))
            stuck = asyncio.create_task(lane.adapter.read("conversations", KEY))
            await lane.proxy.changed.wait()
            with_one_stuck = await lane.full_house(), await lane.more_connections_than(0)
            stuck.cancel()
            await asyncio.wait((stuck,))
            return *with_one_stuck, await lane.full_house()

    house, connections, afterwards = run(main())
    assert house is not None
    assert house.startswith("19 of 20")
    assert connections is not None
    assert afterwards is None
