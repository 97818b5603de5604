"""A value of its own for every event loop."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio.lowlevel import RunVar

T = TypeVar("T")

_here: RunVar[MutableMapping[PerLoop[Any], Any]] = RunVar("agent_persistence.per_loop")
"""The values of this event loop, by whose they are.

One variable serves them all: anyio keeps every RunVar that was ever set for as long as the event loop runs.
"""


class PerLoop(Generic[T]):
    """`get()` makes the value when an event loop first asks for it; it is forgotten with its owner, or with the loop.

    The value must not refer to the owner of this object, which it would keep alive.
    """

    __slots__ = ("__weakref__", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    def get(self) -> T:
        """The value of the running event loop."""
        values = _values()
        try:
            value: T = values[self]
        except KeyError:
            value = values[self] = self._make()
        return value

    def found(self) -> T | None:
        """The value of the running event loop, if one was made."""
        return _values().get(self)


def _values() -> MutableMapping[PerLoop[Any], Any]:
    try:
        return _here.get()
    except LookupError:
        values: MutableMapping[PerLoop[Any], Any] = WeakKeyDictionary()
        _here.set(values)
        return values
