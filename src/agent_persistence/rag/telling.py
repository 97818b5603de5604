"""The prompts of a context, each composed once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent_persistence.query.records import Row
from agent_persistence.rag.answering import Answered
from agent_persistence.rag.asked import default_shape
from agent_persistence.rag.budget import TokenBudget
from agent_persistence.rag.composing import Composed, compose_all, compose_within, everything
from agent_persistence.rag.notes import Known, walk
from agent_persistence.rag.outline import outline
from agent_persistence.rag.rendering.ownership import parts
from agent_persistence.rag.rendering.shown import Format, PromptContent
from agent_persistence.rag.scoring import RecordId, Score, Scoring, record_id, scores
from agent_persistence.rag.timeline import TimedRequest
from agent_persistence.rag.times import newest_first
from agent_persistence.rag.tokens import EstimatedTokens, TokenCounter
from agent_persistence.redaction.redacting import Redactor
from agent_persistence.schema.contexts.shape import ContextShape


@dataclass(frozen=True, slots=True)
class TokenUse:
    """What a prompt uses of what it may: `used` tokens as `counter` counts them, exactly or by estimate.

    `budget` is the total, of which `reserve` is not the prompt's; None where there is no bound.
    """

    counter: str
    exact: bool
    used: int
    budget: int | None
    reserve: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and what is to be known about it.

    `refs` are the references of the records in it, in their order. `report` says by table how many rows were fetched,
    kept in the prompt, dropped by the budget and by the limit, and clipped; how many values were redacted; and whether
    more rows exist than the limit let through.
    """

    text: str
    refs: tuple[str, ...]
    report: dict[str, dict[str, Any]]
    tokens: TokenUse
    format: str = "xml"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the rows came about, and how prompts are to be made of them.

    `reserve` are rows beyond the limits, which a prompt with a budget may show; `wanted` words of the question say
    which parts of long texts stay. `unread` are the tables that were not looked at.
    """

    shape: ContextShape = field(default_factory=default_shape)
    answered: Answered = field(default_factory=Answered)
    unread: Collection[str] = ()
    reserve: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    scoring: Scoring = field(default_factory=Scoring)
    answers: bool = False
    wanted: frozenset[str] = frozenset()
    relevance: Mapping[RecordId, float] = field(default_factory=dict)
    now: datetime | None = None
    budget: TokenBudget | None = None
    counter: TokenCounter = field(default_factory=EstimatedTokens)
    redactor: Redactor | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
    question: str = ""
    requests: Sequence[TimedRequest] = ()


class Prompts:
    """The records of one state of a context's rows, their scores, and the prompts that were made of them."""

    def __init__(self, rows: Mapping[str, Sequence[Row]], settings: Settings) -> None:
        self._settings = settings
        self._rows = rows
        self.state = state(rows)
        reserve, tables = settings.reserve, settings.shape.tables
        self._roots = outline(
            {
                table: newest_first(tables[table], [*given, *reserve[table]]) if reserve.get(table) else given
                for table, given in rows.items()
            },
            settings.shape,
        )
        self.records = [record for root in self._roots for record in root.walk()]
        self._scores: list[Score] | None = None
        self._prompts: dict[Hashable, tuple[Prompt, Composed]] = {}

    def scores(self) -> list[Score]:
        """Best first."""
        if self._scores is None:
            settings = self._settings
            self._scores = scores(
                self.records,
                settings.scoring,
                settings.relevance,
                settings.now,
                matches=settings.answered.matches,
                answers=settings.answers,
            )
        return self._scores

    def prompt(self, name: str, form: Callable[[ContextShape], Format], budget: TokenBudget | None) -> Prompt:
        """The prompt in a form of this name."""
        key = (name, budget and _key(budget))
        if key not in self._prompts:
            self._prompts[key] = self._prompt(name, form(self._settings.shape), budget)
        return self._prompts[key][0]

    def parts(
        self, name: str, form: Callable[[ContextShape], Format], budget: TokenBudget | None
    ) -> list[tuple[str, str]]:
        """The text of that prompt in parts, each with the reference of its record, or ""."""
        text = self.prompt(name, form, budget).text
        shown = self._prompts[name, budget and _key(budget)][1].shown
        if not text:
            return []
        return parts(form(self._settings.shape), PromptContent(shown, self._known(budget).notes(shown)), text)

    def report(self, budget: TokenBudget | None) -> dict[str, dict[str, Any]]:
        """What became of the rows of each table where nothing is written yet."""
        return self._known(budget).report(everything(self._roots, self.hidden()))

    def _prompt(self, name: str, form: Format, budget: TokenBudget | None) -> tuple[Prompt, Composed]:
        known, counter = self._known(budget), self._settings.counter
        composed = self._composed(form, budget, known)
        prompt = Prompt(
            composed.text,
            tuple(one.record.ref for one in walk(composed.shown)),
            known.report(composed.shown),
            TokenUse(
                counter.name,
                counter.exact,
                counter.count(composed.text),
                None if budget is None else budget.total,
                0 if budget is None else budget.reserve,
            ),
            name,
        )
        return prompt, composed

    def _composed(self, form: Format, budget: TokenBudget | None, known: Known) -> Composed:
        if budget is None:
            return compose_all(self._roots, form, known.notes, hidden=self.hidden())
        return compose_within(
            self._roots,
            self.scores(),
            form,
            known.notes,
            budget=budget,
            counter=self._settings.counter,
            wanted=self._settings.wanted,
            answers=self._settings.answers,
        )

    def hidden(self) -> frozenset[str]:
        """The references of the records in reserve."""
        reserved = {
            record_id(table, self._settings.shape.tables[table].key_of(row))
            for table, rows in self._settings.reserve.items()
            for row in rows
        }
        return frozenset(one.ref for one in self.records if reserved and record_id(one.table, one.key) in reserved)

    def _known(self, budget: TokenBudget | None) -> Known:
        answered, reserve = self._settings.answered, self._settings.reserve
        tables = self._settings.shape.tables
        rows = {table: len(given) for table, given in self._rows.items()}
        beyond = {table: answered.beyond.get(table, 0) for table in rows}
        for table, further in reserve.items():
            (beyond if budget is None else rows)[table] += len(further)
        return Known(
            rows,
            beyond,
            self._settings.redacted,
            [table for table in answered.failures if table in tables],
            answered.full,
            self._settings.unread,
            [table for table, entity in tables.items() if entity.link],
        )


def state(rows: Mapping[str, Sequence[Row]]) -> list[tuple[Any, ...]]:
    """What is compared to know whether rows have changed since."""
    return [(table, *row, *row.values()) for table, given in rows.items() for row in given]


def _key(budget: TokenBudget) -> Hashable:
    shares: Iterable[Mapping[str, int]] = (budget.floors, budget.caps)
    return budget.total, budget.reserve, budget.part, *(tuple(sorted(share.items())) for share in shares)
