"""The program as a test starts it: in this process, in one of its own, or in a terminal."""

from __future__ import annotations

import gc
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from agent_persistence.cli.app import app

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """The exit status and what was printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        told = json.loads(self.out)
        assert isinstance(told, dict)
        return told

    @property
    def said(self) -> str:
        """All that was printed."""
        return self.out + self.err


def ran(*arguments: str | Path, stdin: str | None = None) -> Outcome:
    """The outcome of the command, run in this process."""
    try:
        ended = CliRunner().invoke(app, [*map(str, arguments)], input=stdin, prog_name="agent-persistence")
    finally:
        gc.enable()  # the guard turns it off, because its process is about to end
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Outcome(ended.exit_code, ended.stdout, ended.stderr)


def started(*arguments: str | Path, stdin: str | None = None, **variables: str) -> Outcome:
    """The outcome of the command, run in a process of its own, with these variables more."""
    ended = subprocess.run(
        [sys.executable, "-m", "agent_persistence.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def in_terminal(*arguments: str | Path, columns: int = 100, variables: Mapping[str, str] | None = None) -> str:
    """What a terminal of so many columns receives, both streams, with its escape sequences."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "50", **(variables or {})}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_persistence.cli", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        close_fds=True,
    )
    os.close(theirs)
    received = b""
    with process:
        while chunk := _read(ours):
            received += chunk
    os.close(ours)
    return received.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    """What has come; nothing once the other side is closed, which Linux tells as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
