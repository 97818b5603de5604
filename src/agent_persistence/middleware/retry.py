"""Tries again what may be tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import tenacity

from agent_persistence.chain import Next
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    FailureState,
    OutcomeUnknownError,
    OverloadedError,
)
from agent_persistence.operations import Operation, Result, Upsert, Write
from agent_persistence.retry import RetryPolicy


class Retry:
    """Innermost, so that only the adapter's call runs once per attempt.

    It reads `AdapterError.state` and nothing else: "not_sent" and "retryable" are tried again, "ambiguous" only for
    reads, because a write may have been applied. What it gives up on becomes BackendUnavailableError (nothing was
    applied) or OutcomeUnknownError (a write may have been); "rejected" is raised as it is.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        key_columns: Callable[[str], tuple[str, ...]],
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._key_columns = key_columns
        self._clock = clock
        self._random = random
        self._sleep = sleep

    async def __call__(self, operation: Operation, call_next: Next, /) -> Result:
        try:
            return await call_next(operation)
        except AdapterError as error:
            first_failure = error
        try:
            return await self._try_again(operation, call_next, first_failure)
        except AdapterError as error:
            given_up = _given_up(operation, error)
            if isinstance(given_up, OutcomeUnknownError) and given_up.key is None:
                given_up.key = self._key(operation)
            if given_up is error:
                raise
            raise given_up from error

    async def _try_again(self, operation: Operation, call_next: Next, first_failure: AdapterError) -> Result:
        """Run tenacity with the failure of the first attempt, which ran outside it, as its first."""
        failures = [first_failure]
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: _may_retry(operation, error)),
            wait=self._wait_s,
            stop=lambda state: self._is_last(operation, state),
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if failures:
                    raise failures.pop()
                number = attempt.retry_state.attempt_number
                try:
                    return replace(await call_next(operation), attempts=number)
                except AdapterError as error:
                    error.attempts = number
                    raise
        raise AssertionError("tenacity ends by returning or raising")

    def _key(self, operation: Operation) -> object:
        """The primary key of the row that the caller gave, if it did."""
        record = operation.record if isinstance(operation, (Write, Upsert)) else {}
        key = tuple(record.get(column) for column in self._key_columns(operation.table))
        return None if not key or None in key else key[0] if len(key) == 1 else key

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._policy.wait_s(state.attempt_number, getattr(error, "retry_after_s", None), self._random)

    def _is_last(self, operation: Operation, state: tenacity.RetryCallState) -> bool:
        """Whether the attempts are used up, or the deadline would pass during the wait before the next."""
        return (
            state.attempt_number >= self._policy.attempts or self._clock() + state.upcoming_sleep >= operation.deadline
        )


def _may_retry(operation: Operation, error: BaseException) -> bool:
    if not isinstance(error, AdapterError) or isinstance(error, OverloadedError):
        return False
    return error.may_be_retried or (error.state is FailureState.AMBIGUOUS and not operation.writes)


def _given_up(operation: Operation, error: AdapterError) -> AdapterError:
    """The last failure as the caller sees it: sorted by whether a write may have been applied."""
    judged = isinstance(error, (BackendUnavailableError, OutcomeUnknownError, OverloadedError))
    if judged or error.state is FailureState.REJECTED:
        return error
    about: dict[str, Any] = {"status": error.status, "code": error.code, "retry_after_s": error.retry_after_s}
    given_up: AdapterError
    if error.state is FailureState.AMBIGUOUS and operation.writes:
        given_up = OutcomeUnknownError(
            f"{operation.verb} on {operation.table} was sent and may have been applied: {error}", **about
        )
    else:
        given_up = BackendUnavailableError(
            f"{operation.verb} on {operation.table} was given up after {error.attempts} attempt(s)"
            f"{', nothing was applied' if operation.writes else ''}: {error}",
            state=error.state,
            **about,
        )
    given_up.attempts = error.attempts
    given_up.hint = error.hint  # its text is in the message already
    return given_up
