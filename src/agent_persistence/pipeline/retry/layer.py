"""Tries again what may be tried again, and finds out what became of a write whose answer was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import replace
from typing import Any, Final

import tenacity

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    ConflictError,
    FailureState,
    OutcomeUnknownError,
    OverloadedError,
    RowsDroppedError,
)
from agent_persistence.operations import Operation, Result, Unit
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.observing import attempt_failed
from agent_persistence.pipeline.retry.lost import Recovery, applied, lost, queries, resent
from agent_persistence.policy.retry import THROTTLE_COST, TRANSIENT_COST, RetryBudget
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.predicates import TRUE, Filter
from agent_persistence.query.records import Row
from agent_persistence.runtime.attempts import set_apart
from agent_persistence.schema.client_keys import ClientKeys

_UNIQUE_VIOLATION: Final = "23505"
_LOST: Final = (FailureState.AMBIGUOUS, FailureState.APPLIED)


class Retry:
    """Innermost, so that only the adapter's call runs once per attempt.

    It reads `AdapterError.state`, and of a rejection whether it is a unique one: "not_sent" and "retryable" are tried
    again; a lost answer is for a read too, and for a write as `_lost.lost` says. What it gives up on becomes
    BackendUnavailableError (nothing was applied) or OutcomeUnknownError (a write may have been); a rejection is raised
    as it is. A call that succeeds at once costs nothing here.

    `scope` says what the layers above add to every filter of a table, so that a change by key is known for one.
    """

    def __init__(
        self,
        budget: RetryBudget,
        keys: ClientKeys,
        readable: Container[str],
        *,
        scope: Callable[[str, TenantScope | None], Filter] = lambda table, tenant: TRUE,
        clock: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.budget = budget
        self.keys = keys
        self.readable = readable
        self.scope = scope
        self.clock = clock
        self.random = random
        self.sleep = sleep

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        try:
            result = await call_next(operation, context)
        except AdapterError as error:
            first_failure = error
        else:
            if self.budget.spent:
                self.budget.refund(1)
            return result
        return await _Recovery(self, operation, context, call_next).run(first_failure)


class _NotReadError(AdapterError):
    """The rows that would show a write could not be read; this says nothing about the write."""


class _Recovery:
    """One call from its first failure on."""

    def __init__(self, retry: Retry, operation: Operation, context: CallContext, call_next: Rest) -> None:
        self._retry = retry
        self._policy = context.retry
        self._operation = operation
        self._context = context
        self._call_next = call_next
        self._lost = lost(operation, retry.keys, retry.scope(operation.table, context.identity.tenant))
        self._readable = operation.table in retry.readable and operation.asked_columns != ()
        self._doubt: AdapterError | None = self._of_earlier_call()
        """The last failure of a write that may have been applied nevertheless."""
        self._rejection: AdapterError | None = None
        """What a write was refused with that may be applied; from then on it is only looked for."""
        self._is_confirmed = False
        """Whether our own key was refused a second time."""
        self._is_settled = False
        """Whether all is known that can be, so that nothing is tried any more."""
        self._attempts = 1
        self._paid = 0

    def _of_earlier_call(self) -> AdapterError | None:
        if self._lost.plan is Recovery.RESEND and self._operation.was_sent:
            return AdapterError("what became of an earlier call is not known", state=FailureState.AMBIGUOUS)
        return None

    async def run(self, first_failure: AdapterError) -> Result:
        """Run tenacity with the failure of the first attempt, which ran outside it, as its first."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_retry),
            wait=self._wait_s,
            stop=self._is_last,
            before_sleep=self._report,
            sleep=self._retry.sleep,
            reraise=True,
        )
        failures = [first_failure]
        try:
            async for attempt in retrying:
                with attempt:
                    self._attempts = attempt.retry_state.attempt_number
                    result = await self._attempt(failures.pop() if failures else None)
                    self._retry.budget.refund(self._paid)
                    return replace(result, attempts=self._attempts)
        except AdapterError as error:
            error.attempts = self._attempts
            given_up = self._given_up(error)
            if given_up is error:
                raise
            raise given_up from error
        raise AssertionError("tenacity ends by returning or raising")

    async def _attempt(self, first_failure: AdapterError | None) -> Result:
        try:
            if first_failure is not None:
                raise first_failure
            return await self._once_more()
        except AdapterError as error:
            return await self._resolved(error)

    async def _once_more(self) -> Result:
        """Send again, but a change that others may have overwritten since only if the last write may win."""
        if self._rejection is not None:
            return await self._looked_for(self._rejection)
        if self._doubt is None:
            return await self._call_next(self._operation, self._context)
        if self._lost.plan is Recovery.RESEND:
            return await self._asked_apart(resent(self._operation))
        found = applied(self._operation, self._lost, await self._rows() or ())
        if found is not None:
            return Result(found)
        if self._policy.last_write_wins:
            return await self._asked_apart(self._operation)
        raise self._doubt

    async def _asked_apart(self, operation: Operation) -> Result:
        """The answer on a connection of its own: what confuses answers may be what lost the first one, and neither what
        is found out nor the refusal of what was sent twice may be taken from, or for, another call's."""
        with set_apart():
            return await self._call_next(operation, self._context)

    async def _resolved(self, error: AdapterError) -> Result:
        """The result, if the failure shows that the write was applied; else an error."""
        if not self._operation.writes:
            raise error
        if isinstance(error, RowsDroppedError) and self._doubt is None:
            self._is_settled = True  # all is known, and the same rows would be dropped again
            raise error
        if error.state is FailureState.APPLIED:
            return await self._confirmed(error)
        if error.state is FailureState.AMBIGUOUS and not isinstance(error, _NotReadError):
            self._doubt = error
        if error.state is not FailureState.REJECTED or (self._doubt is None and not self._is_own_key(error)):
            raise error
        return await self._rejected(error)

    async def _confirmed(self, error: AdapterError) -> Result:
        """The rows of a write that the server confirmed; where they cannot be read, it is as lost as any other."""
        self._doubt = error
        rows = await self._rows()
        if rows is None:
            raise error
        self._is_settled = True
        value = applied(self._operation, self._lost, rows)
        if value is None:
            raise self._unknown(error, was="was confirmed, but the rows are not there as they were sent") from error
        return Result(value)

    async def _rejected(self, error: AdapterError) -> Result:
        """A rejection of what was sent again. It is the first one's too if the database refused the row itself."""
        is_of_row = (error.code or "")[:2] in ("22", "23") and error.code != _UNIQUE_VIOLATION
        if is_of_row or _stands_behind_ledger(self._operation, error):
            self._is_settled = True
            raise error
        self._doubt, self._rejection = self._doubt or error, error
        return await self._looked_for(error)

    async def _looked_for(self, rejection: AdapterError) -> Result:
        """What the rows say of a write that was rejected, though it may be applied. While they cannot be read, nothing
        is known, and the error says so."""
        rows = await self._rows()
        found = applied(self._operation, self._lost, rows or ())
        if found is not None:
            return Result(found)
        if self._is_own_key(rejection):
            return await self._confirmed_by_key(rejection, looked=rows is not None)
        self._is_settled = True
        if rejection.code != _UNIQUE_VIOLATION:
            raise self._unknown(rejection) from rejection
        raise ConflictError(
            f"{rejection}; an earlier try of this call got no answer, and may be what it conflicts with",
            constraint=getattr(rejection, "constraint", None),
            **{**_about(rejection), "state": FailureState.AMBIGUOUS},
        ) from rejection

    async def _confirmed_by_key(self, rejection: AdapterError, *, looked: bool) -> Result:
        """What was sent, whose key exists.

        Where the row is not to be seen, the refusal may be that of another call: the row is sent once more, and refused
        again if it is there.
        """
        if looked and not self._is_confirmed:
            self._is_confirmed, self._rejection = True, None
            raise AdapterError(str(rejection), **{**_about(rejection), "state": FailureState.AMBIGUOUS})
        return Result(_sent(self._operation))

    def _is_own_key(self, error: AdapterError) -> bool:
        """Whether the key exists, by PostgreSQL's name for the rule, and nobody but this call can have used it.

        Then the row was applied, whatever was said of it: by an earlier try, or by a proxy that sent this one twice.
        """
        ours = self._operation.own_key is not None and error.code == _UNIQUE_VIOLATION
        return ours and getattr(error, "constraint", None) == f"{self._operation.table}_pkey"

    async def _rows(self) -> list[Row] | None:
        """The rows that show the call, or None where there are none such, or they may not be read.

        A failure to read them leaves the outcome open; they are then looked for again.
        """
        if not self._readable or not self._lost.keys:
            return None
        rows: list[Row] = []
        try:
            for query in queries(self._operation, self._lost):
                rows += (await self._asked_apart(query)).value
        except AdapterError as error:
            if error.state is FailureState.REJECTED:
                return None
            raise _NotReadError(
                f"what became of it could not be read: {error}", state=FailureState.AMBIGUOUS
            ) from error
        return rows

    def _may_retry(self, error: BaseException) -> bool:
        if not isinstance(error, AdapterError) or isinstance(error, OverloadedError) or self._is_settled:
            return False
        if error.state in _LOST and self._operation.writes:
            return (
                self._rejection is not None
                or self._lost.plan is Recovery.RESEND
                or (self._lost.plan is Recovery.LOOK and (self._readable or self._policy.last_write_wins))
            )
        return error.state is not FailureState.REJECTED

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._policy.wait_s(state.attempt_number, getattr(error, "retry_after_s", None), self._retry.random)

    def _report(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        attempt_failed(state.attempt_number, error, state.upcoming_sleep)

    def _is_last(self, state: tenacity.RetryCallState) -> bool:
        """Whether the attempts are used up, or the deadline would pass during the wait, or the budget is spent.

        A write that was rejected, though it may be applied, is looked for until the deadline.
        """
        if state.attempt_number >= self._policy.attempts and self._rejection is None:
            return True
        if self._retry.clock() + state.upcoming_sleep >= self._context.deadline:
            return True
        error = state.outcome.exception() if state.outcome else None
        cost = THROTTLE_COST if getattr(error, "status", None) == 429 else TRANSIENT_COST
        if not self._retry.budget.spend(cost, reserved=self._doubt is not None):
            return True
        self._paid = cost
        return False

    def _given_up(self, error: AdapterError) -> AdapterError:
        """The last failure as the caller sees it: sorted by whether a write may have been applied."""
        if self._is_settled or isinstance(error, (BackendUnavailableError, OutcomeUnknownError)):
            return self._with_key(error)
        if self._doubt is not None:
            return self._unknown(error)
        if error.state is FailureState.REJECTED or isinstance(error, OverloadedError):
            return error
        given_up = BackendUnavailableError(
            f"{self._operation.verb} on {self._operation.table} was given up after"
            f" {self._attempts} attempt{'s' * (self._attempts != 1)}"
            f"{', nothing was applied' if self._operation.writes else ''}: {error}",
            **_about(error),
        )
        given_up.attempts = self._attempts
        given_up.hint = error.hint  # its text is in the message already
        return given_up

    def _unknown(self, error: AdapterError, *, was: str | None = None) -> OutcomeUnknownError:
        """The error of an open outcome. `was` is what was found out about it by looking at the rows."""
        state = FailureState.AMBIGUOUS
        if was is None and self._doubt is not None and self._doubt.state is FailureState.APPLIED:
            state, was = FailureState.APPLIED, "was applied, but what became of the rows is not known"
        unknown = OutcomeUnknownError(
            f"{self._operation.verb} on {self._operation.table} was sent and {was or 'may have been applied'}: {error}",
            key=self._key(),
            attempts=self._attempts,
            **{**_about(error), "state": state},
        )
        unknown.hint = error.hint
        return unknown

    def _with_key(self, error: AdapterError) -> AdapterError:
        if isinstance(error, OutcomeUnknownError) and error.key is None:
            error.key = self._key()
        return error

    def _key(self) -> object:
        """The primary key of the row that was sent, if it has one; of a batch, the list of them."""
        if isinstance(self._operation, Unit):
            return self._operation.key
        columns = self._retry.keys.primary(self._operation.table)
        keys = [_key_of(record, columns) for record in self._operation.inserted]
        if not keys:
            return self._lost.keys[0] if len(self._lost.keys) == 1 else list(self._lost.keys) or None
        if self._operation.returns == "row":
            return keys[0]
        return None if None in keys else keys


def _stands_behind_ledger(operation: Operation, error: AdapterError) -> bool:
    """Whether the ledger was asked before this refusal: then no earlier try of the unit was applied."""
    is_asked = error.part is not None or error.code == "AP002"
    return isinstance(operation, Unit) and operation.key is not None and is_asked


def _key_of(record: Any, columns: tuple[str, ...]) -> object:
    key = tuple(record.get(column) for column in columns)
    return None if not key or None in key else key[0] if len(key) == 1 else key


def _sent(operation: Operation) -> Any:
    rows = [dict(record) for record in operation.inserted]
    if operation.returns == "count":
        return len(rows)
    return rows if operation.returns == "rows" else rows[0]


def _about(error: AdapterError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in ("state", "status", "code", "retry_after_s")}
