"""Which way the suites go to the server: AGENT_PERSISTENCE_STACK names what is not as by default.

`httpx` sends over that transport what would go over httptools, `shared` lets callers share requests; "httpx shared"
does both. Without it nothing is changed. What is true of a call must be true on each of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import pytest

from agent_persistence import AsyncPersistenceService, SupabaseAdapter
from agent_persistence.context import CallContext
from agent_persistence.filters import Filters, parse_filters
from agent_persistence.operations import Count, Operation, Query, Read, Write
from agent_persistence.pipeline.chain import compose
from agent_persistence.pipeline.coalescing.layer import Coalescing
from agent_persistence.pipeline.coalescing.policy import CoalescePolicy
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.records import Record, Row
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema_registry import default_schema

STACK: Final = frozenset(os.environ.get("AGENT_PERSISTENCE_STACK", "").split())
AT_ONCE: Final = 3

A = TypeVar("A")

if STACK - {"httpx", "shared"}:
    raise ValueError(f"AGENT_PERSISTENCE_STACK is of httpx and shared, not {' '.join(sorted(STACK))}")


def chosen() -> Iterator[None]:
    """While it is suspended, adapters and services are made as STACK says."""
    with pytest.MonkeyPatch.context() as patch:
        if "httpx" in STACK:
            patch.setitem(SupabaseAdapter.__init__.__kwdefaults__ or {}, "transport", "httpx")
        if "shared" in STACK:
            patch.setitem(AsyncPersistenceService.__init__.__kwdefaults__ or {}, "coalesce", True)
        yield


def as_chosen(adapter: A) -> A:
    """The adapter, or one in its place whose callers share requests, several of whom ask for whatever is read."""
    return cast("A", _Crowd(adapter)) if "shared" in STACK else adapter


class _Crowd:
    """Adds nothing to an adapter but shared requests, and callers to share them."""

    def __init__(self, adapter: Any) -> None:
        shared = Coalescing(CoalescePolicy(), ClientKeys(default_schema(), False), clock=time.monotonic)
        self._adapter = adapter
        self._chain = compose([shared], dispatch_to(adapter, time.monotonic))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def _asked(self, operation: Operation) -> Any:
        answers = await together([partial(self._chain, operation, CallContext())] * AT_ONCE)
        assert all(answer == answers[0] for answer in answers)
        return answers[0].value

    async def write(self, table: str, record: Record) -> Row:
        row: Row = (await self._chain(Write(table, record), CallContext())).value
        return row

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        row: Row | None = await self._asked(Read(table, id_value, id_column))
        return row

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        order, columns = parse_order(table, order_by, descending), None if select is None else tuple(select)
        rows: list[Row] = await self._asked(Query(table, parse_filters(table, filters), limit, order, columns, offset))
        return rows

    async def count(self, table: str, filters: Filters | None = None) -> int:
        found: int = await self._asked(Count(table, parse_filters(table, filters)))
        return found
