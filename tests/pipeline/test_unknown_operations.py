"""An operation that nobody knows is refused by every layer that guards, whatever stands around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar, cast

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    Operation,
    Redaction,
    Result,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
)
from agent_persistence.backends.backend import Backend
from agent_persistence.context import CallContext
from agent_persistence.operations import Query, Write
from agent_persistence.operations.base import BaseOperation
from agent_persistence.pipeline.chain import Layer, Next
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.pipeline.masking import Masking
from agent_persistence.pipeline.tenancy import Tenancy
from agent_persistence.pipeline.validation import Validation
from agent_persistence.policy.identity import Identity
from tests.doubles import RecordingAdapter

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True, slots=True)
class Truncate(BaseOperation):
    """A verb that nobody has: it says of itself that it only reads."""

    verb: ClassVar[str] = "truncate"


@dataclass(frozen=True, slots=True)
class Sneaking(Query):
    """A subclass, which may say anything of what it reads."""

    def columns(self) -> tuple[str, ...]:
        return ()


MADE_UP = [cast("Operation", Truncate("leads")), Sneaking("leads", select=("secret",))]
SCHEMA = Schema.default()
LAYERS: dict[str, Callable[[], Layer]] = {
    "guard": lambda: Guard(TablePolicy.default(), SCHEMA),
    "outer guard": lambda: Guard(TablePolicy.default(), SCHEMA, narrows=False),
    "validation": lambda: Validation(SCHEMA),
    "masking": lambda: Masking(SCHEMA, reads=Redaction.default()),
    "tenancy": lambda: Tenancy(SCHEMA.primary_key),
}


async def _unreached(operation: Operation, context: CallContext) -> Result:
    raise AssertionError(f"{operation} was let through")


@pytest.mark.parametrize("operation", MADE_UP, ids=lambda made: type(made).__name__)
@pytest.mark.parametrize("layer", LAYERS)
async def test_every_layer_that_guards_refuses_it(layer: str, operation: Operation) -> None:
    """By itself: none relies on another one that stands before it."""
    context = CallContext(Identity(own=True, tenant=TenantScope("a")))
    with pytest.raises(UnsupportedOperationError, match="no operation that this library knows"):
        await LAYERS[layer]()(operation, context, _unreached)


@pytest.mark.parametrize("operation", MADE_UP, ids=lambda made: type(made).__name__)
async def test_the_end_of_the_chain_refuses_it(operation: Operation) -> None:
    """Before the adapter is asked."""
    with pytest.raises(UnsupportedOperationError, match="no operation"):
        await dispatch_to(RecordingAdapter(), monotonic)(operation, CallContext(deadline=monotonic() + 5))


async def test_no_back_end_of_ours_knows_it() -> None:
    """Whoever calls `execute` without a chain is refused as well."""
    # persistence-guard: allow AP001 the adapter itself is under test
    backends: list[Backend] = [InMemoryAdapter(), SupabaseAdapter("https://project.supabase.co", "sb_secret_x")]
    for backend in backends:
        with pytest.raises(UnsupportedOperationError, match="no operation"):
            await backend.execute(MADE_UP[0], CallContext())
        await backend.aclose()


@pytest.mark.parametrize("operation", MADE_UP, ids=lambda made: type(made).__name__)
async def test_a_middleware_cannot_bring_it_in(operation: Operation) -> None:
    """The guard below the middleware refuses it, and nothing reaches the adapter."""

    async def swap(asked: Operation, call_next: Next) -> Result:
        return await call_next(operation)

    adapter = RecordingAdapter()
    with pytest.raises(UnsupportedOperationError, match="no operation"):
        await AsyncPersistenceService(adapter, middleware=[swap]).query("leads")
    assert adapter.calls == []


async def test_what_the_verbs_build_passes() -> None:
    """Control: the same layers let the known ones through."""
    passed: list[Any] = []

    async def reached(operation: Operation, context: CallContext) -> Result:
        passed.append(operation)
        return Result([{"id": 1, "tenant_id": "a"}] if isinstance(operation, Query) else {"id": 1, "tenant_id": "a"})

    for layer in LAYERS.values():
        for operation in (Query("leads"), Write("leads", {"email": "a@x.example"})):
            await layer()(operation, CallContext(), reached)
    assert len(passed) == 2 * len(LAYERS)
