"""What holds for one call, whatever operation the layers pass on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from agent_persistence.operations import Operation, Result
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.policy.retry import DEFAULT, RetryPolicy


class Gathered(Protocol):
    """The unit of work of which a call is an operation."""

    @property
    def unit_id(self) -> str:
        """What the operations of one unit have in common."""
        ...

    def arrive(
        self,
        operation: Operation,
        context: CallContext,
        call_next: Callable[[Operation, CallContext], Awaitable[Result]],
    ) -> Awaitable[Result]:
        """Wait for the others, leave with them, and return what came of this one."""
        ...


@dataclass(frozen=True, slots=True)
class CallContext:
    """As whom a call runs, under which bounds, and until when: an argument of every layer beside the operation.

    `deadline` is when the call must have ended, in seconds on the service's clock. Calls whose `identity` or `retry`
    differ share no request: what one of them joined would change its attempts, deadline or errors. `gathered` is the
    unit of work that the call belongs to.
    """

    identity: Identity = OWN
    retry: RetryPolicy = DEFAULT
    deadline: float = inf
    gathered: Gathered | None = None
