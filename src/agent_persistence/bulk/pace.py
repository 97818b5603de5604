"""How fast an import goes, reported to the caller now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from agent_persistence.bulk.opening import Opened
from agent_persistence.bulk.values import Progress

Report: TypeAlias = Callable[[Progress], object]
INTERVAL_S: Final = 0.1


class Pace:
    """Counts, and calls `report` at most every INTERVAL_S, and once more at the end."""

    def __init__(self, report: Report | None, clock: Callable[[], float], source: Opened | None) -> None:
        self._report = report
        self._clock = clock
        self._began = clock()
        self._reported_at = self._began
        self._source = source
        self.rows_read = 0
        self.rows_written = 0
        self.rejected = 0

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read if self._source else 0

    def step(self) -> None:
        """Report the progress, unless that was done a moment ago."""
        now = self._clock()
        if self._report is not None and now - self._reported_at >= INTERVAL_S:
            self._reported_at = now
            self._report(self._progress(is_final=False))

    def end(self) -> None:
        if self._report is not None:
            self._report(self._progress(is_final=True))

    def _progress(self, *, is_final: bool) -> Progress:
        return Progress(
            rows_read=self.rows_read,
            rows_written=self.rows_written,
            rejected=self.rejected,
            bytes_read=self.bytes_read,
            bytes_total=self._source.total if self._source else None,
            seconds=self.seconds,
            is_final=is_final,
        )
