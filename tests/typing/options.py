"""Only type-checked: the options of a service, prompts, observers, and the same verbs without await."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, assert_type

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    PersistenceAgent,
    RAGContext,
    ReadOnlyPersistenceFacade,
    Redaction,
    RetryPolicy,
    Schema,
    build_rag_context,
    create_persistence_agent,
    sync,
)
from agent_persistence.legacy import DBWriteAgent
from agent_persistence.pipeline.caching.policy import CachePolicy
from agent_persistence.pipeline.coalescing.policy import CoalescePolicy
from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded
from agent_persistence.policy.tenant import TenantScope


class Watch:
    """An observation: it may know less than it is told."""

    def attempt_failed(self, attempt: AttemptFailed, /) -> None: ...

    def ended(self, end: CallEnded, /) -> None: ...


def watch(call: CallBegun) -> Watch:
    assert_type(call.table, str)
    return Watch()


def forgetful(call: CallBegun) -> None: ...


AsyncPersistenceService(
    InMemoryAdapter(functions={"won_leads": len}),
    retry=False,
    schema=Schema.default(),
    mask_reads=Redaction.default(),
    tenant=TenantScope("acme"),
    cache=CachePolicy(ttl_s=5),
    coalesce=CoalescePolicy(),
    observers=[watch],
    client_keys={"notes": "id", "leads": None},
    row_cap=1000,
)
AsyncPersistenceService(InMemoryAdapter(), cache=True, coalesce=True, observers=watch, client_keys=False)
AsyncPersistenceService(InMemoryAdapter(), observers=forgetful)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AsyncPersistenceService(InMemoryAdapter(), tenant="acme")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AsyncPersistenceService(InMemoryAdapter(), cash=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
AsyncPersistenceService(InMemoryAdapter(), None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def bounding(agent: PersistenceAgent, facade: ReadOnlyPersistenceFacade) -> None:
    assert_type(agent.with_options(deadline_s=2), PersistenceAgent)
    assert_type(facade.with_options(retry=RetryPolicy(attempts=2)), ReadOnlyPersistenceFacade)
    assert_type(agent.iterate("leads", order_by="email"), AsyncGenerator[dict[str, Any], None])
    assert_type(await agent.count("leads"), int)
    assert_type(await agent.update("leads", {"status": "won"}, {"id": "1"}, max_affected=1), list[dict[str, Any]])
    assert_type(await agent.delete("leads", {"id": "1"}), list[dict[str, Any]])

    await agent.update("leads", {"status": "won"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await agent.delete("leads")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await agent.iterate("leads")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


async def prompting(agent: PersistenceAgent) -> None:
    context = await build_rag_context(agent, limits={"leads": 5}, max_tokens=500, on_error="partial")
    assert_type(context, RAGContext)
    assert_type(context.to_prompt("markdown"), str)
    assert_type(context.complete, bool)

    context.to_prompt("html")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await build_rag_context(agent, on_error="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await build_rag_context(InMemoryAdapter())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def blocking() -> None:
    with sync.create_persistence_agent("memory") as agent:
        assert_type(agent, sync.PersistenceAgent)
        assert_type(agent.write("leads", {"email": "a"}), dict[str, Any])
        assert_type(agent.query("leads", limit=5), list[dict[str, Any]])
        assert_type(agent.iterate("leads"), Iterator[dict[str, Any]])
        assert_type(agent.readonly(), sync.ReadOnlyPersistenceFacade)
        assert_type(sync.build_rag_context(agent), RAGContext)

        agent.write("leads")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        assert_type(agent.write("leads", {}), dict[str, Any])
        assert_type(agent.write("leads", {}, on_duplicate="ignore"), dict[str, Any] | None)
        agent.readonly().write("leads", {})  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(DBWriteAgent("memory").write("leads", {"email": "a"}), dict[str, Any])


def misspelt(agent: sync.PersistenceAgent) -> None:
    create_persistence_agent("memroy")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    create_persistence_agent("memory", polcy=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    sync.create_persistence_agent("memory", cache="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync.bulk_import(agent, "leads", "l.csv", chunk_rowz=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    agent.as_user(acess_token="t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(agent.as_user(actor="ada").with_options(retry=False), sync.PersistenceAgent)


async def mixed_up() -> None:
    create_persistence_agent("memory").write("leads", {}).get("id")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
