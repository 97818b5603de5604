"""Names of tables and columns, as far as they are safe to put into a request."""

from __future__ import annotations

import re
from typing import Final

RESERVED: Final = frozenset(
    {"select", "order", "limit", "offset", "and", "or", "not", "columns", "on_conflict", "apikey"}
)
"""Parameters of PostgREST and its gateway: a column of this name would be read as an instruction."""

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")


_KEY: Final = "(?:[A-Za-z_][A-Za-z0-9_]*|-?[0-9]{1,9})"
_PATH: Final = re.compile(rf"(?:(?!->).)+(?:->{_KEY})*->>?{_KEY}", re.DOTALL)


def is_identifier(name: object) -> bool:
    """Whether `name` is a plain lower-case SQL identifier; a subclass of str, which could lie, is not."""
    return type(name) is str and _IDENTIFIER.fullmatch(name) is not None


def is_name(name: object) -> bool:
    """Whether PostgreSQL could give the name to a table or column: any text of 1 to 63 bytes (NAMEDATALEN)."""
    if type(name) is not str or "\0" in name:
        return False
    try:
        return 0 < len(name.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:
        return False


_LONGEST_NAME: Final = 63


def is_path(name: str) -> bool:
    """Whether `name` reads a part of a JSON column: `custom->address->>city`.

    The column may have any name. Keys are letters, digits and _, numbers count the elements of a list from 0, or from
    -1 backwards. `->>` gives text and can only be the last arrow.
    """
    return "->" in name and _PATH.fullmatch(name) is not None


def base_column(name: str) -> str:
    """The column that is read: `custom` for `custom->>role`, and a plain column itself."""
    return name.partition("->")[0] if is_path(name) else name


def are_columns(names: tuple[object, ...]) -> bool:
    """Whether all names are identifiers and none of them is reserved."""
    if not {*map(type, names)} <= {str}:
        return False
    if names in _known:
        return True
    columns = all(is_identifier(name) and name not in RESERVED for name in names)
    if columns and len(names) <= _MOST_KEPT:
        if len(_known) >= _MOST_KEPT:
            _known.clear()
        _known.add(names)
    return columns


_MOST_KEPT: Final = 512
_known: Final[set[tuple[object, ...]]] = set()
"""Short lists of names that were columns, each of 63 characters at most. What is refused is not kept: callers
choose it, and it may be of any size."""
