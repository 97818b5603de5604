"""Counts and latencies per (operation, table), kept in this process.

from agent_persistence import metrics
print(metrics.snapshot())
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Final

from agent_persistence.runtime.forking import survives_fork

_BUCKETS_PER_DOUBLING: Final = 16
"""Percentiles are read from a geometric histogram whose buckets are 4.4 % wide (2 ** (1/16))."""


@dataclass(slots=True)
class _Series:
    count: int = 0
    errors: int = 0
    spooled: int = 0
    total_ms: float = 0.0
    min_ms: float = math.inf
    max_ms: float = 0.0
    histogram: defaultdict[int, int] = field(default_factory=partial(defaultdict, int))

    def add(self, duration_ms: float, failed: bool) -> None:
        self.count += 1
        self.errors += failed
        self.total_ms += duration_ms
        if duration_ms < self.min_ms:
            self.min_ms = duration_ms
        if duration_ms > self.max_ms:
            self.max_ms = duration_ms
        self.histogram[_bucket(duration_ms)] += 1

    def percentile_ms(self, share: float) -> float:
        """The smallest latency that `share` of the calls did not exceed, to within a bucket's width."""
        rank = math.ceil(share * self.count)
        for bucket in sorted(self.histogram):
            rank -= self.histogram[bucket]
            if rank <= 0:
                return min(max(_upper_ms(bucket), self.min_ms), self.max_ms)
        return self.max_ms

    def summary(self) -> dict[str, float]:
        spooled = {"spooled": self.spooled} if self.spooled else {}
        return {
            "count": self.count,
            "errors": self.errors,
            **spooled,
            "min_ms": self.min_ms,
            "max_ms": self.max_ms,
            "avg_ms": self.total_ms / self.count,
            "p50_ms": self.percentile_ms(0.50),
            "p95_ms": self.percentile_ms(0.95),
            "p99_ms": self.percentile_ms(0.99),
        }


class Metrics:
    """A registry of latencies by operation and table; safe to use from several threads."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._lock = Lock()
        survives_fork(self)

    def _begin_in_child(self) -> None:
        self._lock = Lock()

    def record(self, verb: str, table: str, duration_s: float, *, failed: bool) -> None:
        """Count one call that took `duration_s` seconds."""
        with self._lock:
            self._of(verb, table).add(duration_s * 1000, failed)

    def record_spooled(self, verb: str, table: str) -> None:
        """Count one call of those recorded as waiting on disk, which is no error."""
        with self._lock:
            self._of(verb, table).spooled += 1

    def _of(self, verb: str, table: str) -> _Series:
        key = (verb, table)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        return series

    def snapshot(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return `{operation: {table: figures}}`: count, errors, and min, max, avg, p50, p95, p99 in milliseconds.

        Where calls were spooled, `spooled` says how many of the count.
        """
        tree: dict[str, dict[str, dict[str, float]]] = {}
        with self._lock:
            for (verb, table), series in sorted(self._series.items()):
                tree.setdefault(verb, {})[table] = series.summary()
        return tree

    def reset(self) -> None:
        """Forget everything counted so far."""
        with self._lock:
            self._series.clear()


def _bucket(duration_ms: float) -> int:
    return math.ceil(math.log2(duration_ms) * _BUCKETS_PER_DOUBLING) if duration_ms > 0 else -(2**31)


def _upper_ms(bucket: int) -> float:
    return float(2 ** (bucket / _BUCKETS_PER_DOUBLING))


default: Final = Metrics()
"""What services record into unless they are given a registry of their own."""


def snapshot() -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of the default registry; see `Metrics.snapshot`."""
    return default.snapshot()


def reset() -> None:
    """Empty the default registry."""
    default.reset()
