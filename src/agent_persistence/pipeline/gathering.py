"""Lets the operations of a unit of work go down the chain one by one, and leave together."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from copy import copy
from dataclasses import replace

import anyio

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    PersistenceError,
)
from agent_persistence.operations import (
    BatchWrite,
    Delete,
    Operation,
    PartOperation,
    Require,
    Result,
    Unit,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.pipeline.chain import Rest


class Gathering:
    """Part of the chain for units of work alone, below all that checks, changes or counts a single call. An operation
    waits here for the others of its unit; the last one takes them all along, as one Unit."""

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if context.gathered is None:
            return call_next(operation, context)
        return context.gathered.arrive(operation, context, call_next)


async def gather(chain: Rest, unit: Unit, context: CallContext, *, unit_id: str) -> Result:
    """Carry out the unit: each operation goes down the chain in its turn, and nothing is sent before all have passed.

    The value is that of each operation as its own way up the chain leaves it. An operation that is refused keeps all
    back; the first error in their order is raised, the failed operation's own before those of its companions.
    """
    journey = _Journey(chain, unit, context, unit_id)
    async with anyio.create_task_group() as group:
        for seat in journey.seats:
            group.start_soon(seat.walk)
            await seat.reached.wait()
            if seat.has_ended:
                break
        for seat in journey.seats:
            await seat.settle()
    return journey.result()


class _Journey:
    """A unit on its way."""

    def __init__(self, chain: Rest, unit: Unit, context: CallContext, unit_id: str) -> None:
        self.chain = chain
        self.unit = unit
        self.context = context
        self.unit_id = unit_id
        self.seats = [_Seat(self, index) for index in range(len(unit.parts))]
        self.sent: Result | PersistenceError | None = None
        """What became of all of them; None as long as they have not left."""

    async def send(self, context: CallContext, call_next: Rest) -> None:
        """All that have arrived leave as one."""
        parts = tuple(
            replace(seat.part, operation=_writing(seat.operation)) for seat in self.seats if seat.operation is not None
        )
        self.sent = _cancelled(self.unit)
        try:
            self.sent = await call_next(replace(self.unit, parts=parts), context)
        except PersistenceError as error:
            self.sent = error

    def result(self) -> Result:
        failed = [seat for seat in self.seats if seat.failure is not None]
        if failed:
            raise self._reason(failed)
        results = [seat.result for seat in self.seats if seat.result is not None]
        return Result(
            [one.value for one in results],
            max((one.attempts for one in results), default=1),
            spooled=any(one.spooled for one in results),
        )

    def _reason(self, failed: Sequence[_Seat]) -> BaseException:
        """The error of the operation that failed first, if one did; else that of the whole."""
        at_fault = [seat for seat in failed if not isinstance(seat.failure, _HeldBackError)]
        named = [seat for seat in at_fault if isinstance(self.sent, AdapterError) and self.sent.part == seat.index]
        failure = (named or at_fault or failed)[0].failure
        assert failure is not None  # noqa: S101  of those that failed
        return failure


class _Seat:
    """One operation of a unit: where it has come to, and what came back."""

    def __init__(self, journey: _Journey, index: int) -> None:
        self._journey = journey
        self.index = index
        self.part = journey.unit.parts[index]
        self.operation: Operation | None = None
        """As it has arrived."""
        self.reached = anyio.Event()
        """It has arrived or ended."""
        self.result: Result | None = None
        self.failure: BaseException | None = None
        self._settled = anyio.Event()
        self._ended = anyio.Event()
        self._has_begun = False

    @property
    def unit_id(self) -> str:
        return self._journey.unit_id

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def walk(self) -> None:
        """The operation's own way down the chain and back."""
        self._has_begun = True
        journey = self._journey
        try:
            self.result = await journey.chain(self.part.operation, replace(journey.context, gathered=self))
            if self.operation is None:
                self.failure = _answered(self.part.operation)
        except Exception as error:  # raised by `gather`, which has to end its tasks before
            self.failure = error
        finally:
            self._ended.set()
            self.reached.set()

    async def arrive(self, operation: Operation, context: CallContext, call_next: Rest) -> Result:
        """What the operation comes to when all have arrived."""
        if self.operation is not None:
            raise ConfigurationError(
                f"a middleware sent {operation.verb} on {operation.table} twice; in a unit of work each operation is"
                " sent once, and the unit is retried as a whole"
            )
        self.operation = operation
        if self.index == len(self._journey.seats) - 1:
            await self._journey.send(context, call_next)
        self.reached.set()
        await self._settled.wait()
        return self._outcome(operation)

    async def settle(self) -> None:
        """It learns what came of all, and has ended."""
        self._settled.set()
        if self._has_begun:
            await self._ended.wait()

    def _outcome(self, operation: Operation) -> Result:
        sent = self._journey.sent
        if sent is None:
            raise _HeldBackError(operation)
        if isinstance(sent, Result):
            return Result(sent.value[self.index], sent.attempts, spooled=sent.spooled)
        own = copy(sent)
        own.__cause__ = sent.__cause__
        raise own


class _HeldBackError(AdapterError):
    """Another operation of the unit was refused, and nothing was sent."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(
            f"{operation.verb} on {operation.table} was not sent: another operation of its unit was refused",
            state=FailureState.NOT_SENT,
        )


def _writing(operation: Operation) -> PartOperation:
    if not isinstance(operation, (Write, BatchWrite, Upsert, Update, Delete, Require, WritingCall)):
        raise ConfigurationError(f"a middleware made an operation of a unit of work into {operation.verb}")
    if operation.found_by is not None and operation.merges_by is None:
        raise ConfigurationError("a middleware made a write of a unit of work ignore duplicates, which it cannot")
    return operation


def _answered(operation: Operation) -> ConfigurationError:
    return ConfigurationError(
        f"a middleware answered {operation.verb} on {operation.table} by itself; what is part of a unit of work is sent"
        " with it, or refused"
    )


def _cancelled(unit: Unit) -> AdapterError:
    return AdapterError(f"{unit.verb} on {unit.table} was cancelled, and may be applied", state=FailureState.AMBIGUOUS)
