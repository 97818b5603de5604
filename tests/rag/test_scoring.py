"""What each term of a score does, and in which direction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import ConfigurationError, RAGContext, build_rag_context
from agent_persistence.query.records import Row
from agent_persistence.rag.outline import outline
from agent_persistence.rag.scoring import Score, Scoring, scores
from tests.rag.crm import CRM, crm_service
from tests.rag.worlds import LEAD, TALK, message, talk_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _lead(key: str, age: timedelta | None = timedelta(), **columns: Any) -> Row:
    at = {} if age is None else {"created_at": (NOW - age).isoformat()}
    return {"id": key, **at, **columns}


def _scores(
    *leads: Row, scoring: Scoring | None = None, relevance: Any = None, now: datetime | None = NOW
) -> list[Score]:
    return scores(outline({"leads": leads}, CRM), scoring or Scoring(), relevance or {}, now)


def _keys(told: list[Score]) -> list[Any]:
    return [score.key for score in told]


def test_a_newer_record_is_worth_more() -> None:
    """The direction of recency, which is easily got wrong."""
    assert _keys(_scores(_lead("old", timedelta(days=2)), _lead("new", timedelta(days=1)))) == ["new", "old"]


def test_recency_halves_with_each_half_life() -> None:
    """1 now, a half after one half-life, a quarter after two; half-lives are those of the table."""
    scoring = Scoring(half_lives={"leads": timedelta(days=10)})
    told = _scores(*(_lead(str(days), timedelta(days=days)) for days in (0, 10, 20)), scoring=scoring)
    assert [score.recency for score in told] == [1.0, 0.5, 0.25]
    by_context = _scores(_lead("180", timedelta(days=180)))
    assert [score.recency for score in by_context] == [0.5]


def test_what_is_of_the_future_is_as_recent_as_what_is_of_now() -> None:
    """A clock that is ahead does not make a record worth more."""
    assert [score.recency for score in _scores(_lead("next", -timedelta(days=9)), _lead("now"))] == [1.0, 1.0]


def test_what_has_no_time_has_no_recency() -> None:
    """It may still be relevant."""
    assert [score.recency for score in _scores(_lead("?", None), _lead("!", created_at="no time"))] == [0.0, 0.0]


def test_importance_comes_from_a_column_or_a_function_and_more_is_worth_more() -> None:
    """A number from 0 to 1, beyond which it is cut; what is no number has none."""
    leads = [
        _lead(str(n), score=score) for n, score in enumerate([0.2, 0.9, Decimal("0.5"), 7, -1, None, "high", 10**400])
    ]
    told = _scores(*leads, scoring=Scoring(importance={"leads": "score"}))
    assert {score.key: score.importance for score in told} == {
        "0": 0.2,
        "1": 0.9,
        "2": 0.5,
        "3": 1.0,
        "4": 0.0,
        "5": 0.0,
        "6": 0.0,
        "7": 1.0,
    }
    assert _keys(told)[:4] == ["3", "7", "1", "2"]
    by_function = Scoring(importance={"leads": lambda row: 1.0 if row["score"] == "high" else 0.0})
    assert _keys(_scores(*leads, scoring=by_function))[0] == "6"


def test_a_more_relevant_record_is_worth_more() -> None:
    """The direction of relevance; a record that is not named has none."""
    told = _scores(*map(_lead, "abc"), relevance={("leads", "b"): 0.5, ("leads", "c"): 1.0, ("clients", "a"): 1.0})
    assert _keys(told) == ["c", "b", "a"]
    assert [score.relevance for score in told] == [2.0, 1.0, 0.0]


def test_a_key_that_is_told_as_text_is_the_same_key() -> None:
    """Functions of the database may tell numbers as text."""
    told = scores(_records(talk_of("hello")), Scoring(), {("messages", "0"): 1.0}, NOW)
    assert {score.ref: score.relevance for score in told}["m1"] == 2.0


@pytest.mark.parametrize("term", ["recency", "importance", "relevance"])
def test_each_weight_multiplies_its_term(term: str) -> None:
    """Weight 0 removes it, weight 3 triples it, the others stay."""
    told = {
        weight: _scores(
            _lead("a", timedelta(days=30), score=0.5),
            relevance={("leads", "a"): 0.5},
            scoring=Scoring(**{"importance": {"leads": "score"}, f"{term}_weight": weight}),  # type: ignore[arg-type]
        )[0]
        for weight in (0.0, 1.0, 3.0)
    }
    assert getattr(told[0.0], term) == 0.0
    assert getattr(told[3.0], term) == pytest.approx(3 * getattr(told[1.0], term))
    for other in {"recency", "importance", "relevance"} - {term}:
        assert getattr(told[0.0], other) == getattr(told[3.0], other)


def test_the_weight_of_a_table_multiplies_the_sum() -> None:
    """Every table has weight 1 unless told."""
    half = Scoring(entity_weights={"leads": 0.5})
    [whole], [halved] = _scores(_lead("a")), _scores(_lead("a"), scoring=half)
    assert (whole.score, halved.score) == (1.0, 0.5)


def test_pins_come_before_all_others() -> None:
    """Whatever their score; by table and key, a number also as text."""
    leads = [_lead("old", timedelta(days=900)), _lead("new")]
    told = _scores(*leads, scoring=Scoring(pins=[("leads", "old")]))
    assert [(score.key, score.pinned) for score in told] == [("old", True), ("new", False)]


def test_ties_go_to_the_newer_then_by_table_and_key() -> None:
    """The order depends on no hash and no order of arrival; numeric keys by number."""
    scoring = Scoring(recency_weight=0.0)
    leads = [_lead("b"), _lead("a"), _lead("new", -timedelta(days=1)), _lead("c", None)]
    assert _keys(_scores(*leads, scoring=scoring)) == ["new", "a", "b", "c"]
    at = "2026-01-01T00:00:00+00:00"
    messages = [message(number, "x", created_at=at) for number in (10, 9, 1)]
    context = RAGContext(
        leads=[{**LEAD, "created_at": at}], conversations=[{**TALK, "created_at": at}], messages=messages
    )
    assert [(score.table, score.key) for score in scores(_records(context), scoring, {}, NOW)] == [
        ("conversations", TALK["id"]),
        ("leads", LEAD["id"]),
        ("messages", 1),
        ("messages", 9),
        ("messages", 10),
    ]


def _records(context: RAGContext) -> list[Any]:
    return [record for root in outline(context.rows, CRM) for record in root.walk()]


@given(st.permutations([_lead(str(n), timedelta(days=n % 3), score=n / 7) for n in range(7)]))
def test_the_order_of_arrival_does_not_matter(leads: list[Row]) -> None:
    """The same ranking for the same rows."""
    scoring = Scoring(importance={"leads": "score"})
    arrived = [score[1:] for score in _scores(*leads, scoring=scoring)]
    assert arrived == [score[1:] for score in _scores(*sorted(leads, key=str), scoring=scoring)]


def test_now_is_the_newest_time_unless_told() -> None:
    """No clock is read: a prompt of today is the prompt of tomorrow."""
    leads = [_lead("a", timedelta(days=180)), _lead("b", timedelta(days=360))]
    assert [score.recency for score in _scores(*leads, now=None)] == [1.0, 0.5]
    assert [score.recency for score in _scores(*leads, now=NOW)] == [0.5, 0.25]


def test_explain_tells_the_terms_of_every_record_best_first() -> None:
    """The sum of the terms times the table's weight is the score, by which they are sorted."""
    told = talk_of("hello", "bye").explain()
    assert {score.ref for score in told} == {"c1", "l1", "v1", "m1", "m2"}
    assert [score.score for score in told] == sorted((score.score for score in told), reverse=True)
    for score in told:
        assert score.score == score.entity_weight * (score.recency + score.importance + score.relevance)


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_lives": {"leads": timedelta()}},
        {"half_lives": {"leads": 30}},
        {"half_lives": {1: timedelta(days=1)}},
        {"entity_weights": {"leads": -1}},
        {"entity_weights": {"leads": True}},
        {"entity_weights": {"leads": 10**400}},
        {"entity_weights": ["leads"]},
        {"importance": {"leads": 1}},
        {"recency_weight": float("nan")},
        {"relevance_weight": "2"},
        {"pins": [(1, "leads")]},
        {"pins": ["leads"]},
    ],
    ids=str,
)
def test_nonsense_is_refused_when_the_scoring_is_made(wrong: dict[str, Any]) -> None:
    """The message names the option."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Scoring(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_lives": {"lead": timedelta(days=1)}},
        {"entity_weights": {"lead": 1}},
        {"importance": {"lead": "score"}},
        {"pins": [("lead", 1)]},
    ],
    ids=str,
)
@pytest.mark.anyio
async def test_a_table_that_the_context_does_not_have_is_refused(wrong: dict[str, Any]) -> None:
    """Before anything is read; the message names the option and the table that may have been meant."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}: 'lead' is none of .* did you mean 'leads'"):
        await build_rag_context(crm_service(), scoring=Scoring(**wrong))
