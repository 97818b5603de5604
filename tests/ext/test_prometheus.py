"""Prometheus: the exposition, as the client's own parsers read it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics, parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from agent_persistence import AdapterError, Next, Operation, Result, TableNotAllowedError
from agent_persistence.exceptions import FailureState
from agent_persistence.ext.prometheus import BUCKETS_S, Prometheus
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, HangingAdapter, Lying, RecordingAdapter, shown
from tests.ext import traffic

pytestmark = pytest.mark.anyio

DURATION = "db_client_operation_duration_seconds"
RETRIES = "db_client_operation_retries"
IN_FLIGHT = "db_client_operations_in_flight"

Key = tuple[str, ...]
Samples = dict[str, dict[Key, float]]
"""By the sample's name, and by the values of its labels in the order of their names."""


def _samples(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


def _as_text(registry: CollectorRegistry) -> Samples:
    return _samples(_families(registry))


def _families(registry: CollectorRegistry) -> list[Metric]:
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


def _as_openmetrics(registry: CollectorRegistry) -> Samples:
    exposed: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return _samples(openmetrics_parser.text_string_to_metric_families(exposed.decode()))  # type: ignore[no-untyped-call]


def _service(registry: CollectorRegistry, adapter: Any = None, **options: Any) -> AsyncPersistenceService:
    time = FakeTime()
    return AsyncPersistenceService(
        adapter or RecordingAdapter(),
        observers=Prometheus(registry),
        **{"clock": time.clock, "sleep": time.sleep, **options},
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize("exposed", [_as_text, _as_openmetrics])
async def test_calls_are_counted_in_the_buckets_of_the_conventions(
    exposed: Callable[[CollectorRegistry], Samples], registry: CollectorRegistry
) -> None:
    """In seconds, by operation, table and error, which is empty for what went well."""
    service = _service(registry)
    await service.query("leads")
    await service.query("leads")
    found = exposed(registry)
    assert found[f"{DURATION}_count"] == {("leads", "query", ""): 2}
    bounds = [key[3] for key in found[f"{DURATION}_bucket"]]
    assert list(map(float, bounds)) == [*BUCKETS_S, float("inf")]
    assert found[f"{DURATION}_bucket"][("leads", "query", "", "+Inf")] == 2
    assert 0 < found[f"{DURATION}_sum"][("leads", "query", "")] < 10


async def test_the_labels_have_the_names_of_the_conventions(registry: CollectorRegistry) -> None:
    """So that one dashboard reads this and what OpenTelemetry's own exporter writes."""
    await _service(registry).query("leads")
    families = {family.name: family for family in _families(registry) if not family.name.endswith("_created")}
    labels = {name: {*family.samples[0].labels} - {"le"} for name, family in families.items() if family.samples}
    assert labels == {
        DURATION: {"db_operation_name", "db_collection_name", "error_type"},
        IN_FLIGHT: {"db_operation_name", "db_collection_name"},
    }
    assert {name: family.type for name, family in families.items()} == {
        DURATION: "histogram",
        RETRIES: "counter",
        IN_FLIGHT: "gauge",
    }


async def test_failures_are_counted_by_their_class(registry: CollectorRegistry) -> None:
    """The name of the class, which the code bounds; not the message."""
    failures = [AdapterError("s3cret"), None]
    service = _service(registry, RecordingAdapter(failures=failures))
    with pytest.raises(AdapterError):
        await service.query("leads")
    await service.query("leads")
    assert _as_text(registry)[f"{DURATION}_count"] == {
        ("leads", "query", "AdapterError"): 1,
        ("leads", "query", ""): 1,
    }
    assert b"s3cret" not in generate_latest(registry)


async def test_retries_are_counted(registry: CollectorRegistry) -> None:
    """One for every attempt that was followed by another; the call itself is counted once."""
    failures = [AdapterError("busy", state=FailureState.RETRYABLE) for _ in range(2)]
    service = _service(registry, RecordingAdapter(failures=failures))
    await service.query("leads")
    await service.query("messages")
    found = _as_text(registry)
    assert found[f"{RETRIES}_total"] == {("leads", "query"): 2}
    assert found[f"{DURATION}_count"] == {("leads", "query", ""): 1, ("messages", "query", ""): 1}


async def test_calls_under_way_are_shown(registry: CollectorRegistry) -> None:
    """Until they end, in whatever way."""
    adapter = HangingAdapter()
    service = AsyncPersistenceService(adapter, observers=Prometheus(registry))
    async with anyio.create_task_group() as group:
        group.start_soon(service.query, "leads")
        await adapter.hanging.wait()
        assert _as_text(registry)[IN_FLIGHT] == {("leads", "query"): 1}
        group.cancel_scope.cancel()
    assert _as_text(registry)[IN_FLIGHT] == {("leads", "query"): 0}


@pytest.mark.parametrize("table", ["clients", "s3cret", 's3cret"} 1\n', Lying("s3cret", "leads"), 7], ids=shown)
async def test_a_refused_table_is_no_label(table: Any, registry: CollectorRegistry) -> None:
    """Strangers neither name a series nor add lines to the exposition."""
    with pytest.raises(TableNotAllowedError):
        await _service(registry).write(table, {"email": "s3cret"})
    found = _as_text(registry)
    assert found[f"{DURATION}_count"] == {("<denied>", "write", "TableNotAllowedError"): 1}
    assert found[IN_FLIGHT] == {("<denied>", "write"): 0}
    assert b"s3cret" not in generate_latest(registry)


async def test_a_thousand_names_are_one_series(registry: CollectorRegistry) -> None:
    """The number of series is bounded by the policy, whatever is asked for."""
    service = _service(registry)
    for number in range(1000):
        with suppress(TableNotAllowedError):
            await service.query(f"table_{number}")
    assert _as_text(registry)[f"{DURATION}_count"] == {("<denied>", "query", "TableNotAllowedError"): 1000}


async def test_it_counts_what_the_metrics_count(registry: CollectorRegistry) -> None:
    """Calls, failures and refusals alike."""
    await traffic.mixed(lambda adapter: _service(registry, adapter, retry=False))
    counted: dict[str, dict[str, tuple[float, float]]] = {}
    for (table, verb, error), count in _as_text(registry)[f"{DURATION}_count"].items():
        of_verb = counted.setdefault(verb, {})
        calls_before, errors_before = of_verb.get(table, (0, 0))
        of_verb[table] = (calls_before + count, errors_before + (count if error else 0))
    assert counted == traffic.counted()
    assert counted["write"] == {"leads": (2, 1), "<denied>": (2, 2)}


async def test_several_agents_share_a_registry(registry: CollectorRegistry) -> None:
    """A registry takes each name once; who comes later counts into the same series."""
    await _service(registry).query("leads")
    await _service(registry).query("leads")
    assert _as_text(registry)[f"{DURATION}_count"] == {("leads", "query", ""): 2}


async def test_without_a_registry_it_is_the_processs_own() -> None:
    """The one that `start_http_server` and `make_asgi_app` expose."""
    await AsyncPersistenceService(RecordingAdapter(), observers=Prometheus()).query("sequences")
    assert _as_text(REGISTRY)[f"{DURATION}_count"][("sequences", "query", "")] >= 1


async def test_a_registry_that_fails_changes_no_result(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with every observer: it is logged."""
    observer = Prometheus(registry)
    monkeypatch.delattr(observer, "_series")

    async def answer(operation: Operation, call_next: Next) -> Result:
        return Result([{"id": 1}])

    service = AsyncPersistenceService(RecordingAdapter(), observers=observer, middleware=[answer])
    assert await service.query("leads") == [{"id": 1}]
    assert [record.name for record in caplog.records] == ["agent_persistence.observers"]


_WORKER = """
import asyncio
from agent_persistence import create_persistence_agent
from agent_persistence.ext.prometheus import Prometheus

agent = create_persistence_agent("memory", observers=[Prometheus()])
asyncio.run(agent.query("leads"))
"""
_COLLECT = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_processes_count_together_in_multiprocess_mode(tmp_path: Path) -> None:
    """As under gunicorn: three workers, and one exposition of what all of them did."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def printed(script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, env=environ
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    for _ in range(3):
        printed(_WORKER)
    found = _samples(text_string_to_metric_families(printed(_COLLECT)))
    assert found[f"{DURATION}_count"] == {("leads", "query", ""): 3}
    assert found[f"{DURATION}_bucket"][("leads", "query", "", "+Inf")] == 3
    assert found[IN_FLIGHT] == {("leads", "query"): 0}
