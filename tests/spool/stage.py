"""A database that can be reached or not, as a test says, and services with a spool before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import anyio

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuthenticationError,
    FailureState,
    InMemoryAdapter,
    Operation,
    Result,
    RetryPolicy,
    Spool,
)
from agent_persistence.context import CallContext
from agent_persistence.schema_registry import default_schema

Fate = Literal["up", "down", "lost", "lost before", "throttled", "denied", "hung", "signed out"]
RETRY: Final = RetryPolicy(attempts=2, base_s=0.001, cap_s=0.001)
_FAILURES: Final[dict[str, dict[str, Any]]] = {
    "down": {"state": FailureState.NOT_SENT},
    "lost": {"state": FailureState.AMBIGUOUS},
    "lost before": {"state": FailureState.AMBIGUOUS},
    "throttled": {"state": FailureState.RETRYABLE, "status": 429},
    "denied": {"state": FailureState.REJECTED, "code": "42501"},
}


class Switched(InMemoryAdapter):
    """A store in memory and the way to it, which is `up` or not; with "lost" a write is applied and no answer comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(schema=default_schema(), **options)
        self.fate: Fate = "up"
        self.sent: list[Operation] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        await anyio.lowlevel.checkpoint()
        self.sent.append(operation)
        if self.fate == "up":
            return await super().execute(operation, context)
        if self.fate == "signed out":
            raise AuthenticationError("the key was refused", status=401)
        if self.fate == "hung":
            await anyio.sleep_forever()
        if self.fate == "lost" and operation.writes:
            await super().execute(operation, context)
        raise AdapterError("the way is cut", **_FAILURES[self.fate])


def made(path: Path, adapter: Switched, **options: Any) -> AsyncPersistenceService:
    """A service with a spool at the path."""
    given: dict[str, Any] = {"retry": RETRY, "spool": Spool(path), **options}
    return AsyncPersistenceService(adapter, **given)


async def until(holds: Callable[[], Any]) -> None:
    """Wait for what the background brings about."""
    with anyio.fail_after(20):
        while not await holds():  # noqa: ASYNC110  there is no event to wait for
            await anyio.sleep(0.01)


async def drained(service: AsyncPersistenceService) -> None:
    """Nothing waits any more, by the background task alone."""

    async def is_empty() -> bool:
        assert service.spool is not None
        return not (await service.spool.status()).waiting

    await until(is_empty)
