"""Where adapters and services meet: the only code that constructs an adapter for the application."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, Unpack, get_args

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.persistence_config import KEY_VARIABLES, PersistenceConfig
from agent_persistence.policy.tables import table_names
from agent_persistence.presets.crm import BUSINESS_TABLES
from agent_persistence.schema.registry import Schema, default_schema
from agent_persistence.service import AsyncPersistenceService, ReadOnlyPersistenceFacade, ServiceOptions

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agent_persistence.spool.spool import Spool

Kind: TypeAlias = Literal["supabase", "memory", "postgres", "local"]
KINDS: Final = get_args(Kind)


def create_persistence_agent(
    kind: Kind = "supabase",
    *,
    config: PersistenceConfig | None = None,
    tables: Iterable[str] | None = None,
    merge_defaults: bool = False,
    adapter: PersistenceAdapter | None = None,
    service: AsyncPersistenceService | None = None,
    path: str | os.PathLike[str] | None = None,
    **service_options: Unpack[ServiceOptions],
) -> PersistenceAgent:
    """Return an agent over a new service, or over `service` if one is given.

    `kind` is "supabase" (SUPABASE_URL and a key are needed), "postgres" (DATABASE_URL and the extra of this name),
    "local" (a PostgreSQL that is started here, with the extra of this name, and keeps its rows in the directory `path`,
    by default PERSIST_LOCAL_PATH or .agent-persistence) or "memory" (one store a process, shared by all agents and
    façades of that kind). `config` holds settings, by default those of the environment. `tables` replaces the list of
    business tables, or with `merge_defaults` is added to it; it never makes a governance table writable.
    `adapter` is used as it is and left open; `service_options` go to AsyncPersistenceService.
    """
    _check_kind(kind)
    if merge_defaults and tables is None:
        raise ConfigurationError("merge_defaults adds to tables=, which is missing")
    if service is not None:
        _check_alone(service, adapter=adapter, config=config, tables=tables, path=path, **service_options)
        return PersistenceAgent(service)
    listed = _table_list(tables, merge_defaults)
    made = _service(kind, config, listed, adapter, path, service_options, keeps_writes=True)
    return PersistenceAgent(made, owns_service=True)


def create_readonly_rag_facade(
    kind: Kind = "supabase",
    *,
    config: PersistenceConfig | None = None,
    adapter: PersistenceAdapter | None = None,
    service: AsyncPersistenceService | None = None,
    path: str | os.PathLike[str] | None = None,
    **service_options: Unpack[ServiceOptions],
) -> ReadOnlyPersistenceFacade:
    """Return a read-only façade over a new service, or over `service`, which it then shares with its other users.

    Two façades or agents of kind "memory" see the same rows. The arguments mean what they mean for
    `create_persistence_agent`.
    """
    _check_kind(kind)
    if service is not None:
        _check_alone(service, adapter=adapter, config=config, path=path, **service_options)
        return service.readonly()
    return ReadOnlyPersistenceFacade(_service(kind, config, None, adapter, path, service_options), owns_service=True)


def _service(
    kind: str,
    config: PersistenceConfig | None,
    tables: frozenset[str] | None,
    adapter: PersistenceAdapter | None,
    path: str | os.PathLike[str] | None,
    options: ServiceOptions,
    *,
    keeps_writes: bool = False,
) -> AsyncPersistenceService:
    _check_options(options)
    config = _with_path(_config(config, tables), path, kind, adapter)
    if tables is not None and options.get("policy") is not None:
        raise ConfigurationError("tables= and policy= both say what is allowed; give one of them")
    schema = options.get("schema")
    policy = options.get("policy")
    policy = config.policy() if policy is None else policy
    made = adapter_of(kind, config, default_schema() if schema is None else schema) if adapter is None else adapter
    spool = _spool(config.spool) if keeps_writes and config.spool is not None else None
    given: ServiceOptions = {"spool": spool, "log": config.logging or None, **options, "policy": policy}
    return AsyncPersistenceService(made, owns_adapter=adapter is None, **given)


def _spool(path: str) -> Spool:
    from agent_persistence.spool.spool import Spool

    return Spool(path)


def _config(config: PersistenceConfig | None, tables: frozenset[str] | None) -> PersistenceConfig:
    """The settings with `tables`, if given, in the place of PERSIST_ALLOWED_TABLES."""
    if config is None:
        given = {} if tables is None else {"allowed_tables": tables}
        return PersistenceConfig._from_own_env(**given)
    if not isinstance(config, PersistenceConfig):
        raise ConfigurationError(f"config is a PersistenceConfig, not {type(config).__name__}")
    return config if tables is None else config.model_copy(update={"allowed_tables": tables})


def _with_path(
    config: PersistenceConfig, path: str | os.PathLike[str] | None, kind: str, adapter: PersistenceAdapter | None
) -> PersistenceConfig:
    """The settings with the directory of a local database, if one is given."""
    if path is None:
        return config
    if kind != "local" or adapter is not None:
        raise ConfigurationError('path= is the directory of kind="local", which makes its adapter itself')
    return config.model_copy(update={"local_path": os.fspath(path)})


def adapter_of(kind: str, config: PersistenceConfig, schema: Schema) -> PersistenceAdapter:
    """The adapter that the settings describe; whoever asks for it closes it. Of "memory" there is one a process."""
    if kind == "memory":
        from agent_persistence.backends.memory.adapter import shared_memory

        return shared_memory(schema)
    if kind == "postgres":
        from agent_persistence.backends.postgres.adapter import PostgresAdapter

        return PostgresAdapter(_database_url(config))
    if kind == "local":
        return _local_adapter(config, schema)
    from agent_persistence.backends.postgrest.adapter import SupabaseAdapter

    url, key = _credentials(config)
    return SupabaseAdapter(url, key, schema=schema, transport=config.transport)


def _local_adapter(config: PersistenceConfig, schema: Schema) -> PersistenceAdapter:
    if os.name != "posix":
        raise ConfigurationError(
            'kind "local" needs a POSIX system, such as Linux, macOS or WSL; kind="memory" runs everywhere'
        )
    from agent_persistence.backends.local.adapter import LocalAdapter

    return LocalAdapter(config.local_path, schema=schema)


def _credentials(config: PersistenceConfig) -> tuple[str, SecretStr]:
    missing = []
    if config.supabase_url is None:
        missing.append("SUPABASE_URL (https://<project>.supabase.co)")
    if config.supabase_key is None:
        missing.append(f"{' or '.join(KEY_VARIABLES)} (other names, such as SUPABASE_SERVICE_ROLE_KEY, are not read)")
    if config.supabase_url is None or config.supabase_key is None:
        raise ConfigurationError(
            f"kind 'supabase' needs {' and '.join(missing)} in the environment or in config=;"
            ' for one without a server use kind="local", or kind="memory"'
        )
    return config.supabase_url, config.supabase_key


def _database_url(config: PersistenceConfig) -> SecretStr:
    if config.database_url is None:
        raise ConfigurationError(
            "kind 'postgres' needs DATABASE_URL (postgresql://<user>:<password>@<host>:5432/<database>) in the"
            ' environment or in config=; for a store without a server use kind="memory"'
        )
    return config.database_url


def _table_list(tables: Iterable[str] | None, merge_defaults: bool) -> frozenset[str] | None:
    if tables is None:
        return None
    names = table_names("tables", tables)
    return names | BUSINESS_TABLES if merge_defaults else names


def _check_options(options: ServiceOptions) -> None:
    for option in options:
        if option not in ServiceOptions.__annotations__:
            meant = get_close_matches(option, ServiceOptions.__annotations__, n=1)
            hint = f"did you mean {meant[0]}? " if meant else ""
            raise ConfigurationError(
                f"unknown option {option!r:.40}; {hint}options are {', '.join(sorted(ServiceOptions.__annotations__))}"
            )


def _check_kind(kind: object) -> None:
    if kind not in KINDS:
        raise ConfigurationError(f"unknown kind {kind!r:.40}; kinds are {', '.join(map(repr, KINDS))}")


def _check_alone(service: object, **given: object) -> None:
    if not isinstance(service, AsyncPersistenceService):
        raise ConfigurationError(f"service is an AsyncPersistenceService, not {type(service).__name__}")
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise ConfigurationError(f"service= brings its own configuration; leave out {', '.join(extra)}")
