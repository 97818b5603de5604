"""Options of verbs, checked as they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_persistence.exceptions import ValidationError, printable


def at_least(table: str, option: str, value: object, least: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < least:
        given = value if type(value) is int and abs(value) < 10**9 else type(value).__name__
        raise ValidationError(table, f"{option} is an int of at least {least}, not {given}")
    return value


def _listed(names: str) -> str:
    """What to write instead of names in one text."""
    meant = [printable(name.strip())[1:-1] for name in names.split(",", _FEW_NAMES) if name.strip()]
    if meant in ([], ["*"]):
        return "leave it out for the default"
    more = ", …" if len(meant) > _FEW_NAMES else ""
    return "write [" + ", ".join(f'"{name}"' for name in meant[:_FEW_NAMES]) + more + "]"


_FEW_NAMES: Final = 20


def column_names(table: str, option: str, names: object) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValidationError(table, f"{option} is a list of column names, not a single text; {_listed(names)}")
    if not isinstance(names, Sequence) or isinstance(names, (bytes, bytearray)):
        raise ValidationError(table, f"{option} is a list of column names, not {type(names).__name__}")
    if not names:
        raise ValidationError(table, f"{option} is empty; leave it out for the default")
    return tuple(names)
