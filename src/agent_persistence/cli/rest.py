"""The server behind SUPABASE_URL, asked request by request: what doctor looks at is below what the verbs show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import AdapterError, FailureState

TIMEOUT_S: Final = 10.0


class Rest:
    """Sends a request with the adapter's credentials and returns the response as it came, whatever its status."""

    def __init__(self, adapter: Any, timeout_s: float = TIMEOUT_S) -> None:
        self._adapter = adapter
        self._timeout_s = timeout_s

    async def ask(self, request: Request) -> Response:
        """The response, or AdapterError where none came in time."""
        try:
            with anyio.fail_after(self._timeout_s):
                response: Response = await self._adapter.exchange(request)
        except TimeoutError:
            raise AdapterError(
                f"no answer within {self._timeout_s:g} s", state=FailureState.AMBIGUOUS, hint="is the project paused?"
            ) from None
        return response


@asynccontextmanager
async def rest_of(target: Target, timeout_s: float = TIMEOUT_S, **options: Any) -> AsyncIterator[Rest]:
    """The server of the target, with its connections closed at the end."""
    async with target.agent(**options) as agent:
        yield Rest(agent.service._adapter, timeout_s)
