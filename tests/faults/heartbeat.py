"""A clock that stands still while the event loop does: on a busy machine a call is not blamed for its neighbours."""

from __future__ import annotations

import asyncio
import time
from typing import Final

BEAT_S: Final = 0.01


class Heartbeat:
    """Whatever a beat comes late is no time that a call took."""

    def __init__(self) -> None:
        self._stalled_s = 0.0
        self._began_s = time.perf_counter()

    def now_s(self) -> float:
        """Seconds in which the event loop had its turns."""
        now_s = time.perf_counter()
        return now_s - self._stalled_s - max(0.0, now_s - self._began_s - BEAT_S)

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._began_s = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self._stalled_s += max(0.0, time.perf_counter() - self._began_s - BEAT_S)
