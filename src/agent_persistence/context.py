"""What holds for one call, whatever operation the layers pass on."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.policy.retry import DEFAULT, RetryPolicy


@dataclass(frozen=True, slots=True)
class CallContext:
    """As whom a call runs, under which bounds, and until when: an argument of every layer beside the operation.

    `deadline` is when the call must have ended, in seconds on the service's clock. Calls whose `identity` or `retry`
    differ share no request: what one of them joined would change its attempts, deadline or errors.
    """

    identity: Identity = OWN
    retry: RetryPolicy = DEFAULT
    deadline: float = inf
