"""Processes that use a local database, to be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent_persistence import RetryPolicy
from agent_persistence.backends.local.places import LocalFiles
from agent_persistence.backends.local.server import LocalServer
from agent_persistence.sync import PersistenceAgent, create_persistence_agent

PATIENCE_S = 60.0
PATIENT = RetryPolicy(read_deadline_s=60.0, write_deadline_s=60.0)
"""For calls that make a database, on a machine that has much else to do."""
_USER = """
import sys
from agent_persistence import RetryPolicy
from agent_persistence.sync import create_persistence_agent
patient = RetryPolicy(read_deadline_s=60.0, write_deadline_s=60.0)
agent = create_persistence_agent("local", path=sys.argv[1], retry=patient)
for line in sys.stdin:
    if line.strip() == "close":
        agent.close()
    else:
        agent.write("inquiries", {"body": line.strip()})
    print(agent.count("inquiries") if line.strip() != "close" else "closed", flush=True)
"""


class User:
    """A process with an agent of kind "local"; each `write` stores one row."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def write(self, body: str) -> int:
        """The row is in; how many there are."""
        return int(self._ask(body))

    def close(self) -> None:
        """Its agent is closed, and the process goes on."""
        assert self._ask("close") == "closed"

    def kill(self) -> None:
        """The process has ended at once, with nothing tidied up."""
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def user(path: Path) -> Iterator[User]:
    """A process that uses the database as long as it is not killed."""
    command = [sys.executable, "-c", _USER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield User(process)
        finally:
            process.kill()


def local_agent(path: Path, **options: Any) -> PersistenceAgent:
    """An agent of the database, with time enough to make it."""
    return create_persistence_agent("local", path=path, retry=PATIENT, **options)


def make(path: Path) -> None:
    """The database is there, so that a call with the usual deadline finds it."""
    server = LocalServer(path)
    server.join()
    server.leave()


def wait_until(holds: Callable[[], bool]) -> None:
    """It holds, within a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def process_of(path: Path) -> int:
    """The process id of the database's server."""
    process = LocalServer(path).status().process
    assert process is not None
    return process


def is_stopped(path: Path) -> bool:
    """Whether the server and its keeper have ended."""
    told = LocalServer(path).status()
    return not told.running and not told.in_use and not LocalFiles(path).process_file.exists()


def kill_keeper(path: Path) -> None:
    """The keeper has ended at once."""
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if any(word.endswith(b"keeper.py") for word in words) and any(bytes(path) in word for word in words):
                os.kill(int(directory.name), signal.SIGKILL)
