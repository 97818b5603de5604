"""From a lead to a prompt: the slices of the business tables that a model should see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from agent_persistence._rag.answering import answered, strangers
from agent_persistence._rag.blending import blended
from agent_persistence._rag.budget import TokenBudget, token_budget
from agent_persistence._rag.compact_format import Compact
from agent_persistence._rag.dates import days_meant
from agent_persistence._rag.entities import ENTITIES
from agent_persistence._rag.json_format import Json
from agent_persistence._rag.lexical import terms
from agent_persistence._rag.markdown_format import Markdown
from agent_persistence._rag.plan import plan
from agent_persistence._rag.preparing import prepared
from agent_persistence._rag.reading import Search, read
from agent_persistence._rag.relevance import Relevance, Retriever
from agent_persistence._rag.scoring import RecordId, Score, Scoring, record_id
from agent_persistence._rag.shown import Format
from agent_persistence._rag.telling import Prompt, Settings, Telling, TokenUse, state
from agent_persistence._rag.tokens import BpeTokens, EstimatedTokens, TokenCounter
from agent_persistence._rag.widening import widened
from agent_persistence._rag.words import question_words
from agent_persistence._rag.xml_format import Xml
from agent_persistence._redaction.actions import Drop
from agent_persistence.exceptions import ValidationError
from agent_persistence.filters import Filters
from agent_persistence.records import Row
from agent_persistence.redaction import Redaction
from agent_persistence.service import ReadOnlyPersistenceFacade

__all__ = [
    "BpeTokens",
    "EstimatedTokens",
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
PromptFormat: TypeAlias = Literal["xml", "markdown", "json", "compact"]

_FORMATS: Final[Mapping[str, Format]] = {
    "xml": Xml(),
    "markdown": Markdown(),
    "json": Json(),
    "compact": Compact(),
}
_WHERE: Final = "build_rag_context"


class ReadableSource(Protocol):
    """Whatever can give a read-only façade of itself: an agent, a service, a façade."""

    def readonly(self) -> ReadOnlyPersistenceFacade: ...


@dataclass(slots=True)
class RAGContext:
    """The rows found, newest first in each table; with a question those that answer it.

    `complete` is False when a table could not be read (`on_error="partial"`); `warnings` say what is missing and why.
    """

    clients: list[Row] = field(default_factory=list)
    leads: list[Row] = field(default_factory=list)
    campaigns: list[Row] = field(default_factory=list)
    conversations: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True
    _settings: Settings = field(default_factory=Settings, repr=False, compare=False)
    _told: Telling | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def sources(self) -> dict[str, tuple[str, Any]]:
        """The (table, key) behind each short reference; a reference is the same in all prompts of this context."""
        return {record.ref: (record.table, record.key) for record in self._telling().records}

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        """What became of the rows of each table in the prompt that `to_prompt()` gives; see `Prompt`."""
        if self._settings.budget is None:
            return self._telling().report(None)
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
        budget = self._settings.budget if max_tokens is None else token_budget(max_tokens)
        name = format or ("xml" if budget is None else "compact")
        if name not in _FORMATS:
            known = ", ".join(map(repr, _FORMATS))
            raise ValidationError("to_prompt", f"format is one of {known}, not {format!r:.40}")
        return self._telling().prompt(name, _FORMATS[name], budget)

    def explain(self) -> list[Score]:
        """The score of each record by term, best first, which is the order in which a budget prefers them."""
        return list(self._telling().scores())

    def restore(self, text: str) -> str:
        """The text, such as a model's answer, with the values back in the place of their labels."""
        redactor = self._settings.redactor
        return text if redactor is None else redactor.restore(text)

    def _telling(self) -> Telling:
        rows = {table: getattr(self, table) for table in ENTITIES}
        if self._told is None or self._told.state != state(rows):
            self._told = Telling({table: list(given) for table, given in rows.items()}, self._settings)
        return self._told


