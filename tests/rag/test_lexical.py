"""Words of texts, folded, as an index of texts counts them."""

from __future__ import annotations

from agent_persistence.rag.ranking.lexical import terms


def test_terms_are_words_in_order() -> None:
    """The first six letters; pairs of characters where a script has no blanks."""
    assert terms("Price-lists of 2026, naïveté!") == ["price", "lists", "of", "2026", "naivet"]
    assert terms("倉庫満車") == ["倉庫", "庫満", "満車"]
    assert terms("ไทย 漢") == ["ไท", "ทย", "漢"]
