"""Starts PostgreSQL, waits until it has no user left, and stops it. Run as a script: `python -IS keeper.py ORDER`.

ORDER is the JSON of a KeeperOrder. The script ends when the server is ready, or with what went wrong on stderr; what
remains is a process in a session of its own, the keeper. It holds the lock `keeper` as long as it lives, and waits for
the lock `users`, of which each user holds a share that the kernel takes back from a process that ends. A server whose
keeper was killed runs on, and gets a new one from whoever uses it next. Nothing but the standard library is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

POLL_S = 0.005
STOP_TIMEOUT_S = 60.0
RETRY_S = 5.0
_IN_USE = b"shared memory block"
"""What PostgreSQL says while processes of a server that was killed have still to end."""


class KeeperOrder(TypedDict):
    """What is to be kept; `command` starts the server, and is empty where it runs already."""

    users: str
    keeper: str
    data: str
    socket: str
    log: str
    command: list[str]
    drop: dict[str, Any]
    environment: dict[str, str]
    timeout_s: float


def postmaster(data: str | Path) -> tuple[int, str] | None:
    """The process id and the state ("starting", "ready", …) that PostgreSQL wrote down; None where it did not."""
    try:
        lines = (Path(data) / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
    except (OSError, ValueError, IndexError):
        return None


def accepts(path: str | Path) -> bool:
    """Whether some server listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def stop(data: str | Path, socket_path: str | Path) -> None:
    """The server has ended: its clients' transactions are rolled back, what was committed is kept.

    Without a server behind the socket nothing is done: the process id in the file may by now be that of another.
    """
    found = postmaster(data)
    if found is None or not accepts(socket_path):
        return
    process = found[0]
    for number in (signal.SIGINT, signal.SIGQUIT):
        _send(process, number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            now = postmaster(data)
            if now is None or now[0] != process or not _is_alive(process):
                return
            time.sleep(POLL_S)


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def started(order: KeeperOrder) -> None:
    """The server takes calls, or the script ends with the end of its log."""
    deadline = time.monotonic() + order["timeout_s"]
    retrying = time.monotonic() + RETRY_S
    while True:
        error = _tried(order, deadline)
        if error is None:
            return
        if _IN_USE not in error or time.monotonic() > retrying:
            sys.exit(error.decode(errors="replace"))
        time.sleep(0.1)


def _tried(order: KeeperOrder, deadline: float) -> bytes | None:
    """Nothing once the server is ready; else the end of its log."""
    with Path(order["log"]).open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(  # noqa: S603  a program of the wheel
            order["command"],
            cwd=order["data"],
            env=order["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **order["drop"],
        )
    while process.poll() is None:
        if postmaster(order["data"]) == (process.pid, "ready"):
            return None
        if time.monotonic() > deadline:
            return b"it is not ready yet, and goes on starting; its log: " + order["log"].encode()
        time.sleep(POLL_S)
    with Path(order["log"]).open("rb") as written:
        written.seek(begin)
        return written.read()[-2000:] or b"it ended without a word"


def keep(order: KeeperOrder) -> None:
    """Wait until nobody uses the server, and stop it; at once where another keeper does that."""
    import fcntl

    own = os.open(order["keeper"], os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if order["command"]:
        os.sync()  # initdb leaves this to us: a new cluster of 40 MB need not be waited for
    users = os.open(order["users"], os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        stop(order["data"], order["socket"])
        with contextlib.suppress(OSError):  # of what is not empty something is still in use
            Path(order["socket"]).parent.rmdir()
        os.close(own)  # before the users' lock: whoever gets that shall find no keeper


def main(order: KeeperOrder) -> None:
    if order["command"]:
        started(order)
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.chdir("/")
    keep(order)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
