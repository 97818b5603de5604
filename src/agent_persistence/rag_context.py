"""From rows to a prompt: the slices of the tables that a model should see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from agent_persistence.exceptions import ValidationError
from agent_persistence.presets import crm
from agent_persistence.query.filters import Filters
from agent_persistence.query.records import Row
from agent_persistence.rag.answering import all_warnings, answered
from agent_persistence.rag.asked import (
    ReadableSource as ReadableSource,
    RowsOf,
    asked_filters,
    asked_shape,
    check_options,
    is_text,
    reading_verbs,
)
from agent_persistence.rag.budget import TokenBudget, token_budget
from agent_persistence.rag.candidates import widened
from agent_persistence.rag.consulting import Models, consulted
from agent_persistence.rag.inspecting import Inspection
from agent_persistence.rag.plan import plan
from agent_persistence.rag.preparing import divided, hides, prepared
from agent_persistence.rag.ranking.models import Embedder, Reranker
from agent_persistence.rag.ranking.relevance import ContextScope, Relevance, Retriever, ScopedRetriever, Search
from agent_persistence.rag.ranking.words import question_words
from agent_persistence.rag.reading import read
from agent_persistence.rag.rendering.compact_format import Compact
from agent_persistence.rag.rendering.html import framed
from agent_persistence.rag.rendering.json_format import Json
from agent_persistence.rag.rendering.markdown_format import Markdown
from agent_persistence.rag.rendering.shown import Format
from agent_persistence.rag.rendering.xml_format import Xml
from agent_persistence.rag.scoring import Score, Scoring
from agent_persistence.rag.telling import Prompt, Prompts, Settings, TokenUse, state
from agent_persistence.rag.tokens import BpeTokens, EstimatedTokens, TokenCounter
from agent_persistence.redaction.redacting import Redaction
from agent_persistence.schema.contexts.entity import Entity, Parent, check_among
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.contexts.spec import ContextSpec
from agent_persistence.schema.registry import Schema

__all__ = [
    "BpeTokens",
    "ContextScope",
    "ContextSpec",
    "Embedder",
    "Entity",
    "EstimatedTokens",
    "Parent",
    "Prompt",
    "RAGContext",
    "Relevance",
    "Reranker",
    "Retriever",
    "ScopedRetriever",
    "Score",
    "Scoring",
    "TokenBudget",
    "TokenCounter",
    "TokenUse",
    "build_rag_context",
]

OnError: TypeAlias = Literal["raise", "partial"]
PromptFormat: TypeAlias = Literal["xml", "markdown", "json", "compact"]

_FORMATS: Final[Mapping[str, Callable[[ContextShape], Format]]] = {
    "xml": Xml,
    "markdown": Markdown,
    "json": Json,
    "compact": Compact,
}


@dataclass(slots=True, init=False)
class RAGContext:
    """The rows found by table, newest first; with a question those that answer it.

    `complete` is False when a table could not be read (`on_error="partial"`); `warnings` say what is missing and why.
    The rows of the five tables of the default context are attributes as well. `spec` says what rows given by hand are
    to each other, by default what those five are.
    """

    rows: dict[str, list[Row]]
    warnings: list[str]
    complete: bool
    _settings: Settings = field(repr=False, compare=False)
    _made: Prompts | None = field(repr=False, compare=False)

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
        _settings: Settings | None = None,
    ) -> None:
        self._settings = Settings(asked_shape(spec, Schema())) if _settings is None else _settings
        five = dict(zip(crm.CONTEXT_TABLES, (clients, campaigns, leads, conversations, messages), strict=True))
        given = {table: held for table, held in five.items() if held is not None} | dict(rows or {})
        for table in given:
            check_among("rows", table, self._settings.shape.tables)
        self.rows = {table: given.get(table, []) for table in self._settings.shape.order}
        self.warnings = [] if warnings is None else warnings
        self.complete = complete
        self._made = None

    @property
    def sources(self) -> dict[str, tuple[str, Any]]:
        """The (table, key) behind each short reference; a reference is the same in all prompts of this context."""
        return {record.ref: (record.table, record.key) for record in self._prompts().records}

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        """What became of the rows of each table in the prompt that `to_prompt()` gives; see `Prompt`."""
        if self._settings.budget is None:
            return self._prompts().report(None)
        return self.prompt().report

    def to_prompt(self, format: PromptFormat | None = None, *, max_tokens: int | TokenBudget | None = None) -> str:
        """Return the context as text: the same bytes for the same rows, everything in them escaped.

        With `max_tokens`, by default that of `build_rag_context`, the text has no more of them, as the context's
        counter counts: it holds the records with the best scores for their tokens, each with those it belongs to, and
        long texts are cut before a record is left out. Where not even a page without records fits, it is empty. The
        format is by default "compact" where there is a budget, and "xml" where there is none.
        """
        return self.prompt(format, max_tokens=max_tokens).text

    def prompt(self, format: PromptFormat | None = None, *, max_tokens: int | TokenBudget | None = None) -> Prompt:
        """The text that `to_prompt` gives, with its references, its report and the tokens it uses.

        It is composed once, and again only when rows of the context were changed.
        """
        return self._prompts().prompt(*self._asked(format, max_tokens))

    def to_html(self, format: PromptFormat | None = None, *, max_tokens: int | TokenBudget | None = None) -> str:
        """Return a page for people about the prompt that `to_prompt` gives: one document that loads nothing.

        It shows the prompt by record, each record's score by term, what was left out and why, the tokens by section,
        what was redacted, and when the requests were under way. What the redaction replaces is nowhere in it, nor is
        any key. It needs no script; everything in it is escaped.
        """
        prompts, asked = self._prompts(), self._asked(format, max_tokens)
        redactor = self._settings.redactor
        return Inspection(
            prompts.prompt(*asked),
            prompts.parts(*asked),
            {record.ref: record for record in prompts.records},
            prompts.scores(),
            prompts.hidden(),
            self._settings.counter.count,
            self._settings.question,
            [warning if redactor is None else redactor.text(warning) for warning in self.warnings],
            self.complete,
            None if redactor is None else redactor.counts(),
            self._settings.requests,
        ).page()

    def _repr_html_(self) -> str:
        """What notebooks show: the page of `to_html` in a frame of its own."""
        return framed(self.to_html())

    def _asked(
        self, format: PromptFormat | None, max_tokens: int | TokenBudget | None
    ) -> tuple[str, Callable[[ContextShape], Format], TokenBudget | None]:
        """The form of a prompt by name, and its budget."""
        budget = self._settings.budget if max_tokens is None else token_budget(max_tokens)
        name = format or ("xml" if budget is None else "compact")
        if name not in _FORMATS:
            known = ", ".join(map(repr, _FORMATS))
            raise ValidationError("to_prompt", f"format is one of {known}, not {format!r:.40}")
        if budget is not None:
            budget.check_tables(self._settings.shape.tables)
        return name, _FORMATS[name], budget

    def explain(self) -> list[Score]:
        """The score of each record by term, best first, which is the order in which a budget prefers them."""
        return list(self._prompts().scores())

    def restore(self, text: str) -> str:
        """The text, such as a model's answer, with the values back in the place of their labels."""
        redactor = self._settings.redactor
        return text if redactor is None else redactor.restore(text)

    def _prompts(self) -> Prompts:
        if self._made is None or self._made.state != state(self.rows):
            self._made = Prompts({table: list(given) for table, given in self.rows.items()}, self._settings)
        return self._made


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
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
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

    `query` is the question that the context is for. Its words are looked for in everything that the filters let
    through, as far as the back end lets a search read (`scan_rows`), and beyond that by the database; what was left out
    is said in the warnings. The best rows are within the limits, then the newest; a prompt of at most `max_tokens` may
    show more of them, but of tables with a limit of the caller's. A `retriever` is asked for records too, while the
    tables are read; those it names are fetched on top of the limits, with the records they belong to, as far as the
    filters allow. An `embedder` compares the meaning of the question with that of the 2,000 rows with a body that match
    best; a `reranker` puts the best 50 in order. Both read what the redaction leaves, and have 15 seconds each. All of
    this is the relevance in `scoring`; ages are counted from `now`, by default from the newest time among the rows.
    `token_counter` is by default an estimate that errs to the safe side. `redaction` is applied to
    all that is in the context before it is shown; columns that it drops are not searched.

    Tables that the policy does not let be read are left out with a warning, or raise TableNotAllowedError when a
    filter names them; where none of them may be read, a ValidationError is raised. When a query fails, the others are
    cancelled and its error is raised as itself; with `on_error="partial"` an AdapterError costs only its table and
    those that depend on it.
    """
    check_options(on_error, {"retriever": retriever, "embedder": embedder, "reranker": reranker}, query, now)
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
    words = question_words(query) if query else []
    reading = planned
    if words:
        most, can = facade.scan_rows, facade.capabilities
        texts, reads_all = partial(is_text, readable, facade.schema), most == facade.max_rows
        reading = widened(planned, shape, words, most=most, reads_all=reads_all, can=can, is_text=texts)
    search = Search(retriever, query) if retriever is not None and query else None
    found = await read(facade, shape, reading, search, tolerates_failures=on_error == "partial")
    models = Models(embedder, reranker, redaction, hides(redaction), on_error == "partial")
    answers = await consulted(query, reading, found, shape, models)
    answer = answered(found, shape, planned, answers=answers, limited=limits or {})
    ready = prepared(answer.rows, shape, facade.schema, redaction)
    shown, reserve = divided(shape, ready.rows, answer.reserved)
    return RAGContext(
        rows=shown,
        warnings=all_warnings(planned, answer, found),
        complete=not found.failures,
        _settings=Settings(
            shape,
            answer,
            [table for table in shape.tables if table not in found.rows],
            reserve,
            scoring,
            bool(answer.matches or answer.named),
            ready.wanted(query),
            answer.relevance(),
            now,
            budget,
            token_counter or EstimatedTokens(),
            ready.redactor,
            ready.redacted,
            ready.question(query),
            found.timeline.requests,
        ),
    )
