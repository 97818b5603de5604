"""How well words of a question match records."""

from __future__ import annotations

import pytest

from agent_persistence import RAGContext
from agent_persistence.rag.lexical import terms, word_relevance
from agent_persistence.rag.outline import Record, outline
from tests.rag.crm import CRM
from tests.rag.worlds import LEAD, TALK, message, talk_of


def _records(context: RAGContext) -> list[Record]:
    roots = outline(context.rows, CRM)
    return [record for root in roots for record in root.walk()]


def _relevance(query: str, *contents: str) -> dict[int, float]:
    told = word_relevance(query, _records(talk_of(*contents)))
    return {number: told.get(("messages", str(number)), 0.0) for number in range(len(contents))}


def test_the_best_match_has_relevance_one_and_no_match_none() -> None:
    """Of the messages, the one with the rare words of the question."""
    told = _relevance(
        "What about the penetration test?", "The weather is fine", "Our penetration test is in August", "Hello"
    )
    assert told[1] == 1.0
    assert told[2] == 0.0
    assert told[0] < 0.6


def test_nothing_matches_nothing() -> None:
    """No division by zero, no relevance."""
    assert word_relevance("zebra", _records(talk_of("hello"))) == {}
    assert word_relevance("", _records(talk_of("hello"))) == {}
    assert word_relevance("zebra", []) == {}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("budgets", "The BUDGET is fixed"),
        ("Grossmann", "Herr Großmann rief an"),
        ("cafe", "im Café"),
        ("東京倉庫", "新しい東京倉庫です"),
        ("ＡＢＣ", "abc"),
    ],
)
def test_words_match_without_case_signs_and_endings(query: str, text: str) -> None:
    """Folded as far as that is the same in any language."""
    assert _relevance(query, text, "something else")[0] > _relevance(query, text, "something else")[1]


def test_a_message_has_a_part_of_what_its_conversation_matches() -> None:
    """A question that names a subject means the messages under it."""
    other = {**TALK, "id": "other", "subject": "Invoices"}
    messages = [message(1, "Noted."), message(2, "Noted.", conversation_id="other")]
    context = RAGContext(leads=[LEAD], conversations=[TALK, other], messages=messages)
    told = word_relevance("invoices", _records(context))
    assert told[("conversations", "other")] == 1.0
    assert told[("messages", "2")] == 0.5
    assert ("messages", "1") not in told


def test_terms_are_words_in_order() -> None:
    """The first six letters; pairs of characters where a script has no blanks."""
    assert terms("Price-lists of 2026, naïveté!") == ["price", "lists", "of", "2026", "naivet"]
    assert terms("倉庫満車") == ["倉庫", "庫満", "満車"]
    assert terms("ไทย 漢") == ["ไท", "ทย", "漢"]
