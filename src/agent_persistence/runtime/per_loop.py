"""A value of its own for every event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, ref

from anyio.lowlevel import RunVar

from agent_persistence.runtime.event_loop import asyncio_loop

T = TypeVar("T")

_here: RunVar[MutableMapping[PerLoop[Any], Any]] = RunVar("agent_persistence.per_loop")
"""The values of this event loop, by whose they are.

One variable serves them all: anyio keeps every RunVar that was ever set for as long as the event loop runs.
"""


class PerLoop(Generic[T]):
    """`get()` makes the value when an event loop first asks for it; it is forgotten with its owner, or with the loop.

    The value must not refer to the owner of this object, which it would keep alive.
    """

    __slots__ = ("__weakref__", "_latest", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._latest: _Latest[T] | None = None

    def get(self) -> T:
        """The value of the running event loop."""
        latest, loop = self._latest, asyncio_loop()
        if latest is not None and loop is not None and latest[0]() is loop and (known := latest[1]()) is not None:
            return known
        value = self._looked_up()
        self._latest = None if loop is None else _weakly(loop, value)
        return value

    def _looked_up(self) -> T:
        values = _values()
        try:
            value: T = values[self]
        except KeyError:
            value = values[self] = self._make()
        return value

    def found(self) -> T | None:
        """The value of the running event loop, if one was made."""
        return _values().get(self)


_Latest: TypeAlias = tuple[ref[asyncio.AbstractEventLoop], ref[T]]
"""The loop of asyncio that asked last, and its value: they need not be looked up. Neither is kept by it."""


def _weakly(loop: asyncio.AbstractEventLoop, value: T) -> _Latest[T] | None:
    try:
        return ref(loop), ref(value)
    except TypeError:  # a list or a dict
        return None


def _values() -> MutableMapping[PerLoop[Any], Any]:
    try:
        return _here.get()
    except LookupError:
        values: MutableMapping[PerLoop[Any], Any] = WeakKeyDictionary()
        _here.set(values)
        return values
