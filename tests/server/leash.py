"""Run a command until stdin closes, then end it and remove its directory: `leash.py DIRECTORY USER COMMAND…`.

Nothing outlives the process that holds the other end of stdin, however that process ends. Run as a script.
"""

import shutil
import signal
import subprocess
import sys
import threading


def end_with_stdin(child: "subprocess.Popen[bytes]") -> None:
    """The child has been told to stop; PostgreSQL stops at once on SIGQUIT, without writing anything back."""
    sys.stdin.buffer.read()
    child.send_signal(signal.SIGQUIT)


def main(directory: str, user: str, *command: str) -> int:
    """The command has ended and the directory is gone; `user` is a number, or empty for the user we are."""
    drop = {"user": int(user), "group": int(user), "extra_groups": []} if user else {}
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **drop)  # type: ignore[call-overload]
        threading.Thread(target=end_with_stdin, args=(child,), daemon=True).start()
        return int(child.wait())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
