"""OpenTelemetry: spans and measurements as the SDK's own in-memory exporters receive them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterator
from contextvars import copy_context
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode

from agent_persistence import (
    AdapterError,
    BackendUnavailableError,
    ConflictError,
    Next,
    Operation,
    Result,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    sync,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.ext.opentelemetry import BUCKETS_S, OpenTelemetry
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, HangingAdapter, Lying, RecordingAdapter, shown
from tests.ext import traffic
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

POSTGRESQL = {"db.system.name": "postgresql"}


class Exported:
    """An OpenTelemetry with providers of its own, and what they were given."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self._tracers = TracerProvider()
        self._tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._meters = MeterProvider([self._reader])
        self.tracer = self._tracers.get_tracer("tests")
        self.observer = self.another()

    def another(self) -> OpenTelemetry:
        """One more observer over the same providers."""
        return OpenTelemetry(tracer_provider=self._tracers, meter_provider=self._meters)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        """The only span."""
        (span,) = self.spans
        return span

    def histogram(self) -> Metric:
        """The only metric, asked for once."""
        found = self._reader.get_metrics_data()
        assert found is not None
        ((of_scope,),) = [resource.scope_metrics for resource in found.resource_metrics]
        (metric,) = of_scope.metrics
        return metric

    def points(self) -> list[HistogramDataPoint]:
        points = list(self.histogram().data.data_points)
        assert all(isinstance(point, HistogramDataPoint) for point in points)
        return points  # type: ignore[return-value]

    def text(self) -> str:
        """All that leaves the process."""
        return "".join(span.to_json() for span in self.spans) + self.histogram().to_json()

    def shutdown(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()


@pytest.fixture
def exported() -> Iterator[Exported]:
    exported = Exported()
    yield exported
    exported.shutdown()


def _service(exported: Exported, adapter: Any = None, **options: Any) -> AsyncPersistenceService:
    time = FakeTime()
    return AsyncPersistenceService(
        adapter or RecordingAdapter(),
        observers=exported.observer,
        **{"clock": time.clock, "sleep": time.sleep, "random": lambda: 1.0, **options},
    )


VERBS: dict[str, tuple[Any, ...]] = {
    "write": ({"email": "a"},),
    "batch_write": ([{"email": "a"}],),
    "upsert": ({"email": "a"},),
    "update": ({"email": "b"}, {"id": "1"}),
    "delete": ({"id": "1"},),
    "read": ("1",),
    "query": (),
    "count": (),
    "get_columns": (),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_is_one_client_span(verb: str, exported: Exported) -> None:
    """Named `{operation} {table}`, with the attributes of the stable conventions; its status is left unset."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, delete={"leads"})
    await getattr(_service(exported, policy=policy), verb)("leads", *VERBS[verb])
    span = exported.span
    assert (span.name, span.kind, span.status.status_code) == (f"{verb} leads", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.attributes == {**POSTGRESQL, "db.operation.name": verb, "db.collection.name": "leads"}
    assert span.events == ()


async def test_a_function_is_a_stored_procedure(exported: Exported) -> None:
    """It is no collection."""
    await _service(exported, policy=TablePolicy(call={"score_of"})).call("score_of", {"lead": "s3cret"})
    assert exported.span.name == "call score_of"
    assert exported.span.attributes == {
        **POSTGRESQL,
        "db.operation.name": "call",
        "db.stored_procedure.name": "score_of",
    }


@pytest.mark.parametrize(("records", "size"), [(0, None), (1, None), (2, 2), (7, 7)])
async def test_a_batch_tells_its_size(records: int, size: int | None, exported: Exported) -> None:
    """One is no batch, by the conventions; the metric has no such label."""
    await _service(exported).batch_write("leads", [{"email": str(number)} for number in range(records)])
    assert (exported.span.attributes or {}).get("db.operation.batch.size") == size
    assert "db.operation.batch.size" not in (exported.points()[0].attributes or {})


async def test_the_server_and_the_schema_are_told(exported: Exported) -> None:
    """In spans and measurements, as the adapter was configured; no key and no path of the URL."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=[])))
    # persistence-guard: allow AP001 the adapter's address is what is shown
    adapter = SupabaseAdapter("https://project.supabase.co", "s3cret-key", client=client)
    await _service(exported, adapter).read("leads", "s3cret-id")
    where = {"server.address": "project.supabase.co", "server.port": 443, "db.namespace": "public"}
    assert (exported.span.attributes or {}).items() >= where.items()
    text = exported.text()
    assert text.count('"server.address": "project.supabase.co"') == 2
    assert "s3cret" not in text
    assert "rest" not in text
    await client.aclose()


async def test_a_failure_tells_its_class_and_the_servers_code(exported: Exported) -> None:
    """Not its message, and no stack trace: they could hold names and values."""
    failure = ConflictError("s3cret", state=FailureState.REJECTED, status=409, code="23505")
    with pytest.raises(ConflictError):
        await _service(exported, RecordingAdapter(failures=[failure])).upsert("leads", {"email": "a"}, ["email"])
    span = exported.span
    error = {"error.type": "ConflictError", "db.response.status_code": "23505"}
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert (span.attributes or {}).items() >= error.items()
    assert (exported.points()[0].attributes or {}).items() >= error.items()


async def test_one_span_is_over_all_attempts(exported: Exported) -> None:
    """What failed and was tried again is an event, with the pause that followed."""
    failures = [
        AdapterError("s3cret", state=FailureState.RETRYABLE, status=503),
        AdapterError("s3cret", state="not_sent"),
    ]
    await _service(exported, RecordingAdapter(failures=failures)).query("leads")
    span = exported.span
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        (
            "agent_persistence.attempt_failed",
            {
                "agent_persistence.attempt": 1,
                "agent_persistence.wait_s": 0.1,
                "error.type": "AdapterError",
                "db.response.status_code": "503",
            },
        ),
        (
            "agent_persistence.attempt_failed",
            {"agent_persistence.attempt": 2, "agent_persistence.wait_s": 0.2, "error.type": "AdapterError"},
        ),
    ]
    assert (span.status.status_code, (span.attributes or {})["agent_persistence.attempts"]) == (
        StatusCode.UNSET,
        3,
    )
    assert [point.count for point in exported.points()] == [1]


async def test_what_is_given_up_is_one_failed_span(exported: Exported) -> None:
    """With an event for every attempt but the last, which is the end of the span."""
    failures = [AdapterError("s3cret", state=FailureState.RETRYABLE, status=503, code="57P03") for _ in range(4)]
    with pytest.raises(BackendUnavailableError):
        await _service(exported, RecordingAdapter(failures=failures)).query("leads")
    span = exported.span
    assert (len(span.events), span.status.status_code) == (3, StatusCode.ERROR)
    attributes = dict(span.attributes or {})
    assert [attributes[name] for name in ("error.type", "db.response.status_code", "agent_persistence.attempts")] == [
        "BackendUnavailableError",
        "57P03",
        4,
    ]


async def test_the_span_is_current_during_the_call_and_not_after(exported: Exported) -> None:
    """Spans of an HTTP client become its children, and the caller's own span is its parent."""

    async def send(operation: Operation, call_next: Next) -> Result:
        with exported.tracer.start_as_current_span("GET"):
            return await call_next(operation)

    with exported.tracer.start_as_current_span("the caller") as caller:
        await _service(exported, middleware=[send]).query("leads")
        assert trace.get_current_span() is caller
    http, call, _ = exported.spans
    assert [span.name for span in (http, call)] == ["GET", "query leads"]
    assert (http.parent, call.parent) == (call.context, caller.get_span_context())


async def test_concurrent_calls_have_spans_of_their_own(exported: Exported) -> None:
    """Each is the parent of what happens within it, also while the others are under way."""

    async def send(operation: Operation, call_next: Next) -> Result:
        await anyio.lowlevel.checkpoint()
        with exported.tracer.start_as_current_span(f"GET {operation.table}"):
            await anyio.lowlevel.checkpoint()
            return await call_next(operation)

    service = _service(exported, middleware=[send])
    tables = ["leads", "messages", "clients", "campaigns"]
    async with anyio.create_task_group() as group:
        for table in tables:
            group.start_soon(service.query, table)
    by_name = {span.name: span for span in exported.spans}
    assert all(by_name[f"GET {table}"].parent == by_name[f"query {table}"].context for table in tables)
    assert len(by_name) == 8


@pytest.mark.parametrize("failure", [AdapterError("no"), RuntimeError("no")], ids=shown)
async def test_after_a_failure_no_span_is_current(failure: Exception, exported: Exported) -> None:
    """The next call of the task is no child of the failed one."""

    async def fail(operation: Operation, call_next: Next) -> Result:
        raise failure

    with pytest.raises(type(failure)):
        await _service(exported, middleware=[fail]).query("leads")
    assert trace.get_current_span() is INVALID_SPAN


async def test_a_cancelled_call_ends_its_span(exported: Exported) -> None:
    """It failed, by the class of the cancellation."""
    adapter = HangingAdapter()
    service = AsyncPersistenceService(adapter, observers=exported.observer)
    async with anyio.create_task_group() as group:
        group.start_soon(service.query, "leads")
        await adapter.hanging.wait()
        group.cancel_scope.cancel()
    assert exported.span.status.status_code is StatusCode.ERROR
    assert str((exported.span.attributes or {})["error.type"]).startswith("Cancelled")


def test_a_call_that_nobody_finishes_ends_its_span(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    """Garbage collection closes it in the context of something else, whose current span stays what it was."""

    class Unanswered:
        def __await__(self) -> Generator[None]:
            yield

    async def wait(operation: Operation, call_next: Next) -> Result:
        await Unanswered()
        return await call_next(operation)

    call = _service(exported, middleware=[wait]).query("leads")
    copy_context().run(call.send, None)
    with exported.tracer.start_as_current_span("something else") as other:
        call.close()
        assert trace.get_current_span() is other
    assert [span.name for span in exported.spans] == ["query leads", "something else"]
    assert (exported.spans[0].attributes or {})["error.type"] == "GeneratorExit"
    assert not caplog.records


@pytest.mark.parametrize("table", ["clients", "s3cret\n", "s3cret", Lying("s3cret", "leads"), 7], ids=shown)
async def test_a_refused_table_is_in_no_span_and_no_label(table: Any, exported: Exported) -> None:
    """The refusal is; the name, which a stranger may have chosen, is not, from the first moment on."""
    with pytest.raises(TableNotAllowedError):
        await _service(exported).write(table, {"email": "s3cret"})
    assert exported.span.name == "write <denied>"
    assert (exported.span.attributes or {})["db.collection.name"] == "<denied>"
    assert (exported.span.attributes or {})["error.type"] == "TableNotAllowedError"
    text = exported.text()
    assert text.count('"db.collection.name": "<denied>"') == 2
    assert "s3cret" not in text
    assert '"clients"' not in text


async def test_no_content_leaves(exported: Exported) -> None:
    """Neither rows, keys, filters nor messages of errors are in what is exported."""
    failures = [None, None, None, None, AdapterError("s3cret", hint="s3cret")]
    service = _service(exported, RecordingAdapter(failures=failures))
    await service.write("leads", {"id": "s3cret", "email": "s3cret"})
    await service.query("leads", {"email": "s3cret"})
    await service.read("leads", "s3cret")
    with pytest.raises(AdapterError):
        await service.query("leads", {"email": "s3cret"}, limit=3)
    assert len(exported.spans) == 4
    assert "s3cret" not in exported.text()


async def test_the_histogram_is_the_one_of_the_conventions(exported: Exported) -> None:
    """Its name, its unit, its buckets, and attributes without which it cannot be read."""
    service = _service(exported)
    await service.query("leads")
    await service.query("leads")
    metric = exported.histogram()
    assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
    (point,) = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert (tuple(point.explicit_bounds), point.count) == (BUCKETS_S, 2)
    assert point.attributes == {**POSTGRESQL, "db.operation.name": "query", "db.collection.name": "leads"}


async def test_a_call_measures_as_long_as_its_span(exported: Exported) -> None:
    """The conventions ask for it; and the measurement is an example that leads to the span."""
    await _service(exported).query("leads")
    span, (point,) = exported.span, exported.points()
    assert span.start_time is not None
    assert span.end_time is not None
    assert abs((span.end_time - span.start_time) / 1e9 - point.sum) < 1e-6
    assert [exemplar.span_id for exemplar in point.exemplars] == [span.get_span_context().span_id]  # type: ignore[union-attr]


async def test_it_counts_what_the_metrics_count(exported: Exported) -> None:
    """Calls, failures and refusals alike."""
    await traffic.mixed(lambda adapter: _service(exported, adapter, retry=False))
    counted: dict[str, dict[str, tuple[int, int]]] = {}
    for point in exported.points():
        told = dict(point.attributes or {})
        of_verb = counted.setdefault(str(told["db.operation.name"]), {})
        count, errors = of_verb.get(str(told["db.collection.name"]), (0, 0))
        of_verb[str(told["db.collection.name"])] = (count + point.count, errors + point.count * ("error.type" in told))
    assert counted == traffic.counted()
    assert counted["write"] == {"leads": (2, 1), "<denied>": (2, 2)}


async def test_several_agents_measure_together(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    """Each with an observer of its own over the same providers: one histogram, and no complaint of the SDK's."""
    for _ in range(2):
        observer = exported.another()
        await AsyncPersistenceService(RecordingAdapter(), observers=observer).query("leads")
    assert [point.count for point in exported.points()] == [2]
    assert not caplog.records


def test_the_blocking_verbs_are_children_of_the_callers_span(exported: Exported) -> None:
    """The context crosses into the loop's thread."""
    agent = sync.create_persistence_agent("memory", observers=exported.observer)
    with agent, exported.tracer.start_as_current_span("the caller") as caller:
        agent.query("leads")
    assert exported.spans[0].parent == caller.get_span_context()


_GLOBAL = """
import asyncio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from agent_persistence import create_persistence_agent
from agent_persistence.ext.opentelemetry import OpenTelemetry

agent = create_persistence_agent("memory", observers=[OpenTelemetry()])
asyncio.run(agent.query("leads"))  # nobody listens yet
spans, reader, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))
asyncio.run(agent.query("messages"))
print([span.name for span in spans.get_finished_spans()], reader.get_metrics_data().to_json().count('"messages"'))
"""


async def test_a_conflict_in_the_database_arrives_with_its_code(exported: Exported, server: LocalServer) -> None:
    """From PostgreSQL through the API: where it was, what class it has, and the SQLSTATE."""
    # persistence-guard: allow AP001 the adapter's address is what is shown
    adapter = SupabaseAdapter(server.url, server.service_key)
    async with AsyncPersistenceService(adapter, observers=exported.observer, owns_adapter=True) as service:
        lead = await service.write("leads", {"email": "ada@example.org"})
        with pytest.raises(ConflictError):
            await service.write("leads", {"id": lead["id"], "email": "bob@example.org"})
    written, refused = exported.spans
    address, _, port = server.url.rpartition("//")[2].partition(":")
    where = {"server.address": address, "server.port": int(port), "db.namespace": "public"}
    of_leads = {**POSTGRESQL, **where, "db.operation.name": "write", "db.collection.name": "leads"}
    assert written.attributes == of_leads
    assert refused.attributes == {**of_leads, "error.type": "ConflictError", "db.response.status_code": "23505"}


def test_without_providers_the_global_ones_serve_also_when_set_later() -> None:
    """An application sets up its SDK when it likes; before, there is nothing to be told."""
    done = subprocess.run([sys.executable, "-c", _GLOBAL], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("['query messages'] 1\n", "")
