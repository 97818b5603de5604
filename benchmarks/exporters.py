"""Microseconds that each exporter adds to a call, over an adapter that does nothing.

Every case is a whole service: without observers, with one that does nothing (what watching itself costs), and with
each exporter. OpenTelemetry is measured three times: with its API alone, as in an application that set up no SDK; with
an SDK that samples no span, but measures; and with one that hands every span to a batch and measures. What that SDK
takes for a span and a measurement by itself, without any call, is told apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import structlog
from _measure import Rounds, arguments, interleave, per_call, report
from chain_overhead import KEY, LEAD, NoOpAdapter
from opentelemetry import context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import NoOpTracerProvider, SpanKind, set_span_in_context
from prometheus_client import CollectorRegistry

from agent_persistence import AsyncPersistenceService
from agent_persistence.ext.call_log import CallLog
from agent_persistence.ext.opentelemetry import OpenTelemetry
from agent_persistence.ext.prometheus import Prometheus
from agent_persistence.metrics import Metrics
from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded, Observer

CALLS = 300
BARE = "no observer"
SDK_ALONE = "the SDK alone: a span and a measurement"
ATTRIBUTES = {"db.system.name": "postgresql", "db.operation.name": "read", "db.collection.name": "leads"}


class Nothing:
    """An observer and an observation at once."""

    def __call__(self, call: CallBegun, /) -> Nothing:
        return self

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        pass

    def ended(self, end: CallEnded, /) -> None:
        pass


class Discard(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class FormatOnly(logging.Handler):
    """Builds the line, and writes it nowhere."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


def _sdk(sampler: Sampler, closing: ExitStack) -> tuple[TracerProvider, MeterProvider]:
    tracers, meters = TracerProvider(sampler=sampler), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(Discard(), max_queue_size=100_000))
    closing.callback(tracers.shutdown)
    closing.callback(meters.shutdown)
    return tracers, meters


def _with_sdk(sampler: Sampler, closing: ExitStack) -> OpenTelemetry:
    tracers, meters = _sdk(sampler, closing)
    return OpenTelemetry(tracer_provider=tracers, meter_provider=meters)


def sdk_alone(closing: ExitStack) -> Callable[[], Awaitable[object]]:
    """What the exporter asks of the SDK, done by hand."""
    tracers, meters = _sdk(ALWAYS_ON, closing)
    tracer, duration = tracers.get_tracer("alone"), meters.get_meter("alone").create_histogram("duration")

    async def span_and_measurement() -> None:
        span = tracer.start_span("read leads", kind=SpanKind.CLIENT, attributes=ATTRIBUTES)
        token = context.attach(set_span_in_context(span))
        duration.record(0.001, ATTRIBUTES)
        span.end()
        context.detach(token)

    return span_and_measurement


def _standard_logger() -> logging.Logger:
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [FormatOnly()]
    return logger


def _structured_logger() -> Any:
    """One that renders JSON, as in production, and drops the line."""
    return structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def exporters(closing: ExitStack) -> dict[str, list[Observer]]:
    without_sdk = OpenTelemetry(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())
    every_span = _with_sdk(ALWAYS_ON, closing)
    return {
        BARE: [],
        "an observer that does nothing": [Nothing()],
        "OpenTelemetry, API alone": [without_sdk],
        "OpenTelemetry, SDK, no span sampled": [_with_sdk(ALWAYS_OFF, closing)],
        "OpenTelemetry, SDK, every span": [every_span],
        "Prometheus": [Prometheus(CollectorRegistry())],
        "CallLog, logging": [CallLog(_standard_logger())],
        "CallLog, structlog": [CallLog(_structured_logger())],
        "OpenTelemetry, Prometheus, structlog": [
            every_span,
            Prometheus(CollectorRegistry()),
            CallLog(_structured_logger()),
        ],
    }


def cases(verb: str, observed: Mapping[str, list[Observer]]) -> dict[str, Callable[[], Awaitable[object]]]:
    adapter: Any = NoOpAdapter()
    found: dict[str, Callable[[], Awaitable[object]]] = {}
    for name, observers in observed.items():
        service = AsyncPersistenceService(adapter, observers=observers, metrics=Metrics(), log=False)
        found[name] = partial(service.write, "leads", LEAD) if verb == "write" else partial(service.read, "leads", KEY)
    return found


def table(verb: str, found: Mapping[str, Rounds]) -> list[str]:
    """Medians; what is added and the ratio are medians of those within a round."""
    bare = found[BARE]
    lines = [f"{verb:<42} {'us':>8} {'least':>8} {'added':>8} {'ratio':>8}"]
    for name, rounds in found.items():
        line = f"  {name:<40} {rounds.median * 1e6:8.2f} {rounds.least * 1e6:8.2f}"
        if name != SDK_ALONE:
            line += f" {_added(rounds, bare) * 1e6:8.2f} {rounds.ratio(bare):7.2f}x"
        lines.append(line)
    return [*lines, ""]


def _added(rounds: Rounds, bare: Rounds) -> float:
    return median(mine - theirs for mine, theirs in zip(rounds.seconds, bare.seconds, strict=True))


async def main(rounds: int, as_json: bool) -> None:
    found = {}
    with ExitStack() as closing:
        observed, alone = exporters(closing), sdk_alone(closing)
        for verb in ("write", "read"):
            timed = {name: partial(per_call, call, CALLS) for name, call in cases(verb, observed).items()}
            timed[SDK_ALONE] = partial(per_call, alone, CALLS)
            found[verb] = await interleave(timed, rounds=rounds)
    report(
        [line for verb, measured in found.items() for line in table(verb, measured)],
        [],
        {verb: {name: case.summary() for name, case in measured.items()} for verb, measured in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=30).parse_args()
    asyncio.run(main(options.rounds, options.json))
