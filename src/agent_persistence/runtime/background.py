"""Work that must not end with the task that began it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import trio

_tasks: set[asyncio.Task[None]] = set()
"""asyncio itself only keeps weak references."""


Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


def in_background(work: Work) -> None:
    """Start the work in a task of its own, which ends with the event loop at the latest. It handles its own errors.

    It sees the caller's context variables, such as the current span, as every task does on asyncio.
    """
    try:
        task = asyncio.get_running_loop().create_task(work())
    except RuntimeError:  # no asyncio loop in this thread
        import trio

        trio.lowlevel.spawn_system_task(work, context=copy_context())
    else:
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


def later(delay_s: float, work: Work) -> Callable[[], None]:
    """Have the work done in the background after the delay, unless the event loop has ended; call it off with what is
    returned. It sees no context variables: whoever happens to ask for it is not the one it is done for."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # as above
        import trio

        scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(_delayed, delay_s, work, scope, context=Context())
        return scope.cancel
    return loop.call_later(delay_s, in_background, work, context=Context()).cancel


async def _delayed(delay_s: float, work: Work, scope: trio.CancelScope) -> None:
    import trio

    with scope:
        await trio.sleep(delay_s)
        await work()
