"""As whom a transaction runs: a role of the database, and the claims of a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, TypeAlias

from pydantic import SecretStr

from agent_persistence.adapters._sqltext import json_text
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState

Claims: TypeAlias = Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class Identity:
    """The role and the claims, which a callable tells for each call.

    Claims without a role are refused: the user who connected, whom policies may not bind, would run the call.
    """

    def __init__(self, role: str | None, claims: Claims | None) -> None:
        self._role = None if role is None else _role(role)
        self._ask = claims if callable(claims) else None
        self._fixed: tuple[str | None, SecretStr | None] = (self._role, None)
        if claims is not None and self._ask is None:
            self._fixed = self._told(claims)

    async def current(self) -> tuple[str | None, str | None]:
        """The role to take on, and the claims as JSON; None for what is not to be set."""
        role, claims = self._fixed
        if self._ask is not None:
            try:
                role, claims = self._told(await self._asked(self._ask))
            except ConfigurationError as refused:
                raise AdapterError(f"{refused}; nothing was sent", state=FailureState.NOT_SENT) from None
        return role, None if claims is None else claims.get_secret_value()

    def _told(self, claims: object) -> tuple[str, SecretStr]:
        if not isinstance(claims, Mapping):
            raise ConfigurationError(f"claims are a mapping, or a callable that gives one, not {type(claims).__name__}")
        return self._role or _role(claims.get("role")), SecretStr(json_text(dict(claims)))

    @staticmethod
    async def _asked(ask: Callable[[], Any]) -> object:
        """What the callable tells. Its own error is not kept as a cause, because it may hold a token."""
        try:
            told = ask()
            return await told if isawaitable(told) else told
        except Exception as error:  # the boundary to a callable that others write
            raised = type(error).__name__
        raise AdapterError(f"claims raised {raised}, which may say more; nothing was sent", state=FailureState.NOT_SENT)


def _role(role: object) -> str:
    """A name that a role can have: PostgreSQL reads `none` as the user who connected."""
    if role is None:
        raise ConfigurationError('the claims name no "role"; pass role=, such as "authenticated"')
    if not isinstance(role, str) or not role or role == "none" or "\0" in role:
        raise ConfigurationError("role is the name of a database role, such as 'authenticated'")
    return role
