"""What a service may touch. Checked by the guard, before any request leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.identifiers import is_identifier

BUSINESS_TABLES: Final = frozenset(
    {"campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries"}
)
GOVERNANCE_TABLES: Final = frozenset({"clients", "campaigns"})
"""Reference data that agents read but never write by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePolicy:
    """What may be touched; anything not named is denied.

    `read`, `write` (insert, update, upsert) and `delete` list tables; update and delete choose rows by their content
    and so need `read` as well. `call` functions that only read and
    `call_write` functions that may write. `max_rows` is the most rows one query may return. Iterables are copied, so
    that later edits of theirs change nothing.
    """

    read: frozenset[str] = BUSINESS_TABLES
    write: frozenset[str] = BUSINESS_TABLES - GOVERNANCE_TABLES
    delete: frozenset[str] = frozenset()
    call: frozenset[str] = frozenset()
    call_write: frozenset[str] = frozenset()
    max_rows: int = 100_000

    def __post_init__(self) -> None:
        for rule in ("read", "write", "delete", "call", "call_write"):
            object.__setattr__(self, rule, table_names(rule, getattr(self, rule)))
        if type(self.max_rows) is not int or self.max_rows < 1:
            raise ConfigurationError(f"max_rows is a positive int, not {self.max_rows!r}")


def table_names(option: str, names: Iterable[str]) -> frozenset[str]:
    """The names as a set, each checked; `option` is named in the ConfigurationError."""
    if isinstance(names, str):
        raise ConfigurationError(f"{option} is a collection of table names, not a single str: write {{{names!r}}}")
    try:
        tables = frozenset(names)
    except TypeError:
        raise ConfigurationError(f"{option} is a collection of names, such as a set of str") from None
    for name in tables:
        if not is_identifier(name):
            raise ConfigurationError(
                f"{option}: {printable(name)} is no table or function; names are lower-case letters, digits and _"
            )
    return tables
