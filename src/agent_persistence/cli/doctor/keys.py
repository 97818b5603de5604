"""What kind of key an API key is, read from the key itself; the key is never message."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from agent_persistence.cli.checks import Area, Check, Level

AREA: Final = Area("Key")
SOON: Final = timedelta(days=30)
_BYPASSES: Final = (
    "bypasses row-level security: the policy of this process is all that limits it;"
    " 'policy sql' makes a role that may do less"
)


@dataclass(frozen=True, slots=True)
class ApiKeyKind:
    """The kind of a key, and the database role it stands for; None where the key does not say."""

    kind: str
    role: str | None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_public(self) -> bool:
        """Whether it is the key that everybody may have."""
        return self.role == "anon"


def read_key(key: str) -> ApiKeyKind:
    """What the key says of itself. Nothing is verified: that is the server's business."""
    if key.startswith("sb_publishable_"):
        return ApiKeyKind("publishable", "anon")
    if key.startswith("sb_secret_"):
        return ApiKeyKind("secret", "service_role")
    claims = _claims(key)
    if claims is None:
        return ApiKeyKind("unknown", None)
    role = claims.get("role")
    return ApiKeyKind("legacy JWT", role if isinstance(role, str) else None, claims)


def key_checks(key: ApiKeyKind, url: str, now: datetime) -> Iterator[Check]:
    """What is to be known about a key of this kind, and what is wrong with it."""
    match key.kind:
        case "publishable":
            yield _check(Level.NOTE, "publishable: row-level security decides what the role anon sees")
        case "secret":
            yield _check(Level.NOTE, f"secret, for the role service_role, which {_BYPASSES}")
        case "legacy JWT":
            yield from _token(key, url, now)
        case _:
            yield _check(
                Level.PROBLEM,
                "neither sb_publishable_…, sb_secret_… nor a JWT",
                "copy a key from the project's settings, API keys",
            )


def _check(level: Level, message: str, remedy: str | None = None) -> Check:
    return AREA.check(level, message, "the key", remedy)


def _token(key: ApiKeyKind, url: str, now: datetime) -> Iterator[Check]:
    role = key.role or "no role"
    message = f"a legacy JWT for the role {role}{f', which {_BYPASSES}' if key.role == 'service_role' else ''}"
    yield _check(Level.NOTE, message)
    yield _expiry(key.claims.get("exp"), now)
    project, named = key.claims.get("ref"), (urlsplit(url).hostname or "").partition(".")
    if isinstance(project, str) and named[2].startswith("supabase.") and project != named[0]:
        yield _check(Level.PROBLEM, "of another project than SUPABASE_URL", "take both from the same project")


def _expiry(claim: object, now: datetime) -> Check:
    if isinstance(claim, bool) or not isinstance(claim, (int, float)):
        return _check(Level.NOTE, "never expires")
    try:
        expires = datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError):
        return _check(Level.NOTE, "expires at a time that no calendar has")
    if expires <= now:
        return _check(Level.PROBLEM, f"expired on {expires:%Y-%m-%d}", "make a new one in the project's settings")
    return _check(Level.NOTE if expires - now < SOON else Level.OK, f"expires on {expires:%Y-%m-%d}")


def _claims(key: str) -> dict[str, Any] | None:
    """The payload of a JSON Web Token (RFC 7519, section 7.2), unverified; None for anything else."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
