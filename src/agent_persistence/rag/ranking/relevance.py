"""What a retriever is: which records answer a question, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
