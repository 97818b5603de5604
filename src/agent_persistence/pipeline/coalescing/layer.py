"""Sends what many callers ask for at once in few requests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    FailureState,
    OutcomeUnknownError,
    PersistenceError,
    RowsDroppedError,
)
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.coalescing.policy import CoalescePolicy
from agent_persistence.pipeline.coalescing.sharing import key_of, kind, own_error, parts, parts_of_some, size, together
from agent_persistence.runtime.background import in_background
from agent_persistence.runtime.per_loop import PerLoop
from agent_persistence.runtime.time_limits import ending_in
from agent_persistence.schema.client_keys import ClientKeys

Groups: TypeAlias = dict[Hashable, "_Group"]


class Coalescing:
    """Runs once per caller's call, above the retries, below everything that checks a single call.

    The first call waits for one turn of the event loop, which takes microseconds; calls of the same kind that begin in
    it share its request, and a lone call goes as it is. Calls that arrive while a request is under way are sent
    together when it is back: writes of single rows into one table as one batch, reads by a unique column as one query,
    equal queries as one. None joins a request that left before it came, so that everybody reads what he has written.
    Calls of different identities, or under different retry policies, never share a request.

    Each caller gets its own row or its own error: if a batch is rejected, its rows are sent singly. A caller that is
    cancelled, or whose deadline passes, leaves; the others do not notice.
    """

    def __init__(self, policy: CoalescePolicy, keys: ClientKeys, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._keys = keys
        self._clock = clock
        self._here: PerLoop[Groups] = PerLoop(dict)

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        alike = kind(operation, self._keys)
        if alike is None:
            return await call_next(operation, context)
        shared = context.identity, context.retry, alike
        groups = self._here.get()
        group = groups.get(shared)
        if group is not None:
            return await self._seated(group, operation, context)
        group = groups[shared] = _Group()
        try:
            await checkpoint()
            if not group.waiting:
                return await call_next(operation, context)
            group.waiting.insert(0, seat := _Seat(operation, context))
        finally:
            if group.waiting:
                in_background(partial(self._serve, groups, shared, group, call_next))
            else:
                del groups[shared]
        return await self._answer(group, seat)

    async def _seated(self, group: _Group, operation: Operation, context: CallContext) -> Result:
        seat = _Seat(operation, context)
        group.waiting.append(seat)
        return await self._answer(group, seat)

    async def _answer(self, group: _Group, seat: _Seat) -> Result:
        with ending_in(seat.context.deadline - self._clock()):
            try:
                await seat.settled.wait()
            finally:
                if not seat.taken:
                    group.waiting.remove(seat)
        if seat.outcome is None:
            raise _late(seat)
        if isinstance(seat.outcome, Result):
            return seat.outcome
        raise seat.outcome

    async def _serve(self, groups: Groups, shared: Hashable, group: _Group, call_next: Rest) -> None:
        """Send what waits, one request after another, until nobody waits any more."""
        try:
            while group.waiting:
                await _send(group.take(self._policy), call_next)
        finally:
            del groups[shared]
            for seat in group.waiting:  # the event loop is ending
                seat.settle(_late(seat))


class _Seat:
    """One caller that waits: `taken` once its operation has gone into a request."""

    def __init__(self, operation: Operation, context: CallContext) -> None:
        self.operation = operation
        self.context = context
        self.taken = False
        self.outcome: Result | Exception | None = None
        self.settled = anyio.Event()

    def settle(self, outcome: Result | Exception) -> None:
        self.outcome = outcome
        self.settled.set()


class _Group:
    """The callers of one kind that wait while a request of theirs is under way."""

    def __init__(self) -> None:
        self.waiting: list[_Seat] = []

    def take(self, policy: CoalescePolicy) -> list[_Seat]:
        """The first of those who wait, as many as fit into one request, and at least one."""
        taken: list[_Seat] = []
        total_bytes = 0
        for seat in self.waiting[: policy.max_rows]:
            total_bytes += size(seat.operation)
            if taken and total_bytes > policy.max_bytes:
                break
            seat.taken = True
            taken.append(seat)
        del self.waiting[: len(taken)]
        return taken


async def _send(seats: Sequence[_Seat], call_next: Rest) -> None:
    """Settle every seat, whatever happens."""
    try:
        if len(seats) == 1:
            await _alone(seats[0], call_next)
        else:
            await _as_one(seats, call_next)
    finally:
        for seat in seats:
            if seat.outcome is None:
                seat.settle(_late(seat))


async def _as_one(seats: Sequence[_Seat], call_next: Rest) -> None:
    operations = [seat.operation for seat in seats]
    try:
        shares = parts(await call_next(together(operations), _context(seats)), operations)
    except RowsDroppedError as error:
        shares = parts_of_some(error, operations)
    except Exception as error:  # whatever it is, it belongs to the callers
        if _is_harmless(error):
            return await _each_alone(seats, call_next)
        for seat in seats:
            seat.settle(own_error(error, seat.operation))
        return None
    for seat, share in zip(seats, shares, strict=True):
        if share is not None:
            seat.settle(share)
    return await _each_alone([seat for seat in seats if seat.outcome is None], call_next)


def _context(seats: Sequence[_Seat]) -> CallContext:
    """The context of the callers, which differ in nothing but their deadlines, with the latest of these."""
    return replace(seats[0].context, deadline=max(seat.context.deadline for seat in seats))


def _is_harmless(error: Exception) -> bool:
    """Whether nothing was applied, and a part may pass where the whole did not."""
    if isinstance(error, AdapterError):
        return error.state is FailureState.REJECTED
    return isinstance(error, PersistenceError)


async def _each_alone(seats: Iterable[_Seat], call_next: Rest) -> None:
    async with anyio.create_task_group() as group:
        for seat in seats:
            group.start_soon(_alone, seat, call_next)


async def _alone(seat: _Seat, call_next: Rest) -> None:
    try:
        seat.settle(await call_next(seat.operation, seat.context))
    except Exception as error:  # whatever it is, it is this caller's
        seat.settle(error)


def _late(seat: _Seat) -> AdapterError:
    """The error for a caller whose answer did not come."""
    operation = seat.operation
    call = f"{operation.verb} on {operation.table}"
    if seat.taken and operation.writes:
        return OutcomeUnknownError(
            f"{call} was sent together with others and may have been applied: it got no answer in time",
            key=key_of(operation),
        )
    return BackendUnavailableError(
        f"{call} got no answer in time",
        state=FailureState.AMBIGUOUS if seat.taken else FailureState.NOT_SENT,
    )
