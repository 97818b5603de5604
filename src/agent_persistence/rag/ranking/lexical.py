"""How well the words of a query match records: BM25 over what was fetched, with no index and no model. Pure.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.2 and b = 0.75.
Words are folded: no case, no signs on letters, their first six letters; of scripts without blanks, pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Final

_K1: Final = 1.2
_B: Final = 0.75
_LEAST_RARITY: Final = 0.1
"""Of a word that half of all texts have; the formula has none or less for it."""
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_WORD: Final = re.compile(r"[^\W_]+")
_STEM: Final = 6


def terms(text: str) -> list[str]:
    """The text's words, folded, in order."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        text = unicodedata.normalize("NFC", text)
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if word.isascii():
            found.append(word[:_STEM])
            continue
        for run in _UNSPACED.findall(word):
            found += [run[at : at + 2] for at in range(max(len(run) - 1, 1))]
        found += [part[:_STEM] for part in _UNSPACED.split(word) if part]
    return found


def bm25(wanted: frozenset[str], texts: Sequence[str]) -> list[float]:
    counted = []
    lengths = []
    for text in texts:
        found = terms(text)
        lengths.append(len(found))
        counted.append(Counter(term for term in found if term in wanted))
    mean_length = sum(lengths) / len(lengths) if any(lengths) else 1.0
    frequency = Counter(term for counts in counted for term in counts)
    rarity = {term: max(_LEAST_RARITY, log((len(texts) - n + 0.5) / (n + 0.5))) for term, n in frequency.items()}
    return [
        sum(
            rarity[term] * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length / mean_length))
            for term, count in sorted(counts.items())
        )
        for counts, length in zip(counted, lengths, strict=True)
    ]
