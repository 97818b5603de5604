"""From rows to a prompt: the slices of the tables that a model should see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from agent_persistence.exceptions import ValidationError
from agent_persistence.presets import crm
from agent_persistence.query.filters import Filters
from agent_persistence.query.records import Row
from agent_persistence.rag.asked import (
    ReadableSource as ReadableSource,
    RowsOf,
    asked_filters,
    asked_shape,
    check_options,
    default_shape,
    reading_verbs,
)
from agent_persistence.rag.budget import TokenBudget, token_budget
from agent_persistence.rag.composing import compose_all, compose_within, everything
from agent_persistence.rag.json_format import Json
from agent_persistence.rag.lexical import terms, word_relevance
from agent_persistence.rag.markdown_format import Markdown
from agent_persistence.rag.notes import Known, walk
from agent_persistence.rag.outline import Record, outline
from agent_persistence.rag.plan import plan
from agent_persistence.rag.preparing import Prepared, prepared
from agent_persistence.rag.reading import RETRIEVER, Found, Search, read
from agent_persistence.rag.relevance import Relevance, Retriever
from agent_persistence.rag.scoring import RecordId, Score, Scoring, record_id, scores
from agent_persistence.rag.shown import Format
from agent_persistence.rag.tokens import BpeTokens, EstimatedTokens, TokenCounter
from agent_persistence.rag.xml_format import Xml
from agent_persistence.redaction.redacting import Redaction, Redactor
from agent_persistence.schema.contexts.entity import Entity, Parent, check_among
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.contexts.spec import ContextSpec
from agent_persistence.schema.registry import Schema

__all__ = [
    "BpeTokens",
    "ContextSpec",
    "Entity",
    "EstimatedTokens",
    "Parent",
    "Prompt",
    "RAGContext",
    "Relevance",
    "Retriever",
    "Score",
    "Scoring",
    "TokenBudget",
    "TokenCounter",
    "TokenUse",
    "build_rag_context",
]

OnError: TypeAlias = Literal["raise", "partial"]
PromptFormat: TypeAlias = Literal["xml", "markdown", "json"]

_FORMATS: Final[Mapping[str, Callable[[ContextShape], Format]]] = {"xml": Xml, "markdown": Markdown, "json": Json}


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

    `refs` are the references of the records in it, in their order. `report` tells by table how many rows were fetched,
    kept in the prompt, dropped by the budget and by the limit, and clipped; how many values were redacted; and whether
    more rows exist than the limit let through.
    """

    text: str
    refs: tuple[str, ...]
    report: dict[str, dict[str, Any]]
    tokens: TokenUse


@dataclass(frozen=True, slots=True)
class _Settings:
    """How the rows came about, and how prompts are to be made of them."""

    shape: ContextShape = field(default_factory=default_shape)
    found: Found = field(default_factory=Found)
    unread: Collection[str] = ()
    scoring: Scoring = field(default_factory=Scoring)
    question: str = ""
    relevance: Mapping[RecordId, float] = field(default_factory=dict)
    now: datetime | None = None
    budget: TokenBudget | None = None
    counter: TokenCounter = field(default_factory=EstimatedTokens)
    redactor: Redactor | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, init=False)
