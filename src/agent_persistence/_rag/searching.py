"""Which of the rows that were read answer a question, and so belong to its context. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from agent_persistence._rag.dates import IsMeant
from agent_persistence._rag.entities import ENTITIES, Entity
from agent_persistence._rag.notation import told
from agent_persistence._rag.ranking import Corpus, Match, WordMatches
from agent_persistence._rag.scoring import RecordId, record_id
from agent_persistence._rag.words import Word
from agent_persistence.records import Row

KEPT: Final = {"clients": 50, "campaigns": 50, "leads": 100, "conversations": 300, "messages": 1_000}
"""How many of the best rows of a table a budget can choose from, where the caller sets no limit."""

Rows: TypeAlias = Mapping[str, Sequence[Row]]
Hides: TypeAlias = Callable[[str, str], bool]
"""Whether a column of a table is hidden, so that nothing is found by it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a question that are looked for, and the days that it names."""

    words: Sequence[Word] = ()
    days: Sequence[IsMeant] = ()


@dataclass(slots=True)
class Selection:
    """The rows of a context, newest first: by table those within its limit, and those that only a budget may show.

    Rows come with those they belong to, on top of the limits. `matches` tell how well the rows match, those that do.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    reserve: dict[str, list[Row]] = field(default_factory=dict)
    matches: dict[RecordId, Match] = field(default_factory=dict)


class _World:
    """The rows by place: parents before their children, and in each table from the oldest to the newest."""

    def __init__(self, rows: Rows, hides: Hides) -> None:
        self.rows: list[Row] = []
        self.spans: dict[str, range] = {}
        self._places: dict[str, dict[Any, int]] = {}
        texts: list[str] = []
        parents: list[int] = []
        talks: list[int] = []
        authors: list[str] = []
        days: list[str] = []
        for table, entity in ENTITIES.items():
            given = rows.get(table, ())[::-1]
            start = len(self.rows)
            self.rows += given
            self.spans[table] = range(start, len(self.rows))
            self._places[table] = {_hashable(row.get(entity.key)): place for place, row in enumerate(given, start)}
            texts += _texts(entity, given, hides)
            parents += self._parents(entity, given)
            talks += _talks(entity, given)
            authors += _authors(entity, given)
            days += [str(row.get(entity.time) or "")[:10] for row in given]
        self.searched = Corpus(texts, parents, talks, authors, days)

    def _parents(self, entity: Entity, rows: Sequence[Row]) -> list[int]:
        if not entity.parents:
            return [-1] * len(rows)
        column, places = entity.parents[0].column, self._places[entity.parents[0].table]
        return [places.get(_hashable(row.get(column)), -1) for row in rows]

    def places(self, table: str, named: Collection[RecordId]) -> Iterator[int]:
        """The places of the records named that are in the table."""
        if not named:
            return
        key = ENTITIES[table].key
        for place in self.spans[table]:
            if record_id(table, self.rows[place].get(key)) in named:
                yield place

    def add_parents(self, chosen: Mapping[str, set[int]]) -> None:
        """Add what the rows chosen belong to, as far as it is there."""
        for table in reversed(list(ENTITIES)):
            for parent in ENTITIES[table].parents:
                places = self._places[parent.table]
                keys = {_hashable(self.rows[place].get(parent.column)) for place in chosen[table]}
                chosen[parent.table].update(places[key] for key in keys if key in places)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows of each table a context is to have: `limits` in its lists, up to `most` for budgets to choose from.

    `filled` are the tables of which the newest rows are taken where fewer match; `named` the records that are to be
    there in any case. With `follows_relations` rows bring along those they belong to.
    """

    limits: Mapping[str, int]
    most: Mapping[str, int]
    filled: Collection[str]
    named: Collection[RecordId] = frozenset()
    follows_relations: bool = True


def answer(asked: Asked, rows: Rows, wanted: Sizes, hides: Hides) -> Selection:
    """The rows that answer best, by the words in columns that are not hidden; rows are given newest first."""
    world = _World(rows, hides)
    matches = WordMatches(asked.words, world.searched, asked.days)
    found_any = any(matches.scores)
    within: dict[str, set[int]] = {}
    beyond: dict[str, set[int]] = {}
    for table, span in world.spans.items():
        best = _best(matches.scores, span, wanted.most.get(table, 0))
        if found_any and table not in wanted.filled:
            best = [place for place in best if matches.scores[place]]
        within[table] = {*best[: wanted.limits.get(table, 0)], *world.places(table, wanted.named)}
        beyond[table] = {*best, *within[table]}
    if wanted.follows_relations:
        world.add_parents(within)
        world.add_parents(beyond)
    answered = Selection()
    for table, entity in ENTITIES.items():
        answered.rows[table] = [world.rows[place] for place in sorted(within[table], reverse=True)]
        answered.reserve[table] = [world.rows[place] for place in sorted(beyond[table] - within[table], reverse=True)]
        for place in filter(matches.scores.__getitem__, beyond[table]):
            answered.matches[record_id(table, world.rows[place].get(entity.key))] = matches.match(place)
    return answered


def _best(scores: Sequence[float], span: range, most: int) -> list[int]:
    """The places of those with the best scores, the newer first among equals."""
    if len(span) <= most:
        return sorted(span, key=lambda place: (-scores[place], -place))
    return heapq.nlargest(most, span, key=lambda place: (scores[place], place))


def _texts(entity: Entity, rows: Sequence[Row], hides: Hides) -> list[str]:
    if (body := entity.body) is not None:
        if hides(entity.table, body):
            return [""] * len(rows)
        found = [row.get(body) for row in rows]
        return [text if isinstance(text, str) else told(text) for text in found]
    structure = entity.structure - {*entity.labels}
    there = dict.fromkeys(column for row in rows for column in row)
    columns = [column for column in there if column not in structure and not hides(entity.table, column)]
    return [" ".join(told(row.get(column)) for column in columns) for row in rows]


def _talks(entity: Entity, rows: Sequence[Row]) -> list[int]:
    """For turns, which have a body and are told in order, the number of their talk, which is their first parent."""
    if entity.body is None or not entity.is_told_in_order or not entity.parents:
        return [-1] * len(rows)
    numbers: dict[Any, int] = {}
    column = entity.parents[0].column
    return [numbers.setdefault(_hashable(row.get(column)), len(numbers)) for row in rows]


def _authors(entity: Entity, rows: Sequence[Row]) -> list[str]:
    if entity.body is None or not entity.labels:
        return [""] * len(rows)
    label = entity.labels[0]
    return [str(row.get(label) or "") for row in rows]


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else str(value)
