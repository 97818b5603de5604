"""The one place where settings come from: environment variables, read once into a frozen value.

| variable | meaning |
|---|---|
| `SUPABASE_URL` | base URL of the project, `https://<project>.supabase.co` |
| `SUPABASE_SERVICE_KEY`, else `SUPABASE_KEY` | the API key |
| `DATABASE_URL` | the database itself, `postgresql://<user>:<password>@<host>:5432/<database>`, for kind "postgres" |
| `PERSIST_LOCAL_PATH` | the directory of the database of kind "local"; `.agent-persistence` is the default |
| `PERSIST_TRANSPORT` | how requests go to Supabase: `httptools`, `httpx`, or `auto`, the default, which chooses |
| `PERSIST_SPOOL` | the file in which an agent's writes wait while the database cannot be reached; none by default |
| `PERSIST_ALLOWED_TABLES` | stands in for the eight business tables, where nothing below is set |
| `PERSIST_READ_TABLES` | the whole read allow-list |
| `PERSIST_WRITE_TABLES` | the whole write allow-list |
| `PERSIST_WRITE_DENY` | taken away from the default write list; ignored when `PERSIST_WRITE_TABLES` is set |
| `PERSIST_LOGGING` | when present, whatever its value: one line a call on stdout |

Lists are separated by commas; blanks and empty entries are ignored, and a variable that is set but empty means the
empty list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, NoReturn, Self

import pydantic
from pydantic import BaseModel, ConfigDict, SecretStr

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.policy.tables import TablePolicy, table_names
from agent_persistence.presets.crm import BUSINESS_TABLES, GOVERNANCE_TABLES
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.runtime.hiding import hidden

KEY_VARIABLES: Final = ("SUPABASE_SERVICE_KEY", "SUPABASE_KEY")
_LISTS: Final = {
    "allowed_tables": "PERSIST_ALLOWED_TABLES",
    "read_tables": "PERSIST_READ_TABLES",
    "write_tables": "PERSIST_WRITE_TABLES",
    "write_deny": "PERSIST_WRITE_DENY",
}
_SECRETS: Final = ("supabase_key", "database_url")
LOGGING_VARIABLE: Final = "PERSIST_LOGGING"
TRANSPORT_VARIABLE: Final = "PERSIST_TRANSPORT"
LOCAL_PATH_VARIABLE: Final = "PERSIST_LOCAL_PATH"
SPOOL_VARIABLE: Final = "PERSIST_SPOOL"
_DEFAULT_LOCAL_PATH: Final = ".agent-persistence"
_KNOWN: Final = (*_LISTS.values(), LOGGING_VARIABLE, TRANSPORT_VARIABLE, LOCAL_PATH_VARIABLE, SPOOL_VARIABLE)


class PersistenceConfig(BaseModel):
    """Settings of agents and façades. Frozen; an unknown option or an illegal name raises ConfigurationError.

    A list that is None was not set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    supabase_url: str | None = None
    supabase_key: SecretStr | None = None
    database_url: SecretStr | None = None
    local_path: str = _DEFAULT_LOCAL_PATH
    spool: str | None = None
    allowed_tables: frozenset[str] | None = None
    read_tables: frozenset[str] | None = None
    write_tables: frozenset[str] | None = None
    write_deny: frozenset[str] | None = None
    logging: bool = False
    transport: Literal["auto", "httpx", "httptools", "aiohttp"] = "auto"

    def __init__(self, **options: Any) -> None:
        options.update({name: hidden(options[name]) for name in _SECRETS if name in options})
        problems = ""
        try:
            super().__init__(**options)
        except pydantic.ValidationError as invalid:
            problems = "; ".join(
                f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors(include_input=False)
            )
        if problems:  # raised out here, because the error above remembers the key that was given
            raise ConfigurationError(f"{problems} (options: {', '.join(type(self).model_fields)})")
        if "@" in (self.supabase_url or ""):
            raise ConfigurationError("supabase_url holds a user name or password; give the base URL alone")
        for option in _LISTS:
            table_names(option, getattr(self, option) or ())
        self._check_deny()

    def _check_deny(self) -> None:
        if self.write_tables is not None:
            return
        known = self._base | BUSINESS_TABLES
        unknown = (self.write_deny or frozenset()) - known
        if unknown:
            raise ConfigurationError(
                f"PERSIST_WRITE_DENY names {', '.join(sorted(unknown))}, which no list allows;"
                f" known tables: {', '.join(sorted(known))}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings that the environment holds; a misspelt PERSIST_ variable raises ConfigurationError."""
        settings, variables = _read(environ), tuple(environ)
        del environ  # it holds secrets, of others too
        return cls._checked(settings, variables)

    @classmethod
    def _from_own_env(cls, **given: Any) -> Self:
        """The settings that this process' environment holds, with those that are `given` in their place."""
        return cls._checked(_read(os.environ), tuple(os.environ), **given)

    @classmethod
    def _checked(cls, settings: dict[str, Any], variables: tuple[str, ...], **given: Any) -> Self:
        _refuse_misspelt(variables)
        for option, variable in _LISTS.items():
            if option not in given:
                _check_plain(option, variable, settings.get(option, ()))
        return cls(**settings | given)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("PersistenceConfig holds secrets, and is not pickled; read it anew, with from_env()")

    def read_allowlist(self) -> frozenset[str]:
        """The tables that may be read."""
        return self._base if self.read_tables is None else self.read_tables

    def write_allowlist(self) -> frozenset[str]:
        """The tables that may be written."""
        if self.write_tables is not None:
            return self.write_tables
        return self._base - GOVERNANCE_TABLES - (self.write_deny or frozenset())

    def policy(self) -> TablePolicy:
        """The policy that these settings mean."""
        return TablePolicy(read=self.read_allowlist(), write=self.write_allowlist())

    @property
    def _base(self) -> frozenset[str]:
        return BUSINESS_TABLES if self.allowed_tables is None else self.allowed_tables


def get_read_allowlist(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """The tables that may be read: PERSIST_READ_TABLES, else PERSIST_ALLOWED_TABLES, else the eight business tables."""
    return PersistenceConfig.from_env(os.environ if environ is None else environ).read_allowlist()


def get_write_allowlist(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """The tables that may be written.

    PERSIST_WRITE_TABLES, else (PERSIST_ALLOWED_TABLES or the eight) without clients, campaigns and PERSIST_WRITE_DENY.
    """
    return PersistenceConfig.from_env(os.environ if environ is None else environ).write_allowlist()


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment holds, unchecked."""
    keys = [SecretStr(environ[name].strip()) for name in KEY_VARIABLES if environ.get(name, "").strip()]
    return {
        "supabase_url": environ.get("SUPABASE_URL", "").strip() or None,
        "supabase_key": next(iter(keys), None),
        "database_url": SecretStr(environ["DATABASE_URL"].strip()) if environ.get("DATABASE_URL", "").strip() else None,
        "local_path": environ.get(LOCAL_PATH_VARIABLE, "").strip() or _DEFAULT_LOCAL_PATH,
        "spool": environ.get(SPOOL_VARIABLE, "").strip() or None,
        "logging": LOGGING_VARIABLE in environ,
        "transport": environ.get(TRANSPORT_VARIABLE, "").strip() or "auto",
        **{option: _split(environ[variable]) for option, variable in _LISTS.items() if variable in environ},
    }


def _check_plain(option: str, variable: str, names: Iterable[str]) -> None:
    for name in names:
        if not is_identifier(name):
            raise ConfigurationError(
                f"{variable} ({option}): {printable(name)} is not a table name; names are lower-case letters, digits"
                " and _, separated by commas; list tables of other names by tables= or a policy"
            )


def _split(names: str) -> frozenset[str]:
    return frozenset(name.strip() for name in names.split(",") if name.strip())


_RULE_WORDS: Final = frozenset({"READ", "WRITE", "DENY", "ALLOW", "ALLOWED", "TABLES", "LOGGING"})


def _refuse_misspelt(variables: Iterable[str]) -> None:
    """A rule that nobody reads would be worse than none."""
    for variable in variables:
        name = variable.upper()
        is_of_rules = not _RULE_WORDS.isdisjoint(name.split("_"))
        if variable in _KNOWN or not (is_of_rules or name.startswith("PERS")):
            continue
        meant = get_close_matches(name, _KNOWN, n=1, cutoff=0.85)
        if meant or (is_of_rules and name.startswith("PERSIST_")):
            guess = f"did you mean {meant[0]}? " if meant else ""
            raise ConfigurationError(
                f"{printable(variable)} is not a known variable; {guess}known: {', '.join(_KNOWN)}"
            )
