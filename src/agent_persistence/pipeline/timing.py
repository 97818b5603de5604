"""Latency of every call: into the metrics registry, and to stdout where asked for."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter

from agent_persistence.context import CallContext
from agent_persistence.exceptions import TableNotAllowedError, printable
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.chain import Rest
from agent_persistence.query.identifiers import is_identifier

DENIED = "<denied>"
"""Stands for every table that the policy refuses, so that a model cannot choose a metric's name."""


class Timing:
    """Outermost; runs once per caller's call, refusals included. `log` prints one line a call."""

    def __init__(self, metrics: Metrics, *, log: bool) -> None:
        self._metrics = metrics
        self._log = log

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        table = operation.table
        failed = True
        start = perf_counter()
        try:
            result = await call_next(operation, context)
            failed = False
            if getattr(result, "spooled", False):  # a middleware may return anything
                self._metrics.record_spooled(operation.verb, table)
            return result
        except TableNotAllowedError:
            table = DENIED
            raise
        finally:
            duration_s = perf_counter() - start
            self._metrics.record(operation.verb, table, duration_s, failed=failed)
            if self._log:
                shown = table if table == DENIED or is_identifier(table) else printable(table)
                _print(f"[persistence] op={operation.verb} table={shown} ms={duration_s * 1000:.2f}")


def _print(line: str) -> None:
    """Print the line if stdout still works: a call that is settled must not fail for it."""
    with suppress(OSError, ValueError):
        print(line)
