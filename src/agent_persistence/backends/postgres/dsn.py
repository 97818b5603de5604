"""Where a PostgreSQL server is and how it is reached: the options of a connection, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from pydantic import SecretStr

from agent_persistence._version import __version__
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.runtime.hiding import Unpicklable, hidden

EXAMPLE: Final = "postgresql://<user>:<password>@<host>:5432/<database>"
_ENCRYPTED: Final = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True)
class Server(Unpicklable):
    """A PostgreSQL server and how to log in: `place` is what messages may say of it."""

    place: str
    options: Mapping[str, str] = field(repr=False)
    password: SecretStr | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; of several the first."""
        host, port = (self.options[name].split(",")[0] for name in ("host", "port"))
        return host, int(port)

    def namespace(self, db_schema: str) -> str:
        """What OpenTelemetry's conventions for PostgreSQL call the database and the schema in it."""
        return "|".join(filter(None, (self.options.get("dbname"), db_schema)))

    def conninfo(self, addresses: Mapping[str, str]) -> SecretStr:
        """All options of a connection to these addresses, as libpq's `key='value'`."""
        login = {} if self.password is None else {"password": self.password.get_secret_value()}
        options = {**self.options, **login, **addresses}
        escaped = ((name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in options.items())
        return SecretStr(" ".join(f"{name}='{value}'" for name, value in escaped))


def checked_server(
    dsn: object,
    parse: Callable[[str], Mapping[str, str] | None],
    *,
    allow_plaintext: bool,
    environ: Mapping[str, str] = os.environ,
) -> Server:
    """The server that the DSN names; ConfigurationError for what is no address, or would send rows in the clear.

    Where the DSN does not say whether to use TLS, a host that is not this machine must (sslmode=require). Messages
    repeat nothing of the DSN but its host.
    """
    dsn = hidden(dsn)
    if not isinstance(dsn, SecretStr) or not dsn.get_secret_value().strip():
        raise ConfigurationError(f"the PostgreSQL URL is empty; it looks like {EXAMPLE} (DATABASE_URL)")
    given, password = _without_password(parse(dsn.get_secret_value().strip()))
    if given is None:
        raise ConfigurationError(f"the PostgreSQL URL cannot be read; it looks like {EXAMPLE} (DATABASE_URL)")
    if not given.get("host") and not given.get("hostaddr"):
        raise ConfigurationError(f"the PostgreSQL URL names no host; it looks like {EXAMPLE} (DATABASE_URL)")
    if given.get("port", "").count(",") not in (0, len(_hosts(given)) - 1):
        raise ConfigurationError("the PostgreSQL URL names more or fewer ports than hosts")
    mode = given.get("sslmode") or environ.get("PGSSLMODE") or _default_mode(given, allow_plaintext)
    remote = [host for host in _hosts(given) if not _is_local(host)]
    if remote and mode not in _ENCRYPTED and not allow_plaintext:
        raise ConfigurationError(
            f"sslmode={mode} could send rows and the password to {remote[0]} unencrypted;"
            " use sslmode=require or verify-full, or allow_plaintext=True"
        )
    own = {"client_encoding": "UTF8", "fallback_application_name": f"agent-persistence/{__version__}", "sslmode": mode}
    options = {"host": given.get("hostaddr", ""), "port": "5432", **given, **own}
    return Server(f"{options['host']}:{options['port']}", options, password)


def _without_password(
    given: Mapping[str, str] | None,
) -> tuple[Mapping[str, str], SecretStr | None] | tuple[None, None]:
    if given is None:
        return None, None
    rest = {name: value for name, value in given.items() if name != "password"}
    return rest, SecretStr(given["password"]) if "password" in given else None


def _default_mode(given: Mapping[str, str], allow_plaintext: bool) -> str:
    if given.get("sslrootcert") == "system":
        return "verify-full"  # libpq refuses anything less there
    return "prefer" if allow_plaintext or all(map(_is_local, _hosts(given))) else "require"


def _hosts(given: Mapping[str, str]) -> list[str]:
    """Where the connections go: the addresses, if they are given beside the names."""
    return (given.get("hostaddr") or given["host"]).split(",")


def _is_local(host: str) -> bool:
    if host.startswith(("/", "@")):  # a Unix socket
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
