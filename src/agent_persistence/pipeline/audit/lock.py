"""Taking turns at a file, across processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agent_persistence.exceptions import ConfigurationError

POLL_S: Final = 0.0005


@contextmanager
def locked(file: int, timeout_s: float, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of an open file; TimeoutError where others keep it for longer than `timeout_s`."""
    try:
        import fcntl
    except ImportError:
        raise ConfigurationError("an audit log needs the file locks of a POSIX system") from None
    deadline = time.monotonic() + timeout_s
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process holds the audit log for more than {timeout_s} s") from None
        time.sleep(POLL_S)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # explicitly: a child forked meanwhile has the file open as well
