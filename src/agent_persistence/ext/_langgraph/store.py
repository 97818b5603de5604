"""LangGraph's store over an agent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import ValidationError
from agent_persistence.ext._embeddings.embedder import Embedder
from agent_persistence.ext._langgraph import items
from agent_persistence.ext._langgraph.items import SHOWN, alive, below, found, item, written
from agent_persistence.ext._langgraph.similarity import Index
from agent_persistence.ext._short_lists import short_lists
from agent_persistence.ext._tables.checking import checked_agent
from agent_persistence.ext._tables.langgraph import ITEMS as TABLE, MEMORIES
from agent_persistence.ext._tables.owning import OwnerColumn
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.query.filters import Filters, all_of, gt, in_, lte
from agent_persistence.query.ordering import asc, desc
from agent_persistence.query.records import Row
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.registry import Table
from agent_persistence.service import AsyncPersistenceService
from agent_persistence.sync import wait_for

PAGE_ROWS: Final = 500
READS_AT_ONCE: Final = 8


class Store(BaseStore):
    """Keeps LangGraph's long-term memory where the agent keeps its rows, under the agent's policy and user.

        graph = builder.compile(store=Store(agent, embedder))

    Reads of a batch see what was there before it, and of several puts of one key the last counts. The puts of a batch
    are stored by one statement, all or none; deletions follow, one statement for each namespace. A value is a JSON
    object and comes back exactly as it was put. Searches give the item that was put last first, or with a `query` and
    an embedder the nearest first. What has expired is not shown, and is deleted by `asweep`.

    The blocking methods run in the background loop of `agent_persistence.sync` and work within a running loop, too.
    """

    supports_ttl = True

    def __init__(
        self,
        agent: PersistenceAgent | AsyncPersistenceService,
        embedder: Embedder | None = None,
        *,
        fields: Sequence[str] = ("$",),
        ttl: TTLConfig | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._agent: AllVerbs = checked_agent(agent, MEMORIES.tables, "Store")
        self._key = self._agent.schema.primary_key(TABLE)
        self._index = None if embedder is None else Index(embedder, fields)
        self._clock = clock
        self.ttl_config = ttl

    @staticmethod
    def tables(owner: OwnerColumn | None = None) -> dict[str, Table]:
        """The declaration of the table, for the agent's Schema; its name belongs in read, write and delete."""
        return MEMORIES.declared(owner)

    @staticmethod
    def sql(owner: OwnerColumn | None = None, *, db_schema: str = "public", row_level_security: bool = True) -> str:
        """SQL that makes the table, for its owner to read and run. Nothing here runs it."""
        return MEMORIES.sql(owner, db_schema=db_schema, row_level_security=row_level_security)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """`abatch`, waited for."""
        return wait_for(self.abatch, list(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The results of all operations, in their order."""
        asked = list(ops)
        puts = {(op.namespace, op.key): op for op in asked if isinstance(op, PutOp)}
        now = self._clock()
        records = await self._records([put for put in puts.values() if put.value is not None], now)
        gets = await self._got([op for op in asked if isinstance(op, GetOp)], now)
        others = [op for op in asked if not isinstance(op, (GetOp, PutOp))]
        answers = iter(await together([partial(self._answer, op, now) for op in others], at_once=READS_AT_ONCE))
        results = [
            gets.get((written(op.namespace), op.key))
            if isinstance(op, GetOp)
            else None
            if isinstance(op, PutOp)
            else next(answers)
            for op in asked
        ]
        await self._apply(records, [put for put in puts.values() if put.value is None])
        return results

    async def asweep(self) -> int:
        """Delete what has expired, and return how much that was."""
        return len(await self._agent.delete(TABLE, {"expires_at": lte(self._clock())}))

    def sweep(self) -> int:
        """`asweep`, waited for."""
        return wait_for(self.asweep)

    async def _answer(self, op: Op, now: datetime) -> Result:
        if isinstance(op, SearchOp):
            return await self._search(op, now)
        if isinstance(op, ListNamespacesOp):
            return await self._namespaces(op, now)
        raise ValidationError(TABLE, f"a batch holds operations of langgraph.store.base, not {type(op).__name__}")

    async def _records(self, puts: Sequence[PutOp], now: datetime) -> list[dict[str, Any]]:
        """The rows of the puts, in the order of their keys, in which no two batches can wait for each other."""
        vectors = [None] * len(puts) if self._index is None else await self._index.vectors(puts)
        records = [items.record(put, made, now) for put, made in zip(puts, vectors, strict=True)]
        return sorted(records, key=lambda record: (record["namespace"], record["key"]))

    async def _apply(self, records: Sequence[dict[str, Any]], deletions: Sequence[PutOp]) -> None:
        """The one place where a batch's writes are sent."""
        if records:
            await self._agent.bulk_write(TABLE, records, self._key)
        for namespace, keys in _by_namespace(deletions):
            await self._agent.delete(TABLE, {"namespace": namespace, "key": in_(keys)})

    async def _got(self, gets: Sequence[GetOp], now: datetime) -> dict[tuple[str, str], Result]:
        calls = [
            partial(self._rows, [{"namespace": namespace, "key": in_(keys)}], now)
            for namespace, keys in _by_namespace(gets)
        ]
        rows = [row for some in await together(calls, at_once=READS_AT_ONCE) for row in some] if calls else []
        refreshed = {(written(op.namespace), op.key) for op in gets if op.refresh_ttl}
        await self._refresh([row for row in rows if (row["namespace"], row["key"]) in refreshed], now)
        return {(row["namespace"], row["key"]): item(row) for row in rows}

    async def _rows(self, filters: Sequence[Filters], now: datetime) -> list[Row]:
        return await self._agent.query(TABLE, all_of(*filters, alive(now)), select=SHOWN)

    async def _search(self, op: SearchOp, now: datetime) -> list[SearchItem]:
        items.check_filter(op.filter)
        if op.limit < 0 or op.offset < 0:
            raise ValidationError(TABLE, "limit and offset are not negative")
        if op.query and self._index is not None:
            shown = await self._nearest(self._index, op, now)
        else:
            shown = [(row, None) for row in await self._newest(op, now)]
        if op.refresh_ttl:
            await self._refresh([row for row, _ in shown], now)
        return [found(row, score) for row, score in shown]

    async def _newest(self, op: SearchOp, now: datetime) -> list[Row]:
        """The items of a search, the one that was put last first, read as far as they are needed."""
        selected = [*below(op.namespace_prefix), *items.narrowed(op.filter), alive(now)]
        order = [desc("updated_at"), asc("namespace"), asc("key")]
        wanted, matching, read = op.offset + op.limit, list[Row](), 0
        while len(matching) < wanted:
            size = PAGE_ROWS if op.filter else min(PAGE_ROWS, wanted - len(matching))
            rows = await self._agent.query(TABLE, all_of(*selected), size, order, select=SHOWN, offset=read)
            matching += [row for row in rows if not op.filter or items.matches(found(row).value, op.filter)]
            read += len(rows)
            if len(rows) < size:
                break
        return matching[op.offset : wanted]

    async def _nearest(self, index: Index, op: SearchOp, now: datetime) -> list[tuple[Row, float | None]]:
        """The items of a search, the nearest first, and behind them those without a vector.

        Every vector below the prefix is read, which is exact; the values only of what is shown, or where a filter
        needs them.
        """
        columns = ("namespace", "key", "vectors", *(SHOWN if op.filter else ()))
        selected = [*below(op.namespace_prefix), *items.narrowed(op.filter), alive(now)]
        rows = await self._agent.query(TABLE, all_of(*selected), select=list(dict.fromkeys(columns)))
        rows = [row for row in rows if not op.filter or items.matches(found(row).value, op.filter)]
        scores = await index.scores(op.query or "", rows)
        keys = sorted(
            ((row["namespace"], row["key"]) for row in rows),
            key=lambda key: (-scores[key], key) if key in scores else (2.0, key),
        )[op.offset : op.offset + op.limit]
        values = await self._values(keys, now)
        return [(values[key], scores.get(key)) for key in keys if key in values]

    async def _values(self, keys: Sequence[tuple[str, str]], now: datetime) -> dict[tuple[str, str], Row]:
        wanted: dict[str, list[str]] = defaultdict(list)
        for namespace, key in keys:
            wanted[namespace].append(key)
        calls = [
            partial(self._rows, [{"namespace": namespace, "key": in_(some)}], now)
            for namespace, all_keys in wanted.items()
            for some in short_lists(all_keys)
        ]
        rows = [row for some in await together(calls, at_once=READS_AT_ONCE) for row in some] if calls else []
        return {(row["namespace"], row["key"]): row for row in rows}

    async def _refresh(self, rows: Sequence[Row], now: datetime) -> None:
        """What was read lives as long again as it was given when it was put."""
        groups: dict[tuple[str, float], list[str]] = defaultdict(list)
        for row in rows:
            if row["ttl_minutes"] is not None:
                groups[row["namespace"], float(row["ttl_minutes"])].append(row["key"])
        for (namespace, ttl), keys in groups.items():
            changes = {"expires_at": now + timedelta(minutes=ttl)}
            for some in short_lists(keys):
                await self._agent.update(TABLE, changes, {"namespace": namespace, "key": in_(some)})

    async def _namespaces(self, op: ListNamespacesOp, now: datetime) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        selected = [*below(items.fixed_prefix(conditions)), alive(now)]
        names: set[tuple[str, ...]] = set()
        behind: list[Filters] = []
        while True:
            rows = await self._agent.query(
                TABLE, all_of(*selected, *behind), PAGE_ROWS, ["namespace", "key"], select=["namespace", "key"]
            )
            names |= {items.read(row["namespace"]) for row in rows}
            if len(rows) < PAGE_ROWS:
                break
            behind = [{"namespace": gt(rows[-1]["namespace"])}]  # the rest of this namespace shows nothing new
        matching = {name for name in names if all(items.fits(condition, name) for condition in conditions)}
        cut = matching if op.max_depth is None else {name[: op.max_depth] for name in matching}
        return sorted(cut)[op.offset : op.offset + op.limit]


def _by_namespace(ops: Iterable[GetOp | PutOp]) -> Iterable[tuple[str, list[str]]]:
    """The keys of the operations by namespace, no more at once than one request takes."""
    keys: dict[str, list[str]] = defaultdict(list)
    for op in dict.fromkeys((op.namespace, op.key) for op in ops):
        keys[written(op[0])].append(op[1])
    for namespace, some in sorted(keys.items()):
        for keys_at_once in short_lists(some):
            yield namespace, keys_at_once
