"""Work in the background."""

from __future__ import annotations

from contextvars import ContextVar

import anyio
import pytest

from agent_persistence.background import in_background

pytestmark = pytest.mark.anyio

_current: ContextVar[str] = ContextVar("current", default="nothing")


async def test_it_sees_the_callers_context() -> None:
    """So that its log lines and spans belong to the call that began it, on both event loops."""
    seen: list[str] = []
    done = anyio.Event()

    async def work() -> None:
        seen.append(_current.get())
        done.set()

    token = _current.set("the call")
    in_background(work)
    _current.reset(token)
    await done.wait()
    assert seen == ["the call"]
