"""Whose turn it is to apply what waits: one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agent_persistence.exceptions import SpoolError
from agent_persistence.runtime.file_locks import opened, try_lock
from agent_persistence.runtime.forking import survives_fork


class Turn:
    """The lock beside a spool. The kernel takes it back from a process that ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        survives_fork(self)

    def take(self) -> bool:
        """Whether it is this process's turn from now on."""
        if self._file is not None:
            return False
        try:
            file = opened(self._path)
        except OSError as error:
            raise SpoolError(f"the lock {self._path} cannot be opened: {error.strerror}") from error
        if not try_lock(file, shared=False):
            os.close(file)
            return False
        self._file = file
        return True

    def give_back(self) -> None:
        """It is the next one's turn."""
        file, self._file = self._file, None
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)  # explicitly: a child that was forked meanwhile may have it open
            os.close(file)

    def _begin_in_child(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
