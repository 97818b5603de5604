"""Finds out as whom a call runs, where the adapter's own callable says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agent_persistence.backends.base import ActsAs
from agent_persistence.context import CallContext
from agent_persistence.exceptions import BackendUnavailableError, FailureState
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.chain import Rest
from agent_persistence.policy.identity import Identity
from agent_persistence.runtime.time_limits import ending_in


class Identification:
    """Runs once per caller's call, in the task of the caller, above every layer that shares answers or requests.

    The answer is the call's identity on all its way: of its pages, its attempts, and of what is read back after a lost
    answer. A call that names its user (`as_user`) is not asked for.
    """

    def __init__(self, adapter: ActsAs, clock: Callable[[], float]) -> None:
        self._adapter = adapter
        self._clock = clock

    async def current(self, given: Identity) -> Identity:
        """As whom a call that begins now runs: the user whom the identity names, or else the callable; its tenant and
        actor stay."""
        if not given.own:
            return given
        return replace(await self._adapter.identify(), tenant=given.tenant, actor=given.actor)

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        if not context.identity.own:
            return await call_next(operation, context)
        identity = None
        with ending_in(context.deadline - self._clock()):
            identity = await self.current(context.identity)
        if identity is None:
            raise BackendUnavailableError(
                f"{operation.verb} on {operation.table} reached its deadline before it was known as whom to run it",
                state=FailureState.NOT_SENT,
            )
        return await call_next(operation, replace(context, identity=identity))
