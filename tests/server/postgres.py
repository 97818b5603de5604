"""A PostgreSQL 18 of our own, by the programs and as the user of kind "local", in a temporary directory.

It differs from a local database in what tests need: a password, a port, and no care for what a power cut would do.
"""

import contextlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psycopg

from agent_persistence.backends.local.owner import Owner, new_owner
from agent_persistence.backends.local.wheel import runnable

from .leash import leashed
from .logs import new_log, tail

START_TIMEOUT_S = 30.0
SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "jit=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
    "timezone=UTC",
    "log_min_messages=warning",
)


class PostgresError(RuntimeError):
    """PostgreSQL did not start; the message ends with the tail of its log."""


def open_directory(who: Owner) -> Path:
    """A new temporary directory of the owner's; where the usual place is closed to the owner, in /tmp."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        home = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
        who.take(home)
        if subprocess.run(["test", "-w", home], check=False, cwd="/", **who.drop).returncode == 0:
            return home
        home.rmdir()
    raise PostgresError(f"no temporary directory that user {who.uid} can write to")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def initialise(install: Path, home: Path, password: str, who: Owner) -> Path:
    """A new cluster below `home`, whose superuser `postgres` has the password."""
    data, password_file = home / "data", home / "password"
    password_file.write_text(password)
    who.take(password_file)
    command = [
        str(install / "bin" / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        f"--pwfile={password_file}",
    ]
    options = "-A scram-sha-256 -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"
    command += [*options.split(), "--no-sync", "--no-instructions"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", **who.drop)
    password_file.unlink()
    if done.returncode:
        raise PostgresError(f"initdb failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return data


def spawn(install: Path, data: Path, port: int, log: IO[bytes], who: Owner) -> "subprocess.Popen[bytes]":
    """PostgreSQL is starting; it ends, and its directory goes, once the stdin of the process is closed."""
    settings = [word for setting in SETTINGS for word in ("-c", setting)]
    command = [str(install / "bin" / "postgres"), "-D", str(data), "-p", str(port), *settings]
    # On SIGQUIT PostgreSQL stops at once, without writing anything back.
    return leashed(command, data.parent, log=log, ends_on="SIGQUIT", uid=who.uid if who.is_other else None)


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: IO[bytes]) -> None:
    """PostgreSQL answers; else PostgresError."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.01)
    raise PostgresError(f"PostgreSQL did not start:\n{tail(log)}")


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a new, empty database on 127.0.0.1 for its superuser; it is gone afterwards."""
    who, password = new_owner(), secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        home = open_directory(who)
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        log = stack.enter_context(new_log())
        install = runnable(who)
        data = initialise(install, home, password, who)
        port = free_port()
        # Leaving the process's context closes its stdin and waits for it.
        process = stack.enter_context(spawn(install, data, port, log, who))
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        wait_until_ready(process, url, log)
        yield url
