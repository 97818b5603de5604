"""Whether an agent may use the tables of an integration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Table
from agent_persistence.service import AsyncPersistenceService


def checked_agent(agent: object, tables: Mapping[str, Table], source: str) -> AllVerbs:
    """The agent, if its schema declares the tables and its policy lets it read, write and delete their rows.

    Else ConfigurationError says what is missing; `source` is the class that shows what the tables look like.
    """
    if not isinstance(agent, (PersistenceAgent, AsyncPersistenceService)):
        raise ConfigurationError(
            f"{source} takes an agent or a service with async verbs, as create_persistence_agent() of agent_persistence"
            f" returns it, not {type(agent).__name__}; its own blocking methods work with it as well"
        )
    for name, table in tables.items():
        _check_declared(name, table, agent.schema.tables.get(name), source)
    service = agent.service if isinstance(agent, PersistenceAgent) else agent
    _check_allowed(service.policy, tables, source)
    return agent


def _check_declared(name: str, table: Table, declared: Table | None, source: str) -> None:
    remedy = f"give the agent schema=Schema({{**yours.tables, **{source}.tables()}})"
    if declared is None:
        raise ConfigurationError(f"the agent's schema does not declare {name}: {remedy}")
    if missing := [column for column in table.columns if column not in declared.columns]:
        raise ConfigurationError(f"{name} is declared without {', '.join(missing)}: {remedy}")
    if not {*table.primary_key} <= {*declared.primary_key}:
        raise ConfigurationError(f"{name} is declared with another primary key: {remedy}")


def _check_allowed(policy: TablePolicy, tables: Iterable[str], source: str) -> None:
    names = [*tables]
    for rule in ("read", "write", "delete"):
        if missing := sorted({*names} - getattr(policy, rule)):
            raise ConfigurationError(
                f"the agent's policy lacks {', '.join(missing)} in {rule}=: give it"
                f" TablePolicy(read={{…, *{source}.tables()}}, write=…, delete=…) with these names in all three"
            )
