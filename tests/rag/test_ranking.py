"""How well words of a question match records, and what those around a record add."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent_persistence.rag.ranking.finding import Texts
from agent_persistence.rag.ranking.matching import FROM_PARENT, NAMED, Corpus, Match, WordMatches
from agent_persistence.rag.ranking.words import MOST_WORDS, question_words, stem


def _ranked(question: str, texts: Sequence[str], **told: Sequence[int] | Sequence[str]) -> WordMatches:
    none = [-1] * len(texts)
    parts = {"parents": none, "talks": none, "authors": [""] * len(texts), **told}
    return WordMatches(question_words(question), Corpus(texts, **parts))  # type: ignore[arg-type]


def _best(question: str, *texts: str) -> int:
    scores = _ranked(question, texts).scores
    return scores.index(max(scores)) if any(scores) else -1


def test_the_text_with_the_rare_words_is_the_best_and_one_without_words_has_nothing() -> None:
    """What is in every text tells nothing."""
    texts = ["the weather is fine", "our penetration test is in August", "a test", "a test", "a test", "hello"]
    scores = _ranked("What about the penetration test?", texts).scores
    assert scores[1] == max(scores)
    assert scores[2] < scores[1] / 3
    assert scores[5] == 0


def test_nothing_matches_nothing() -> None:
    """No division by zero."""
    assert _ranked("zebra", ["hello", ""]).scores == [0.0, 0.0]
    assert _ranked("zebra", []).scores == []
    assert Texts([]).lengths == []


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("budgets", "The BUDGET is fixed"),
        ("running", "he ran, and runs"),
        ("stories", "a story"),
        ("hobby", "her hobbies"),
        ("stopped", "they stop here"),
        ("prices", "the price"),
        ("Grossmann", "Herr Großmann rief an"),
        ("Müller", "Mueller war da"),
        ("Mueller", "Herr Müller"),
        ("cafe", "im Café"),
        ("Verträge", "der Vertrag"),
        ("Lager", "die Lagerhalle ist voll"),
        ("Halle", "die Lagerhalle ist voll"),
        ("Lagerhallenmiete", "Die Miete steigt"),
        ("reuniones", "la reunión"),
        ("東京倉庫", "新しい東京倉庫です"),
        ("倉庫の契約はいつですか", "契約は四月です"),
        ("ＡＢＣ", "abc"),
        ("العقد", "وقعنا عقدا جديدا"),
        ("회의", "회의에서 만나요"),
        ("bud\u200bget", "the budget"),
    ],
)
def test_words_match_without_case_signs_endings_and_inside_compounds(question: str, text: str) -> None:
    """In any script, as far as that is the same without a dictionary."""
    assert _best(question, "something else", text, "日本語のメモ") == 1


@pytest.mark.parametrize(
    ("question", "text"),
    [("art", "the party started"), ("2023", "20234"), ("go", "good gods"), ("test", "contestant"), ("m", "am")],
)
def test_words_do_not_match_what_is_another_word(question: str, text: str) -> None:
    """Short words and numbers are whole words."""
    assert _best(question, text) == -1


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What did Caroline's sister say about it?", ["caroline", "sister", "say"]),
        ("Wann hat sie die Rechnung bezahlt?", ["rechnung", "bezahlt"]),
        ("¿Cuándo es la reunión con el cliente?", ["reunion", "cliente"]),
        ("What did her son do?", ["son"]),
        ("Die Preise?", ["die", "preise"]),
        ("What did they do?", []),
        ("", []),
        ("🦓 ?!", []),
    ],
)
def test_words_without_meaning_are_left_out_by_the_language_of_the_question(question: str, words: list[str]) -> None:
    """*son* is a word like *are* in Spanish, and not in an English question."""
    assert [word.text for word in question_words(question)] == words


def test_of_a_long_question_the_longest_words_count() -> None:
    """A bound on the work, whatever is asked."""
    question = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}{'x' * (n % 3)}" for n in range(200))
    assert len(question_words(question)) == MOST_WORDS


@pytest.mark.parametrize("word", ["", "a", "s", "ss", "es", "ing", "eee", "ies", "ß", "\u0600", "é" * 9, "1" * 99])
def test_any_word_has_a_stem(word: str) -> None:
    """Also odd ones."""
    assert isinstance(stem(word), str)


class TestWhatStandsAround:
    """A turn is read with those before and after it, in its talk and under its record."""

    def test_the_turn_after_a_match_is_worth_something_and_the_one_before_less(self) -> None:
        """An answer follows its question; a turn of another talk gains nothing by standing next to it."""
        texts = ["hi", "do you like tennis?", "very much", "bye", "unrelated"]
        ranking = _ranked("tennis", texts, talks=[0, 0, 0, 0, 1])
        assert ranking.match(1).words > ranking.match(2).turns > ranking.match(0).turns > 0
        assert ranking.match(4).turns == 0

    def test_a_talk_that_is_about_the_words_lifts_all_of_its_turns(self) -> None:
        """Taken as one text."""
        texts = ["tennis", "a", "b", "c", "d", "e", "f", "g"]
        ranking = _ranked("tennis", texts, talks=[0, 0, 0, 0, 0, 1, 1, 1])
        assert ranking.match(4).talk == ranking.match(0).talk > 0
        assert ranking.match(5) == Match(0.0, 0.0, 0.0, 0.0, 1.0)

    def test_a_record_has_a_share_of_what_the_one_above_it_says(self) -> None:
        """A message to Maya matches her name a little."""
        ranking = _ranked("maya", ["Maya", "hello", "hello"], parents=[-1, 0, -1])
        assert ranking.scores[1] == FROM_PARENT * ranking.scores[0] > 0
        assert ranking.scores[2] == 0

    def test_who_is_named_is_who_is_meant(self) -> None:
        """What Gina says counts for more where the question names her: Jon calls her by her name."""
        texts = ["Hey Gina, tennis?", "Tennis is fun", "Gina, good!", "I play tennis", "Thanks Gina", "ok"]
        authors = ["user", "assistant"] * 3
        ranking = _ranked("What does Gina say of tennis?", texts, talks=[0] * 6, authors=authors)
        assert [ranking.match(place).named for place in range(6)] == [1.0, NAMED] * 3

    def test_somebody_whom_both_speak_of_is_nobody_in_the_talk(self) -> None:
        """A name inside of sentences, or by both sides, says nothing of who speaks."""
        texts = ["I met Gina for tennis", "Gina plays well", "Yes, and her sister Gina too", "Gina is nice"] * 2
        authors = ["user", "assistant"] * 4
        ranking = _ranked("What does Gina say of tennis?", texts, talks=[0] * 8, authors=authors)
        assert {ranking.match(place).named for place in range(8)} == {1.0}

    def test_the_score_is_what_its_parts_come_to(self) -> None:
        """So that it can be explained."""
        texts = ["Price talk", "Hey Gina, tennis?", "Tennis is fun", "Gina, good!", "I play", "Thanks Gina"]
        told = {"parents": [-1, 0, 0, 0, 0, 0], "talks": [-1, 0, 0, 0, 0, 0], "authors": ["", "u", "a", "u", "a", "u"]}
        ranking = _ranked("What is Gina's price for tennis?", texts, **told)  # type: ignore[arg-type]
        assert [ranking.match(place).score for place in range(6)] == pytest.approx(ranking.scores)
