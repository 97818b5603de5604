"""Secrets of the environment, kept out of whatever is printed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

KEY_VARIABLES: Final = ("SUPABASE_SERVICE_KEY", "SUPABASE_KEY")
"""As in `persistence_config`, which takes a while to import, and would be imported by every command for these alone."""
DATABASE_VARIABLE: Final = "DATABASE_URL"
PUBLIC_KEY_VARIABLES: Final = ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
AUDIT_KEY_VARIABLE: Final = "AUDIT_KEY"
HIDDEN: Final = "**********"
_SHORTEST: Final = 6
"""A value of fewer characters is no secret, and would be found in half of all words."""


def hidden(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text without the keys and passwords that the environment holds."""
    for secret in sorted(_secrets(environ), key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for variable in (*KEY_VARIABLES, *PUBLIC_KEY_VARIABLES, AUDIT_KEY_VARIABLE, "PGPASSWORD"):
        yield environ.get(variable, "").strip()
    url = environ.get(DATABASE_VARIABLE, "").strip()
    yield from (url, *_passwords(url))


def _passwords(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield from (password, unquote(password))
