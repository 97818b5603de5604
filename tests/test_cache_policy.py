"""The bounds of a cache are checked when they are given."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.caching.policy import CachePolicy, cache_policy
from tests.doubles import shown


@pytest.mark.parametrize(
    "options",
    [
        *({"ttl_s": wrong} for wrong in (0, -1, float("nan"), float("inf"), 10**400, True, "30", None)),
        *({"max_entries": wrong} for wrong in (0, -1, 1.5, True, None)),
        *({"max_bytes": wrong} for wrong in (0, -1, 1.5, True, None)),
        *({"tables": wrong} for wrong in ("leads", 5, [""], [None], ["a" * 64])),
        *({"functions": wrong} for wrong in ("f", None, [1], [["f"]])),
        {"ttl": 5},
    ],
    ids=shown,
)
def test_what_cannot_be_a_bound_is_refused(options: dict[str, Any]) -> None:
    """With the name of the option."""
    with pytest.raises((ConfigurationError, TypeError), match=next(iter(options))):
        CachePolicy(**options)


def test_a_policy_is_frozen_and_keeps_what_it_was_given() -> None:
    """Later edits of a list change nothing."""
    names: Any = ["leads"]
    policy = CachePolicy(tables=names, functions=names)
    names.append("clients")
    assert policy.tables == policy.functions == {"leads"}
    with pytest.raises(FrozenInstanceError):
        policy.ttl_s = 1  # type: ignore[misc]


def test_true_means_the_defaults_and_false_no_cache() -> None:
    """As in `retry=`."""
    assert cache_policy(True) == CachePolicy()
    assert cache_policy(False) is cache_policy(None) is None
    assert cache_policy(CachePolicy(ttl_s=5)) == CachePolicy(ttl_s=5)
    wrong: Any = 30
    with pytest.raises(ConfigurationError, match="cache is a CachePolicy"):
        cache_policy(wrong)
