"""Whoever is killed in the middle of a unit: asked again under its key it is there once, and whole."""

from __future__ import annotations

from typing import Any

from agent_persistence import OutcomeUnknownError
from tests.faults.loop import run
from tests.server import LocalServer, running_server
from tests.units.called import turn
from tests.units.conftest import install
from tests.units.faults import Judge
from tests.units.kills import UNIT, address_of, killed, opened
from tests.units.stores import SqlStore

KILLS = 16


def test_no_kill_costs_a_unit_or_doubles_it() -> None:
    """Of the client, the server's process, PostgreSQL's backends and PostgreSQL, each of its own server here."""
    with running_server() as server:
        install(server)
        judge = killed(server, KILLS, seed=1)
    assert judge.findings == []
    assert judge.scores["acknowledged"] == judge.scores["cases"] == KILLS


def test_control_a_second_unit_is_found(units_server: LocalServer) -> None:
    """What is applied under another key is there once more, and by halves where its rows were gone."""
    judge = Judge(SqlStore(units_server))
    judge.store.reset()
    mark = judge.seeded(UNIT)

    async def committed() -> Any:
        async with opened("PostgreSQL", address_of(units_server)) as service:
            return await turn(service, mark)

    judge.judge(UNIT, mark, run(committed()), "once")
    assert judge.findings == []
    UNIT.seed(judge.store, mark)
    judge.judge(UNIT, mark, run(committed()), "twice")
    judge.store.seed("conversations", [{"subject": mark}])
    judge.judge(UNIT, mark, OutcomeUnknownError("it was killed"), "a half more")
    assert (judge.scores["doubled"], judge.scores["torn"]) == (1, 1)
