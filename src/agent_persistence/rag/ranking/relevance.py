"""What a retriever is: which records answer a question, and how well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent_persistence.query.filters import Filters
from agent_persistence.service import ReadOnlyPersistenceFacade


@dataclass(frozen=True, slots=True)
class Relevance:
    """How well the record of `table` under `key` answers a query: `score` from 0 (not at all) to 1 (best)."""

    table: str
    key: str | int
    score: float


class Retriever(Protocol):
    """Finds the records that answer a query."""

    async def retrieve(
        self, source: ReadOnlyPersistenceFacade, query: str, *, tables: Sequence[str], limit: int
    ) -> Sequence[Relevance]:
        """The best records first, at most `limit` of them, each once, of `tables` only.

        Reads through `source` alone, so that the policy holds. A table that cannot be searched has no results.
        """
        ...


@dataclass(frozen=True, slots=True)
class ContextScope:
    """Which records of a table belong to the context that is being read."""

    conditions: Callable[[str], Awaitable[Sequence[Filters]]]
    """Filters of a table: a record belongs if it meets one of them, and none does where there are none.

    It waits until the rows are read that decide.
    """


@runtime_checkable
class ScopedRetriever(Retriever, Protocol):
    """Stays inside a context by itself: what it names is not thinned out afterwards."""

    async def retrieve_within(
        self, source: ReadOnlyPersistenceFacade, query: str, *, tables: Sequence[str], limit: int, scope: ContextScope
    ) -> Sequence[Relevance]:
        """As `retrieve`, of the records in the scope."""
        ...


@dataclass(frozen=True, slots=True)
class Search:
    """A question to a retriever."""

    retriever: Retriever
    query: str

    async def ask(
        self, source: ReadOnlyPersistenceFacade, *, tables: Sequence[str], limit: int, scope: ContextScope
    ) -> Sequence[Relevance]:
        """What the retriever names, within the scope if it can stay there by itself."""
        if isinstance(self.retriever, ScopedRetriever):
            return await self.retriever.retrieve_within(source, self.query, tables=tables, limit=limit, scope=scope)
        return await self.retriever.retrieve(source, self.query, tables=tables, limit=limit)