class RAGContext:
    """The rows found by table, newest first.

    `complete` is False when a table could not be read (`on_error="partial"`); `warnings` say what is missing and why.
    The rows of the five tables of the default context are attributes as well. `spec` says what rows given by hand are
    to each other, by default what those five are.
    """

    rows: dict[str, list[Row]]
    warnings: list[str]
    complete: bool
    _settings: _Settings = field(repr=False, compare=False)

    clients = RowsOf("clients")
    leads = RowsOf("leads")
    campaigns = RowsOf("campaigns")
    conversations = RowsOf("conversations")
    messages = RowsOf("messages")

    def __init__(
        self,
        clients: list[Row] | None = None,
        leads: list[Row] | None = None,
        campaigns: list[Row] | None = None,
        conversations: list[Row] | None = None,
        messages: list[Row] | None = None,
        warnings: list[str] | None = None,
        complete: bool = True,
        *,
        rows: Mapping[str, list[Row]] | None = None,
        spec: ContextSpec | None = None,
        _settings: _Settings | None = None,
    ) -> None:
        self._settings = _Settings(asked_shape(spec, Schema())) if _settings is None else _settings
        five = dict(zip(crm.CONTEXT_TABLES, (clients, campaigns, leads, conversations, messages), strict=True))
        given = {table: told for table, told in five.items() if told is not None} | dict(rows or {})
        for table in given:
            check_among("rows", table, self._settings.shape.tables)
        self.rows = {table: given.get(table, []) for table in self._settings.shape.order}
        self.warnings = [] if warnings is None else warnings
        self.complete = complete

    @property
    def sources(self) -> dict[str, tuple[str, Any]]:
        """The (table, key) behind each short reference; a reference is the same in all prompts of this context."""
        return {record.ref: (record.table, record.key) for record in self._records()}

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        """What became of the rows of each table in the prompt that `to_prompt()` gives; see `Prompt`."""
        if self._settings.budget is None:
            return self._known().report(everything(self._roots()))
        return self.prompt().report

    def to_prompt(self, format: PromptFormat = "xml", *, max_tokens: int | TokenBudget | None = None) -> str:
        """Return the context as text: the same bytes for the same rows, everything in them escaped.

        With `max_tokens`, by default that of `build_rag_context`, the text has no more of them, as the context's
        counter counts: it holds the records with the best scores for their tokens, each with those it belongs to, and
        long texts are cut before a record is left out. Where not even a page without records fits, it is empty.
        """
        return self.prompt(format, max_tokens=max_tokens).text

    def prompt(self, format: PromptFormat = "xml", *, max_tokens: int | TokenBudget | None = None) -> Prompt:
        """The text that `to_prompt` gives, with its references, its report and the tokens it uses."""
        if format not in _FORMATS:
            raise ValidationError("to_prompt", f"format is 'xml', 'markdown' or 'json', not {format!r:.40}")
        form, counter = _FORMATS[format](self._settings.shape), self._settings.counter
        budget = self._settings.budget if max_tokens is None else token_budget(max_tokens)
        if budget is not None:
            budget.check_tables(self._settings.shape.tables)
        roots, known = self._roots(), self._known()
        if budget is None:
            composed = compose_all(roots, form, known.notes)
        else:
            composed = compose_within(
                roots,
                self.explain(),
                form,
                known.notes,
                budget=budget,
                counter=counter,
                wanted=frozenset(terms(self._settings.question)),
            )
        return Prompt(
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
        )

    def explain(self) -> list[Score]:
        """The score of each record by term, best first, which is the order in which a budget prefers them."""
        settings = self._settings
        return scores(self._records(), settings.scoring, settings.relevance, settings.now)

    def restore(self, text: str) -> str:
        """The text, such as a model's answer, with the values back in the place of their labels."""
        redactor = self._settings.redactor
        return text if redactor is None else redactor.restore(text)

    def _roots(self) -> list[Record]:
        return outline(self.rows, self._settings.shape)

    def _records(self) -> list[Record]:
        return _walk(self._roots())

    def _known(self) -> Known:
        found = self._settings.found
        return Known(
            {table: len(rows) for table, rows in self.rows.items()},
            found.beyond_limit,
            self._settings.redacted,
            [table for table in found.failures if table != RETRIEVER],
            found.full,
            self._settings.unread,
            [table for table, told in self._settings.shape.tables.items() if told.link],
        )


