"""Batches of texts, and the embedder that knows no meaning."""

from __future__ import annotations

import sys
from math import sqrt

import anyio
import pytest
from hypothesis import given, strategies as st

from agent_persistence.exceptions import ConfigurationError, ValidationError
from agent_persistence.ext._embeddings.embedder import batches
from agent_persistence.ext._embeddings.words import any_word
from agent_persistence.ext.embeddings import Embedder, NonSemanticEmbedder
from agent_persistence.rag.ranking.vectors import Vector, cosine_similarity

pytestmark = pytest.mark.anyio

SCRIPT = """
import anyio
from agent_persistence.ext.embeddings import NonSemanticEmbedder
print(anyio.run(NonSemanticEmbedder(16).embed, ["Größe of the budget"]))
"""


@given(st.lists(st.text(max_size=9), max_size=12), st.integers(1, 4), st.integers(1, 20))
def test_batches_keep_every_text_in_order_within_both_bounds(texts: list[str], most: int, chars: int) -> None:
    """A text that is too long by itself stands alone."""
    made = list(batches(texts, max_texts=most, max_chars=chars))
    assert [text for batch in made for text in batch] == texts
    assert all(0 < len(batch) <= most and (len(batch) == 1 or len("".join(batch)) <= chars) for batch in made)


async def test_the_same_text_has_the_same_vector_in_every_process() -> None:
    """Whatever the seed of Python's own hashes."""
    command = [sys.executable, "-c", SCRIPT]
    done = [await anyio.run_process(command, env={"PYTHONHASHSEED": seed}) for seed in ("1", "2")]
    assert {one.stdout.decode() for one in done} == {
        f"{await NonSemanticEmbedder(16).embed(['Größe of the budget'])}\n"
    }


async def test_it_embeds_after_the_protocol() -> None:
    """One vector of length 1 and of the size told for each text, in their order."""
    embedder: Embedder = NonSemanticEmbedder(64)
    one, other = await embedder.embed(["a budget", "another topic"])
    assert [one, other] == [*(await embedder.embed(["a budget"])), *(await embedder.embed(["another topic"]))]
    assert len(one) == embedder.dimensions == 64
    assert sqrt(sum(number * number for number in one)) == pytest.approx(1)
    assert await embedder.embed([]) == []


async def test_it_finds_shared_spelling_and_no_meaning() -> None:
    """Its name says so; a synonym is as far as any other word."""
    texts = ["the price of the plan", "the prices of plans", "what it costs", "an apple tree"]
    query, spelt, meant, other = map(Vector.of, await NonSemanticEmbedder(1024).embed(texts))
    near = [cosine_similarity(query, vector) or 0.0 for vector in (spelt, meant, other)]
    assert near[0] > 0.4 > 0.2 > max(map(abs, near[1:]))
    assert NonSemanticEmbedder().name == "non-semantic-hashing"


async def test_a_text_without_words_has_no_direction() -> None:
    """It is near to nothing, instead of to everything."""
    assert await NonSemanticEmbedder(4).embed(["", " …!"]) == [[0.0] * 4] * 2


@pytest.mark.parametrize("texts", ["a text", b"bytes", [1], ["\ud800"], {"a": 1}])
async def test_what_is_no_list_of_texts_is_refused(texts: object) -> None:
    """A lone str would be embedded letter by letter."""
    with pytest.raises(ValidationError, match="texts"):
        await NonSemanticEmbedder().embed(texts)  # type: ignore[arg-type]


def test_dimensions_are_positive() -> None:
    """Checked when it is made."""
    with pytest.raises(ConfigurationError, match="dimensions is an int of at least 1, not 0"):
        NonSemanticEmbedder(0)


def test_no_word_of_a_question_is_read_as_an_operator() -> None:
    """`or`, `-`, quotes and what else websearch_to_tsquery knows."""
    assert (
        any_word('Budget or -price, "plan" <-> & R&D budget') == '"budget" or "or" or "price" or "plan" or "r" or "d"'
    )
    assert any_word(" …!") == ""


def test_a_long_question_is_asked_by_its_longest_words() -> None:
    """In the order of the question."""
    words = [f"{'x' * (number % 40)}{number}" for number in range(100)]
    asked = any_word(" ".join(words)).split(" or ")
    assert len(asked) == 32
    assert asked == [f'"{word}"' for word in words if f'"{word}"' in asked]
    assert min(map(len, asked)) >= 28