async def build_rag_context(
    source: ReadableSource,
    *,
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
    """Read the five tables concurrently through a read-only façade, newest rows first, and return what was found.

    With `follow_relations` the tables are read as one world: conversations of the leads found, messages of those
    conversations, the leads' clients and campaigns; a filter that finds no lead finds no conversation either. A table
    is queried as soon as the rows that decide its own are known. Without it the five queries are independent.
    `limits` maps tables to numbers of rows, 0 leaves a table out.

    `query` is the question that the context is for. Its words are looked for in everything that the filters let
    through, as far as the back end lets a search read (`scan_rows`), and beyond that by the database; what was left out
    is told in the warnings. The best rows are within the limits, then the newest; a prompt of at most `max_tokens` may
    show more of them, but of tables with a limit of the caller's. A `retriever` is asked for records too, while the
    tables are read; those it names are fetched on top of the limits, with the records they belong to, as far as the
    filters allow. Both together are the relevance in `scoring`; ages are told from `now`, by default from the newest
    time among the rows. `token_counter` is by default an estimate that errs to the safe side. `redaction` is applied to
    all that is in the context before it is told; columns that it drops are not searched.

    Tables that the policy does not let be read are left out with a warning, or raise TableNotAllowedError when a
    filter names them. When a query fails, the others are cancelled and its error is raised as itself; with
    `on_error="partial"` an AdapterError costs only its table and those that depend on it.
    """
    if on_error not in ("raise", "partial"):
        raise ValidationError(_WHERE, f"on_error is 'raise' or 'partial', not {on_error!r:.40}")
    if retriever is not None and not query:
        raise ValidationError(_WHERE, "a retriever needs the question to search for", "give query=")
    if now is not None and now.tzinfo is None:
        raise ValidationError(_WHERE, "now is a datetime with a time zone, such as datetime.now(UTC)")
    facade = source.readonly()
    if not isinstance(facade, ReadOnlyPersistenceFacade):
        raise ValidationError(
            _WHERE,
            f"{type(source).__name__} blocks",
            "pass it to agent_persistence.sync.build_rag_context, without await",
        )
    facade = await facade.pinned()
    filters = {
        "clients": client_filters,
        "leads": lead_filters,
        "campaigns": campaign_filters,
        "conversations": conversation_filters,
        "messages": message_filters,
    }
    readable = {table: facade.readable_columns(table) for table in facade.readable_tables}
    planned = plan(filters, limits, readable=readable, follow_relations=follow_relations, schema=facade.schema)
    words = question_words(query) if query else []
    search = Search(retriever, query) if retriever is not None and query else None
    reading = planned
    if words:
        most, can = facade.scan_rows, facade.capabilities
        reading = widened(planned, words, most=most, reads_all=most == facade.max_rows, can=can)
    found = await read(facade, reading, search, tolerates_failures=on_error == "partial")
    answer = answered(
        found, planned, reading, limited=limits or {}, days=days_meant(query or ""), hides=_hides(redaction)
    )
    ready = prepared(answer.rows, facade.schema, redaction)
    shown, reserve = _divided(ready.rows, answer.reserved)
    return RAGContext(
        clients=shown["clients"],
        leads=shown["leads"],
        campaigns=shown["campaigns"],
        conversations=shown["conversations"],
        messages=shown["messages"],
        warnings=[
            *planned.warnings,
            *answer.warnings,
            *strangers(found),
            *(f"{name}: could not be read ({why})" for name, why in found.failures.items()),
        ],
        complete=not found.failures,
        _settings=Settings(
            answer,
            reserve,
            scoring or Scoring(),
            bool(answer.matches or answer.named),
            _wanted(ready.question(query)) if query else frozenset(),
            blended(answer.matches, answer.named),
            now,
            token_budget(max_tokens),
            token_counter or EstimatedTokens(),
            ready.redactor,
            ready.redacted,
        ),
    )


def _divided(
    rows: Mapping[str, Sequence[Row]], reserved: Collection[RecordId]
) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The rows of the context's lists, and those in reserve."""
    shown: dict[str, list[Row]] = {table: [] for table in ENTITIES}
    reserve: dict[str, list[Row]] = {table: [] for table in ENTITIES}
    for table, entity in ENTITIES.items():
        for row in rows[table]:
            (reserve if record_id(table, row.get(entity.key)) in reserved else shown)[table].append(row)
    return shown, reserve


def _hides(redaction: Redaction | None) -> Callable[[str, str], bool]:
    """Whether a redaction leaves a column out: a question finds nothing by it either."""
    return lambda table, column: redaction is not None and isinstance(redaction.action(table, column), Drop)


def _wanted(question: str) -> frozenset[str]:
    return frozenset(term for word in question_words(question) for term in terms(word.text))
