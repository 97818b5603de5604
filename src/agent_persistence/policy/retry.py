"""How long a call may take and how often it is tried: values, and the budget that all calls of a service share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from sys import float_info
from typing import Final

from agent_persistence.exceptions import ConfigurationError

LEAST_DEADLINE_S: Final = 0.01
"""No request over a network is answered in less; a shorter bound is a mistake of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Bounds of one call. Times are seconds; a deadline covers all attempts and the waits between them.

    An attempt that got no answer within `attempt_s` is given up, so that a silent connection leaves time for another.
    `budget` is what all calls of a service may spend on retries together (see `RetryBudget`). `last_write_wins` lets
    an upsert or an update by key whose answer was lost be sent again, at the risk of overwriting what others wrote
    meanwhile; without it such a call ends in OutcomeUnknownError unless the row shows that it was applied.
    """

    attempts: int = 4
    base_s: float = 0.1
    cap_s: float = 5.0
    attempt_s: float = 7.0
    read_deadline_s: float = 10.0
    write_deadline_s: float = 15.0
    retry_after_cap_s: float = 30.0
    budget: int = 500
    last_write_wins: bool = False

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigurationError(
                f"attempts counts the first one, so it is an int of at least 1, not {self.attempts!r}"
            )
        if type(self.budget) is not int or self.budget < 0:
            raise ConfigurationError(f"budget is a number of tokens, an int of at least 0, not {self.budget!r}")
        if not isinstance(self.last_write_wins, bool):
            raise ConfigurationError(f"last_write_wins is True or False, not {self.last_write_wins!r}")
        for option in ("base_s", "cap_s", "retry_after_cap_s"):
            _check_seconds(option, getattr(self, option), least=0.0)
        for option in ("attempt_s", "read_deadline_s", "write_deadline_s"):
            _check_seconds(option, getattr(self, option), least=LEAST_DEADLINE_S)

    def wait_s(self, attempt: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
        """The pause after the given failed attempt, counted from 1.

        Full jitter, `random() * min(cap, base * 2 ** (attempt - 1))`, as in Marc Brooker, "Exponential Backoff
        And Jitter" (AWS Architecture Blog, 2015); never shorter than the server's Retry-After, which is capped.
        """
        jitter = random() * min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 64))
        return max(jitter, min(retry_after_s or 0.0, self.retry_after_cap_s))

    def within(self, deadline_s: float) -> RetryPolicy:
        """The same policy with one deadline for reads and writes."""
        _check_seconds("deadline_s", deadline_s, least=LEAST_DEADLINE_S)
        return replace(self, read_deadline_s=deadline_s, write_deadline_s=deadline_s)


def checked_seconds(option: str, value: float) -> float:
    """The number of seconds; ConfigurationError names the option."""
    _check_seconds(option, value, least=0.0)
    return value


def _check_seconds(option: str, value: object, *, least: float) -> None:
    if isinstance(value, int) and value > float_info.max:
        raise ConfigurationError(f"{option} is a number of seconds, and none so large")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= float_info.max:
        raise ConfigurationError(f"{option} is a positive number of seconds, not {value!r}")
    if value < least:
        raise ConfigurationError(f"{option} is in seconds, and {value!r} is too short for any answer; at least {least}")


def retry_policy(retry: RetryPolicy | bool | None) -> RetryPolicy:
    """The policy meant by a `retry=` argument: None or True the default, False a single attempt."""
    if isinstance(retry, RetryPolicy):
        return retry
    if retry is None or retry is True:
        return DEFAULT
    if retry is False:
        return RetryPolicy(attempts=1)
    raise ConfigurationError(f"retry is a RetryPolicy, True or False, not {type(retry).__name__}")


DEFAULT: Final = RetryPolicy()
TRANSIENT_COST: Final = 14
THROTTLE_COST: Final = 5
RESERVED_SHARE: Final = 0.2


class RetryBudget:
    """A token bucket that keeps the retries of all callers together from multiplying an outage.

    A retry costs 14 tokens, 5 if the server asked to slow down; the success that it leads to returns them, and any
    other success returns one (the standard retry mode of the AWS SDKs). The last fifth is reserved for learning what
    became of writes that were sent. What cannot be paid for is not tried again.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._reserve = capacity * RESERVED_SHARE
        self.spent = 0
        """Tokens that are out; 0 when every call succeeds."""

    def spend(self, cost: int, *, reserved: bool) -> bool:
        """Take the tokens if they are there, from the reserved share too if `reserved`; else take none."""
        allowed = self._capacity if reserved else self._capacity - self._reserve
        if self.spent + cost > allowed:
            return False
        self.spent += cost
        return True

    def refund(self, tokens: int) -> None:
        """Give tokens back, never more than were taken."""
        self.spent = max(0, self.spent - tokens)
