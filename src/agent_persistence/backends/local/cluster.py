"""A new database cluster, whole before anyone sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from agent_persistence.backends.local.owner import Owner
from agent_persistence.backends.local.places import DATABASE, USER, LocalFiles
from agent_persistence.exceptions import ConfigurationError

_SQL: Final = Path(__file__).parents[2] / "sql" / "local_roles.sql"
_OPTIONS: Final = (
    f"-U {USER} -A peer -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8"
    " --no-sync --no-instructions"
).split()
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
"""What differs from PostgreSQL's own: it is reached by its socket alone, and has no replicas."""


def environment() -> dict[str, str]:
    """What the programs see of this process's environment: nothing of the variables that hold keys, or that PostgreSQL
    would read."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def directory_name(data: Path, owner: Owner) -> str:
    """The data directory as PostgreSQL is given it.

    Where a directory above is closed to the owner, as /root is, Linux leads it there by the directory it is started in.
    """
    if owner.may_enter(data.parent):
        return str(data)
    if sys.platform != "linux":
        raise ConfigurationError(
            f"root runs PostgreSQL as {owner.name}, who may not enter {data.parent}; choose another path="
        )
    return "/proc/self/cwd"


def make_cluster(places: LocalFiles, programs: Path, owner: Owner) -> None:
    """`places.data` is a cluster with the roles, functions and extensions of local_roles.sql.

    It becomes visible as a whole: what a process that was killed left behind is removed.
    """
    new = places.new_data
    shutil.rmtree(new, ignore_errors=True)
    owner.make(new)
    try:
        _run([str(programs / "bin" / "initdb"), "-D", directory_name(new, owner), *_OPTIONS, *_settings()], new, owner)
        _let_in(new, owner)
        single = [str(programs / "bin" / "postgres"), "--single", "-j", "-D", directory_name(new, owner), DATABASE]
        _run(single, new, owner, _SQL.read_text(encoding="utf-8"))
        new.rename(places.data)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _settings() -> list[str]:
    return [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]


def _let_in(data: Path, owner: Owner) -> None:
    """The socket takes whom the kernel says is the owner, or root; there is no password that could be found."""
    (data / "pg_hba.conf").write_text("local all all peer map=local\n", encoding="utf-8")
    lines = [f'local "{name}" all\n' for name in sorted({owner.name, "root"})]
    (data / "pg_ident.conf").write_text("".join(lines), encoding="utf-8")


def _run(command: list[str], data: Path, owner: Owner, stdin: str | None = None) -> None:
    run = subprocess.run(  # noqa: S603  a program of the wheel, with arguments of ours
        command, check=False, capture_output=True, text=True, cwd=data, env=environment(), input=stdin, **owner.drop
    )
    if run.returncode or "ERROR:" in run.stderr or "FATAL:" in run.stderr:
        raise ConfigurationError(
            f"{Path(command[0]).name} could not make the local database {data.parent}: {run.stderr.strip()[-1000:]}"
        )
