"""Checkpoints of a run that is ahead of what is stored: they go with a later one of the run, by one statement.

LangGraph stores in the background by default (`durability="async"`): a put begins once the one before it has returned,
while the graph goes on. A graph whose steps take less than a request would so wait for a request a step at its end. As
soon as writes for a later checkpoint have come, that checkpoint's put is on its way, and what this one would store can
go with it: nothing waits for this put but that one. With `durability="sync"` no write for a later checkpoint comes
before the put has returned, with "exit" none at all, and a graph that runs without an event loop has threads, in which
calls may overtake each other: there, every put is stored before it returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from agent_persistence.ext._langgraph.outbox import fits_a_request
from agent_persistence.ext._langgraph.parts import Namespace, Part, place_of

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

Key: TypeAlias = tuple[int, Namespace]
_RUN: Final = "__pregel_runtime"
"""What LangGraph makes for each run of a graph; without it nothing is known of a run, and nothing waits."""
FAILED_RUNS: Final = 100
"""Runs of which a put failed, or was cancelled, that are remembered: LangGraph makes the next put all the same."""


@dataclass(slots=True)
class _Run:
    """One run in one namespace, from a put until all that it is known to have put is stored."""

    runtime: object
    """Kept, so that no other run has its identity."""
    put: str = ""
    """The last checkpoint that was given."""
    written: str = ""
    """The last one for which writes came."""
    waiting: list[Part] = field(default_factory=list)

    @property
    def puts_more(self) -> bool:
        return self.written > self.put


class Runs:
    """The runs of graphs that are storing something."""

    def __init__(self) -> None:
        self._runs: dict[Key, _Run] = {}
        self._failed: dict[Key, None] = {}

    def wrote(self, config: RunnableConfig) -> None:
        """Note that the run has got as far as this checkpoint."""
        configurable = config.get("configurable") or {}
        run = self._runs.get((id(configurable.get(_RUN)), place_of(config)))
        if run is not None:
            run.written = max(run.written, configurable.get("checkpoint_id") or "")

    async def put(
        self,
        config: RunnableConfig,
        checkpoint_id: str,
        parts: Sequence[Part],
        store: Callable[[Sequence[Part]], Awaitable[None]],
    ) -> None:
        """The parts are stored with all that waited for them, or wait for a later checkpoint of the run.

        Where that fails they are stored with the next one, so that no checkpoint is there without its parent.
        """
        runtime = (config.get("configurable") or {}).get(_RUN)
        if runtime is None:
            await store(parts)
            return
        key = (id(runtime), place_of(config))
        run = self._runs.setdefault(key, _Run(runtime))
        run.put = checkpoint_id
        run.waiting += parts
        if run.puts_more and fits_a_request(run.waiting):
            return
        waiting, run.waiting = run.waiting, []
        try:
            await store(waiting)
        except BaseException:
            run.waiting[:0] = waiting  # a put that LangGraph makes in spite of it has these for its parents
            self._failed[key] = None
            self._forget_old_failures()
            raise
        if not run.puts_more:
            self._runs.pop(key, None)
            self._failed.pop(key, None)

    def _forget_old_failures(self) -> None:
        """Of runs that failed nobody says that no put will follow."""
        while len(self._failed) > FAILED_RUNS:
            oldest = next(iter(self._failed))
            del self._failed[oldest]
            self._runs.pop(oldest, None)
