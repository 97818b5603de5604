"""The chain of layers that every call goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from agent_persistence.context import CallContext
from agent_persistence.operations import Operation, Result

Next: TypeAlias = Callable[[Operation], Awaitable[Result]]
"""The rest of the chain, as a middleware calls it."""

Rest: TypeAlias = Callable[[Operation, CallContext], Awaitable[Result]]
"""The rest of the chain, as a layer calls it."""


class Middleware(Protocol):
    """Wraps the rest of the chain. A plain async function of this shape is a middleware.

    It may pass on a changed operation (`dataclasses.replace`), answer by itself, or raise. Whatever operation it passes
    on keeps the identity, the deadline and the retries of the call. It runs once per caller's call; only what stands
    below the retry layer runs once per attempt.
    """

    def __call__(self, operation: Operation, call_next: Next, /) -> Awaitable[Result]: ...


class Layer(Protocol):
    """A part of the chain that is also given the call's context, and passes it on."""

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]: ...


def compose(layers: Sequence[Layer], endpoint: Rest) -> Rest:
    """Return the chain with the first layer outermost and `endpoint` at its end."""
    for layer in reversed(layers):
        endpoint = partial(layer, call_next=endpoint)
    return endpoint


def as_layer(middleware: Middleware) -> Layer:
    """The middleware as a layer: it neither sees nor changes the context."""

    def layer(operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        return middleware(operation, lambda changed: call_next(changed, context))

    return layer


def as_marking_layer(middleware: Middleware) -> Layer:
    """The same where writes may be spooled: a result made of a spooled one is spooled, whatever the middleware says."""

    async def layer(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        spooled = False

        async def rest(changed: Operation) -> Result:
            nonlocal spooled
            result = await call_next(changed, context)
            spooled = spooled or result.spooled
            return result

        result = await middleware(operation, rest)
        return replace(result, spooled=True) if spooled and isinstance(result, Result) else result

    return layer


async def unsent(operation: Operation, context: CallContext) -> Result:
    """The end of a chain that sends nothing: what a database that has no rows would answer."""
    rows = [dict(record) for record in operation.inserted]
    empty: dict[str, Any] = {"row": rows[0] if rows else None, "rows": rows, "count": len(rows)}
    return Result(empty.get(operation.returns))
