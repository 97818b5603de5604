"""The one chain that every call walks down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from agent_persistence.operations import Operation, Result

Next: TypeAlias = Callable[[Operation], Awaitable[Result]]
"""The rest of the chain."""


class Middleware(Protocol):
    """Wraps the rest of the chain. A plain async function of this shape is a middleware.

    It may pass on a changed operation (`dataclasses.replace`), answer by itself, or raise. It runs once per
    caller's call; only what stands below the retry layer runs once per attempt.
    """

    def __call__(self, operation: Operation, call_next: Next, /) -> Awaitable[Result]: ...


def compose(layers: Sequence[Middleware], endpoint: Next) -> Next:
    """Return the chain with the first layer outermost and `endpoint` at its end."""
    for layer in reversed(layers):
        endpoint = _wrap(layer, endpoint)
    return endpoint


def _wrap(layer: Middleware, call_next: Next) -> Next:
    return lambda operation: layer(operation, call_next)
