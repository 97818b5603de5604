"""Access tokens as Supabase Auth signs them: HS256 JSON Web Tokens."""

import base64
import hashlib
import hmac
import json
from typing import Any


def encoded(data: bytes) -> str:
    """Base64 for URLs, without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims: dict[str, Any], secret: str) -> str:
    """The claims as a JSON Web Token signed with the secret."""
    head = encoded(b'{"alg":"HS256","typ":"JWT"}')
    body = encoded(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{encoded(signature)}"
