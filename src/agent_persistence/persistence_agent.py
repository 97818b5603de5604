"""The agent: what orchestrators hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Self, Unpack, cast

from agent_persistence.client.typed import Model, TypedTable
from agent_persistence.client.verbs import AllVerbs, Closing
from agent_persistence.client.views import Viewable
from agent_persistence.operations import Operation, Result, Unit
from agent_persistence.policy.identity import Identity
from agent_persistence.query.records import Record
from agent_persistence.schema.registry import Schema
from agent_persistence.service import AsyncPersistenceService, ReadOnlyPersistenceFacade, ServiceOptions

if TYPE_CHECKING:
    from agent_persistence.backends.base import PersistenceAdapter
    from agent_persistence.factory import Kind
    from agent_persistence.persistence_config import PersistenceConfig


class PersistenceAgent(AllVerbs, Closing):
    """The verbs of a service for application code, under the policy the service was made with.

    `aclose()` closes the service only if `owns_service`, as agents made by the factory do.
    """

    def __init__(self, service: AsyncPersistenceService, *, owns_service: bool = False) -> None:
        self._service = service
        self._owns_service = owns_service
        self._client_keys = service._client_keys

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service!r})"

    async def _invoke(self, operation: Operation) -> Result:
        return await self._service._invoke(operation)

    async def _commit(self, unit: Unit, unit_id: str) -> Result:
        return await self._service._commit(unit, unit_id)

    def _clean(self, record: Record) -> Record:
        return self._service._clean(record)

    @property
    def _writing_functions(self) -> frozenset[str]:
        return self._service._writing_functions

    @property
    def schema(self) -> Schema:
        """The declared tables."""
        return self._service.schema

    @property
    def service(self) -> AsyncPersistenceService:
        """The service that every verb goes through."""
        return self._service

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""
        return self._service.capabilities

    def table(self, model: type[Model], name: str | None = None) -> TypedTable[Model]:
        """The verbs over one table whose rows come back as models; its name is `model.__tablename__` or `name`."""
        return TypedTable(self, model, name)

    def _over(self, view: Callable[[Viewable], Viewable]) -> Self:
        agent = copy(self)
        agent._service = cast("AsyncPersistenceService", view(self._service))
        agent._owns_service = False
        return agent

    async def _identify(self) -> Identity:
        return await self._service._identify()

    def readonly(self) -> ReadOnlyPersistenceFacade:
        """A façade over the same service that cannot write; closing it leaves the service open."""
        return self._service.readonly()

    async def aclose(self) -> None:
        """Close the service if this agent owns it. Calling it again changes nothing."""
        if self._owns_service:
            await self._service.aclose()


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
    """Make an agent; see `agent_persistence.factory.create_persistence_agent`, which this calls."""
    from agent_persistence import factory

    return factory.create_persistence_agent(
        kind,
        config=config,
        tables=tables,
        merge_defaults=merge_defaults,
        adapter=adapter,
        service=service,
        path=path,
        **service_options,
    )
