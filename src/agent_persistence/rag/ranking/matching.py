"""How well records answer a question by its words: BM25, and what those around a record say. Pure.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009). To what a record says itself is
added a share of what the record above it says (a message to Maya matches her name a little), of the turns before and
after it in the same talk, which ask and answer, and of the whole talk taken as one text. A question that names somebody
means first what that one said: a name by which one side of a talk calls the other at the beginning of its turns says
who is who.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from typing import Final, NamedTuple

from agent_persistence.rag.ranking.dates import Day, IsMeant, places_of
from agent_persistence.rag.ranking.finding import Hits, Texts
from agent_persistence.rag.ranking.words import Word

K1: Final = 1.5
B: Final = 0.4
RARITY: Final = 1.5
"""The power of a word's rarity: above 1, words that are everywhere fall behind without a list of them."""
FROM_PARENT: Final = 0.5
FROM_TURNS: Final = ((-1, 0.7), (-2, 0.4), (1, 0.5), (2, 0.3))
"""By how many turns another one stands later, and the share of its match."""
FROM_TALK: Final = 1.5
NAMED: Final = 1.5
"""By how much a record counts for more whose author the question names."""
OF_A_NAME: Final = 0.3
"""What the name of an author counts as a word: it stands where others call the author, not where the author speaks."""
OF_A_MEANING: Final = 0.25
"""What the best that a retriever names counts beside the best match of the words in a record itself."""
OF_A_DAY: Final = 1.0
"""What a time that the question names counts beside a word of the same rarity."""
_LEAST_CALLS: Final = 3
_MOST_OF_ALL: Final = 0.8


@dataclass(frozen=True, slots=True)
class Corpus:
    """Records in the order of time, parents before their children, by place: what each says, and where it stands.

    `parents` are the places of the records above, -1 where there is none. Those that are turns of a talk name the
    talk by the number in `talks`, -1 the others; `authors` says whose turn it is. `days` are those of their times, or
    "".
    """

    texts: Sequence[str]
    parents: Sequence[int]
    talks: Sequence[int]
    authors: Sequence[str]
    days: Sequence[Day] = ()


class Match(NamedTuple):
    """What a record's score is made of: the words and the meaning of what it says itself, the turns around it, its
    talk, and the record above it."""

    words: float
    turns: float
    talk: float
    parent: float
    named: float
    """By what the sum of what is not the parent's is multiplied."""
    meaning: float = 0.0
    moved: float = 0.0
    """By how much a reranker raised or lowered the rest."""

    @property
    def score(self) -> float:
        return (self.words + self.meaning + self.turns + self.talk) * self.named + self.parent + self.moved


