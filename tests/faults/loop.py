"""An event loop whose clock stands still while the machine does other things: on a busy one no deadline passes early.

Client, proxy and backend share it, so that what they wait for is mostly each other.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

BEAT_S: Final = 0.01

T = TypeVar("T")


class _Waits(selectors.DefaultSelector):
    """Counts the time that was waited: in vain, what was asked for; for something that came, a beat at most."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        begun_s = time.perf_counter()
        found = super().select(timeout)
        took_s = time.perf_counter() - begun_s
        self.waited_s += max(timeout, 0.0) if timeout is not None and not found else min(took_s, BEAT_S)
        return found


class PatientLoop(asyncio.SelectorEventLoop):
    """Its time is what it waited and what its thread computed."""

    def __init__(self) -> None:
        self._waits = _Waits()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.waited_s + time.thread_time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on a loop of this kind."""
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(main)
