"""The server behind SUPABASE_URL, asked request by request: what doctor looks at is below what the verbs show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from agent_persistence.backends.postgrest.adapter import SupabaseAdapter
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.factory import adapter_of
from agent_persistence.persistence_config import PersistenceConfig

TIMEOUT_S: Final = 10.0


class Rest:
    """Sends a request with the adapter's credentials and returns the response as it came, whatever its status."""

    def __init__(self, adapter: SupabaseAdapter, timeout_s: float = TIMEOUT_S) -> None:
        self._adapter = adapter
        self._timeout_s = timeout_s

    async def ask(self, request: Request) -> Response:
        """The response, or AdapterError where none came in time."""
        try:
            with anyio.fail_after(self._timeout_s):
                response = await self._adapter.exchange(request)
        except TimeoutError:
            raise AdapterError(
                f"no answer within {self._timeout_s:g} s", state=FailureState.AMBIGUOUS, hint="is the project paused?"
            ) from None
        return response


@asynccontextmanager
async def rest_of(
    target: Target, timeout_s: float = TIMEOUT_S, config: PersistenceConfig | None = None
) -> AsyncIterator[Rest]:
    """The server of the target, with its connections closed at the end."""
    adapter = adapter_of(target.kind, target.config if config is None else config, target.schema)
    if not isinstance(adapter, SupabaseAdapter):
        raise ConfigurationError(f"kind {target.kind!r} has no PostgREST server; use --kind supabase")
    try:
        yield Rest(adapter, timeout_s)
    finally:
        await adapter.aclose()
