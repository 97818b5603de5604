"""Lets observers watch calls: they are given names and counts, and nothing they do changes a call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, PersistenceError
from agent_persistence.operations import BatchWrite, Operation, Result
from agent_persistence.pipeline.audit.event import Outcome
from agent_persistence.pipeline.audit.layer import outcome_of
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.guard.allowed import Allowed
from agent_persistence.pipeline.timing import DENIED
from agent_persistence.policy.tables import TablePolicy

_logger = logging.getLogger("agent_persistence.observers")


@dataclass(frozen=True, slots=True)
class CallBegun:
    """One caller's call, before anything has happened.

    `table` is the function of a "call", and "<denied>" where the policy does not let `verb` have it, so that no
    model chooses a name; `batch_size` is the number of records of a batch. `server` (host and port) and `namespace`
    are the adapter's, where it has them.
    """

    verb: str
    table: str
    batch_size: int | None = None
    server: tuple[str, int] | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt at the call, the `number`th from 1, that will be followed by another in `wait_s` seconds."""

    number: int
    error_type: str
    code: str | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """What became of the call, in the terms of an AuditEvent.

    `code` is the server's: an SQLSTATE, a code of PostgREST's, or else the HTTP status.
    """

    outcome: Outcome
    duration_s: float
    attempts: int
    row_count: int = 0
    error_type: str | None = None
    code: str | None = None


class Observation(Protocol):
    """One call under observation."""

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        """Called for every attempt that is followed by another, also in another task than the call's."""
        ...

    def ended(self, end: CallEnded, /) -> None:
        """Called once, in the task of the call, however it ended."""
        ...


class Observer(Protocol):
    """Called with every call that begins, in its task. It returns at once, and what it raises is logged."""

    def __call__(self, call: CallBegun, /) -> Observation: ...


class Observing:
    """Outermost; runs once per caller's call, refusals included.

    Observers hear of the beginning in the order given and of the end in the reverse one, so that the first is
    around the others.
    """

    def __init__(
        self,
        observers: Sequence[Observer],
        policy: TablePolicy,
        *,
        server: tuple[str, int] | None = None,
        namespace: str | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._allowed = Allowed(policy)
        self._server = server
        self._namespace = namespace

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        watch = self._begin(operation)
        token = _watched.set(watch)
        start = perf_counter()
        try:
            result = await call_next(operation, context)
        except BaseException as error:
            watch.end(_failure(operation, error, perf_counter() - start))
            raise
        else:
            watch.end(_success(result, perf_counter() - start))
            return result
        finally:
            _restore(token)

    def _begin(self, operation: Operation) -> _Watch:
        size = len(operation.records) if isinstance(operation, BatchWrite) else None
        call = CallBegun(operation.verb, self._named(operation), size, self._server, self._namespace)
        observations = []
        for observer in self._observers:
            try:
                observations.append(observer(call))
            except Exception:  # an observer is the user's code: whatever it raises must not undo a call
                _log_failure(call)
        return _Watch(call, observations)

    def _named(self, operation: Operation) -> str:
        """The table, if the guard will let the call pass."""
        table = operation.table
        return table if type(table) is str and table in self._allowed(operation) else DENIED


class _Watch:
    """The observations of one call; after its end there are none."""

    __slots__ = ("_call", "_observations")

    def __init__(self, call: CallBegun, observations: Sequence[Observation]) -> None:
        self._call = call
        self._observations = observations

    def attempt_failed(self, attempt: AttemptFailed) -> None:
        for observation in self._observations:
            try:
                observation.attempt_failed(attempt)
            except Exception:  # as above
                _log_failure(self._call)

    def end(self, end: CallEnded) -> None:
        observations, self._observations = self._observations, ()
        for observation in reversed(observations):
            try:
                observation.ended(end)
            except Exception:  # as above
                _log_failure(self._call)


_watched: ContextVar[_Watch | None] = ContextVar("watched", default=None)
"""The call that this task, or the one that started it, is carrying out."""


def _restore(token: Token[_Watch | None]) -> None:
    try:
        _watched.reset(token)
    except ValueError:  # garbage collection closed the call, in the context of something else
        return


def attempt_failed(number: int, error: BaseException | None, wait_s: float) -> None:
    """Report to the observers of the current call, if there are any, that its `number`th attempt failed."""
    watch = _watched.get()
    if watch is not None:
        watch.attempt_failed(AttemptFailed(number, type(error).__name__, _code(error), wait_s))


def _success(result: object, duration_s: float) -> CallEnded:
    """A middleware may have returned something else than a Result, which the service refuses behind this layer."""
    rows = _row_count(getattr(result, "value", None))
    outcome: Outcome = "spooled" if getattr(result, "spooled", False) else "ok"
    return CallEnded(outcome, duration_s, getattr(result, "attempts", 1), rows)


def _failure(operation: Operation, error: BaseException, duration_s: float) -> CallEnded:
    return CallEnded(
        outcome_of(operation, error),
        duration_s,
        attempts=getattr(error, "attempts", int(not isinstance(error, PersistenceError))),
        error_type=type(error).__name__,
        code=_code(error),
    )


def _code(error: BaseException | None) -> str | None:
    if not isinstance(error, AdapterError):
        return None
    return error.code or (None if error.status is None else str(error.status))


def _row_count(value: Any) -> int:
    if isinstance(value, list):
        return len(value) if value and isinstance(value[0], dict) else 0
    return int(isinstance(value, dict))


def _log_failure(call: CallBegun) -> None:
    _logger.exception("an observer failed on %s of %s", call.verb, call.table)
