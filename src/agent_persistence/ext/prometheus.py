"""Prometheus: a histogram of the calls, a counter of retries, and how many calls are under way.

agent = create_persistence_agent(observers=[Prometheus()])

Names and buckets are those that OpenTelemetry's `db.client.operation.duration` has in Prometheus.
"""

from __future__ import annotations

from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    remedy = command_for("prometheus")
    raise ConfigurationError(f"this exporter needs the client of Prometheus: {remedy}") from error

BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""As in OpenTelemetry's conventions for databases."""

_CALL: Final = ("db_operation_name", "db_collection_name")


class _Series:
    """The time series of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration = Histogram(
            "db_client_operation_duration_seconds",
            "Duration of database client operations.",
            (*_CALL, "error_type"),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.retries = Counter(
            "db_client_operation_retries",
            "Attempts that failed and were followed by another.",
            _CALL,
            registry=registry,
        )
        self.in_flight = Gauge(
            "db_client_operations_in_flight",
            "Calls that have begun and not ended.",
            _CALL,
            registry=registry,
            multiprocess_mode="livesum",
        )


_series: WeakKeyDictionary[CollectorRegistry, _Series] = WeakKeyDictionary()
"""A registry takes a name once, and several agents may count into one."""
_lock: Final = Lock()


class Prometheus:
    """Counts every call into `registry`, by operation, table and error.

    `error_type` is the name of the exception's class, and empty for a call that went well. A table that the policy
    refuses is counted as "<denied>", so that the labels are bounded by the policy. Several agents may share a registry.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        with _lock:
            if registry not in _series:
                _series[registry] = _Series(registry)
            self._series = _series[registry]

    def __call__(self, call: CallBegun, /) -> _Counted:
        return _Counted(self._series, call)


class _Counted:
    """One call, which is in flight until it has ended."""

    __slots__ = ("_call", "_in_flight", "_series")

    def __init__(self, series: _Series, call: CallBegun) -> None:
        self._series = series
        self._call = (call.verb, call.table)
        self._in_flight = series.in_flight.labels(*self._call)
        self._in_flight.inc()

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        self._series.retries.labels(*self._call).inc()

    def ended(self, end: CallEnded, /) -> None:
        self._in_flight.dec()
        self._series.duration.labels(*self._call, end.error_type or "").observe(end.duration_s)
