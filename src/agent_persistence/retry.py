"""How long a call may take and how often it is tried: values, without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from agent_persistence.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Bounds of one call. Times are seconds; a deadline covers all attempts and the waits between them."""

    attempts: int = 4
    base_s: float = 0.1
    cap_s: float = 5.0
    read_deadline_s: float = 10.0
    write_deadline_s: float = 15.0
    retry_after_cap_s: float = 30.0

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigurationError(
                f"attempts counts the first one, so it is an int of at least 1, not {self.attempts!r}"
            )
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ConfigurationError(f"{option.name} is a positive number, not {value!r}")

    def wait_s(self, attempt: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
        """The pause after the given failed attempt, counted from 1.

        Full jitter, `random() * min(cap, base * 2 ** (attempt - 1))`, as in Marc Brooker, "Exponential Backoff
        And Jitter" (AWS Architecture Blog, 2015); never shorter than the server's Retry-After, which is capped.
        """
        jitter = random() * min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 64))
        return max(jitter, min(retry_after_s or 0.0, self.retry_after_cap_s))


def retry_policy(retry: RetryPolicy | bool | None) -> RetryPolicy:
    """The policy meant by a `retry=` argument: None or True the default, False a single attempt."""
    if isinstance(retry, RetryPolicy):
        return retry
    if retry is None or retry is True:
        return RetryPolicy()
    if retry is False:
        return RetryPolicy(attempts=1)
    raise ConfigurationError(f"retry is a RetryPolicy, True or False, not {type(retry).__name__}")
