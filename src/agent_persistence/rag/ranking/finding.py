"""Where the words of a question stand in many texts: one pass over all texts a word, and no index. Pure.

The texts are folded and joined, and searched for the beginning of each word by the regular expression engine, which
passes over a megabyte in a millisecond; only where it is found is the word there looked at. An index of all words would
cost a hundred times that, and be used once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from agent_persistence.rag.ranking.words import Word, folded, stem

_INSIDE: Final = 0.4
"""What a word counts that is longer, such as the compound *Lagerhalle* for *Halle* and for *Lager*."""
_LEAST_INSIDE: Final = 5
_PART: Final = 0.4
"""What the beginning or the end of a long word counts, where the word itself is in no text."""
_LEAST_DIVIDED: Final = 9
_EARLY: Final = 24
"""The first characters of a text, where it may call somebody by name."""


@dataclass(slots=True)
class Hits:
    """How often a word stands in the texts that have it, by their places, and in which it stands at the beginning."""

    counts: dict[int, float] = field(default_factory=dict)
    early: set[int] = field(default_factory=set)

    def add(self, place: int, weight: float) -> None:
        self.counts[place] = self.counts.get(place, 0.0) + weight


class Texts:
    """Texts that are searched for words."""

    def __init__(self, texts: Sequence[str]) -> None:
        joined = "\n".join(texts)
        if joined.isascii():
            self._blob, lengths = joined.lower(), map(len, texts)
        else:
            folds = [folded(text) for text in texts]
            self._blob, lengths = "\n".join(folds), map(len, folds)
        self.lengths: list[int] = [length + 1 for length in lengths]
        self._starts = [0, *accumulate(self.lengths)]

    def hits(self, word: Word) -> Hits:
        """The word wherever it stands; where it stands nowhere, and is long, its beginning and its end."""
        if word.is_pair:
            return self._pairs(word.text)
        found = self._word(word)
        if not found.counts and len(word.text) >= _LEAST_DIVIDED and not word.text.isdecimal():
            self._parts(word.text, found)
        return found

    def _pairs(self, pair: str) -> Hits:
        found = Hits()
        at = self._blob.find(pair)
        while at >= 0:
            found.add(bisect_right(self._starts, at) - 1, 1.0)
            at = self._blob.find(pair, at + 1)
        return found

    def _word(self, word: Word) -> Hits:
        found, blob, starts = Hits(), self._blob, self._starts
        counts = found.counts
        known: dict[str, float] = {}
        place, end_of_text = -1, 0
        for match in re.finditer(re.escape(word.prefix) + r"[^\W_]*", blob):
            at, end = match.span()
            start = at
            while start and blob[start - 1].isalnum():
                start -= 1
            there = blob[start:end]
            weight = known.get(there)
            if weight is None:
                weight = known[there] = _weight(word, there)
            if weight:
                if at >= end_of_text:
                    place = bisect_right(starts, at) - 1
                    end_of_text = starts[place + 1]
                counts[place] = counts.get(place, 0.0) + weight
                if word.is_name and weight == 1.0 and at - starts[place] < _EARLY:
                    found.early.add(place)
        return found

    def _parts(self, text: str, found: Hits) -> None:
        """Words that begin as this one does, and words that end as it does, but for one letter of its ending."""
        beginning, end = re.escape(text[:5]), "|".join(re.escape(part) for part in (text[-5:], text[-6:-1]))
        for pattern in (rf"(?<![^\W_]){beginning}", rf"(?:{end})[^\W_]?(?![^\W_])"):
            for match in re.finditer(pattern, self._blob):
                found.add(bisect_right(self._starts, match.start()) - 1, _PART)


def _weight(word: Word, there: str) -> float:
    """What a word that stands in a text counts for the one that is looked for."""
    if stem(there) == word.stem:
        return 1.0
    if word.text.isdecimal() or len(word.text) < _LEAST_INSIDE:
        return 0.0
    return _INSIDE if len(word.prefix) >= _LEAST_INSIDE or word.text in there else 0.0
