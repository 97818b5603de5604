"""Work in the background."""

from __future__ import annotations

from contextvars import ContextVar

import anyio
import pytest

from agent_persistence.runtime.background import in_background, later

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


async def test_what_is_to_be_done_later_is_done() -> None:
    """In a context of its own: whoever happens to ask for it is not the one it is done for."""
    seen: list[str] = []
    done = anyio.Event()

    async def work() -> None:
        seen.append(_current.get())
        done.set()

    token = _current.set("the call")
    later(0, work)
    _current.reset(token)
    await done.wait()
    assert seen == ["nothing"]


async def test_what_is_called_off_is_not_done() -> None:
    """Before its time has come; calling it off again, or when it is done, changes nothing."""
    seen: list[str] = []
    done = anyio.Event()

    async def note() -> None:
        seen.append("done")

    async def finish() -> None:
        done.set()

    call_off = later(0.01, note)
    call_off()
    call_off()
    call_off_last = later(0.02, finish)
    await done.wait()
    call_off_last()
    assert seen == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_event_loop_does_not_wait_for_what_is_to_be_done_later(backend: str) -> None:
    """It ends with its program, and so does the timer."""
    seen: list[str] = []

    async def note() -> None:
        seen.append("done")

    async def main() -> None:
        later(3600, note)

    anyio.run(main, backend=backend)
    assert seen == []
