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
    """The tables that may be read and those that may be written, and the most rows one query may ask for.

    Anything not named is denied. Iterables are copied, so that later edits of theirs change nothing.
    """

    read: frozenset[str] = BUSINESS_TABLES
    write: frozenset[str] = BUSINESS_TABLES - GOVERNANCE_TABLES
    max_rows: int = 100_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", table_names("read", self.read))
        object.__setattr__(self, "write", table_names("write", self.write))
        if type(self.max_rows) is not int or self.max_rows < 1:
            raise ConfigurationError(f"max_rows is a positive int, not {self.max_rows!r}")

    def allowed(self, *, writes: bool) -> frozenset[str]:
        """The tables that a verb which writes, or one which reads, may touch."""
        return self.write if writes else self.read


def table_names(option: str, names: Iterable[str]) -> frozenset[str]:
    """The names as a set, each checked; `option` is named in the ConfigurationError."""
    if isinstance(names, str):
        raise ConfigurationError(f"{option} is a collection of table names, not a single str: write {{{names!r}}}")
    tables = frozenset(names)
    for name in tables:
        if not is_identifier(name):
            raise ConfigurationError(
                f"{option}: {printable(name)} is not a table name; names are lower-case letters, digits and _"
            )
    return tables
