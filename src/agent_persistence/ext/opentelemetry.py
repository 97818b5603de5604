"""OpenTelemetry: a span and a measurement of every call, by the stable conventions for databases.

agent = create_persistence_agent(observers=[OpenTelemetry()])

https://opentelemetry.io/docs/specs/semconv/db/postgresql/ says what the names mean.
"""

from __future__ import annotations

from contextvars import Token
from time import time_ns
from typing import Final

from agent_persistence._extras import command_for
from agent_persistence._version import __version__
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded

try:
    from opentelemetry import context, metrics, trace
except ImportError as error:
    remedy = command_for("opentelemetry")
    raise ConfigurationError(f"this exporter needs the API of OpenTelemetry: {remedy}") from error

BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""The boundaries that the conventions give for `db.client.operation.duration`."""

_SCOPE: Final = "agent_persistence"
_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.33.0"
_FAILED: Final = trace.Status(trace.StatusCode.ERROR)


class OpenTelemetry:
    """Makes one span of every call, over all its attempts, and records `db.client.operation.duration`.

    The span is current during the call, so that the spans of an HTTP client become its children; an attempt that is
    followed by another is an event in it. Without providers the global ones are used, also when they are set later.
    Neither spans nor measurements hold values, keys, messages of errors or names that the policy does not list.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider, _SCHEMA_URL)
        self._duration = metrics.get_meter(_SCOPE, __version__, meter_provider, _SCHEMA_URL).create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )

    def __call__(self, call: CallBegun, /) -> _Spanned:
        return _Spanned(self._tracer, self._duration, call)


class _Spanned:
    """One call: its span is current from here on until the call has ended."""

    __slots__ = ("_attributes", "_duration", "_span", "_start_ns", "_token")

    def __init__(self, tracer: trace.Tracer, duration: metrics.Histogram, call: CallBegun) -> None:
        self._duration = duration
        self._attributes = _attributes(call)
        of_span = self._attributes
        if call.batch_size is not None and call.batch_size > 1:  # one is no batch, by the conventions
            of_span = {**of_span, "db.operation.batch.size": call.batch_size}
        self._start_ns = time_ns()
        self._span = tracer.start_span(
            f"{call.verb} {call.table}",
            kind=trace.SpanKind.CLIENT,
            attributes=of_span,
            start_time=self._start_ns,
        )
        self._token: Token[context.Context] = context.attach(trace.set_span_in_context(self._span))

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        attributes: dict[str, str | int | float] = {
            "agent_persistence.attempt": attempt.number,
            "agent_persistence.wait_s": attempt.wait_s,
            **_error(attempt.error_type, attempt.code),
        }
        self._span.add_event("agent_persistence.attempt_failed", attributes)

    def ended(self, end: CallEnded, /) -> None:
        """The measurement is made while the span is current, so that it can be an exemplar, and of the same length."""
        try:
            attributes = self._attributes
            if end.error_type is not None:
                error = _error(end.error_type, end.code)
                attributes = {**attributes, **error}
                self._span.set_attributes(error)
                self._span.set_status(_FAILED)
            if end.attempts > 1:
                self._span.set_attribute("agent_persistence.attempts", end.attempts)
            self._duration.record(end.duration_s, attributes)
            self._span.end(self._start_ns + int(end.duration_s * 1e9))
        finally:
            if end.error_type != "GeneratorExit":  # garbage collection closes a call in the context of something else
                context.detach(self._token)


def _attributes(call: CallBegun) -> dict[str, str | int]:
    named = "db.stored_procedure.name" if call.verb == "call" else "db.collection.name"
    attributes: dict[str, str | int] = {
        "db.system.name": "postgresql",
        "db.operation.name": call.verb,
        named: call.table,
    }
    if call.namespace is not None:
        attributes["db.namespace"] = call.namespace
    if call.server is not None:
        attributes["server.address"], attributes["server.port"] = call.server
    return attributes


def _error(error_type: str, code: str | None) -> dict[str, str]:
    return {"error.type": error_type} if code is None else {"error.type": error_type, "db.response.status_code": code}
