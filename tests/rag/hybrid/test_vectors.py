"""Vectors in Python: what pgvector reads, and exact cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence.exceptions import ValidationError
from agent_persistence.rag.ranking.vectors import Vector, cosine_similarity, nearest, written
from tests.doubles import shown

SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def similarity(one: Sequence[float], other: Sequence[float]) -> float | None:
    return cosine_similarity(Vector.of(one), Vector.of(other))


@given(st.lists(SINGLES, min_size=1, max_size=8))
def test_what_is_written_is_read_again(numbers: list[float]) -> None:
    """Every number of single precision comes back as itself."""
    assert list(Vector.read(written(numbers)).values) == numbers


def test_a_vector_is_written_as_pgvector_reads_it() -> None:
    """No blanks, no exponents that JSON has not."""
    assert written([1, 0.5, -1e-9]) == "[1.0,0.5,-1e-09]"


@pytest.mark.parametrize(
    "given", [[], [math.nan], [math.inf], [1e39], [10**400], [True], ["1"], [None], [0.0] * 16_001], ids=shown
)
def test_what_pgvector_would_not_store_is_refused(given: list[Any]) -> None:
    """A ValidationError, and nothing of the numbers in it."""
    with pytest.raises(ValidationError, match="vector"):
        Vector.of(given)


@pytest.mark.parametrize("text", ["", "1", "{}", "[1", "[[1]]", "[NaN]"])
def test_what_is_no_vector_is_not_read(text: str) -> None:
    """Only a list of numbers is."""
    with pytest.raises(ValidationError, match="vector"):
        Vector.read(text)


def test_numbers_are_those_of_single_precision() -> None:
    """As pgvector stores them, so that what is the same there is the same here."""
    assert Vector.of([0.1]) == Vector.of([0.10000000149011612])
    assert Vector.of([0.1]).values[0] != 0.1


def test_similarity_is_the_cosine() -> None:
    """1 for the same direction, 0 for a right angle, -1 for the opposite."""
    assert [similarity([3, 4], other) for other in ([6, 8], [4, -3], [-3, -4])] == [1.0, 0.0, -1.0]
    assert similarity([1, 0], [1, 1]) == pytest.approx(math.sqrt(0.5))


def test_a_vector_of_zeros_has_no_direction() -> None:
    """It is near to nothing, not even to itself."""
    assert similarity([0, 0], [1, 0]) is similarity([0, 0], [0, 0]) is None


def test_vectors_of_different_sizes_do_not_compare() -> None:
    """As pgvector refuses them."""
    with pytest.raises(ValidationError, match="different vector dimensions 2 and 3"):
        similarity([1, 0], [1, 0, 0])


def test_the_nearest_come_first_and_ties_by_key() -> None:
    """And no more of them than were asked for."""
    candidates = [(key, Vector.of(numbers)) for key, numbers in [("c", [1, 0]), ("b", [2, 0]), ("a", [1, 1])]]
    query = Vector.of([1, 0])
    assert [key for key, _ in nearest(query, candidates, 3)] == ["b", "c", "a"]
    assert [key for key, _ in nearest(query, candidates, 1)] == ["b"]
    assert nearest(query, candidates, 0) == nearest(query, candidates, -1) == []


def test_a_threshold_leaves_out_what_is_not_above_it() -> None:
    """There is none unless it is asked for."""
    candidates = [(1, Vector.of([1, 0])), (2, Vector.of([0, 1])), (3, Vector.of([-1, 0]))]
    query = Vector.of([1, 0])
    assert [key for key, _ in nearest(query, candidates, 9, threshold=0.0)] == [1]
    assert [key for key, _ in nearest(query, candidates, 9)] == [1, 2, 3]
