"""Which words a question has, for a database to look for. Pure."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.query.records import distinct

MAX_WORDS: Final = 32
_WORD: Final = re.compile(r"[^\W_]+")


def any_word(query: str) -> str:
    """The query that finds texts with at least one of the question's words, for websearch_to_tsquery; "" without words.

    Words are quoted, so that none of them is read as an operator. Of a long question, the longest words count.
    """
    words = distinct(word.lower() for word in _WORD.findall(query))
    kept = set(sorted(words, key=lambda word: (-len(word), word))[:MAX_WORDS])
    return " or ".join(f'"{word}"' for word in words if word in kept)