class WordMatches:
    """How well each record matches a question; the scale is the same within one question only."""

    def __init__(self, words: Sequence[Word], searched: Corpus, days: Sequence[IsMeant] = ()) -> None:
        self._searched = searched
        texts = Texts(searched.texts)
        hits = [texts.hits(word) for word in words]
        callers = [_caller(found, searched.authors) for found in hits]
        weights = [word.weight * (OF_A_NAME if caller else 1.0) for word, caller in zip(words, callers, strict=True)]
        named = {caller for caller in callers if caller}
        self._caller = named.pop() if len(named) == 1 else ""
        self._own = bm25([found.counts for found in hits], weights, texts.lengths)
        self._add_days(days, texts.lengths)
        self._meant: Mapping[int, float] = {}
        self._moved: dict[int, float] = {}
        self._of_turns = self._turns()
        self._of_talks = self._talks(hits, weights, texts.lengths)
        self.scores = self._all()
        """By place."""

    def add_meaning(self, meant: Mapping[int, float]) -> None:
        """Count what a model or a retriever says of the records by place, on a scale of its own from 0."""
        self._meant = _scaled(meant, max(self._own.values(), default=1.0))
        self._of_turns = self._turns()
        self.scores = self._all()

    def reorder(self, ratings: Mapping[int, float]) -> None:
        """The records at these places share out their scores anew: the greatest to the one that is rated greatest."""
        order = sorted(ratings, key=lambda place: (-ratings[place], -self.scores[place], -place))
        shares = sorted((self.scores[place] for place in ratings), reverse=True)
        for place, share in zip(order, shares, strict=True):
            self._moved[place] = share - self.scores[place]
            self.scores[place] = share

    def match(self, place: int) -> Match:
        """What the score of the record at this place is made of."""
        talk, parent = self._searched.talks[place], self._searched.parents[place]
        is_of_named = self._caller and talk >= 0 and self._searched.authors[place] != self._caller
        return Match(
            self._own.get(place, 0.0),
            self._of_turns.get(place, 0.0),
            0.0 if talk < 0 else FROM_TALK * self._of_talks.get(talk, 0.0),
            0.0 if parent < 0 else FROM_PARENT * self.scores[parent],
            NAMED if is_of_named else 1.0,
            self._meant.get(place, 0.0),
            self._moved.get(place, 0.0),
        )

    def _add_days(self, days: Sequence[IsMeant], lengths: Sequence[int]) -> None:
        """A time that the question names is a word that the records of that time have."""
        counts = [places_of(is_meant, self._searched.days) for is_meant in days]
        for place, score in bm25(counts, [OF_A_DAY] * len(days), lengths).items():
            self._own[place] = self._own.get(place, 0.0) + score

    def _all(self) -> list[float]:
        own, meant, turns = self._own, self._meant, self._of_turns
        talks, caller = self._of_talks, self._caller
        scores: list[float] = []
        for place, (parent, talk, author) in enumerate(
            zip(self._searched.parents, self._searched.talks, self._searched.authors, strict=True)
        ):
            score = own.get(place, 0.0) + meant.get(place, 0.0)
            if talk >= 0:
                score += turns.get(place, 0.0) + FROM_TALK * talks.get(talk, 0.0)
                if caller and author != caller:
                    score *= NAMED
            if parent >= 0:
                score += FROM_PARENT * scores[parent]
            scores.append(score)
        return scores

    def _turns(self) -> dict[int, float]:
        """What the matches of the turns before and after add to each turn."""
        talks, around, order = self._searched.talks, dict[int, float](), _order(self._searched.talks)
        for place, score in chain(self._own.items(), self._meant.items()):
            if talks[place] < 0:
                continue
            turns, at = order.turns[talks[place]], order.at[place]
            for later, share in FROM_TURNS:
                if 0 <= at - later < len(turns):
                    other = turns[at - later]
                    around[other] = around.get(other, 0.0) + share * score
        return around

    def _talks(self, hits: Sequence[Hits], weights: Sequence[float], lengths: Sequence[int]) -> dict[int, float]:
        """The score of each talk as one text."""
        talks = self._searched.talks
        of_talks = [0] * (max(talks, default=-1) + 1)
        for talk, length in zip(talks, lengths, strict=True):
            if talk >= 0:
                of_talks[talk] += length
        counts = []
        for found in hits:
            summed: dict[int, float] = {}
            for place, count in found.counts.items():
                if (talk := talks[place]) >= 0:
                    summed[talk] = summed.get(talk, 0.0) + count
            counts.append(summed)
        return bm25(counts, weights, of_talks)


class _Order(NamedTuple):
    turns: Sequence[Sequence[int]]
    at: Sequence[int]


def _order(talks: Sequence[int]) -> _Order:
    """The places of each talk's turns, and the number of each turn in its talk."""
    turns: list[list[int]] = [[] for _ in range(max(talks, default=-1) + 1)]
    at = []
    for place, talk in enumerate(talks):
        if talk < 0:
            at.append(0)
        else:
            at.append(len(turns[talk]))
            turns[talk].append(place)
    return _Order(turns, at)


def bm25(counts: Sequence[Mapping[int, float]], weights: Sequence[float], lengths: Sequence[int]) -> dict[int, float]:
    """The scores of those texts that have any of the words, whose counts by place are given, by place."""
    scores: dict[int, float] = {}
    mean = sum(lengths) / len(lengths) if lengths else 1.0
    for found, weight in zip(counts, weights, strict=True):
        rarity = log(1 + (len(lengths) - len(found) + 0.5) / (len(found) + 0.5)) ** RARITY
        for place, count in found.items():
            norm = K1 * (1 - B + B * lengths[place] / mean)
            scores[place] = scores.get(place, 0.0) + weight * rarity * count * (K1 + 1) / (count + norm)
    return scores


def _scaled(meant: Mapping[int, float], best: float) -> dict[int, float]:
    """The scores of a retriever beside those of words, the best of which is `best`."""
    most = max(meant.values(), default=0.0)
    return {place: OF_A_MEANING * best * score / most for place, score in meant.items() if score > 0}


def _caller(found: Hits, authors: Sequence[str]) -> str:
    """Who calls another one by this name: at the beginning of turns, again and again, and nobody else does."""
    callers = Counter(authors[place] for place in found.early if authors[place])
    if len(found.early) < _LEAST_CALLS or 2 * len(found.early) < len(found.counts):
        return ""
    (author, calls), *_ = callers.most_common(1) or [("", 0)]
    return author if calls >= _MOST_OF_ALL * len(found.early) else ""
