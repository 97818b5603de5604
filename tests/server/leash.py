"""Run a command until stdin closes, then end it and remove its directory: `leash.py DIRECTORY USER SIGNAL COMMAND…`.

Nothing outlives the process that holds the other end of stdin, however that process ends. Run as a script.
"""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal


def leashed(
    command: Sequence[str],
    directory: Path,
    *,
    log: IO[bytes],
    ends_on: Literal["SIGQUIT", "SIGTERM"],
    uid: int | None = None,
) -> "subprocess.Popen[bytes]":
    """The command is starting; leaving the process's context ends it and waits until it and the directory are gone."""
    user = "" if uid is None else str(uid)
    return subprocess.Popen(
        [sys.executable, "-IS", __file__, str(directory), user, ends_on, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        cwd="/",
        # A session of its own: Ctrl-C in the terminal reaches the tests, which then end the server in order.
        start_new_session=True,
    )


def end_with_stdin(child: "subprocess.Popen[bytes]", number: int) -> None:
    """The child has been told to stop."""
    sys.stdin.buffer.read()
    child.send_signal(number)


def main(directory: str, user: str, ends_on: str, *command: str) -> int:
    """The command has ended and the directory is gone; `user` is a number, or empty for the user we are."""
    drop = {"user": int(user), "group": int(user), "extra_groups": []} if user else {}
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **drop)  # type: ignore[call-overload]
        threading.Thread(target=end_with_stdin, args=(child, signal.Signals[ends_on]), daemon=True).start()
        return int(child.wait())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
