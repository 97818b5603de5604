"""Has writes wait where the database cannot be reached."""

from __future__ import annotations

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    FailureState,
    OutcomeUnknownError,
    PersistenceError,
    SpoolFullError,
)
from agent_persistence.operations import Operation, Result
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.spooling.draining import Draining
from agent_persistence.pipeline.spooling.rules import as_sent, is_unreachable, kept
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.spool.entry import Entry, Kept, tables_of
from agent_persistence.spool.spool import Spool


class Spooling:
    """Runs once per request, right above the retries, so that what is kept is what would have been sent.

    Each write asks first whether anything of its tables waits, for which it reads the file in a thread; then it goes
    behind that. Reads pass, and see nothing of what waits. `place` names the database that the file is for.
    """

    def __init__(self, spool: Spool, keys: ClientKeys, draining: Draining, place: str) -> None:
        self._spool = spool
        self._keys = keys
        self._draining = draining
        self._place = place

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        self._draining.look_once()
        if operation.writes and await self._spool.holds(tables_of(operation)):
            return await self._behind(operation, context)
        try:
            result = await call_next(operation, context)
        except AdapterError as error:
            if not operation.writes or not is_unreachable(error):
                raise
            return await self._instead(operation, context, error)
        self._draining.hurry()
        return result

    async def _behind(self, operation: Operation, context: CallContext) -> Result:
        """The write waits behind those of its tables."""
        self._draining.wake()
        found = kept(operation, context, self._keys)
        if isinstance(found, str):
            raise BackendUnavailableError(
                f"{operation.verb} on {operation.table} was not sent: earlier writes wait until the database can be"
                f" reached, and this one cannot wait behind them: {found}",
                state=FailureState.NOT_SENT,
            )
        await self._keep(found, context, resent=False)
        return Result(as_sent(operation), 0, spooled=True)

    async def _instead(self, operation: Operation, context: CallContext, error: AdapterError) -> Result:
        """The write waits; where it may not, or there is no space, the error says what it said before, and why."""
        found = kept(operation, context, self._keys)
        if isinstance(found, str):
            error.add_note(f"It was not kept in the spool: {found}.")
            raise error
        is_open = isinstance(error, OutcomeUnknownError)
        try:
            await self._keep(found, context, resent=is_open)
        except PersistenceError as refused:
            if isinstance(refused, SpoolFullError) and not is_open:
                refused.attempts = error.attempts
                raise refused from error
            error.add_note(f"It was not kept in the spool: {refused}.")
            raise error from error.__cause__
        return Result(as_sent(operation), error.attempts, spooled=True)

    async def _keep(self, operation: Kept, context: CallContext, *, resent: bool) -> None:
        await self._spool.append(Entry.of(operation, context.identity, resent=resent), self._place)
        self._draining.wake()
