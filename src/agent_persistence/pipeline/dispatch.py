"""The end of the chain: one operation, carried out once."""

from __future__ import annotations

from collections.abc import Callable

from agent_persistence.backends.base import ASK_POSTGRES, CAPABILITIES, PersistenceAdapter
from agent_persistence.backends.six_verbs import executing
from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, FailureState, PersistenceError, UnsupportedOperationError
from agent_persistence.operations import KNOWN, Operation, Result, Unit, unknown
from agent_persistence.pipeline.chain import Rest
from agent_persistence.runtime.attempts import ended_unsent, limited
from agent_persistence.runtime.time_limits import EndedError


def dispatch_to(adapter: PersistenceAdapter, clock: Callable[[], float]) -> Rest:
    """Return the chain's endpoint: it has the operation carried out as whom the context says, and ends the call at the
    context's deadline or after its `attempt_s` seconds (see `attempts`), whichever is earlier.

    What the adapter lacks is refused before it is asked. A failure that is no error of this package becomes an
    AdapterError: "ambiguous" where the adapter may have written or its connection broke, else "rejected".
    """

    backend = executing(adapter)
    capabilities = backend.capabilities
    lacks = frozenset(name for name in CAPABILITIES if not capabilities.get(name, False))

    async def dispatch(operation: Operation, context: CallContext) -> Result:
        if type(operation) not in KNOWN and type(operation) is not Unit:
            raise unknown(operation)
        if lacks:
            _check_supported(operation, lacks)
        remaining_s = context.deadline - clock()
        if remaining_s <= 0:
            raise _late(operation, FailureState.NOT_SENT)
        try:
            return await limited(remaining_s, context.retry.attempt_s, backend.execute(operation, context))
        except PersistenceError:
            raise
        except EndedError:
            state = FailureState.NOT_SENT if ended_unsent() else FailureState.AMBIGUOUS
        except Exception as error:  # the boundary to adapters that others write
            raise _foreign(adapter, operation, error) from error
        raise _late(operation, state)

    return dispatch


def _check_supported(operation: Operation, lacks: frozenset[str]) -> None:
    for capability in operation.capabilities():
        if capability in lacks:
            remedy = ASK_POSTGRES if capability == "ranges" else ""
            raise UnsupportedOperationError(operation.table, capability, remedy=remedy)


def _late(operation: Operation, state: FailureState) -> AdapterError:
    reason = "reached its deadline" if state is FailureState.NOT_SENT else "got no answer in time"
    return AdapterError(f"{operation.verb} on {operation.table} {reason}", state=state)


def _foreign(adapter: PersistenceAdapter, operation: Operation, error: Exception) -> AdapterError:
    unsure = operation.writes or isinstance(error, OSError)
    return AdapterError(
        f"{type(adapter).__name__} failed in {operation.verb} on {operation.table} with {type(error).__name__}",
        state=FailureState.AMBIGUOUS if unsure else FailureState.REJECTED,
    )
