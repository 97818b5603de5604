"""Objects with a lock, in a process that forks."""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that another thread may be using while the process forks."""

    def _begin_in_child(self) -> None:
        """Be usable in the child, where no thread is left that would release a lock or end what it had begun."""
        ...


_objects: Final[WeakSet[Forked]] = WeakSet()


def survives_fork(forked: Forked) -> None:
    """Let the object begin anew in every child that is forked while it lives."""
    _objects.add(forked)


def _begin_all() -> None:
    for forked in tuple(_objects):
        forked._begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
