"""The API key of a PostgREST server, and a user's token beside it, as headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_persistence.backends.transport.messages import Request
from agent_persistence.exceptions import AccessTokenError, ConfigurationError
from agent_persistence.policy.identity import RefreshingToken, checked_token, unverified_claims
from agent_persistence.runtime.hiding import Unpicklable, hidden

if TYPE_CHECKING:
    from pydantic import SecretStr


class ApiKey(Unpicklable):
    """The API key, and the headers it takes: new keys go into `apikey` alone, a legacy JWT is its own bearer token."""

    def __init__(self, key: str | SecretStr, db_schema: str) -> None:
        self._key = key = _checked_key(hidden(key))
        self._is_new = key.get_secret_value().startswith("sb_")
        self._common = (("Accept", "application/json"), *_profile_headers(db_schema))

    def sign(self, request: Request, token: SecretStr | None) -> Request:
        """The request with the credentials of a user, or with the key alone."""
        bearer = self._key if token is None and not self._is_new else token
        user = () if bearer is None else (("Authorization", f"Bearer {bearer.get_secret_value()}"),)
        named = dict(request.headers)
        common = self._common if "Accept" not in named else self._common[1:]
        headers = (("apikey", self._key.get_secret_value()), *common, *user, *request.headers)
        return Request(request.method, request.target, headers, request.body)

    def check_publishable(self) -> None:
        """Refuse a key that may do everything, or of which nobody knows: whoever it stands for alone is not nobody."""
        role = unverified_claims(self._key).get("role")
        if role == "anon" or self._key.get_secret_value().startswith("sb_publishable_"):
            return
        kind = f"one with the role {role}" if role else "a secret key" if self._is_new else "another"
        raise ConfigurationError(
            "without access_token= a user's calls run with the publishable key alone (sb_publishable_…, or a legacy key"
            f" with the role anon), and this adapter was given {kind}; pass access_token=, or make the adapter with the"
            " publishable key"
        )


def _checked_key(key: SecretStr) -> SecretStr:
    try:
        return checked_token("key", key)
    except ConfigurationError as refused:
        raise ConfigurationError(f"{refused}; set SUPABASE_SERVICE_KEY or SUPABASE_KEY, or pass it") from None


def checked_user(token: object) -> SecretStr | RefreshingToken:
    if isinstance(token, RefreshingToken):
        return token
    if callable(token):
        raise ConfigurationError("access_token of one user is a text, or RefreshingToken(fetch) where it is fetched")
    try:
        return checked_token("access_token", token)
    except ConfigurationError as refused:
        raise AccessTokenError(str(refused)) from None


def _profile_headers(db_schema: str) -> tuple[tuple[str, str], ...]:
    if db_schema == "public":
        return ()
    name = checked_token("db_schema", db_schema).get_secret_value()
    return (("Accept-Profile", name), ("Content-Profile", name))
