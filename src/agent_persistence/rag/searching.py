"""Which of the rows that were read answer a question, and so belong to its context. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeAlias

from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.dates import IsMeant
from agent_persistence.rag.ranking.matching import Corpus, Match, WordMatches
from agent_persistence.rag.ranking.words import Word
from agent_persistence.rag.rendering.notation import notation
from agent_persistence.rag.scope import values
from agent_persistence.rag.scoring import RecordId, record_id
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable, Relation

_KEPT_TEXTS: Final = 1_000
_KEPT_BELOW: Final = 300
_KEPT_ROOTS: Final = 100
_KEPT: Final = 50

Rows: TypeAlias = Mapping[str, Sequence[Row]]
Hides: TypeAlias = Callable[[str, str], bool]
"""Whether a column of a table is hidden, so that nothing is found by it."""


def kept(shape: ContextShape, table: str) -> int:
    """How many of the best rows of a table a budget can choose from, where the caller sets no limit: most of texts, and
    of what stands below a root more than of the root, and of that more than of what it belongs to."""
    if shape.tables[table].body is not None:
        return _KEPT_TEXTS
    if table in shape.roots:
        return _KEPT_ROOTS
    return _KEPT_BELOW if shape.above(table) & set(shape.roots) else _KEPT


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a question that are looked for, and the days that it names."""

    words: Sequence[Word] = ()
    days: Sequence[IsMeant] = ()


