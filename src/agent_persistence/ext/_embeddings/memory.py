"""The search functions of a database, in Python, for the in-memory adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from agent_persistence.backends.memory.adapter import InMemoryAdapter
from agent_persistence.exceptions import AdapterError, ValidationError
from agent_persistence.query.filters import Filters, not_null
from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.fusion import Ranking, Ref, fuse
from agent_persistence.rag.ranking.lexical import bm25, terms
from agent_persistence.rag.ranking.vectors import Vector, nearest, written

_NOT_GIVEN: Final = object()


class MemorySearch:
    """What `search_sql` makes for one table, over the rows of an InMemoryAdapter.

    `functions()` goes into the adapter's `functions=`; the adapter is given as a function, since it is made later:

        adapter = InMemoryAdapter(functions=MemorySearch(lambda: adapter, "messages").functions())

    Vectors are compared by exact cosine, with the results of pgvector without an index. Words are ranked by BM25 over
    the table, not by ts_rank_cd; a text with any word of the question is found. Every call looks at every row.
    """

    def __init__(
        self,
        adapter: Callable[[], InMemoryAdapter],
        table: str,
        *,
        text: str = "content",
        vector: str = "embedding",
        key: str = "id",
        tenant: str | None = None,
    ) -> None:
        self._adapter = adapter
        self._table = table
        self._text = text
        self._vector = vector
        self._key = key
        self._tenant = tenant
        self._read: dict[str, Vector] = {}

    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """The two functions by the names that `search_sql` gives them."""
        return {f"match_{self._table}": self.match, f"hybrid_search_{self._table}": self.hybrid_search}

    async def match(
        self,
        query_embedding: str,
        match_threshold: float | None = None,
        match_count: int = 10,
        tenant: object = _NOT_GIVEN,
    ) -> list[Row]:
        """The keys of the nearest rows and their similarities, the best first, ties by key."""
        rows = await self._rows(tenant, {self._vector: not_null()}, self._vector)
        found = self._nearest(rows, query_embedding, match_count, match_threshold)
        return [{self._key: key, "similarity": similarity} for key, similarity in found]

    async def hybrid_search(
        self,
        query_text: str,
        query_embedding: str,
        match_count: int = 10,
        full_text_weight: float = 1,
        semantic_weight: float = 1,
        rrf_k: int = 50,
        tenant: object = _NOT_GIVEN,
    ) -> list[Row]:
        """The keys of the rows that words and vectors find, and their fused scores, the best first, ties by key."""
        rows = await self._rows(tenant, None, self._vector, self._text)
        depth = max(match_count, 0) * 2
        similar = self._nearest(rows, query_embedding, depth, None)
        rankings = [
            Ranking([self._ref(key) for key, _ in similar], semantic_weight),
            Ranking(self._worded(rows, query_text)[:depth], full_text_weight),
        ]
        fused = fuse(rankings, k=rrf_k)[: max(match_count, 0)]
        return [{self._key: key, "score": score} for (_, key), score in fused]

    def _nearest(
        self, rows: list[Row], query_embedding: str, count: int, threshold: float | None
    ) -> list[tuple[Any, float]]:
        stored = [(row[self._key], _text(row[self._vector])) for row in rows if row[self._vector] is not None]
        with _refused("22P02"):
            self._read = {text: self._read.get(text) or Vector.read(text) for _, text in stored}
            query = Vector.read(query_embedding)
        with _refused("22000"):
            return nearest(query, [(key, self._read[text]) for key, text in stored], count, threshold=threshold)

    def _worded(self, rows: list[Row], query_text: str) -> list[Ref]:
        scores = bm25(frozenset(terms(query_text)), [row[self._text] or "" for row in rows])
        found = [(-score, row[self._key]) for score, row in zip(scores, rows, strict=True) if score]
        return [self._ref(key) for _, key in sorted(found)]

    def _ref(self, key: Any) -> Ref:
        return self._table, key

    async def _rows(self, tenant: object, filters: Mapping[str, Any] | None, *columns: str) -> list[Row]:
        if (self._tenant is None) != (tenant is _NOT_GIVEN):
            expected = "takes no tenant" if self._tenant is None else "needs the argument tenant"
            raise AdapterError(f"the search of {self._table} {expected}", status=404, code="PGRST202")
        own: Filters = {**(filters or {}), **({} if self._tenant is None else {self._tenant: tenant})}
        return await self._adapter().query(self._table, own, select=[self._key, *columns])


def _text(vector: str | list[float]) -> str:
    """The vector as a text; a list may have been written, which the database takes too."""
    return vector if isinstance(vector, str) else written(vector)


@contextmanager
def _refused(code: str) -> Iterator[None]:
    """What is wrong with a vector is the database's refusal, with its SQLSTATE."""
    try:
        yield
    except ValidationError as error:
        raise AdapterError(error.problems[0], status=400, code=code) from error
