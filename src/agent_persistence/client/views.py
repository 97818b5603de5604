"""Views of a service, written once for everything that has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias
from uuid import UUID

from agent_persistence.policy.identity import Identity, RefreshingToken
from agent_persistence.policy.retry import RetryPolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.runtime.hiding import hidden

if TYPE_CHECKING:
    from pydantic import SecretStr

AccessToken: TypeAlias = "str | SecretStr | RefreshingToken"
Claims: TypeAlias = Mapping[str, Any]
Tenant: TypeAlias = TenantScope | str | int | UUID


class Viewable(Protocol):
    """What a service does to give a view of itself."""

    def _with_bounds(self, deadline_s: float | None, retry: RetryPolicy | bool | None) -> Self: ...

    def _for_user(
        self,
        access_token: AccessToken | None,
        claims: Claims | None,
        tenant: Tenant | None,
        actor: str | None,
    ) -> Self: ...

    def _with_identity(self, identity: Identity) -> Self: ...


class Views(ABC):
    """Cheap views: the same verbs under other bounds, or for one user.

    Making one takes microseconds and keeps nothing afterwards, so that it may be made for a single call. It shares
    connections, policy, middleware, metrics, retry budget, the cache's bounds and what was learnt of the server with
    what it was made of; closing it closes nothing. A view can be made of a view: bounds, tenant and actor stay until
    they are given anew.
    """

    __slots__ = ()

    @abstractmethod
    def _over(self, view: Callable[[Viewable], Viewable]) -> Self:
        """An object as this one, over the view of its service."""

    @abstractmethod
    async def _identify(self) -> Identity:
        """As whom a call runs that begins now."""

    def with_options(self, *, deadline_s: float | None = None, retry: RetryPolicy | bool | None = None) -> Self:
        """The same verbs under other bounds: `await agent.with_options(deadline_s=2, retry=False).read("leads", key)`.

        `deadline_s` is the most that a call may take, reads and writes alike; `retry` replaces the retry policy. What
        is None stays.
        """
        return self._over(lambda service: service._with_bounds(deadline_s, retry))

    def as_user(
        self,
        *,
        access_token: AccessToken | None = None,
        claims: Claims | None = None,
        tenant: Tenant | None = None,
        actor: str | None = None,
    ) -> Self:
        """The same verbs for one user: `await agent.as_user(access_token=token, actor="ada").query("leads")`.

        Calls run as that user, and share no answer and no request with those of others. Over PostgREST the user is who
        `access_token` says, over PostgreSQL who the verified `claims` say; without either, nobody: PostgREST is sent
        the publishable key alone, PostgreSQL runs the calls under its adapter's `anon_role`. `tenant` holds the calls
        within that tenant's rows, `actor` is written into the audit log; one that is left out stays as it was. Where
        only these are given, the user that this view or the adapter's callable names stays as well.

        ConfigurationError, and nothing is sent, where the adapter cannot run calls as this user.
        """
        access_token = hidden(access_token)
        return self._over(lambda service: service._for_user(access_token, claims, tenant, actor))

    async def pinned(self) -> Self:
        """The same verbs as whom the next call would run: where the adapter has a callable for it, it is asked now.

        Whatever is done with the view, in other tasks and over many calls, is then done as that user.
        """
        identity = await self._identify()
        return self._over(lambda service: service._with_identity(identity))
