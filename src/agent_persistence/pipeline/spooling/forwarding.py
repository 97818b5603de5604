"""Everything that a service with a spool has for it: the layer, the way back to the database, and what ends with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from agent_persistence.backends.backend import Capabilities
from agent_persistence.backends.base import ActsAs, PersistenceAdapter
from agent_persistence.context import CallContext
from agent_persistence.exceptions import SpoolError
from agent_persistence.operations import Unit
from agent_persistence.pipeline.audit.layer import Audit
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.pipeline.chain import Layer, Rest, compose
from agent_persistence.pipeline.gathering import Gathering, gather
from agent_persistence.pipeline.observing import Observing
from agent_persistence.pipeline.retry.layer import Retry
from agent_persistence.pipeline.spooling.draining import Draining
from agent_persistence.pipeline.spooling.layer import Spooling
from agent_persistence.pipeline.spooling.rechecking import Rechecking
from agent_persistence.pipeline.timing import Timing
from agent_persistence.policy.identity import OWN, Identity
from agent_persistence.policy.retry import DEFAULT, RetryPolicy
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema.registry import Schema
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.spool import Spool

_REPORTING: Final = (Observing, Timing, Audit)


class Forwarding:
    """What waits goes to the database through the layers that report calls, the policy, the cache and the retries.

    Middleware, masks, tenant and validation have been passed when it was kept. `join` says which layers there are.
    """

    def __init__(
        self,
        spool: Spool,
        adapter: PersistenceAdapter,
        capabilities: Capabilities,
        keys: ClientKeys,
        policy: TablePolicy,
        schema: Schema,
        retry: RetryPolicy,
        clock: Callable[[], float],
    ) -> None:
        self.spool = spool
        place = _place(adapter, capabilities)
        self.draining = Draining(spool, self._apply, place)
        self.spooling = Spooling(spool, keys, self.draining, place)
        self._by_user = adapter if isinstance(adapter, ActsAs) else None
        self._rechecking = Rechecking(policy, schema)
        self._retry = retry if retry.attempts > 1 else DEFAULT.within(retry.write_deadline_s)
        self._clock = clock

    def join(self, layers: Sequence[Layer], endpoint: Rest) -> None:
        """The way to the database, made of the service's layers."""
        reporting = [layer for layer in layers if isinstance(layer, _REPORTING)]
        below = [layer for layer in layers if isinstance(layer, Caching)]
        retries = [layer for layer in layers if isinstance(layer, Retry)]
        self._chain = compose([*reporting, self._rechecking, *below, Gathering(), *retries], endpoint)

    async def aclose(self) -> None:
        """The background task of this event loop has ended, and the file is closed."""
        await self.draining.aclose()
        await self.spool.aclose()

    async def _apply(self, entry: Entry) -> None:
        operation = entry.operation
        context = CallContext(self._identity(entry), self._retry, self._clock() + self._retry.write_deadline_s)
        if isinstance(operation, Unit):
            await gather(self._chain, operation, context, unit_id=operation.key or "")
        else:
            await self._chain(replace(operation, resent=entry.resent), context)

    def _identity(self, entry: Entry) -> Identity:
        """As whom it was called."""
        if entry.own:
            if self._by_user is not None and self._by_user.identity is None:
                raise SpoolError("it was to run with the adapter's own credentials, which now come from a callable")
            return replace(OWN, actor=entry.actor)
        if self._by_user is None:
            raise SpoolError("it was to run as a user, and this adapter knows none")
        claims = None if entry.claims is None else json.loads(entry.claims)
        identity = self._by_user.identity_of(claims=claims)
        if identity.role != entry.role:
            raise SpoolError("it was to run under another role than the adapter has now")
        return replace(identity, actor=entry.actor)


def _place(adapter: PersistenceAdapter, capabilities: Capabilities) -> str:
    """The database in words, without credentials."""
    server = "" if capabilities.server is None else f" at {capabilities.server[0]}:{capabilities.server[1]}"
    namespace = "" if capabilities.namespace is None else f" in {capabilities.namespace}"
    return f"{type(adapter).__name__}{server}{namespace}"
