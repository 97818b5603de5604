"""Whatever befalls a request: with the ledger a write is applied once, whole, and its outcome is known."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.loop import run
from tests.server import LocalServer
from tests.units.called import CALLS
from tests.units.faults import Judge, http_cases, postgres_cases
from tests.units.stores import SqlStore

SEED = 20261129
CASES = 24


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("cases", [http_cases, postgres_cases], ids=["PostgREST", "PostgreSQL"])
def test_no_single_fault_leaves_an_outcome_in_doubt(units_server: LocalServer, name: str, cases: object) -> None:
    """Every call is acknowledged, with its value, and applied once; no unit by halves."""
    judge = Judge(SqlStore(units_server))
    judge.store.reset()
    run(cases(judge, units_server, name, CASES, Random(SEED)))  # type: ignore[operator]
    assert judge.findings == []
    assert judge.scores["acknowledged"] == judge.scores["cases"] >= CASES - 1


@pytest.mark.parametrize("cases", [http_cases, postgres_cases], ids=["PostgREST", "PostgreSQL"])
def test_control_without_the_ledger_outcomes_are_in_doubt(units_server: LocalServer, cases: object) -> None:
    """The same faults over a table whose keys the database makes."""
    judge = Judge(SqlStore(units_server))
    run(cases(judge, units_server, "write", CASES, Random(SEED), ledger=False))  # type: ignore[operator]
    assert judge.scores["doubled"] == judge.scores["torn"] == 0
    assert judge.scores["unknown"] > CASES // 6
