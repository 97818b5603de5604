"""The user whom PostgreSQL runs as. It refuses root, so that root hands over to a user without rights."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_persistence.exceptions import ConfigurationError

_UNPRIVILEGED: Final = "nobody"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user by number; `is_other` says that this process, run by root, has to become that user first."""

    uid: int
    is_other: bool

    @property
    def drop(self) -> dict[str, Any]:
        """The arguments that make subprocess run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}

    @property
    def gid(self) -> int:
        return pwd.getpwuid(self.uid).pw_gid

    @property
    def name(self) -> str:
        return pwd.getpwuid(self.uid).pw_name

    def make(self, directory: Path) -> None:
        """The directory is there, belongs to this user, and is closed to others."""
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if self.is_other and found.st_uid == 0 and stat.S_ISDIR(found.st_mode):
            self.take(directory)
        elif found.st_uid != self.uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise ConfigurationError(
                f"{directory} is there already, and is no directory of user {self.name} that is closed to others"
                " (mode 0700); remove it, or choose another path="
            )

    def take(self, path: Path) -> None:
        """The path belongs to this user, where root has made it."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def may_enter(self, directory: Path) -> bool:
        """Whether this user can reach what is in the directory, by the mode of each directory on the way."""
        return not self.is_other or all(self._may_pass(step) for step in (directory, *directory.parents))

    def _may_pass(self, directory: Path) -> bool:
        found = directory.stat()
        return bool(found.st_mode & (stat.S_IXUSR if found.st_uid == self.uid else stat.S_IXOTH))


def new_owner() -> Owner:
    """Who runs PostgreSQL on data that are yet to be made: this user, and `nobody` for root."""
    ours = os.geteuid()
    owner = Owner(pwd.getpwnam(_UNPRIVILEGED).pw_uid if ours == 0 else ours, is_other=ours == 0)
    _check_named(owner.uid)
    return owner


def owner_of(data: Path) -> Owner:
    """Who runs PostgreSQL on these data: whom they belong to. Data of others raise ConfigurationError, but for root."""
    ours = os.geteuid()
    try:
        uid = data.stat().st_uid
    except FileNotFoundError:
        return new_owner()
    except PermissionError:
        raise ConfigurationError(f"{data} is closed to this user; choose another path=") from None
    _check_named(uid)
    if ours not in (0, uid):
        raise ConfigurationError(f"{data} belongs to user {uid}, and this is user {ours}; choose another path=")
    return Owner(uid, is_other=ours == 0)


def _check_named(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user {uid} has no name in this system's list of users (/etc/passwd), and PostgreSQL runs as none such;"
            ' add one, or use kind="memory"'
        ) from None
