"""Texts in parts: nothing is lost, and parts end where sentences end."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from agent_persistence.rag.clipping import joined, parts
from agent_persistence.rag.tokens import EstimatedTokens
from tests.rag.worlds import ANY_TEXT

COUNTER = EstimatedTokens()
SENTENCES = "The lorry waits. Nobody knows why! Is the dock free? It is not… Call again at 3.15 pm. "


@given(st.text(st.characters(), max_size=400), st.integers(8, 30))
def test_the_parts_are_the_text(text: str, size: int) -> None:
    """Joined, they are the text again, character by character; no part is empty unless the text is."""
    found = parts(text, size, COUNTER)
    assert "".join(found) == text
    assert all(found) or found == [""]


def test_parts_end_at_ends_of_sentences() -> None:
    """A point within a number ends none."""
    found = parts(SENTENCES * 4, 12, COUNTER)
    assert len(found) > 3
    assert all(part.rstrip().endswith((".", "!", "?", "…")) for part in found)
    assert not any(part.rstrip().endswith("3.") for part in found)


@pytest.mark.parametrize(
    "text", ["倉庫は満車です。待ってください。" * 20, "ट्रक रुका है। कोई नहीं जानता। " * 20, "line\nline two\n" * 40]
)
def test_sentences_end_in_other_scripts_and_at_line_ends(text: str) -> None:
    """No blank is needed after an ideographic full stop; a danda ends a sentence."""
    found = parts(text, 30, COUNTER)
    assert len(found) > 1
    assert all(part.endswith(("。", "। ", "\n")) for part in found)


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere() -> None:
    """So that one endless line cannot take the whole budget."""
    assert all(
        len(COUNTER_PARTS) > 3 for COUNTER_PARTS in (parts("word " * 300, 20, COUNTER), parts("x" * 3_000, 20, COUNTER))
    )
    assert all(set(part.split()) <= {"word"} for part in parts("word " * 300, 20, COUNTER))


def test_parts_have_about_the_size_asked_for() -> None:
    """Never more than twice of it."""
    for text in (SENTENCES * 30, "word " * 500, "倉庫は満車です。" * 60):
        assert max(COUNTER.count(part) for part in parts(text, 40, COUNTER)) <= 80


def test_a_text_that_is_little_longer_is_not_cut() -> None:
    """A mark of a cut would cost as much as what it saves."""
    assert parts("A short one. And another.", 8, COUNTER) == ["A short one. And another."]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({0, 1, 2}, "One. Two. Three."),
        ({0}, "One. […]"),
        ({1}, "[…] Two. […]"),
        ({0, 2}, "One. […] Three."),
        ({2}, "[…] Three."),
    ],
)
def test_what_is_missing_is_marked(places: set[int], told: str) -> None:
    """At the end, at the beginning, and in between; once for neighbours."""
    assert joined(["One. ", "Two. ", "Three."], places) == told


@given(st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=5))
def test_all_parts_joined_are_the_text(pieces: list[str]) -> None:
    """Nothing is marked where nothing is missing."""
    assert joined(pieces, set(range(len(pieces)))) == "".join(pieces)
