"""As whom a call runs: a part of its context, and of every key under which anything is shared between calls."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, Final, TypeAlias, TypeVar

import anyio
from pydantic import SecretStr
from pydantic_core import PydanticSerializationError, to_json

from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.runtime.hiding import Unpicklable, hidden
from agent_persistence.runtime.per_loop import PerLoop

T = TypeVar("T")
Fetch: TypeAlias = Callable[[], str | Awaitable[str]]
EARLY_S: Final = 30.0
"""How long before a token expires another one is fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Unpicklable):
    """As whom one call runs. Two calls may share an answer, a request or a connection's work only if theirs are equal.

    `own` means the credentials that the adapter was made with. Otherwise PostgREST is sent the `access_token` beside
    the adapter's key, or the key alone; PostgreSQL runs the call under `role`, with `claims` (a JSON text) for its
    policies. `tenant` holds the call within the rows of one tenant, `actor` is written into the audit log.
    """

    own: bool = False
    access_token: SecretStr | RefreshingToken | None = None
    role: str | None = None
    claims: SecretStr | None = None
    tenant: TenantScope | None = None
    actor: str | None = None


OWN: Final = Identity(own=True)
"""Of calls that run with the credentials that the adapter was made with."""


class RefreshingToken(Unpicklable):
    """One user's access token, fetched when it is first needed, shortly before it expires, and after a 401.

    `fetch` is a plain or async function. It is asked once for all who wait in an event loop; a failure of it is theirs
    too, and whoever comes later asks again. When a token expires is read from its `exp` claim (RFC 7519, section
    4.1.4); one without is kept until it is refused. A new token whose `sub` claim names another user is refused with
    AdapterError: what was read for one user may be cached. `clock` returns the seconds since 1970.
    """

    __slots__ = ("__weakref__", "_clock", "_expires", "_fetch", "_fetches", "_subject", "_token")

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.time) -> None:
        if not callable(fetch):
            raise ConfigurationError(
                f"RefreshingToken takes a function that fetches a token, not {type(fetch).__name__};"
                " pass a token that does not change as access_token="
            )
        self._fetch = fetch
        self._clock = clock
        self._token: SecretStr | None = None
        self._expires: float | None = None
        self._subject: object = None
        self._fetches: PerLoop[list[_FetchUnderWay]] = PerLoop(list)

    async def current(self, *, refused: SecretStr | None = None) -> SecretStr:
        """The token; a new one if the last has expired, or is the one that the server `refused`."""
        while True:
            token = self._token
            if token is not None and token is not refused and not self._is_expiring():
                return token
            under_way = self._fetches.get()
            fetched = await (under_way[0].result() if under_way else self._fetched(under_way))
            if fetched is not None:
                return fetched

    async def _fetched(self, under_way: list[_FetchUnderWay]) -> SecretStr:
        under_way.append(mine := _FetchUnderWay())
        try:
            mine.token = await asked("fetch", self._fetch, partial(checked_token, "the access token"))
            self._keep(mine.token)
            return mine.token
        except AdapterError as error:
            mine.token, mine.failure = None, error
            raise
        finally:
            under_way.remove(mine)
            mine.ended.set()

    def _is_expiring(self) -> bool:
        return self._expires is not None and self._clock() >= self._expires - EARLY_S

    def _keep(self, token: SecretStr) -> None:
        claims = unverified_claims(token)
        subject, expires = claims.get("sub"), claims.get("exp")
        if self._token is not None and subject != self._subject:
            raise AdapterError(
                "fetch returned the token of another user (another `sub` claim); a RefreshingToken is one user's:"
                " make one for each",
                state=FailureState.NOT_SENT,
            )
        self._token, self._subject = token, subject
        self._expires = float(expires) if isinstance(expires, (int, float)) else None

    def __repr__(self) -> str:
        return "RefreshingToken(…)"


@dataclass(slots=True, eq=False)
class _FetchUnderWay:
    ended: anyio.Event = field(default_factory=anyio.Event)
    token: SecretStr | None = None
    failure: AdapterError | None = None

    async def result(self) -> SecretStr | None:
        """The token that the fetch brings, or its failure; None if it was cancelled."""
        await self.ended.wait()
        if self.failure is not None:
            raise AdapterError(str(self.failure), state=self.failure.state)
        return self.token


async def asked(option: str, ask: Callable[[], Any], check: Callable[[Any], T]) -> T:
    """What the user's callable returns, awaited if need be, and checked; whatever is wrong with it, nothing was sent.

    Its own error is kept neither as a cause nor in the message, and its answer in no variable: they may hold a token.
    """
    try:
        answer = hidden(ask())
        answer = hidden(await answer) if isawaitable(answer) else answer
    except Exception as error:  # the boundary to a callable that others write
        problem = f"raised {type(error).__name__}, whose text is left out because it may hold a token"
    else:
        try:
            return check(answer)
        except ConfigurationError as refused:
            problem = f"returned what cannot be used: {refused}"
        answer = None  # those who report errors with local variables would show it
    raise AdapterError(f"{option} {problem}; nothing was sent", state=FailureState.NOT_SENT)


def checked_token(option: str, token: object) -> SecretStr:
    """A credential as it may stand in a header; the message of a refusal does not repeat it."""
    token = hidden(token)
    if not isinstance(token, SecretStr):
        raise ConfigurationError(f"{option} is no text, but {type(token).__name__}")
    problem = _token_problem(token.get_secret_value().strip())
    if problem:
        raise ConfigurationError(f"{option} {problem}")
    return SecretStr(token.get_secret_value().strip())


def _token_problem(token: str) -> str:
    """Why the text can stand in no header; empty where it can."""
    if not token:
        return "is empty"
    if not token.isascii() or not token.isprintable() or " " in token:
        return "holds a blank, a line end or a character beyond ASCII, which no token has"
    return ""


def checked_role(role: object) -> str:
    """The name of a role of the database; PostgreSQL reads `none` as the user who connected."""
    if role is None:
        raise ConfigurationError(
            'the claims name no "role"; add one, such as "authenticated", or give the adapter role='
        )
    if not isinstance(role, str) or not role or role == "none" or "\0" in role:
        raise ConfigurationError("role is the name of a database role, such as 'authenticated'")
    return role


def checked_claims(claims: object) -> SecretStr:
    """The claims as a JSON text."""
    if not isinstance(claims, Mapping):
        raise ConfigurationError(f"claims are a mapping of a token's claims, not {type(claims).__name__}")
    try:
        return SecretStr(to_json(dict(claims)).decode())
    except (PydanticSerializationError, ValueError):
        raise ConfigurationError("claims hold a value that is no JSON") from None


def unverified_claims(token: SecretStr) -> Mapping[str, Any]:
    """What a JSON Web Token says (RFC 7519), its signature unchecked; nothing for a text that is none."""
    try:
        payload = token.get_secret_value().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}
