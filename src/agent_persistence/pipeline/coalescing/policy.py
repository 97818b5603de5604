"""How many callers may share a request: a value, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agent_persistence.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CoalescePolicy:
    """Bounds of one shared request: `max_rows` callers, and about `max_bytes` of their values."""

    max_rows: int = 500
    max_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"{option.name} is an int of at least 1, not {value!r}")


def coalesce_policy(coalesce: CoalescePolicy | bool) -> CoalescePolicy | None:
    """The policy meant by a `coalesce=` argument: True the default, False none."""
    if isinstance(coalesce, CoalescePolicy):
        return coalesce
    if isinstance(coalesce, bool):
        return CoalescePolicy() if coalesce else None
    raise ConfigurationError(f"coalesce is a CoalescePolicy, True or False, not {type(coalesce).__name__}")
