"""Only type-checked: correct use passes, and wrong use is marked, so that an unused mark fails the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

from pydantic import BaseModel

from agent_persistence import (
    NULL,
    AsyncPersistenceService,
    AuditEvent,
    InMemoryAdapter,
    Middleware,
    Next,
    Operation,
    PersistenceAdapter,
    PersistenceAgent,
    ReadOnlyPersistenceFacade,
    Result,
    RetryPolicy,
    TablePolicy,
    all_of,
    any_of,
    asc,
    create_persistence_agent,
    create_readonly_rag_facade,
    desc,
    gte,
    in_,
    lt,
    metrics,
    not_,
)
from agent_persistence.filters import Filters
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row


class Lead(BaseModel):
    email: str


async def reading(facade: ReadOnlyPersistenceFacade) -> None:
    assert_type(await facade.read("leads", "1"), dict[str, Any] | None)
    assert_type(await facade.query("leads", {"score": gte(0.5), "deleted_at": None}), list[dict[str, Any]])
    assert_type(await facade.get_columns("leads"), list[str] | None)
    assert_type(facade.capabilities, Mapping[str, bool])
    await facade.query("leads", any_of({"status": in_(["a", "b"])}, {"score": all_of(gte(0.2), lt(0.9))}))
    await facade.query("leads", not_({"a": 1}), 5, [desc("score"), "email", asc("id")], select=["id"], offset=5)
    async with facade as same:
        assert_type(same, ReadOnlyPersistenceFacade)

    await facade.query("leads", "status=new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await facade.query("leads", limit="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await facade.query("leads", order_by=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await facade.query("leads", None, None, None, False, None, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await facade.read(5, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    in_(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    asc(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def writing(agent: PersistenceAgent, service: AsyncPersistenceService) -> None:
    assert_type(await agent.write("leads", {"email": "a", "notes": NULL}), dict[str, Any])
    assert_type(await agent.write("leads", Lead(email="a")), dict[str, Any])
    assert_type(await agent.batch_write("leads", [{"email": "a"}, Lead(email="b")]), list[dict[str, Any]])
    assert_type(await agent.upsert("leads", {"email": "a"}, ["email"]), dict[str, Any])
    assert_type(agent.service, AsyncPersistenceService)
    assert_type(agent.readonly(), ReadOnlyPersistenceFacade)
    await service.write("leads", {"email": "a"})

    await agent.write("leads", "email")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await agent.write({"email": "a"})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await agent.batch_write("leads", {"email": "a"})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert_type(await agent.write("leads", {}, on_duplicate="ignore"), dict[str, Any] | None)
    assert_type(await agent.write("leads", {}, on_duplicate="error"), dict[str, Any])
    assert_type(
        await agent.batch_write("leads", [], on_duplicate="ignore", on_conflict=["id"]), list[dict[str, Any] | None]
    )
    await agent.write("leads", {}, on_duplicate="skip")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await agent.write("leads", {}, on_conflict=["id"])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await agent.upsert("leads", {"email": "a"}, on_conflict=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def making() -> None:
    assert_type(create_persistence_agent("memory"), PersistenceAgent)
    assert_type(create_readonly_rag_facade(kind="memory"), ReadOnlyPersistenceFacade)
    create_persistence_agent("memory", tables=["leads"], merge_defaults=True, retry=RetryPolicy(attempts=2))
    TablePolicy(read=frozenset({"leads"}), max_rows=10)
    figures: dict[str, dict[str, dict[str, float]]] = metrics.snapshot()
    assert_type(figures["write"]["leads"]["p99_ms"], float)

    create_persistence_agent(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    create_persistence_agent("memory", adapter=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TablePolicy(frozenset({"leads"}))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RetryPolicy(attempt=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    TablePolicy().read = frozenset()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def function(operation: Operation, call_next: Next) -> Result:
    assert_type(operation.verb, str)
    assert_type(operation.table, str)
    return await call_next(operation)


class Instance:
    async def __call__(self, operation: Operation, call_next: Next) -> Result:
        return Result([], attempts=0)


def wrong(operation: Operation, call_next: Next) -> Result:
    return Result([])


def hook(event: AuditEvent) -> None:
    assert_type(event.outcome == "denied", bool)


async def later(event: AuditEvent) -> None:
    hook(event)


layers: list[Middleware] = [function, Instance()]
AsyncPersistenceService(InMemoryAdapter(), middleware=layers, audit=[hook, later])
AsyncPersistenceService(InMemoryAdapter(), audit=later)
AsyncPersistenceService(InMemoryAdapter(), middleware=[wrong])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


class Minimal:
    """A third party's adapter: these members make it one."""

    capabilities: Mapping[str, bool] = {"equality_filters": True}

    async def write(self, table: str, record: Record) -> Row:
        return dict(record)

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        return [dict(record) for record in records]

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        return dict(record)

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        return None

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
        return []

    async def get_columns(self, table: str) -> list[str] | None:
        return None

    async def aclose(self) -> None: ...


class Incomplete:
    capabilities: Mapping[str, bool] = {}

    async def write(self, table: str, record: Record) -> Row:
        return dict(record)


adapter: PersistenceAdapter = Minimal()
incomplete: PersistenceAdapter = Incomplete()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
