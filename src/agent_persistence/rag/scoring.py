"""How much each record is worth to an answer. Pure.

    score = entity weight * (recency weight * 2 ** (-age / half-life)
                             + importance weight * importance + relevance weight * relevance)

The sum of recency, importance and relevance is that of Park et al., "Generative Agents" (UIST 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf, isfinite
from sys import float_info
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.records import Row
from agent_persistence.rag.outline import Record
from agent_persistence.rag.ranking.matching import Match
from agent_persistence.rag.times import NEVER
from agent_persistence.schema.contexts.entity import check_among
from agent_persistence.schema.contexts.shape import ContextTable

Importance: TypeAlias = str | Callable[[Row], float]
Key: TypeAlias = str | int
RecordId: TypeAlias = tuple[str, str]
"""A table, and a key as text: a function may give the key 12 as "12"."""

RECENCY_OF_ANSWERS: Final = 0.02
"""What recency weighs where a question is asked: enough to part equals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What makes a record worth its tokens: how new it is, how important, how relevant to the question; and pins.

    Recency is 1 for a record of now and halves with each half-life of its table (`half_lives` replaces, table by table,
    what the context says); a record without a time has none. Its weight is by default 1, and with a question 0.02: then
    it decides between records that answer equally well. `importance` names for a table the column to take it from, or a
    function of the row: a number from 0 to 1, beyond which it is cut. Relevance, from 0 to 1, is how well the words of
    the query match, with what a retriever says. `entity_weights` multiply the scores of a table, by 1 by default.
    `pins` are (table, key) of records that are shown before all others. Tables that a context does not have are refused
    when it is built.
    """

    half_lives: Mapping[str, timedelta] = field(default_factory=dict)
    entity_weights: Mapping[str, float] = field(default_factory=dict)
    importance: Mapping[str, Importance] = field(default_factory=dict)
    pins: Iterable[tuple[str, Key]] = ()
    recency_weight: float | None = None
    importance_weight: float = 1.0
    relevance_weight: float = 2.0
    _pinned: frozenset[RecordId] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for option in ("half_lives", "entity_weights", "importance"):
            object.__setattr__(self, option, _by_table(option, getattr(self, option)))
        object.__setattr__(self, "pins", tuple(self.pins))
        object.__setattr__(self, "_pinned", _pinned(self.pins))
        for table, half_life in self.half_lives.items():
            _check_half_life(table, half_life)
        for table, rule in self.importance.items():
            _check_importance(table, rule)
        for option in ("recency_weight", "importance_weight", "relevance_weight"):
            if getattr(self, option) is not None or option != "recency_weight":
                _check_weight(option, getattr(self, option))
        for table, weight in self.entity_weights.items():
            _check_weight(f"entity_weights: {table}", weight)

    def check_tables(self, tables: Collection[str]) -> None:
        """Refuse what is said of tables that the context does not have."""
        for option in ("half_lives", "entity_weights", "importance"):
            for table in getattr(self, option):
                check_among(option, table, tables)
        for table, _ in self.pins:
            check_among("pins", table, tables)


class Score(NamedTuple):
    """Why a record stands where it stands: each term times its weight; their sum times `entity_weight` is `score`.

    `match` says what the words of the question found: in the record, around it and above it.
    """

    ref: str
    table: str
    key: Any
    recency: float
    importance: float
    relevance: float
    entity_weight: float
    pinned: bool
    match: Match | None = None

    @property
    def score(self) -> float:
        return self.entity_weight * (self.recency + self.importance + self.relevance)


def scores(
    records: Sequence[Record],
    scoring: Scoring,
    relevance: Mapping[RecordId, float],
    now: datetime | None,
    *,
    matches: Mapping[RecordId, Match] | None = None,
    answers: bool = False,
) -> list[Score]:
    """The score of each record, best first: pins, then score, newer before older, then table and key.

    Recency is 1 for what is of now or later, and 0 for what has no time. `now` is by default the newest time among the
    records, so that equal records give equal scores on any day. `answers` says that there is a question, which recency
    does not outvote unless the scoring says so; `matches` are given with the scores.
    """
    times_s = [None if (time := record.time) is NEVER else time.timestamp() for record in records]
    now_s = max((time for time in times_s if time is not None), default=0.0) if now is None else now.timestamp()
    tables = {record.table: record.entity for record in records}
    rules = {table: _rule(entity, scoring) for table, entity in tables.items()}
    recency = scoring.recency_weight
    if recency is None:
        recency = RECENCY_OF_ANSWERS if answers else 1.0
    ranked = []
    for number, (record, time_s) in enumerate(zip(records, times_s, strict=True)):
        rule, key = rules[record.entity.table], record.key
        identity = (rule.table, str(key))
        terms = (
            0.0 if time_s is None else recency * 2.0 ** (-max(now_s - time_s, 0.0) / rule.half_life_s),
            0.0 if rule.importance is None else scoring.importance_weight * _importance(record, rule.importance),
            scoring.relevance_weight * relevance.get(identity, 0.0),
        )
        match = matches.get(identity) if matches else None
        score = Score(record.ref, rule.table, key, *terms, rule.weight, identity in scoring._pinned, match)
        age_s = inf if time_s is None else -time_s
        ranked.append(
            (not score.pinned, -score.score, age_s, rule.table, key if type(key) is int else 0, identity, number, score)
        )
    ranked.sort()
    return [place[-1] for place in ranked]


class _Rule(NamedTuple):
    """What a scoring says of one table."""

    table: str
    half_life_s: float
    importance: Importance | None
    weight: float


def _rule(entity: ContextTable, scoring: Scoring) -> _Rule:
    table = entity.table
    half_life_s = scoring.half_lives.get(table, entity.half_life).total_seconds()
    return _Rule(table, half_life_s, scoring.importance.get(table), scoring.entity_weights.get(table, 1.0))


def record_id(table: str, key: Any) -> RecordId:
    return table, str(key)


def _importance(record: Record, rule: Importance) -> float:
    value = record.row.get(rule) if isinstance(rule, str) else rule(record.row)
    if not isinstance(value, (int, float, Decimal)) or not (isinstance(value, int) or isfinite(value)):
        return 0.0
    return float(min(max(value, 0), 1))


def _by_table(option: str, by_table: Any) -> Mapping[str, Any]:
    if not isinstance(by_table, Mapping):
        raise ConfigurationError(f"{option} is a mapping by table, not {printable(by_table)}")
    for table in by_table:
        if type(table) is not str:
            raise ConfigurationError(f"{option}: {printable(table)} is no table")
    return MappingProxyType(dict(by_table))


def _pinned(pins: Iterable[Any]) -> frozenset[RecordId]:
    found = set()
    for pin in pins:
        if not (isinstance(pin, tuple) and len(pin) == 2 and type(pin[0]) is str):
            raise ConfigurationError(f"pins: {printable(pin)} is no (table, key), such as ('tickets', '6b2d…')")
        found.add(record_id(*pin))
    return frozenset(found)


def _check_half_life(table: str, half_life: object) -> None:
    if not isinstance(half_life, timedelta) or half_life <= timedelta():
        raise ConfigurationError(f"half_lives: {table} has a timedelta above zero, not {printable(half_life)}")


def _check_importance(table: str, rule: object) -> None:
    if not callable(rule) and not isinstance(rule, str):
        raise ConfigurationError(f"importance: {table} has a column or a function, not {printable(rule)}")


def _check_weight(option: str, weight: object) -> None:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= float_info.max:
        raise ConfigurationError(f"{option} is a number of at least 0, not {printable(weight)}")
