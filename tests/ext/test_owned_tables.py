"""Two users and two tenants through each integration, with the same names, and neither sees anything of the other."""

# persistence-guard: allow-file AP001 one adapter for the users of each test

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, cast

import anyio
import pytest
from agents.items import TResponseInputItem
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, empty_checkpoint
from pydantic_ai.messages import ModelRequest, UserPromptPart

from agent_persistence import (
    AdapterError,
    InMemoryAdapter,
    PersistenceAdapter,
    PersistenceAgent,
    PostgresAdapter,
    Schema,
    SupabaseAdapter,
    TenantScope,
    create_persistence_agent,
)
from agent_persistence.ext._tables.frameworks import FRAMEWORKS
from agent_persistence.ext.langgraph import Checkpointer, OwnerColumn, Store
from agent_persistence.ext.openai_agents import AgentSession
from agent_persistence.ext.pydantic_ai import history
from tests.cli.program import ran
from tests.ext.backends import UID, allowing
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio
ADA, BOB = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
USERS = OwnerColumn("user_id", "uuid", default="auth.uid()")
TENANTS = OwnerColumn("tenant_id", "text")
INSTALL = ("sql", "install", "--for", ",".join(FRAMEWORKS))
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
TOLD: CheckpointMetadata = {"source": "loop", "step": 0, "parents": {}}


def tables(owner: OwnerColumn) -> dict[str, Any]:
    return {name: table for own in FRAMEWORKS.values() for name, table in own.declared(owner).items()}


def said(text: str) -> TResponseInputItem:
    return {"role": "user", "content": text}


async def used(agent: PersistenceAgent, name: str) -> None:
    """Everything that keeps rows keeps some under the same names."""
    checkpoint = {**empty_checkpoint(), "channel_values": {"a": name}, "channel_versions": {"a": "1"}}
    saver = Checkpointer(agent)
    stored = await saver.aput(CONFIG, cast("Any", checkpoint), TOLD, {"a": "1"})
    await saver.aput(CONFIG, cast("Any", checkpoint), TOLD, {"a": "1"})  # and once more, merged
    await saver.aput_writes(stored, [("a", name)], "task")
    await Store(agent).aput(("n",), "k", {"by": name})
    session = AgentSession(agent, "s")
    await session.add_items([said(name)])
    await session.replace_items([said(f"{name} again")], expected=[said(name)])
    await history(agent, "c").append([ModelRequest(parts=[UserPromptPart(name)], run_id=name)])


async def seen(agent: PersistenceAgent) -> set[str]:
    """What there is, by whom."""
    found = await Checkpointer(agent).aget_tuple(CONFIG)
    listed = [one async for one in Checkpointer(agent).alist(None)]
    items = await Store(agent).asearch(())
    turns = cast("list[dict[str, Any]]", await AgentSession(agent, "s").get_items())
    said_before = [request.parts[0].content for request in cast("list[Any]", await history(agent, "c").load())]
    if found is None:
        assert [listed, items, turns, said_before] == [[], [], [], []]
        return set()
    assert len(listed) == len(items) == len(turns) == len(said_before) == 1
    assert [value for _, _, value in found.pending_writes or ()] == [found.checkpoint["channel_values"]["a"]]
    return {
        found.checkpoint["channel_values"]["a"],
        items[0].value["by"],
        turns[0]["content"].removesuffix(" again"),
        *said_before,
    }


async def cleared(agent: PersistenceAgent) -> None:
    await Checkpointer(agent).aprune(["1"], strategy="delete")
    await Store(agent).adelete(("n",), "k")
    await AgentSession(agent, "s").clear_session()
    await agent.delete("pydantic_ai_messages", {"conversation_id": "c"})


async def are_apart(ada: PersistenceAgent, bob: PersistenceAgent) -> None:
    await used(ada, "ada")
    assert await seen(bob) == set()
    await used(bob, "bob")
    assert [await seen(ada), await seen(bob)] == [{"ada"}, {"bob"}]
    await cleared(ada)
    assert [await seen(ada), await seen(bob)] == [set(), {"bob"}]


