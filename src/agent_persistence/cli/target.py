"""What a command works on: the settings behind its options, and an agent or façade made from them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from agent_persistence.cli.inputs import read_json
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.factory import Kind, create_persistence_agent
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.persistence_config import PersistenceConfig
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Schema, default_schema
from agent_persistence.service import ReadOnlyPersistenceFacade


@dataclass(frozen=True)
class Target:
    """The backend, the policy and the schema that the options name."""

    kind: str
    policy_file: Path | None = None
    schema_file: Path | None = None
    rows_file: Path | None = None

    def __post_init__(self) -> None:
        if self.rows_file is not None and self.kind != "memory":
            raise ConfigurationError("--rows are rows of --kind memory; a database has its own")

    @cached_property
    def config(self) -> PersistenceConfig:
        """The settings of the environment."""
        return PersistenceConfig.from_env(os.environ)

    @cached_property
    def policy(self) -> TablePolicy:
        """The policy of the file, else of the environment."""
        return self.config.policy() if self.policy_file is None else TablePolicy.from_file(self.policy_file)

    @cached_property
    def declared(self) -> Schema | None:
        """The schema of the file; None without one."""
        return None if self.schema_file is None else Schema.from_file(self.schema_file)

    @cached_property
    def schema(self) -> Schema:
        """The schema of the file, else the eight tables."""
        return default_schema() if self.declared is None else self.declared

    @property
    def policy_source(self) -> str:
        """Where the policy comes from, for people."""
        return "the environment" if self.policy_file is None else str(self.policy_file)

    @property
    def schema_source(self) -> str:
        """Where the schema comes from, for people."""
        return "the eight business tables" if self.schema_file is None else str(self.schema_file)

    @asynccontextmanager
    async def agent(self, **options: Any) -> AsyncIterator[PersistenceAgent]:
        """An agent, closed at the end; it prints nothing by itself, whatever PERSIST_LOGGING says."""
        chosen: dict[str, Any] = {"config": self.config, "policy": self.policy, "schema": self.declared, "log": False}
        if self.rows_file is not None:
            chosen["adapter"] = _memory(self.rows_file, self.schema)
        async with create_persistence_agent(cast("Kind", self.kind), **{**chosen, **options}) as agent:
            yield agent

    @asynccontextmanager
    async def facade(self) -> AsyncIterator[ReadOnlyPersistenceFacade]:
        """A façade that cannot write, closed at the end."""
        async with self.agent() as agent:
            yield agent.service.readonly()


def _is_list_of_rows(document: object) -> bool:
    return isinstance(document, list) and all(isinstance(row, dict) for row in document)


def _memory(path: Path, schema: Schema) -> Any:
    from agent_persistence.backends.memory.adapter import InMemoryAdapter

    rows = read_json(path)
    if not isinstance(rows, Mapping) or not all(map(_is_list_of_rows, rows.values())):
        raise ConfigurationError(f'{path}: rows are an object of lists by table: {{"leads": [{{…}}]}}')
    return InMemoryAdapter(dict(rows), schema=schema)
