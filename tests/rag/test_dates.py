"""The days that a question names."""

from __future__ import annotations

import pytest

from agent_persistence.rag.ranking.dates import days_meant
from agent_persistence.rag.ranking.matching import Corpus, WordMatches
from agent_persistence.rag.ranking.words import question_words

FRIDAY = "2026-11-27"


@pytest.mark.parametrize(
    "question",
    [
        "What happened on 27 November 2026?",
        "What happened on November 27th, 2026?",
        "Who called on the 27th of November?",
        "in November?",
        "2026-11-27",
        "2026-11",
        "Was war am 27.11.2026?",
        "Was war am 27.11.?",
        "Was war am 27. November?",
        "¿Qué pasó el 27 de noviembre de 2026?",
        "Que s'est-il passé le 27 novembre ?",
        "2026年11月27日に何がありましたか",
        "11月に",
        "last Friday",
        "am Freitag",
        "el viernes",
    ],
)
def test_a_day_is_meant_however_it_is_written(question: str) -> None:
    """In numbers and in several languages; another day is not."""
    [is_meant] = days_meant(question)
    assert is_meant(FRIDAY)
    assert not is_meant("2026-10-29")
    assert not is_meant("")
    assert not is_meant("yesterday!")


@pytest.mark.parametrize("question", ["May I ask who paid?", "March on, he said", "room 12, version 3.4", "", "99.99"])
def test_words_and_numbers_that_are_no_times_mean_none(question: str) -> None:
    """*may* and *march* are verbs as well."""
    assert not [is_meant for is_meant in days_meant(question) if is_meant("2026-05-12") or is_meant("2026-03-12")]


def test_no_more_than_four_times_are_looked_for() -> None:
    """However many are named."""
    assert len(days_meant("2026-01-01 " * 1_000)) == 4


def test_what_was_said_that_day_is_found_by_it() -> None:
    """Of equal texts the one of that day."""
    texts, none = ["the invoice came"] * 3, [-1] * 3
    searched = Corpus(texts, none, none, [""] * 3, ["2026-11-26", FRIDAY, ""])
    question = "Which invoice came on 27 November?"
    scores = WordMatches(question_words(question), searched, days_meant(question)).scores
    assert scores[1] > scores[0] == scores[2] > 0
