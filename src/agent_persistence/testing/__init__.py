"""For tests of code that uses this package, and for adapters that others write.

    from agent_persistence.testing import CONTRACT

    @pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
    async def test_my_adapter_keeps_the_contract(law):
        await law(MyAdapter())

Each law is a coroutine function that takes an adapter over empty tables of the default schema and raises
AssertionError where the adapter breaks it. They need no test framework and run on asyncio and trio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.backends.memory.adapter import reset_shared_memory
from agent_persistence.testing.contract import changing, inserting, lasting, reading, refusing, values

__all__ = ["CONTRACT", "Law", "reset_memory"]

Law: TypeAlias = Callable[[PersistenceAdapter], Awaitable[None]]

CONTRACT: Final[tuple[Law, ...]] = (
    *values.LAWS,
    *inserting.LAWS,
    *reading.LAWS,
    *changing.LAWS,
    *refusing.LAWS,
    *lasting.LAWS,
)
"""The laws of `agent_persistence.backends.base`, in the order of its verbs."""


def reset_memory() -> None:
    """Empty the store that kind="memory" shares in this process, and let the next user choose its schema."""
    reset_shared_memory()
