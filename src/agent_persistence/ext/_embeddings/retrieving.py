"""Retrieval by meaning and by words, through a read-only façade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias, cast

from agent_persistence.exceptions import AdapterError, ConfigurationError, printable
from agent_persistence.ext._embeddings.embedder import Embedder, check_positive
from agent_persistence.ext._embeddings.texts import text_of_query
from agent_persistence.ext._embeddings.words import any_word
from agent_persistence.query.filters import Filters, all_of, in_, text_search
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.query.records import Record, Row
from agent_persistence.rag.ranking.fusion import (
    DEFAULT_K,
    Ranking,
    Ref,
    best_score,
    check_k,
    check_weight,
    fuse,
    sort_key,
)
from agent_persistence.rag.ranking.lexical import bm25, terms
from agent_persistence.rag.ranking.relevance import ContextScope, Relevance
from agent_persistence.rag.ranking.vectors import written
from agent_persistence.redaction.redacting import Redaction
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.checks import declared, entries, located
from agent_persistence.service import ReadOnlyPersistenceFacade

Scored: TypeAlias = list[tuple[Ref, float]]
_WIDER: Final = 5
"""How many times as many records a function is asked for where only some of them belong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How one table is searched; `search_sql` makes what is named here.

    `match` is a function by the conventions of match_documents, `text` a column that is searched for the words of the
    question in the text search configuration `config`. `hybrid`, a function by the conventions of hybrid_search, stands
    alone and does both in the database; it ranks words by ts_rank_cd over all texts, not by BM25 over the candidates.

    `key` is the column with the rows' keys, `arguments` what the functions are given besides. `threshold` is the least
    similarity that `match` returns; there is none by default, since it differs from model to model.
    """

    match: str | None = None
    text: str | None = None
    hybrid: str | None = None
    key: str = "id"
    config: str = "simple"
    threshold: float | None = None
    arguments: Record = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for option in ("match", "text", "hybrid", "key", "config"):
            name = getattr(self, option)
            if name is not None and not is_identifier(name):
                raise ConfigurationError(f"{option}: {printable(name)} is no plain name of a function or column")
        if (self.hybrid is None) == (self.match is None and self.text is None):
            raise ConfigurationError("a table is searched by hybrid=…, or by match=…, text=… or both of these")
        if self.threshold is not None and (type(self.threshold) not in (int, float) or not self.match):
            raise ConfigurationError("threshold is a number from -1 to 1, for the function in match=…")
        with located("arguments"):
            object.__setattr__(self, "arguments", entries(self.arguments))

    @property
    def by_meaning(self) -> bool:
        """Whether vectors are compared."""
        return self.match is not None or self.hybrid is not None

    @property
    def by_words(self) -> bool:
        """Whether words are looked for."""
        return self.text is not None or self.hybrid is not None


class HybridRetriever:
    """Finds the records that answer a question, by meaning and by words, fused by reciprocal rank.

    All that is asked goes through the façade's `call` and `query`, so that its policy holds: a function that it does
    not name is refused with TableNotAllowedError, a table that may not be read is left out. A policy's `columns` and
    `rows` hold for queries; a function is allowed as a whole, and only keys are taken from what it returns.

    Each search of each table gives up to `candidates` records. Similarities compare across tables, and so do words,
    so that the tables make one ranking by meaning and one by words. A score of 1 is the first of both.

    `redaction` is applied to the question before the embedder sees it, as it must have been to the rows. The question
    itself goes to your own database, as the words to look for.
    """

    def __init__(
        self,
        tables: Mapping[str, Searched],
        embedder: Embedder | None = None,
        *,
        semantic_weight: float = 1.0,
        full_text_weight: float = 1.0,
        k: int = DEFAULT_K,
        candidates: int = 100,
        redaction: Redaction | None = None,
    ) -> None:
        check_weight("semantic_weight", semantic_weight)
        check_weight("full_text_weight", full_text_weight)
        check_k(k)
        check_positive("candidates", candidates)
        self._tables = declared("tables", tables, Searched)
        needing = [table for table, searched in self._tables.items() if searched.by_meaning]
        if embedder is None and needing:
            raise ConfigurationError(f"searching {', '.join(map(printable, needing))} by meaning needs an embedder")
        self._embedder = embedder
        self._weights = (semantic_weight, full_text_weight)
        self._k = k
        self._candidates = candidates
        self._redaction = redaction

    async def retrieve(
        self, source: ReadOnlyPersistenceFacade, query: str, *, tables: Sequence[str], limit: int
    ) -> list[Relevance]:
        """The best records of these tables, at most `limit`, each once, ties by table and key.

        The first search that fails ends the others, and its error is raised as itself. An empty question finds nothing,
        and nobody is asked.
        """
        return await self._retrieve(source, query, tables, limit, None)

    async def retrieve_within(
        self, source: ReadOnlyPersistenceFacade, query: str, *, tables: Sequence[str], limit: int, scope: ContextScope
    ) -> list[Relevance]:
        """As `retrieve`, of the records in the scope: texts are searched within its filters.

        A function knows no filters. It is asked for five times as many records, and those of them that are in the scope
        are asked for by their keys, one query more for each table.
        """
        return await self._retrieve(source, query, tables, limit, scope)

    async def _retrieve(
        self,
        source: ReadOnlyPersistenceFacade,
        query: str,
        tables: Sequence[str],
        limit: int,
        scope: ContextScope | None,
    ) -> list[Relevance]:
        searched = {
            table: self._tables[table] for table in sorted({*tables} & self._tables.keys() & source.readable_tables)
        }
        if not query.strip() or not searched or limit < 1:
            return []
        search = _Search(source, query, max(self._candidates, limit), self._weights, self._k, scope)
        rankings = await search.rankings(searched, partial(self._embedded, query))
        best = self._best_score(searched.values())
        fused = fuse(rankings, k=self._k)[:limit]
        return [Relevance(table, key, min(score / best, 1.0)) for (table, key), score in fused]

    async def _embedded(self, query: str) -> str:
        """The question's vector as an argument for pgvector."""
        embedder = cast("Embedder", self._embedder)  # asked only for tables that may not be without one
        (vector,) = await embedder.embed([text_of_query(query, self._redaction)])
        return written(vector)

    def _best_score(self, searched: Iterable[Searched]) -> float:
        """What the first of every ranking has."""
        tables = list(searched)
        used = (any(one.by_meaning for one in tables), any(one.by_words for one in tables))
        return best_score((weight for weight, is_used in zip(self._weights, used, strict=True) if is_used), k=self._k)


