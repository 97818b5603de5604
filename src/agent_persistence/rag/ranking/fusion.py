"""Weighted reciprocal rank fusion: several rankings of records become one. Pure.

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"
(SIGIR 2009): score = sum of weight / (k + rank), with ranks from 1. Scores of the rankings themselves are not used, so
that they need no common scale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from sys import float_info
from typing import Final, TypeAlias

from agent_persistence.exceptions import ConfigurationError, printable

Ref: TypeAlias = tuple[str, str | int]
"""A record: its table and its key. The key 1 is another than the key "1"."""

DEFAULT_K: Final = 60
"""That of the paper; a larger one lets lower ranks count for more."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Records, the best first, and how much their ranks count. The first mention of a record is its rank."""

    refs: Sequence[Ref]
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)


def fuse(rankings: Iterable[Ranking], *, k: int = DEFAULT_K) -> list[tuple[Ref, float]]:
    """The records with their scores, the best first, ties by table and key; the order of the rankings is no matter.

    A ranking of weight 0 adds no record.
    """
    check_k(k)
    shares: defaultdict[Ref, list[float]] = defaultdict(list)
    for ranking in rankings:
        if ranking.weight:
            for rank, ref in enumerate(dict.fromkeys(ranking.refs), 1):
                shares[ref].append(ranking.weight / (k + rank))
    scores = [(ref, fsum(parts)) for ref, parts in shares.items()]
    return sorted(scores, key=lambda scored: (-scored[1], *sort_key(scored[0])))


def best_score(weights: Iterable[float], *, k: int = DEFAULT_K) -> float:
    """The score of a record that is first in a ranking of each weight; 0 without weights."""
    return fsum(weight / (k + 1) for weight in weights)


def sort_key(ref: Ref) -> tuple[str, bool, str | int]:
    """Orders records by table and key, numbers before texts."""
    table, key = ref
    return table, isinstance(key, str), key


def check_weight(option: str, weight: object) -> None:
    """Refuse what is no number of at least 0."""
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= float_info.max:
        raise ConfigurationError(f"{option} is a number of at least 0, not {printable(weight)}")


def check_k(k: object) -> None:
    """Refuse what is no int of at least 0."""
    if type(k) is not int or k < 0:
        raise ConfigurationError(f"k is an int of at least 0, not {k!r}")
