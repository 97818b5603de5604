"""Access tokens as Supabase Auth signs them: HS256 JSON Web Tokens."""

import base64
import hashlib
import hmac
import json
from typing import Any


def encoded(data: bytes) -> str:
    """Base64 for URLs, without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(signed: str, secret: str) -> str:
    """What the secret makes of head and body."""
    return encoded(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def sign(claims: dict[str, Any], secret: str) -> str:
    """The claims as a JSON Web Token signed with the secret."""
    head = encoded(b'{"alg":"HS256","typ":"JWT"}')
    signed = f"{head}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{signature(signed, secret)}"


def is_signed(token: str, secret: str) -> bool:
    """Whether the secret has signed the token; nothing is said about what it claims."""
    signed, _, found = token.rpartition(".")
    return hmac.compare_digest(found.encode(), signature(signed, secret).encode())


def claims(token: str) -> dict[str, Any]:
    """What the token claims, signed or not."""
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
