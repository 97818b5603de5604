"""How many tokens a prompt may have, and how they are shared out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema.contexts.entity import check_among


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """At most `total` tokens, of which `reserve` are kept for the question and the answer.

    `floors` and `caps` are tokens by table: a floor is kept for the best records of the table as long as it has some,
    a cap is the most its records take. Texts of more than some `part` tokens are shown in parts of that size.
    """

    total: int
    reserve: int = 0
    floors: Mapping[str, int] = field(default_factory=dict)
    caps: Mapping[str, int] = field(default_factory=dict)
    part: int = 60

    def __post_init__(self) -> None:
        _check("total", self.total, 1)
        _check("reserve", self.reserve, 0)
        _check("part", self.part, 8)
        for option in ("floors", "caps"):
            object.__setattr__(self, option, _by_table(option, getattr(self, option)))
        if self.reserve >= self.total:
            raise ConfigurationError(
                f"a reserve of {self.reserve} leaves nothing of {self.total} tokens for the context"
            )
        if sum(self.floors.values()) > self.available:
            raise ConfigurationError(f"the floors come to more than the {self.available} tokens there are")
        for table in self.floors.keys() & self.caps.keys():
            if self.floors[table] > self.caps[table]:
                raise ConfigurationError(f"the floor of {table} is above its cap")

    def check_tables(self, tables: Collection[str]) -> None:
        """Refuse floors and caps of tables that the context does not have."""
        for option in ("floors", "caps"):
            for table in getattr(self, option):
                check_among(option, table, tables)

    @property
    def available(self) -> int:
        """What the prompt may have."""
        return self.total - self.reserve


def token_budget(budget: int | TokenBudget | None) -> TokenBudget | None:
    """The budget that is meant; a number is a total of which nothing is reserved."""
    return budget if budget is None or isinstance(budget, TokenBudget) else TokenBudget(budget)


def _by_table(option: str, by_table: Any) -> Mapping[str, int]:
    if not isinstance(by_table, Mapping):
        raise ConfigurationError(f"{option} is a mapping of table to tokens, not {printable(by_table)}")
    for table, tokens in by_table.items():
        if type(table) is not str:
            raise ConfigurationError(f"{option}: {printable(table)} is no table")
        _check(f"{option}: {table}", tokens, 0)
    return MappingProxyType(dict(by_table))


def _check(option: str, tokens: object, least: int) -> None:
    if type(tokens) is not int or tokens < least:
        raise ConfigurationError(f"{option} is an int of at least {least}, not {printable(tokens)}")
