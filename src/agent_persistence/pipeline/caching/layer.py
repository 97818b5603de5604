"""Answers reads that were answered before, as long as nothing was written since."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import anyio

from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, BackendUnavailableError, FailureState, PersistenceError
from agent_persistence.operations import Call, Operation, Result, related
from agent_persistence.pipeline.caching.copies import Answer, Answers, UncopyableError, copied, memory_bytes
from agent_persistence.pipeline.caching.fingerprint import fingerprint
from agent_persistence.pipeline.caching.policy import CachePolicy
from agent_persistence.pipeline.caching.staleness import Staleness
from agent_persistence.pipeline.chain import Rest
from agent_persistence.runtime.forking import survives_fork
from agent_persistence.runtime.per_loop import PerLoop
from agent_persistence.schema.registry import Schema

NO_ATTEMPT: Final = 0
"""The attempts of a call that asked nothing of the server."""
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did so far, and what it holds.

    Each read that may be cached is one of `hits` (answered from the cache), `shared` (answered together with the same
    read of another task) and `misses` (asked of the server). `evictions` are answers that had to go for others.
    """

    hits: int
    shared: int
    misses: int
    evictions: int
    entries: int
    size_bytes: int


@dataclass(slots=True, eq=False)
class _Flight:
    """A read under way: who asks the same waits for its end, and shares the answer or the failure."""

    version: tuple[int, ...]
    deadline: float
    ended: anyio.Event = field(default_factory=anyio.Event)
    value: Any = field(default=_NOTHING, repr=False)
    total: int | None = None
    failure: PersistenceError | None = None
    was_cancelled: bool = False


