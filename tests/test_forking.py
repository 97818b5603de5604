"""A process may fork while another thread uses an object of ours: the child can use it, too."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import anyio
import pytest

from agent_persistence import InMemoryAdapter, Schema
from agent_persistence.metrics import Metrics
from agent_persistence.runtime import forking
from agent_persistence.runtime.forking import closes_before_fork, survives_fork

PATIENCE_S = 20.0
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def in_child() -> Callable[[Callable[[], bool]], int]:
    """Forks, and returns the child's status: 0 if the check holds there; the child is ended if it hangs."""

    def run(check: Callable[[], bool]) -> int:
        child = os.fork()
        if child == 0:
            status = 2
            try:
                hung = Thread(target=lambda: Event().wait(PATIENCE_S) or os._exit(3), daemon=True)
                hung.start()
                status = 0 if check() else 1
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


class Held:
    """A lock that another thread holds until the test is over."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._held, self._released = Event(), Event()
        self._thread = Thread(target=self._hold)

    def _hold(self) -> None:
        with self._lock:
            self._held.set()
            self._released.wait(PATIENCE_S)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._held.wait(PATIENCE_S)

    def __exit__(self, *exc_info: object) -> None:
        self._released.set()
        self._thread.join()


def test_metrics_count_on_in_a_child(in_child: Any) -> None:
    """Those of the process, and a registry that a service was given."""
    metrics = Metrics()
    metrics.record("read", "leads", 0.1, failed=False)

    def counts() -> bool:
        metrics.record("read", "leads", 0.1, failed=False)
        return metrics.snapshot()["read"]["leads"]["count"] == 2

    with Held(metrics._lock):
        assert in_child(counts) == 0


def test_a_store_in_memory_is_usable_in_a_child(in_child: Any) -> None:
    """With the rows that the parent had."""
    adapter = InMemoryAdapter({"leads": [{"email": "a@x.io"}]}, schema=Schema.default())

    def reads_and_writes() -> bool:
        anyio.run(adapter.write, "leads", {"email": "b@x.io"})
        return anyio.run(adapter.count, "leads") == 2

    with Held(adapter._lock):
        assert in_child(reads_and_writes) == 0


def test_a_statement_that_had_not_ended_is_undone_in_the_child(in_child: Any) -> None:
    """No thread is left there to end it, and half of it would be no state that anybody has written."""
    adapter = InMemoryAdapter({"leads": [{"email": "a@x.io", "status": "new"}]}, schema=Schema.default())

    def has_the_old_row() -> bool:
        rows = anyio.run(adapter.query, "leads")
        return [row["status"] for row in rows] == ["new"]

    with adapter._transaction():
        table = adapter._table("leads")
        [(number, row)] = table._rows.items()
        table._put(number, {**row, "status": "half"})
        assert in_child(has_the_old_row) == 0


def test_a_lock_that_nobody_renews_hangs_in_the_child(in_child: Any) -> None:
    """Control: the check finds a lock that was held at the fork."""
    metrics = Metrics()
    forking._objects.discard(metrics)
    with Held(metrics._lock):
        assert in_child(lambda: metrics._lock.acquire(timeout=0.01)) == 1


def test_what_survives_a_fork_is_not_kept_alive() -> None:
    """It is forgotten with its owner."""
    metrics = Metrics()
    survives_fork(metrics)
    assert metrics in forking._objects
    count = len(forking._objects)
    del metrics
    gc.collect()
    assert len(forking._objects) < count


class Connected:
    """Has something open that no child may have."""

    def __init__(self) -> None:
        self.is_open = True
        self.told: list[str] = []

    def _suspend(self) -> None:
        self.is_open = False
        self.told.append("suspended")

    def _resume(self) -> None:
        self.told.append("resumed")

    def _begin_in_child(self) -> None:
        self.told.append("begun")


def test_what_no_child_may_have_is_closed_before_the_fork(in_child: Any) -> None:
    """The parent goes on, the child begins anew."""
    connected = Connected()
    closes_before_fork(connected)
    assert in_child(lambda: (connected.is_open, connected.told) == (False, ["suspended", "begun"])) == 0
    assert connected.told == ["suspended", "resumed"]
