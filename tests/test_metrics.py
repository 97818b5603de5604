"""Counts and latencies per (operation, table)."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from agent_persistence import InMemoryAdapter, TableNotAllowedError, metrics
from agent_persistence.metrics import Metrics
from agent_persistence.service import AsyncPersistenceService

BUCKET_WIDTH = 2 ** (1 / 16)
FIGURES = {"count", "errors", "min_ms", "max_ms", "avg_ms", "p50_ms", "p95_ms", "p99_ms"}


def _summary(durations_s: list[float]) -> dict[str, float]:
    registry = Metrics()
    for duration_s in durations_s:
        registry.record("query", "leads", duration_s, failed=False)
    return registry.snapshot()["query"]["leads"]


def test_a_snapshot_is_a_tree_of_operation_table_and_figures() -> None:
    """`{operation: {table: figures}}`, with exactly the contract's figures."""
    registry = Metrics()
    registry.record("write", "leads", 0.002, failed=False)
    registry.record("write", "messages", 0.002, failed=True)
    registry.record("query", "leads", 0.002, failed=False)
    snapshot = registry.snapshot()
    assert {verb: set(tables) for verb, tables in snapshot.items()} == {
        "query": {"leads"},
        "write": {"leads", "messages"},
    }
    assert set(snapshot["write"]["leads"]) == FIGURES
    assert (snapshot["write"]["messages"]["count"], snapshot["write"]["messages"]["errors"]) == (1, 1)


def test_durations_come_in_seconds_and_go_out_in_milliseconds() -> None:
    """Count, minimum, maximum and average are exact."""
    summary = _summary([0.001, 0.002, 0.006])
    assert summary["count"] == 3
    assert [summary[name] for name in ("min_ms", "max_ms", "avg_ms")] == pytest.approx([1, 6, 3])


@given(st.lists(st.floats(0, 3600, allow_subnormal=False), min_size=1, max_size=200))
def test_percentiles_are_within_a_bucket_of_the_exact_ones(durations_s: list[float]) -> None:
    """The p-th percentile is the smallest latency that p % of the calls did not exceed, at most 4.4 % too high."""
    summary = _summary(durations_s)
    ordered_ms = sorted(duration_s * 1000 for duration_s in durations_s)
    for share in (50, 95, 99):
        exact_ms = ordered_ms[math.ceil(share * len(ordered_ms) / 100) - 1]
        told_ms = summary[f"p{share}_ms"]
        assert exact_ms * (1 - 1e-9) <= told_ms <= exact_ms * BUCKET_WIDTH * (1 + 1e-9)
        assert summary["min_ms"] <= told_ms <= summary["max_ms"]


def test_a_single_call_is_every_percentile() -> None:
    """With one value there is nothing to estimate."""
    summary = _summary([0.0123])
    assert {summary[name] for name in ("min_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms")} == {summary["avg_ms"]}


def test_no_count_is_lost_between_threads() -> None:
    """One registry serves all threads of a process."""
    registry = Metrics()

    def count(thread: int) -> None:
        for _ in range(500):
            registry.record("write", "leads", 0.001, failed=thread % 2 == 0)
            registry.snapshot()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))
    series = registry.snapshot()["write"]["leads"]
    assert (series["count"], series["errors"]) == (4000, 2000)


def test_a_snapshot_is_the_callers_own() -> None:
    """Changing it changes no figure."""
    registry = Metrics()
    registry.record("write", "leads", 0.001, failed=False)
    registry.snapshot()["write"]["leads"]["count"] = 99
    registry.snapshot().clear()
    assert registry.snapshot()["write"]["leads"]["count"] == 1


@pytest.mark.anyio
async def test_services_record_into_the_module_unless_given_a_registry() -> None:
    """`metrics.snapshot()` shows every call of the process, `metrics.reset()` forgets them."""
    own = Metrics()
    await AsyncPersistenceService(InMemoryAdapter()).query("leads")
    await AsyncPersistenceService(InMemoryAdapter(), metrics=own).query("messages")
    assert set(metrics.snapshot()["query"]) == {"leads"}
    assert set(own.snapshot()["query"]) == {"messages"}
    metrics.reset()
    assert metrics.snapshot() == {}


@pytest.mark.anyio
async def test_a_denial_counts_as_an_error_under_a_name_of_ours() -> None:
    """A stranger cannot choose the name of a series, nor make one for every name there is."""
    service = AsyncPersistenceService(InMemoryAdapter())
    for table in ("clients", "../x", "y" * 1000):
        with pytest.raises(TableNotAllowedError):
            await service.write(table, {"a": 1})
    (table, figures), *others = metrics.snapshot()["write"].items()
    assert (table, figures["count"], figures["errors"], others) == ("<denied>", 3, 3, [])
