"""What lies where in the directory of a local database."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

from agent_persistence.backends.local.owner import Owner

PORT: Final = 5432
USER: Final = "postgres"
DATABASE: Final = "postgres"
_SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path: sun_path in sys/un.h holds one more, the NUL."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The paths of one local database."""

    home: Path

    @property
    def data(self) -> Path:
        """The cluster, PostgreSQL's own directory."""
        return self.home / "data"

    @property
    def new_data(self) -> Path:
        """A cluster that is being made; it becomes `data` when it is whole."""
        return self.home / "data.new"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def users(self) -> Path:
        """The lock that every user shares, and that the keeper gets when there is none left."""
        return self.home / "users.lock"

    @property
    def starting(self) -> Path:
        """The lock of whoever starts or stops the server."""
        return self.home / "start.lock"

    @property
    def keeper(self) -> Path:
        """The lock that a living keeper holds."""
        return self.home / "keeper.lock"

    @property
    def process_file(self) -> Path:
        """Where PostgreSQL writes its process id and its state."""
        return self.data / "postmaster.pid"

    def sockets(self, owner: Owner) -> Path:
        """The directory of the server's socket: inside `home`, or in /tmp under a name made from `home`, where its path
        would be too long for a socket, is closed to the owner, or holds a comma, at which libpq parts hosts."""
        inside = self.home / "run"
        will_do = len(bytes(inside / _SOCKET_NAME)) <= _LONGEST_SOCKET and "," not in str(inside)
        if will_do and owner.may_enter(_existing(self.home)):
            return inside
        return Path("/tmp") / f"agent-persistence-{sha256(bytes(self.home)).hexdigest()[:20]}"  # noqa: S108  checked

    def make(self, owner: Owner) -> None:
        """The directory and its small files are there, and are the owner's; git takes no notice of them."""
        self.home.mkdir(parents=True, exist_ok=True)
        ignoring = self.home / ".gitignore"
        if not ignoring.exists():
            ignoring.write_text("*\n", encoding="utf-8")
        for file in (self.users, self.starting, self.keeper, self.log):
            if not file.exists():
                file.touch(mode=0o600)
                owner.take(file)


def _existing(path: Path) -> Path:
    """The path itself, or the nearest directory above it that exists."""
    return next(step for step in (path, *path.parents) if step.exists())


def options(sockets: Path) -> Mapping[str, str]:
    """How libpq connects to the server."""
    return {"host": str(sockets), "port": str(PORT), "user": USER, "dbname": DATABASE}


def dsn(sockets: Path) -> str:
    """The same as libpq's `key=value`."""
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in options(sockets).items()}
    return " ".join(f"{name}='{value}'" for name, value in escaped.items())


def url(sockets: Path) -> str:
    """The same as a URL, for other programs."""
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(sockets), safe='/')}"