async def build_rag_context(
    source: ReadableSource,
    *,
    spec: ContextSpec | str | Path | None = None,
    filters: Mapping[str, Filters | None] | None = None,
    client_filters: Filters | None = None,
    lead_filters: Filters | None = None,
    campaign_filters: Filters | None = None,
    conversation_filters: Filters | None = None,
    message_filters: Filters | None = None,
    limits: Mapping[str, int] | None = None,
    follow_relations: bool = True,
    query: str | None = None,
    retriever: Retriever | None = None,
    scoring: Scoring | None = None,
    max_tokens: int | TokenBudget | None = None,
    token_counter: TokenCounter | None = None,
    redaction: Redaction | None = None,
    on_error: OnError = "raise",
    now: datetime | None = None,
) -> RAGContext:
    """Read the tables of a context concurrently through a read-only façade, newest rows first; return what was found.

    `spec` says which tables, as a ContextSpec or the file of one; without it they are clients, campaigns, leads,
    conversations and messages, around the leads. `filters` choose rows by table; those of the five have an argument of
    their own as well.

    With `follow_relations` the tables are read as one world: below the highest table that a filter names the children
    of the rows found, above it their parents; without a filter from the roots of the spec. A filter that finds no row
    finds no child either. A table is queried as soon as the rows that decide its own are known. Without it the queries
    are independent. `limits` maps tables to numbers of rows, 0 leaves a table out.

    `query` is the question that the context is for. A `retriever` is asked for records that answer it, while the
    tables are read; those it names are fetched on top of the limits, with the records they belong to, as far as the
    filters allow. Without a retriever the words of the query are looked for in what was read. Either is the relevance
    in `scoring`, which decides what a prompt of at most `max_tokens` shows; ages are told from `now`, by default from
    the newest time among the rows. `token_counter` is by default an estimate that errs to the safe side. `redaction` is
    applied to the rows before anything here sees their texts, and to the query before its words are looked for.

    Tables that the policy does not let be read are left out with a warning, or raise TableNotAllowedError when a
    filter names them; where none of them may be read, a ValidationError is raised. When a query fails, the others are
    cancelled and its error is raised as itself; with `on_error="partial"` an AdapterError costs only its table and
    those that depend on it.
    """
    check_options(on_error, retriever, query, now)
    facade = reading_verbs(source)
    facade = await facade.pinned()
    shape = asked_shape(spec, facade.schema)
    scoring = scoring or Scoring()
    scoring.check_tables(shape.tables)
    budget = token_budget(max_tokens)
    if budget is not None:
        budget.check_tables(shape.tables)
    five = (client_filters, campaign_filters, lead_filters, conversation_filters, message_filters)
    chosen = asked_filters(filters or {}, dict(zip(crm.CONTEXT_TABLES, five, strict=True)))
    readable = {table: facade.readable_columns(table) for table in facade.readable_tables}
    planned = plan(shape, chosen, limits, readable=readable, follow_relations=follow_relations, schema=facade.schema)
    search = Search(retriever, query) if retriever is not None and query else None
    found = await read(facade, shape, planned, search, tolerates_failures=on_error == "partial")
    ready = prepared(found, shape, facade.schema, redaction)
    question = ready.question(query) if query else ""
    return RAGContext(
        rows=ready.rows,
        warnings=[*planned.warnings, *(f"{name}: could not be read ({why})" for name, why in found.failures.items())],
        complete=not found.failures,
        _settings=_Settings(
            shape,
            found,
            [table for table in shape.tables if table not in found.rows],
            scoring,
            question,
            _relevance(found, ready, shape, question),
            now,
            budget,
            token_counter or EstimatedTokens(),
            ready.redactor,
            ready.redacted,
        ),
    )


def _relevance(found: Found, ready: Prepared, shape: ContextShape, question: str) -> dict[RecordId, float]:
    """What the retriever says; where there is none, or it failed, how well the words of the query match."""
    if found.relevance is not None:
        told: dict[RecordId, float] = {}
        for one in found.relevance:
            record = record_id(one.table, one.key)
            told[record] = max(one.score, told.get(record, 0.0))
        return told
    return word_relevance(question, _walk(outline(ready.rows, shape))) if question else {}


def _walk(roots: Iterable[Record]) -> list[Record]:
    return [record for root in roots for record in root.walk()]
