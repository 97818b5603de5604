"""Controls: an unfaithful adapter is caught by the suite, and the faithful one is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest
from hypothesis import Phase, given, settings, strategies as st

from agent_persistence.backends.memory import patterns, predicates, tables
from agent_persistence.backends.memory.refusals import TwinCannotTellError
from agent_persistence.filters import contains, eq, like, not_, not_null
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from tests.differential import strategies
from tests.differential.twins import Tally, Twins, check_against_postgresql

Change: TypeAlias = Callable[[pytest.MonkeyPatch], None]
LEADS = strategies.SCHEMA.tables["leads"]


def takes_underscore_for_a_letter(patch: pytest.MonkeyPatch) -> None:
    faithful = patterns.like

    def letter(pattern: str) -> Callable[[str], bool]:
        return faithful(pattern.replace("\\_", "_").replace("_", "\\_"))

    patch.setattr(patterns, "like", letter)


def negates_the_unknown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(predicates, "_not", lambda term: lambda row: not term(row))


def finds_null_elements(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(predicates, "_array_test", lambda leaf, kind: lambda value: set(leaf.operand) <= set(value))


def sorts_null_first(patch: pytest.MonkeyPatch) -> None:
    def sort_key(table: tables.MemoryTable, column: str) -> Callable[[Mapping[str, Any]], Any]:
        return lambda row: (row[column] is not None, str(row[column]))

    patch.setattr(tables.MemoryTable, "_sort_key", sort_key)


def compares_numbers_as_texts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(predicates, "sent", str)
    patch.setattr(
        predicates, "_compared", lambda operator, column, operand: lambda row: str(row[column]) == str(operand)
    )


def on(column: str, conditions: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    return conditions.map(lambda condition: strategies.bound(column, condition))


UNFAITHFUL = [
    (takes_underscore_for_a_letter, on("company", strategies.patterns.map(like))),
    (negates_the_unknown, on("score", strategies.numerics.map(eq)).map(not_)),
    (finds_null_elements, on("tags", strategies.arrays.map(contains))),
    (sorts_null_first, on("email", st.just(not_null()))),
    (compares_numbers_as_texts, on("score", strategies.numerics.map(eq))),
]


def run(twins: Twins, trees: st.SearchStrategy[Filter]) -> None:
    """A fixed sequence of filters and orders over the same leads."""

    @given(tree=trees, order=strategies.orders_of(LEADS))
    @settings(max_examples=100, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    def check(tree: Filter, order: list[Order]) -> None:
        check_against_postgresql(twins, "leads", tree, order)

    check()


@pytest.fixture(scope="module")
def loaded(twins: Twins) -> Twins:
    """Twelve leads, the same ones in every run."""
    values = ["a_b", "aXb", "A", "", "ü", None]
    rows = [
        {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "email": f"{number}",
            "company": values[number % 6],
            "first_name": values[number // 2],
            "status": "new",
            "score": [None, 2, "10", 1.0, "1.00", -1][number % 6],
            "is_qualified": [True, False, None][number % 3],
            "tags": [None, [], ["a", None], ["a", "b"]][number % 4],
            "custom": [None, {"a": 1}, [1, 1.0], "a"][number // 3],
            "created_at": f"2026-01-01T00:00:0{number % 3}+00:00",
        }
        for number in range(12)
    ]
    twins.load("leads", [{**dict.fromkeys(LEADS.columns), **row} for row in rows])
    return twins


@pytest.mark.parametrize(("unfaithful", "trees"), UNFAITHFUL, ids=lambda given: getattr(given, "__name__", ""))
def test_an_unfaithful_adapter_is_caught(
    loaded: Twins, monkeypatch: pytest.MonkeyPatch, unfaithful: Change, trees: st.SearchStrategy[Filter]
) -> None:
    """Within 100 filters that the faithful one passes."""
    run(loaded, trees)
    unfaithful(monkeypatch)
    with pytest.raises(AssertionError):
        run(loaded, trees)


def refuses_everything(leaf: object, kind: object) -> None:
    raise TwinCannotTellError("anything")


def test_a_twin_that_refuses_is_caught(loaded: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    """No comparison fails when nothing is compared; the tally does."""
    monkeypatch.setattr(predicates, "_comparison", refuses_everything)
    run(loaded, on("email", st.just(not_null())))
    with pytest.raises(AssertionError, match="refused"):
        loaded.tally.check()
    loaded.tally = Tally()
