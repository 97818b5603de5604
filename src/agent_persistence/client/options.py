"""The options of a service, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from agent_persistence.backends.base import Identified
from agent_persistence.exceptions import ConfigurationError

T = TypeVar("T")
_VERBS: Final = ("capabilities", "write", "batch_write", "upsert", "read", "query", "get_columns")


def check_adapter(adapter: object) -> None:
    missing = [name for name in _VERBS if not hasattr(adapter, name)]
    if missing:
        raise ConfigurationError(f"{type(adapter).__name__} is no PersistenceAdapter: it lacks {', '.join(missing)}")


def check_identified(adapter: object) -> None:
    if not isinstance(adapter, Identified):
        raise ConfigurationError(
            f"{type(adapter).__name__} does not say as whom its calls run, so that cache= and coalesce= might give one"
            " user what another was answered; give it `identity = Identity(own=True)` if all its calls run as the same"
            " user, or leave these options out"
        )


def knows_no_users(adapter: object) -> ConfigurationError:
    return ConfigurationError(
        f"{type(adapter).__name__} knows no users: access_token= is for SupabaseAdapter, claims= for PostgresAdapter;"
        " over this adapter as_user takes tenant= or actor="
    )


def instance(option: str, value: object, expected: type[T]) -> T:
    if not isinstance(value, expected):
        raise ConfigurationError(f"{option} is a {expected.__name__}, not {type(value).__name__}")
    return value


def checked_actor(actor: object) -> str:
    if not isinstance(actor, str) or not actor.strip():
        raise ConfigurationError("actor is the name that the audit log has for who calls, a text that is not empty")
    return actor


def checked_row_cap(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise ConfigurationError("row_cap is the server's cap on rows, a number of at least 1")
    return value


def callables(option: str, given: Any, expected: str) -> tuple[Any, ...]:
    """One callable, or each of several, as a tuple."""
    several = tuple(given) if isinstance(given, Iterable) else (given,)
    for each in several:
        if not callable(each):
            raise ConfigurationError(f"{option} holds {type(each).__name__}; each is {expected}")
    return several