@dataclass(frozen=True, slots=True)
class _Search:
    """One question to one façade."""

    source: ReadOnlyPersistenceFacade
    query: str
    candidates: int
    weights: tuple[float, float]
    k: int
    scope: ContextScope | None

    async def rankings(self, tables: Mapping[str, Searched], embed: Callable[[], Awaitable[str]]) -> list[Ranking]:
        """One by meaning and one by words over all tables, and one for each table that the database fuses."""
        by_kind = await together([partial(self._by_meaning, tables, embed), partial(self._by_words, tables)])
        return [ranking for rankings in by_kind for ranking in rankings]

    async def _by_meaning(self, tables: Mapping[str, Searched], embed: Callable[[], Awaitable[str]]) -> list[Ranking]:
        asked = {table: searched for table, searched in tables.items() if searched.by_meaning}
        if not asked:
            return []
        vector = await embed()
        answers = await together([partial(self._found, table, searched, vector) for table, searched in asked.items()])
        matched: Scored = []
        fused: list[Ranking] = []
        for (table, searched), rows in zip(asked.items(), answers, strict=True):
            function = searched.match or searched.hybrid or ""
            refs = _refs(table, searched, function, rows)
            if searched.match:
                matched += zip(refs, [_similarity(function, row) for row in rows], strict=True)
            else:
                fused.append(Ranking(refs, sum(self.weights)))
        return [Ranking(_ranked(matched), self.weights[0]), *fused]

    async def _found(self, table: str, searched: Searched, vector: str) -> list[Any]:
        """What the function returns; in a scope, of five times as much what is in it."""
        if self.scope is None:
            return await self._called(searched, vector, self.candidates)
        rows = await self._called(searched, vector, self.candidates * _WIDER)
        keys = [_key(searched.match or searched.hybrid or "", row, searched.key) for row in rows]
        inside = await self._inside(table, {searched.key: in_(keys)}, searched.key)
        there = {row[searched.key] for row in inside}
        return [row for row, key in zip(rows, keys, strict=True) if key in there][: self.candidates]

    async def _inside(self, table: str, sought: Filters, *columns: str) -> list[Row]:
        """Rows that meet a filter and belong to the scope, each once for each condition that it meets."""
        conditions = [None] if self.scope is None else await self.scope.conditions(table)
        asked = [sought if one is None else all_of(sought, one) for one in conditions]
        limit = self.candidates * (1 if self.scope is None else _WIDER)
        answers = await together(
            [partial(self.source.query, table, one, limit=limit, select=list(columns)) for one in asked]
        )
        return [row for rows in answers for row in rows]

    async def _called(self, searched: Searched, vector: str, count: int) -> list[Any]:
        arguments = {**searched.arguments, "query_embedding": vector, "match_count": count}
        if searched.threshold is not None:
            arguments["match_threshold"] = searched.threshold
        if searched.hybrid:
            semantic, full_text = self.weights
            arguments |= {"query_text": any_word(self.query), "rrf_k": self.k}
            arguments |= {"semantic_weight": semantic, "full_text_weight": full_text}
        function = searched.match or searched.hybrid or ""
        rows = await self.source.call(function, arguments)
        if not isinstance(rows, list):
            raise _unlike(function, "rows")
        return rows

    async def _by_words(self, tables: Mapping[str, Searched]) -> list[Ranking]:
        if not any_word(self.query):
            return []
        asked = [(table, searched) for table, searched in tables.items() if searched.text]
        answers = await together([partial(self._worded, table, searched) for table, searched in asked])
        refs = [ref for found, _ in answers for ref in found]
        scores = bm25(frozenset(terms(self.query)), [text for _, texts in answers for text in texts])
        return [Ranking(_ranked(list(zip(refs, scores, strict=True))), self.weights[1])]

    async def _worded(self, table: str, searched: Searched) -> tuple[list[Ref], list[str]]:
        """The records with any of the words, and their texts."""
        text = searched.text or ""
        sought = text_search(any_word(self.query), kind="websearch", config=searched.config)
        rows = await self._inside(table, {text: sought}, searched.key, text)
        return _refs(table, searched, table, rows), [str(row[text]) for row in rows]


def _refs(table: str, searched: Searched, named: str, rows: Iterable[Any]) -> list[Ref]:
    return [(table, _key(named, row, searched.key)) for row in rows]


def _key(named: str, row: Any, column: str) -> str | int:
    key = row.get(column) if isinstance(row, dict) else None
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise _unlike(named, f"rows with a key in {column}")
    return key


def _similarity(function: str, row: Any) -> float:
    similarity = row.get("similarity") if isinstance(row, dict) else None
    if isinstance(similarity, bool) or not isinstance(similarity, (int, float, Decimal)):
        raise _unlike(function, "rows with a similarity")
    return float(similarity)


def _unlike(named: str, expected: str) -> AdapterError:
    return AdapterError(f"{named} returned something else than {expected}; search_sql shows what is expected")


def _ranked(scored: Scored) -> list[Ref]:
    return [ref for ref, _ in sorted(scored, key=lambda pair: (-pair[1], *sort_key(pair[0])))]