@dataclass(slots=True)
class BestRows:
    """The rows of a context, newest first: by table those within its limit, and those that only a budget may show.

    Rows come with those they belong to, on top of the limits. `matches` say how well the rows match, those that do.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    reserve: dict[str, list[Row]] = field(default_factory=dict)
    matches: dict[RecordId, Match] = field(default_factory=dict)


class _World:
    """The rows by place: parents before their children, and in each table from the oldest to the newest."""

    def __init__(self, shape: ContextShape, rows: Rows, hides: Hides) -> None:
        self._tables = shape.tables
        self.rows: list[Row] = []
        self.spans: dict[str, range] = {}
        self._places: dict[tuple[str, tuple[str, ...]], dict[Any, int]] = {}
        spoken: list[str] = []
        parents: list[int] = []
        talks: list[int] = []
        authors: list[str] = []
        days: list[str] = []
        of_talks = 0
        for table, entity in shape.tables.items():
            given = rows.get(table, ())[::-1]
            start = len(self.rows)
            self.rows += given
            self.spans[table] = range(start, len(self.rows))
            spoken += texts(entity, given, hides)
            parents += self._parents(entity, given)
            numbers = _talks(entity, given, of_talks)
            of_talks = max(numbers, default=-1) + 1 or of_talks
            talks += numbers
            authors += _authors(entity, given)
            days += (
                [""] * len(given) if entity.time is None else [str(row.get(entity.time) or "")[:10] for row in given]
            )
        self.searched = Corpus(spoken, parents, talks, authors, days)

    def _parents(self, entity: ContextTable, rows: Sequence[Row]) -> list[int]:
        if not entity.parents:
            return [-1] * len(rows)
        relation = entity.parents[0]
        places = self._holding(relation)
        return [places.get(_held(row, relation.columns), -1) for row in rows]

    def _holding(self, relation: Relation) -> Mapping[Any, int]:
        """The places of the rows that the relation leads to, by what they hold."""
        known = self._places.get((relation.parent, relation.references))
        if known is None:
            known = {_held(self.rows[place], relation.references): place for place in self.spans[relation.parent]}
            known.pop(None, None)
            self._places[relation.parent, relation.references] = known
        return known

    def places(self, table: str, named: Collection[RecordId]) -> Iterator[int]:
        """The places of the records named that are in the table."""
        if not named:
            return
        entity = self._tables[table]
        for place in self.spans[table]:
            if record_id(table, entity.key_of(self.rows[place])) in named:
                yield place

    def by_place(self, scores: Mapping[RecordId, float]) -> dict[int, float]:
        """The scores of the records by their places."""
        scored = {table for table, _ in scores}
        return {
            place: scores[record]
            for table in self.spans
            if table in scored
            for place in self.spans[table]
            if (record := record_id(table, self._tables[table].key_of(self.rows[place]))) in scores
        }

    def add_parents(self, chosen: Mapping[str, set[int]]) -> None:
        """Add what the rows chosen belong to, as far as it is there."""
        for table in reversed(list(self._tables)):
            for relation in self._tables[table].parents:
                places = self._holding(relation)
                held = {_held(self.rows[place], relation.columns) for place in chosen[table]}
                chosen[relation.parent].update(places[key] for key in held if key in places)

    def linking(self, table: str, chosen: Mapping[str, set[int]], most: int) -> set[int]:
        """The newest rows of a table of pairs that lead from a row chosen."""
        first = self._tables[table].parents[0]
        places = self._holding(first)
        among = (
            place
            for place in reversed(self.spans[table])
            if places.get(_held(self.rows[place], first.columns), -1) in chosen[first.parent]
        )
        return set(islice(among, most))


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


class RowMatches:
    """How well rows answer a question, by the words in columns that are not hidden; rows are given newest first."""

    def __init__(self, asked: Asked, shape: ContextShape, rows: Rows, hides: Hides) -> None:
        self._shape = shape
        self._world = _World(shape, rows, hides)
        self._matches = WordMatches(asked.words, self._world.searched, asked.days)
        self._meant: dict[RecordId, float] = {}

    def texts(self, most: int) -> dict[str, list[Row]]:
        """By table the rows of texts that match the words best, then the newest, `most` of them in all."""
        scores, tables = self._matches.scores, self._shape.tables
        places = [place for table, span in self._world.spans.items() if tables[table].body for place in span]
        best = set(places if len(places) <= most else heapq.nlargest(most, places, key=lambda at: (scores[at], at)))
        return {
            table: [self._world.rows[place] for place in span if place in best]
            for table, span in self._world.spans.items()
        }

    def add(self, meant: Mapping[RecordId, float]) -> None:
        """Count what is said of the meaning of records, on a scale of its own from 0; of one said twice the better."""
        for record, score in meant.items():
            self._meant[record] = max(score, self._meant.get(record, 0.0))
        if self._meant:
            self._matches.add_meaning(self._world.by_place(self._meant))

    def reorder(self, scores: Mapping[RecordId, float]) -> None:
        """The records change places among themselves, the one with the greatest score to the best of them."""
        self._matches.reorder(self._world.by_place(scores))

    def best(self, wanted: Sizes) -> BestRows:
        """The rows that answer best. Rows of links are those of the records chosen, with what they lead to."""
        return _best_rows(self._shape, self._world, self._matches, wanted)


def _best_rows(shape: ContextShape, world: _World, matches: WordMatches, wanted: Sizes) -> BestRows:
    found_any = any(matches.scores)
    within: dict[str, set[int]] = {}
    beyond: dict[str, set[int]] = {}
    for table, span in world.spans.items():
        named, count = set(world.places(table, wanted.named)), wanted.most.get(table, 0)
        best = [place for place in _best(matches.scores, span, count + len(named)) if place not in named][:count]
        if found_any and table not in wanted.filled:
            best = [place for place in best if matches.scores[place]]
        within[table] = {*best[: wanted.limits.get(table, 0)], *named}
        beyond[table] = {*best, *within[table]}
    if wanted.follows_relations:
        links = [table for table, entity in shape.tables.items() if entity.link]
        for chosen, most in ((within, wanted.limits), (beyond, wanted.most)):
            chosen.update((table, set()) for table in links)
            world.add_parents(chosen)
            chosen.update([(table, world.linking(table, chosen, most.get(table, 0))) for table in links])
            world.add_parents(chosen)
        beyond = {table: beyond[table] | within[table] for table in beyond}
    answered = BestRows()
    for table, entity in shape.tables.items():
        answered.rows[table] = [world.rows[place] for place in sorted(within[table], reverse=True)]
        answered.reserve[table] = [world.rows[place] for place in sorted(beyond[table] - within[table], reverse=True)]
        for place in filter(matches.scores.__getitem__, beyond[table]):
            answered.matches[record_id(table, entity.key_of(world.rows[place]))] = matches.match(place)
    return answered


def _best(scores: Sequence[float], span: range, most: int) -> list[int]:
    """The places of those with the best scores, the newer first among equals."""
    if len(span) <= most:
        return sorted(span, key=lambda place: (-scores[place], -place))
    return heapq.nlargest(most, span, key=lambda place: (scores[place], place))


def texts(entity: ContextTable, rows: Sequence[Row], hides: Hides) -> list[str]:
    """What the rows say: title and body, or without a body all columns but those that are keys and times."""
    spoken = {*entity.title, *(() if entity.body is not None else (label for label, _ in entity.labels))}
    there = (entity.body,) if entity.body is not None else dict.fromkeys(column for row in rows for column in row)
    others = [column for column in there if column not in entity.structure - spoken and column not in entity.title]
    columns = [column for column in (*entity.title, *others) if not hides(entity.table, column)]
    if len(columns) == 1:
        found = [row.get(columns[0]) for row in rows]
        return [text if isinstance(text, str) else notation(text) for text in found]
    return [" ".join(notation(row.get(column)) for column in columns) for row in rows]


def _talks(entity: ContextTable, rows: Sequence[Row], first: int) -> list[int]:
    """For turns the number of their talk, which is their first parent; the numbers begin with the first."""
    if not entity.is_turn:
        return [-1] * len(rows)
    numbers: dict[Any, int] = {}
    columns = entity.parents[0].columns
    return [numbers.setdefault(_held(row, columns), first + len(numbers)) for row in rows]


def _authors(entity: ContextTable, rows: Sequence[Row]) -> list[str]:
    """Who a turn is of: the second parent where there is one, such as the user who wrote it, else the first label."""
    columns = entity.parents[1].columns if len(entity.parents) > 1 else tuple(label for label, _ in entity.labels[:1])
    if entity.body is None or not columns:
        return [""] * len(rows)
    return [" ".join(str(row.get(column) or "") for column in columns) for row in rows]


def _held(row: Row, columns: Sequence[str]) -> Any:
    """What can be compared of what the row holds in the columns; None where one of them is NULL."""
    if len(columns) == 1:
        value = row.get(columns[0])
        return value if value is None or isinstance(value, (str, int)) else str(value)
    held = values(row, columns)
    return tuple(value if isinstance(value, (str, int)) else str(value) for value in held) or None
