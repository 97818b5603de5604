"""OpenTelemetry: what arrives at a receiver that speaks OTLP over HTTP, sent by OpenTelemetry's own exporters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agent_persistence import AdapterError, TableNotAllowedError
from agent_persistence.ext.opentelemetry import BUCKETS_S, OpenTelemetry
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, RecordingAdapter

pytestmark = pytest.mark.anyio


class Receiver:
    """What has arrived, as messages of the protocol."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: list[Any] = []
        self.bytes = b""

    def receive(self, path: str, body: bytes) -> None:
        """Parse one request; what is no message of this path raises."""
        self.bytes += body
        if path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
        else:
            assert path == "/v1/metrics"
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics += [metric for scope in measured.scope_metrics for metric in scope.metrics]


@contextmanager
def _served(receiver: Receiver) -> Iterator[str]:
    """The receiver's URL, on this machine alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/x-protobuf"
            assert self.headers.get("content-encoding") is None
            receiver.receive(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def _exporting(url: str) -> Iterator[OpenTelemetry]:
    """An observer over the SDK as applications set it up; at the end all has been sent."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))])
    yield OpenTelemetry(tracer_provider=tracers, meter_provider=meters)
    tracers.shutdown()
    meters.shutdown()


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


@pytest.fixture
async def received() -> Receiver:
    """What arrives of a batch, a query that was tried twice, and a refusal."""
    receiver, time = Receiver(), FakeTime()
    failures = [None, AdapterError("s3cret", state="retryable", status=503, code="57P03")]
    with _served(receiver) as url, _exporting(url) as telemetry:
        service = AsyncPersistenceService(
            RecordingAdapter(failures=failures), observers=telemetry, clock=time.clock, sleep=time.sleep
        )
        await service.batch_write("leads", [{"email": "s3cret"}, {"email": "s3cret"}])
        await service.query("leads", {"email": "s3cret"})
        with pytest.raises(TableNotAllowedError):
            await service.query("s3cret")
    return receiver


async def test_spans_arrive(received: Receiver) -> None:
    """Client spans with their attributes, events and status, one for each call."""
    batch, query, refused = received.spans
    assert [span.name for span in received.spans] == ["batch_write leads", "query leads", "query <denied>"]
    assert {span.kind for span in received.spans} == {Span.SPAN_KIND_CLIENT}
    assert _plain(batch.attributes) == {
        "db.system.name": "postgresql",
        "db.operation.name": "batch_write",
        "db.collection.name": "leads",
        "db.operation.batch.size": 2,
    }
    assert [(event.name, _plain(event.attributes)["db.response.status_code"]) for event in query.events] == [
        ("agent_persistence.attempt_failed", "57P03")
    ]
    assert [span.status.code for span in received.spans] == [
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
    ]
    assert _plain(refused.attributes)["error.type"] == "TableNotAllowedError"
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in received.spans)


async def test_the_histogram_arrives(received: Receiver) -> None:
    """In seconds, with the buckets of the conventions, one series for each operation, table and error."""
    (metric,) = received.metrics
    assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
    points = metric.histogram.data_points
    assert all(tuple(point.explicit_bounds) == BUCKETS_S for point in points)
    assert sorted((point.count, sum(point.bucket_counts)) for point in points) == [(1, 1)] * 3
    told = [_plain(point.attributes) for point in points]
    assert sorted((one["db.operation.name"], one["db.collection.name"], one.get("error.type")) for one in told) == [
        ("batch_write", "leads", None),
        ("query", "<denied>", "TableNotAllowedError"),
        ("query", "leads", None),
    ]


async def test_no_content_arrives(received: Receiver) -> None:
    """Neither values nor refused names are among the bytes that were sent; control: what is meant to be there is."""
    assert b"s3cret" not in received.bytes
    assert b"db.collection.name" in received.bytes
