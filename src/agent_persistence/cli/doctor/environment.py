"""Whether the settings can work, before anything is sent."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from agent_persistence._version import __version__
from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.hiding import DATABASE_VARIABLE, KEY_VARIABLES

AREA: Final = Area("Environment")
_LISTS: Final = ("PERSIST_ALLOWED_TABLES", "PERSIST_READ_TABLES", "PERSIST_WRITE_TABLES", "PERSIST_WRITE_DENY")


def environment(environ: Mapping[str, str]) -> Iterator[Check]:
    """What is installed and which variables count; values of keys are not shown."""
    yield AREA.check(Level.OK, f"agent-persistence {__version__}, Python {platform.python_version()}")
    yield from _keys(environ)
    yield from _lists(environ)


def host(url: str) -> str:
    """The host and port of a URL, without what stands around them."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or '?'}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "?"


def _keys(environ: Mapping[str, str]) -> Iterator[Check]:
    first, second = (environ.get(name, "").strip() for name in KEY_VARIABLES)
    if first and second and first != second:
        yield AREA.check(Level.NOTE, f"counts; {KEY_VARIABLES[1]}, which holds another key, does not", KEY_VARIABLES[0])
    if url := environ.get("SUPABASE_URL", "").strip():
        yield AREA.check(Level.OK, host(url), "SUPABASE_URL")
    if url := environ.get(DATABASE_VARIABLE, "").strip():
        yield AREA.check(Level.OK, host(url), DATABASE_VARIABLE)


def _lists(environ: Mapping[str, str]) -> Iterator[Check]:
    for variable in _LISTS:
        if variable in environ:
            yield AREA.check(Level.OK, environ[variable].strip() or "empty: no table", variable)
    if "PERSIST_WRITE_TABLES" in environ and "PERSIST_WRITE_DENY" in environ:
        yield AREA.check(Level.NOTE, "ignored, because PERSIST_WRITE_TABLES is set", "PERSIST_WRITE_DENY")
