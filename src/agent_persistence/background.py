"""Work that must not end with the task that began it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

_tasks: set[asyncio.Task[None]] = set()
"""asyncio itself only keeps weak references."""


def in_background(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
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