class Caching:
    """Runs once per caller's call, below the layers that say who may see what. The identity of the call and the filters
    of those layers are part of the cache key, and so nobody is given what another was answered.

    Reads, queries, counts, lists of columns and the functions that the policy names are kept, what was not found
    included; whoever gets an answer may change it. No failure is kept, and no answer during which a write was under way
    that may have changed it. A write that may still be applied after its call has ended (it was cancelled, or its
    answer lost) keeps what it may change out of the cache for another `ttl_s`.

    The same read by several tasks of an event loop, for one identity and under one retry policy, is one request; they
    share its failure too. Who has more than twice as much time left as that request asks by itself, and if the one who
    asks is cancelled, another one takes over. Safe to use from several event loops and threads.
    """

    def __init__(self, policy: CachePolicy, schema: Schema, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._schema = schema
        self._clock = clock
        self._flights: PerLoop[dict[Hashable, _Flight]] = PerLoop(dict)
        self._begin_in_child()
        survives_fork(self)

    def _begin_in_child(self) -> None:
        self._lock = threading.Lock()
        self._staleness = Staleness(self._schema)
        self._answers = Answers(self._policy.max_entries, self._policy.max_bytes)
        self._hits = self._shared = self._misses = 0

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        if operation.writes:
            with self._writing(operation):
                return await call_next(operation, context)
        asked = fingerprint(operation) if self._is_kept(operation) else None
        if asked is None:
            return await call_next(operation, context)
        return await self._read((context.identity, asked), operation, context, call_next)

    @property
    def stats(self) -> CacheStats:
        """The numbers at this moment."""
        with self._lock:
            answers = self._answers
            return CacheStats(self._hits, self._shared, self._misses, answers.evictions, len(answers), answers.size)

    def clear(self) -> None:
        """Forget every answer, and keep none of the reads under way: for when others are known to have written."""
        with self._lock:
            self._staleness.spoil()
            self._answers.clear()

    def _is_kept(self, operation: Operation) -> bool:
        if isinstance(operation, Call):
            return operation.table in self._policy.functions
        kept = self._policy.tables
        return kept is None or (
            operation.table in kept and all(each.query.table in kept for each in related(operation))
        )

    @contextmanager
    def _writing(self, operation: Operation) -> Iterator[None]:
        with self._lock:
            self._staleness.begin(operation)
        unsettled_until = -inf
        try:
            yield
        except BaseException as error:
            if _may_still_be_applied(error):
                unsettled_until = self._clock() + self._policy.ttl_s
            raise
        finally:
            with self._lock:
                self._staleness.end(operation, unsettled_until=unsettled_until)

    async def _read(self, key: Hashable, operation: Operation, context: CallContext, call_next: Rest) -> Result:
        alone = False
        while True:
            now = self._clock()
            with self._lock:
                version = self._staleness.version(operation)
                answer = self._answers.get(key, version, now)
                self._hits += answer is not None
            if answer is not None:
                return Result(copied(answer.value), NO_ATTEMPT, answer.total)
            flights, shared = self._flights.get(), (context.retry, key)
            flight = flights.get(shared)
            if alone or flight is None or flight.version != version or not _is_patient(flight, context, now):
                flights[shared] = flight = _Flight(version, context.deadline)
                try:
                    return await self._lead(flight, key, operation, context, call_next)
                finally:
                    if flights.get(shared) is flight:
                        del flights[shared]
            result = await self._follow(flight, operation, context)
            if result is not None:
                return result
            alone = not flight.was_cancelled

    async def _lead(
        self, flight: _Flight, key: Hashable, operation: Operation, context: CallContext, call_next: Rest
    ) -> Result:
        """Ask, keep the answer, and share it with those who wait."""
        asked_at = self._clock()
        with self._lock:
            self._misses += 1
        try:
            result = await call_next(operation, context)
            with suppress(UncopyableError):
                flight.value, flight.total = copied(result.value), result.total
                self._keep(key, operation, flight, asked_at)
            return result
        except BaseException as error:
            flight.failure = _own(error) if isinstance(error, PersistenceError) else None
            flight.was_cancelled = not isinstance(error, Exception)
            raise
        finally:
            with suppress(RuntimeError):  # the event loop is gone, and with it all who waited
                flight.ended.set()

    def _keep(self, key: Hashable, operation: Operation, flight: _Flight, asked_at: float) -> None:
        expires = asked_at + self._policy.ttl_s
        answer = Answer(flight.value, expires, flight.version, memory_bytes(flight.value), flight.total)
        now = self._clock()
        with self._lock:
            if self._staleness.version(operation) == flight.version and self._staleness.is_settled(operation, now):
                self._answers.put(key, answer)

    async def _follow(self, flight: _Flight, operation: Operation, context: CallContext) -> Result | None:
        """What the flight brings; None where it brings nothing that can be shared."""
        await self._wait(flight, operation, context)
        if flight.failure is not None:
            raise _own(flight.failure)
        if flight.value is _NOTHING:
            return None
        with self._lock:
            self._shared += 1
        return Result(copied(flight.value), NO_ATTEMPT, flight.total)

    async def _wait(self, flight: _Flight, operation: Operation, context: CallContext) -> None:
        with anyio.move_on_after(context.deadline - self._clock()):
            await flight.ended.wait()
            return
        late = BackendUnavailableError(
            f"{operation.verb} on {operation.table} reached its deadline while another call asked the same",
            state=FailureState.NOT_SENT,
        )
        late.attempts = NO_ATTEMPT
        raise late


def _is_patient(flight: _Flight, context: CallContext, now: float) -> bool:
    """Whether the flight has at least half as much time left as the call: then its failure is as good as ours."""
    return flight.deadline - now >= (context.deadline - now) / 2


def _may_still_be_applied(error: BaseException) -> bool:
    if isinstance(error, AdapterError):
        return error.state is FailureState.AMBIGUOUS
    return not isinstance(error, PersistenceError)


def _own(failure: PersistenceError) -> PersistenceError:
    """An error that says the same, for a task of its own to raise and to change."""
    own = copy(failure)
    own.__cause__ = failure.__cause__
    notes = getattr(own, "__notes__", None)
    if notes:
        own.__notes__ = [*notes]
    if isinstance(own, AdapterError):
        own.attempts = NO_ATTEMPT
    return own
