"""Weighted reciprocal rank fusion."""

from __future__ import annotations

from functools import reduce
from itertools import permutations
from operator import add

import pytest
from hypothesis import given, strategies as st

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.rag.ranking.fusion import Ranking, Ref, best_score, fuse

REFS = st.tuples(st.sampled_from(["leads", "messages"]), st.one_of(st.integers(0, 9), st.sampled_from("abc123")))
RANKINGS = st.lists(st.builds(Ranking, st.lists(REFS, max_size=12), st.just(0.0) | st.floats(0.001, 10)), max_size=5)


def refs(*keys: str | int) -> list[Ref]:
    """Records of one table."""
    return [("notes", key) for key in keys]


def keys(fused: list[tuple[Ref, float]]) -> list[str | int]:
    return [key for (_, key), _ in fused]


def test_a_score_is_the_sum_of_weight_by_k_plus_rank() -> None:
    """Ranks count from 1."""
    fused = dict(fuse([Ranking(refs("a", "b")), Ranking(refs("b", "c"), 2.0)], k=60))
    assert fused == {
        ("notes", "a"): pytest.approx(1 / 61),
        ("notes", "b"): pytest.approx(1 / 62 + 2 / 61),
        ("notes", "c"): pytest.approx(2 / 62),
    }


def test_k_is_60_by_default() -> None:
    """As in the paper."""
    assert fuse([Ranking(refs("a"))]) == [(("notes", "a"), 1 / 61)]


def test_a_small_k_lets_the_first_place_win_over_two_middling_ones() -> None:
    """And a large one does not."""
    rankings = [Ranking(refs("x", "b", "a")), Ranking(refs("y", "c", "a"))]
    assert keys(fuse(rankings, k=0))[0] == "x"
    assert keys(fuse(rankings, k=60))[0] == "a"


@given(RANKINGS)
def test_the_order_of_the_rankings_is_no_matter(rankings: list[Ranking]) -> None:
    """To the last bit of every score."""
    assert all(fuse(order) == fuse(rankings) for order in permutations(rankings))


def test_a_plain_sum_depends_on_the_order() -> None:
    """Control: the property above can fail."""
    shares = [0.1, 0.2, 0.3]
    assert reduce(add, shares) != reduce(add, reversed(shares))


@given(RANKINGS)
def test_duplicates_within_a_ranking_count_once_at_their_first_place(rankings: list[Ranking]) -> None:
    """What stands behind a duplicate moves up."""
    without = [Ranking(list(dict.fromkeys(ranking.refs)), ranking.weight) for ranking in rankings]
    assert fuse(rankings) == fuse(without)


def test_a_duplicate_that_counted_would_change_the_order() -> None:
    """Control: a record is not lifted by being told twice."""
    assert keys(fuse([Ranking(refs("b", "a", "a", "a"))])) == ["b", "a"]
    assert keys(fuse([Ranking(refs("b", "a")), Ranking(refs("a"))])) == ["a", "b"]


@given(RANKINGS, st.sampled_from([0.25, 2.0, 1024.0]))
def test_only_the_ratio_of_weights_decides_the_order(rankings: list[Ranking], factor: float) -> None:
    """All weights times a number give the same order, and scores times that number."""
    scaled = fuse([Ranking(ranking.refs, ranking.weight * factor) for ranking in rankings])
    assert scaled == [(ref, score * factor) for ref, score in fuse(rankings)]


@given(RANKINGS, st.lists(REFS, max_size=5))
def test_a_ranking_of_weight_zero_is_no_ranking(rankings: list[Ranking], ignored: list[Ref]) -> None:
    """It neither adds a record nor moves one."""
    assert fuse([*rankings, Ranking(ignored, 0.0)]) == fuse(rankings)


@given(RANKINGS)
def test_no_score_is_above_that_of_the_first_in_every_ranking(rankings: list[Ranking]) -> None:
    """`best_score` is what 1 stands for after normalisation."""
    best = best_score(ranking.weight for ranking in rankings)
    assert all(score <= best * (1 + 1e-12) for _, score in fuse(rankings))


@given(RANKINGS)
def test_every_record_of_every_ranking_is_there_once(rankings: list[Ranking]) -> None:
    """Nothing is lost, and nothing doubled."""
    found = [ref for ref, _ in fuse(rankings)]
    assert len(found) == len(set(found))
    assert set(found) == {ref for ranking in rankings if ranking.weight for ref in ranking.refs}


def test_ties_are_in_the_order_of_table_and_key() -> None:
    """Numbers before texts, and 1 is not "1"."""
    told: list[Ref] = [("b", 1), ("a", "1"), ("a", 2), ("a", 10)]
    assert [ref for ref, _ in fuse([Ranking([ref]) for ref in told])] == [("a", 2), ("a", 10), ("a", "1"), ("b", 1)]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 10**400, True, "1", None])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    """Numbers of at least 0."""
    with pytest.raises(ConfigurationError, match="weight is a number of at least 0"):
        Ranking([], weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [-1, 1.5, True, None])
def test_a_k_that_is_none_is_refused(k: object) -> None:
    """Ints of at least 0."""
    with pytest.raises(ConfigurationError, match="k is an int of at least 0"):
        fuse([], k=k)  # type: ignore[arg-type]