@asynccontextmanager
async def installed(server: LocalServer, owner: OwnerColumn, name: str) -> AsyncIterator[PersistenceAdapter]:
    """An adapter for the tables as the command makes them, with the owner's column; afterwards they are gone."""
    server.execute(UID)
    server.execute(ran(*INSTALL, "--tenant" if owner is TENANTS else "--owner", owner.name).out)
    server.reload_schema()
    key = server.service_key if owner is TENANTS else server.anon_key
    adapter: PersistenceAdapter = (
        PostgresAdapter(server.database_url, role=None if owner is TENANTS else "authenticated")
        if name == "postgres"
        else SupabaseAdapter(server.url, key)
    )
    try:
        yield adapter
    finally:
        await adapter.aclose()
        server.execute(f"drop table {', '.join(tables(owner))}")
        server.reload_schema()


@pytest.mark.parametrize("name", ["postgres", "supabase"])
async def test_two_users_are_apart(server: LocalServer, name: str) -> None:
    """Row-level security decides, by the user of each request; their names may be the same."""
    async with installed(server, USERS, name) as adapter:
        agent = create_persistence_agent(adapter=adapter, **allowing(tables(USERS)))
        users = [
            agent.as_user(claims={"sub": sub, "role": "authenticated"})
            if name == "postgres"
            else agent.as_user(access_token=server.token(sub=sub))
            for sub in (ADA, BOB)
        ]
        await are_apart(*users)
        assert server.execute("select distinct user_id::text as id from agent_session_items") == [{"id": BOB}]
        with pytest.raises(AdapterError):  # control: nobody owns what nobody stores
            await Store(agent.as_user(access_token=server.anon_key) if name == "supabase" else agent).aput(
                ("n",), "x", {}
            )


async def test_users_of_one_checkpointer_never_share_a_request(server: LocalServer) -> None:
    """Where the adapter is told the user of each call, by whatever carries out the request."""
    user: ContextVar[str] = ContextVar("user")
    claims = lambda: {"sub": user.get(), "role": "authenticated"}  # noqa: E731
    async with installed(server, USERS, "postgres"):
        adapter = PostgresAdapter(server.database_url, role="authenticated", claims=claims)
        saver = Checkpointer(create_persistence_agent(adapter=adapter, **allowing(tables(USERS))))

        async def put(own: str, thread: str) -> None:
            user.set(own)
            config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
            await saver.aput(config, empty_checkpoint(), TOLD, {})

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(put, ADA if number % 2 else BOB, f"{number % 2}")
        await adapter.aclose()
        rows = server.execute(
            "select user_id::text as id, thread_id as thread, count(*) as n from langgraph_checkpoint_parts"
            " group by 1, 2 order by 1"
        )
    assert rows == [{"id": ADA, "thread": "1", "n": 6}, {"id": BOB, "thread": "0", "n": 6}]


@pytest.mark.parametrize("name", ["memory", "postgres", "supabase"])
async def test_two_tenants_are_apart(request: pytest.FixtureRequest, name: str) -> None:
    """The service adds the tenant to whatever is read and written."""
    options = allowing(tables(TENANTS))
    if name == "memory":
        adapter: PersistenceAdapter = InMemoryAdapter(schema=Schema(tables(TENANTS)))
        await _tenants_are_apart(adapter, options)
        return
    server: LocalServer = request.getfixturevalue("server")
    async with installed(server, TENANTS, name) as adapter:
        await _tenants_are_apart(adapter, options)


async def _tenants_are_apart(adapter: PersistenceAdapter, options: dict[str, Any]) -> None:
    ada, bob = (
        create_persistence_agent(adapter=adapter, tenant=TenantScope(tenant), **options) for tenant in ("acme", "bolt")
    )
    await are_apart(ada, bob)
