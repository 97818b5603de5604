"""What a service's cache may hold and for how long: a value."""

from __future__ import annotations

from dataclasses import dataclass
from sys import float_info

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.policy.tables import function_names, table_names


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """Bounds of the cache of one service. Whatever exceeds them goes, the least recently used first.

    An answer is at most `ttl_s` seconds old when it is given again. `max_bytes` is the memory of the answers, as
    `sys.getsizeof` counts it. `tables` are the ones whose rows are kept, all by default. Of functions that only read,
    those in `functions`: name what gives the same answer to the same arguments as long as nothing is written.
    """

    ttl_s: float = 30.0
    max_entries: int = 1_000
    max_bytes: int = 64 * 2**20
    tables: frozenset[str] | None = None
    functions: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        ttl_s: object = self.ttl_s
        if isinstance(ttl_s, bool) or not isinstance(ttl_s, (int, float)) or not 0 < ttl_s <= float_info.max:
            raise ConfigurationError(f"ttl_s is a positive number of seconds, not {printable(ttl_s)}")
        for option in ("max_entries", "max_bytes"):
            bound: object = getattr(self, option)
            if type(bound) is not int or bound < 1:
                raise ConfigurationError(f"{option} is an int of at least 1, not {bound!r:.40}")
        if self.tables is not None:
            object.__setattr__(self, "tables", table_names("tables", self.tables))
        object.__setattr__(self, "functions", function_names("functions", self.functions))


def cache_policy(cache: CachePolicy | bool | None) -> CachePolicy | None:
    """The policy meant by a `cache=` argument: True is the default one; None and False, no cache."""
    if cache is None or isinstance(cache, CachePolicy):
        return cache
    if isinstance(cache, bool):
        return CachePolicy() if cache else None
    raise ConfigurationError(f"cache is a CachePolicy, True or False, not {type(cache).__name__}")
