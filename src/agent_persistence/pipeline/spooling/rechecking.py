"""Asks the policy again about what waited: it may be another one than when the write was kept."""

from __future__ import annotations

from agent_persistence.context import CallContext
from agent_persistence.exceptions import PersistencePermissionError
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.chain import Rest, unsent
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.query.predicates import Filter, conjunction
from agent_persistence.schema.registry import Schema
from agent_persistence.spool.entry import filter_text


class Rechecking:
    """Passes a write on as it is, if the guard would let it pass as it is.

    It is not held to rows anew, for which it would be changed: a unit that was changed is another one to the ledger.
    """

    def __init__(self, policy: TablePolicy, schema: Schema) -> None:
        self._guard = Guard(policy, schema)

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        passed: list[Operation] = []

        async def end(held: Operation, context: CallContext) -> Result:
            passed.append(held)
            return await unsent(held, context)

        await self._guard(operation, context, call_next=end)
        (held,) = passed
        if not _same(held, operation):
            raise PersistencePermissionError(
                f"{operation.verb} on {operation.table}: the policy limits it to other rows than when it was kept"
            )
        return await call_next(operation, context)


def _same(held: Operation, operation: Operation) -> bool:
    return (
        held.inserted == operation.inserted
        and held.merges_by == operation.merges_by
        and _terms(held.filter) == _terms(operation.filter)
    )


def _terms(filters: Filter | None) -> set[str]:
    return set() if filters is None else {filter_text(term) for term in conjunction((filters,)).terms}
