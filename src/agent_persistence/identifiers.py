"""Names of tables and columns, as far as they are safe to put into a request."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

RESERVED: Final = frozenset(
    {"select", "order", "limit", "offset", "and", "or", "not", "columns", "on_conflict", "apikey"}
)
"""Parameters of PostgREST and its gateway: a column of this name would be read as an instruction."""

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def is_identifier(name: object) -> bool:
    """Whether `name` is a plain lower-case SQL identifier; a subclass of str, which could lie, is not."""
    return type(name) is str and _IDENTIFIER.fullmatch(name) is not None


def are_columns(names: tuple[object, ...]) -> bool:
    """Whether all names are identifiers and none of them is reserved."""
    return {*map(type, names)} <= {str} and _are_columns(names)


@lru_cache(maxsize=1024)
def _are_columns(names: tuple[str, ...]) -> bool:
    return all(is_identifier(name) and name not in RESERVED for name in names)
