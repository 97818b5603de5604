"""What the models that a caller brings say of the rows that answer best: each asked once, within a bounded time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio

from agent_persistence.exceptions import AdapterError, PersistenceError
from agent_persistence.query.records import Row
from agent_persistence.rag.answering import all_rows, retrieved
from agent_persistence.rag.found import Found
from agent_persistence.rag.plan import ReadPlan
from agent_persistence.rag.ranking.dates import days_meant
from agent_persistence.rag.ranking.models import Embedder, Reranker, checked_scores, similarities
from agent_persistence.rag.rendering.visible import visible, visible_value
from agent_persistence.rag.scoring import RecordId, record_id
from agent_persistence.rag.searching import Asked, Hides, RowMatches, texts
from agent_persistence.rag.timeline import Timeline
from agent_persistence.redaction.redacting import Redaction, Redactor
from agent_persistence.schema.contexts.shape import ContextShape

EMBEDDER: Final = "embedder"
RERANKER: Final = "reranker"
DEADLINE_S: Final = 15.0
"""How long a model may take."""
MOST_EMBEDDED: Final = 2_000
"""How many rows are compared with the question by their meaning."""
MOST_RERANKED: Final = 50
_MOST_CHARACTERS: Final = 20_000
"""Of a text, and of the question."""


def is_foreign(error: Exception) -> bool:
    """Whether an error says that what was asked failed, not that the caller may not or cannot ask so."""
    return isinstance(error, AdapterError) or not isinstance(error, PersistenceError)


@dataclass(frozen=True, slots=True)
class Models:
    """Those of one call; what they read is redacted as the prompt is, and knows no hidden column."""

    embedder: Embedder | None
    reranker: Reranker | None
    redaction: Redaction | None
    hides: Hides
    tolerates_failures: bool

    async def consult(
        self,
        question: str,
        answers: RowMatches,
        shape: ContextShape,
        rows: Mapping[str, Sequence[Row]],
        timeline: Timeline,
    ) -> dict[str, Exception]:
        """Count what they say; those that failed and may, by what they are, leave the answers as they were."""
        if self.embedder is None and self.reranker is None:
            return {}
        redactor = None if self.redaction is None else self.redaction.session()
        asking = _Asking(question, answers, shape, rows, redactor, self.hides)
        failures: dict[str, Exception] = {}
        for name, model, ask in (
            (EMBEDDER, self.embedder, asking.meanings),
            (RERANKER, self.reranker, asking.order),
        ):
            if model is not None:
                try:
                    with timeline.request(name) as request:
                        request.answers = await _within(DEADLINE_S, name, ask, model)
                except Exception as error:
                    if not (self.tolerates_failures and is_foreign(error)):
                        raise
                    failures[name] = error
        return failures


async def _within(deadline_s: float, name: str, ask: Callable[[Any], Awaitable[int]], model: object) -> int:
    with anyio.move_on_after(deadline_s):
        return await ask(model)
    raise AdapterError(f"the {name} has not answered within {deadline_s:g} s")


@dataclass(frozen=True, slots=True)
class _Asking:
    question: str
    answers: RowMatches
    shape: ContextShape
    rows: Mapping[str, Sequence[Row]]
    redactor: Redactor | None
    hides: Hides

    async def meanings(self, embedder: Embedder) -> int:
        """Count how close the best rows come to the question by their meaning; how many were compared."""
        found = self._texts(MOST_EMBEDDED)
        if found:
            vectors = await embedder.embed([*found.values(), self._question()])
            self.answers.add(dict(zip(found, similarities(embedder, vectors, len(found)), strict=True)))
        return len(found)

    async def order(self, reranker: Reranker) -> int:
        """Put the best rows in the order that is said; how many were read."""
        found = self._texts(MOST_RERANKED)
        if found:
            given = await reranker.rerank(self._question(), list(found.values()))
            self.answers.reorder(dict(zip(found, checked_scores(given, len(found)), strict=True)))
        return len(found)

    def _question(self) -> str:
        question = visible(self.question[:_MOST_CHARACTERS])
        return question if self.redactor is None else self.redactor.text(question)

    def _texts(self, most: int) -> dict[RecordId, str]:
        """What the best rows say, by record; of rows with nothing to say none."""
        found: dict[RecordId, str] = {}
        for table, rows in self._redacted(self.answers.texts(most)).items():
            entity = self.shape.tables[table]
            for row, text in zip(rows, texts(entity, rows, self.hides), strict=True):
                if text.strip():
                    found[record_id(table, entity.key_of(row))] = text[:_MOST_CHARACTERS]
        return found

    def _redacted(self, best: Mapping[str, Sequence[Row]]) -> Mapping[str, Sequence[Row]]:
        """The rows as a prompt shows them: redacted, with what all rows read give to know; keys as they are."""
        if self.redactor is None:
            return best
        for table, rows in self.rows.items():
            if self.shape.tables[table].body is None:
                self.redactor.learn(table, [visible_value(row) for row in rows])
        redacted = self.redactor.tables({table: [visible_value(row) for row in rows] for table, rows in best.items()})
        return {
            table: [{**row, **{key: held[key] for key in self.shape.tables[table].key}} for row, held in pairs]
            for table, pairs in ((table, zip(redacted[table], rows, strict=True)) for table, rows in best.items())
        }


async def consulted(
    query: str | None, reading: ReadPlan, found: Found, shape: ContextShape, models: Models
) -> RowMatches | None:
    """How well what was found answers a question, by words, retriever and models; None without a word of a question."""
    if not query or not reading.words:
        return None
    rows = all_rows(found, shape)
    answers = RowMatches(Asked(reading.words, days_meant(query)), shape, rows, models.hides)
    answers.add(retrieved(found.relevance))
    found.failures |= await models.consult(query, answers, shape, rows, found.timeline)
    return answers
