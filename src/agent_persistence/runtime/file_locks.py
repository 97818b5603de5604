"""Locks on files, which the kernel takes back from a process that ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

POLL_S: Final = 0.005


def opened(path: Path) -> int:
    """The lock file, made if it is missing; no program that this process runs inherits it, a fork of it does."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(file: int, *, shared: bool) -> bool:
    """Whether the lock is held now; closing every copy of the file gives it back."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(file: int, timeout_s: float, *, shared: bool) -> None:
    """Hold the lock; TimeoutError where others keep it for longer than `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not try_lock(file, shared=shared):
        if time.monotonic() >= deadline:
            raise TimeoutError
        time.sleep(POLL_S)


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[None]:
    """Within, nobody else holds the lock; TimeoutError where others keep it for longer than `timeout_s`."""
    file = opened(path)
    try:
        lock(file, timeout_s, shared=False)
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock, shared or not."""
    file = opened(path)
    try:
        return not try_lock(file, shared=False)
    finally:
        os.close(file)
