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


class Suspended(Forked, Protocol):
    """An object with something open that no child may have."""

    def _suspend(self) -> None:
        """Wait until no thread uses what is open, and close it; others wait until the process has forked."""
        ...

    def _resume(self) -> None:
        """Go on in the parent."""
        ...


_objects: Final[WeakSet[Forked]] = WeakSet()
_suspended: Final[WeakSet[Suspended]] = WeakSet()
_held: Final[list[Suspended]] = []
"""Those that are suspended while this thread forks."""


def survives_fork(forked: Forked) -> None:
    """Let the object begin anew in every child that is forked while it lives."""
    _objects.add(forked)


def closes_before_fork(forked: Suspended) -> None:
    """Let the object close what it has open whenever the process forks, and begin anew in the child."""
    _suspended.add(forked)
    survives_fork(forked)


def _begin_all() -> None:
    _held.clear()
    for forked in tuple(_objects):
        forked._begin_in_child()


def _suspend_all() -> None:
    for forked in tuple(_suspended):
        forked._suspend()
        _held.append(forked)


def _resume_all() -> None:
    while _held:
        _held.pop()._resume()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_suspend_all, after_in_parent=_resume_all, after_in_child=_begin_all)
