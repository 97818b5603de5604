"""JSON values sort as PostgreSQL sorts the values of their type."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent_persistence import AdapterError
from agent_persistence.pipeline.paging.ranks import rank_of

ASCENDING = [
    "-infinity",
    "4713-01-01T00:00:00+00:00 BC",
    "0044-03-15T12:00:00+02:00 BC",
    "0044-03-15T12:00:00+00:53:28 BC",
    "0044-03-15T12:00:00-02:00 BC",
    "0001-12-31T23:59:59.999999+00:00 BC",
    "0001-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00+14:00",
    "2025-12-31T11:00:00+00:00",
    "2025-12-31T11:00:00.000001+00:00",
    "2025-12-31T11:00:00-00:30",
    "9999-12-31T23:59:59.999999+00:00",
    "10000-01-01T00:00:00+00:00",
    "294276-12-31T23:59:59.999999+00:00",
    "infinity",
]


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(ASCENDING)))
def test_moments_sort_by_when_they_are(earlier: str, later: str) -> None:
    """Whatever the offset that the server's time zone had then, and however many digits the year has."""
    rank = rank_of("timestamptz")
    assert rank is not None
    assert rank(earlier) < rank(later)


def test_one_moment_has_one_rank() -> None:
    """In whatever zone it is printed."""
    rank = rank_of("timestamptz")
    assert rank is not None
    assert rank("0044-03-15T12:00:00+02:00 BC") == rank("0044-03-15T10:00:00+00:00 BC")


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
@pytest.mark.parametrize("odd", ["15.03.2026", "Sun Mar 15 2026", 5, "2026-13-01", ""])
def test_a_form_that_is_not_known_is_an_error(kind: str, odd: object) -> None:
    """Rows that cannot be sorted are not returned in a wrong order."""
    rank = rank_of(kind)
    assert rank is not None
    with pytest.raises(AdapterError, match="unknown form"):
        rank(odd)


@pytest.mark.parametrize("kind", ["text", "citext", "interval", "inet", "mood", "money"])
def test_what_has_no_known_order_has_no_rank(kind: str) -> None:
    """Splitting refuses to merge by it."""
    assert rank_of(kind) is None
