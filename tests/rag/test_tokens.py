"""How far the estimate is off, measured against the vocabulary of a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import mean

import pytest
from hypothesis import given, strategies as st

from agent_persistence import ConfigurationError, ValidationError
from agent_persistence.rag_context import BpeTokens, EstimatedTokens, TokenCounter
from tests.rag.corpora import corpora


def errors(counter: TokenCounter, kinds: Sequence[str] | None = None) -> list[float]:
    """The estimate of each text against the truth: 0.1 is a tenth too many."""
    exact = BpeTokens("o200k_base")
    texts = [text for kind, some in corpora().items() for text in some if kinds is None or kind in kinds]
    return [counter.count(text) / exact.count(text) - 1 for text in texts]


def test_the_estimate_is_off_by_less_than_a_tenth_on_average() -> None:
    """Over all kinds of text; single texts are off by up to 30 %."""
    found = errors(EstimatedTokens(conservative=False))
    assert mean(map(abs, found)) < 0.10
    assert min(found) > -0.30


def test_the_conservative_estimate_never_counts_five_percent_too_few() -> None:
    """It is for limits that must hold, and costs less than a third on average."""
    found = errors(EstimatedTokens())
    assert min(found) > -0.05
    assert mean(found) < 0.33


@pytest.mark.parametrize("kind", ["CRM", "CRM, JSON", "JSON", "code"])
def test_what_prompts_are_made_of_is_estimated_closely(kind: str) -> None:
    """On average within an eighth, the conservative estimate at most a third too many."""
    assert abs(mean(errors(EstimatedTokens(conservative=False), [kind]))) < 0.125
    assert 0 <= mean(errors(EstimatedTokens(), [kind])) < 0.34


def test_four_characters_a_token_is_far_worse() -> None:
    """Control: the rule of thumb undercounts some texts by half."""

    class Quarter:
        name = "characters / 4"
        exact = False

        def count(self, text: str) -> int:
            return len(text) // 4

    assert min(errors(Quarter())) < -0.5


@given(st.text(st.characters(), max_size=200), st.text(st.characters(), max_size=200))
def test_more_text_is_not_fewer_tokens(one: str, two: str) -> None:
    """Any code points, lone surrogates included; an empty text has no tokens."""
    for counter in (EstimatedTokens(), EstimatedTokens(conservative=False)):
        assert counter.count("") == 0
        assert 0 <= counter.count(one) <= counter.count(f"{one}\n{two}")


def test_counters_tell_their_names_and_whether_they_are_exact() -> None:
    """A report names what its figures are worth."""
    told = {(c.name, c.exact) for c in (EstimatedTokens(), EstimatedTokens(conservative=False), BpeTokens())}
    assert told == {("estimate, conservative", False), ("estimate", False), ("o200k_base", True)}


@pytest.mark.parametrize("text", ["\ud800", "<|endoftext|>", "\0", "a\ud83d b"])
def test_no_text_is_too_odd_for_the_vocabulary(text: str) -> None:
    """Lone surrogates and the names of special tokens are text like any other."""
    assert BpeTokens().count(text) > 0
    assert BpeTokens("cl100k_base").count(text) > 0


def test_an_unknown_vocabulary_is_refused() -> None:
    """The message names those there are."""
    with pytest.raises(ValidationError, match="o200k_base and cl100k_base"):
        BpeTokens("gpt2")  # type: ignore[arg-type]


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what does without."""
    monkeypatch.setitem(sys.modules, "rs_bpe.bpe", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[tokens\]"):
        BpeTokens()
