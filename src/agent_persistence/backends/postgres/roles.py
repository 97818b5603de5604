"""As whom a transaction runs: a role of the database, and the claims of a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from agent_persistence.policy.identity import Identity, asked, checked_claims, checked_role

Claims: TypeAlias = Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class Roles:
    """The role and the claims that an adapter was given, and those of its users.

    Claims without a role are refused: the user who connected, whom policies may not bind, would run the call.
    """

    def __init__(self, role: str | None, claims: Claims | None, anon_role: str) -> None:
        self._role = None if role is None else checked_role(role)
        self._ask = claims if callable(claims) else None
        self.anonymous = Identity(role=self._role or checked_role(anon_role))
        """Nobody in particular."""
        self.fixed: Identity | None = None
        """As whom every call runs; None where a callable gives the claims of each."""
        if not callable(claims):
            self.fixed = Identity(role=self._role) if claims is None else self.user(claims)

    async def current(self) -> Identity:
        """As whom a call runs that begins now."""
        if self._ask is None:
            assert self.fixed is not None  # noqa: S101  there is one or the other
            return self.fixed
        return await asked("claims", self._ask, self.user)

    def user(self, claims: object) -> Identity:
        """The user of these claims."""
        checked = checked_claims(claims)
        named = self._role or checked_role(claims.get("role") if isinstance(claims, Mapping) else None)
        return Identity(role=named, claims=checked)
