"""Building a context: which rows, how concurrently, and what happens when a table fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import anyio
import pytest
import pytest_asyncio

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    PersistenceAgent,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    build_rag_context,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.policy import BUSINESS_TABLES
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import default_schema
from examples import crm_data
from examples.crm_demo import MAYA

FIVE = ("clients", "campaigns", "leads", "conversations", "messages")


class Watched(InMemoryAdapter):
    """Notes which queries are under way together, and fails, waits or hangs where told."""

    def __init__(self) -> None:
        rows = {table: crm_data.rows(table) for table in crm_data.PARENTS_FIRST}
        super().__init__(rows, schema=default_schema())
        self.fails: dict[str, Exception] = {}
        self.gates: dict[str, anyio.Event] = {}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.all_started = anyio.Event()
        self.expected = len(FIVE)

    async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
        self.started.append(table)
        if len(self.started) == self.expected:
            self.all_started.set()
        try:
            if table in self.gates:
                await self.gates[table].wait()
            if table in self.fails:
                raise self.fails[table]
            return await super().query(table, *args, **options)
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(table)
            raise


def _agent(adapter: InMemoryAdapter, **options: Any) -> PersistenceAgent:
    return PersistenceAgent(AsyncPersistenceService(adapter, retry=False, **options))


@pytest_asyncio.fixture
async def adapter() -> AsyncIterator[Watched]:
    yield Watched()


pytestmark = pytest.mark.asyncio


async def test_independent_tables_are_queried_at_the_same_time(adapter: Watched) -> None:
    """All five queries have started before any has ended."""
    adapter.gates = dict.fromkeys(FIVE, adapter.all_started)
    with anyio.fail_after(60):
        await build_rag_context(_agent(adapter), follow_relations=False)
    assert sorted(adapter.started) == sorted(FIVE)


async def test_a_table_starts_as_soon_as_its_own_parents_are_known(adapter: Watched) -> None:
    """Messages wait for conversations, not for the slower clients."""
    never = anyio.Event()
    adapter.gates = {"clients": never, "campaigns": never}
    with anyio.move_on_after(60) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(build_rag_context, _agent(adapter))
            await adapter.all_started.wait()
            group.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert adapter.started.index("messages") == 4


async def test_the_world_of_one_lead(adapter: Watched) -> None:
    """Her client and campaign, her conversations, their messages, newest first, and nobody else's."""
    context = await build_rag_context(_agent(adapter), lead_filters={"email": MAYA}, limits={"messages": 5})
    (lead,) = context.leads
    assert [row["id"] for row in context.clients] == [lead["client_id"]]
    assert [row["id"] for row in context.campaigns] == [lead["campaign_id"]]
    assert {row["lead_id"] for row in context.conversations} == {lead["id"]}
    assert {row["conversation_id"] for row in context.messages} <= {row["id"] for row in context.conversations}
    assert len(context.messages) == 5
    times = [row["created_at"] for row in context.messages]
    assert times == sorted(times, reverse=True)
    told = {table: (told["fetched"], told["kept"], told["more_exist"]) for table, told in context.report.items()}
    assert told["messages"] == (6, 5, True)
    assert told["leads"] == (1, 1, False)


async def test_a_lead_that_does_not_exist_has_no_conversations(adapter: Watched) -> None:
    """A filter without a match yields nothing, never everyone's, and costs one query of each table at most, at once."""
    context = await build_rag_context(_agent(adapter), lead_filters={"email": "nobody@x.io"})
    assert [getattr(context, table) for table in FIVE] == [[], [], [], [], []]
    assert sorted(adapter.started) == sorted(FIVE)


async def test_leads_that_no_filter_names_and_that_are_not_there_cost_one_query(adapter: Watched) -> None:
    """Nothing else is asked for."""
    context = await build_rag_context(_agent(adapter), lead_filters={"status": "nowhere"})
    assert [getattr(context, table) for table in FIVE] == [[], [], [], [], []]
    assert adapter.started == ["leads"]


async def test_five_tables_are_five_queries(adapter: Watched) -> None:
    """However many rows there are: none is asked for by itself."""
    await build_rag_context(_agent(adapter), limits=dict.fromkeys(FIVE, 400))
    assert sorted(adapter.started) == sorted(FIVE)


async def test_filters_of_several_tables_must_all_hold(adapter: Watched) -> None:
    """A conversation filter narrows the lead's conversations."""
    context = await build_rag_context(
        _agent(adapter), lead_filters={"email": MAYA}, conversation_filters={"channel": "phone"}
    )
    assert {(row["lead_id"], row["channel"]) for row in context.conversations} == {(context.leads[0]["id"], "phone")}


async def test_a_message_filter_alone_finds_upwards(adapter: Watched) -> None:
    """The conversations, leads and clients of the messages found."""
    context = await build_rag_context(_agent(adapter), message_filters={"role": "system"})
    assert context.messages
    assert {row["id"] for row in context.conversations} == {row["conversation_id"] for row in context.messages}
    assert {row["id"] for row in context.leads} == {row["lead_id"] for row in context.conversations}


async def test_the_first_failing_table_is_raised_as_itself_and_cancels_its_siblings(adapter: Watched) -> None:
    """No ExceptionGroup, and nobody goes on reading for a context that will not be built."""
    adapter.gates = {"clients": anyio.Event(), "messages": anyio.Event(), "leads": adapter.all_started}
    adapter.fails = {"leads": AdapterError("down", state=FailureState.REJECTED)}
    with anyio.fail_after(60), pytest.raises(AdapterError) as raised:
        await build_rag_context(_agent(adapter), follow_relations=False)
    assert raised.value is adapter.fails["leads"]
    assert sorted(adapter.cancelled) == ["clients", "messages"]


async def test_a_partial_context_tells_what_is_missing(adapter: Watched) -> None:
    """The failed table and those found through it are empty, with a warning each."""
    adapter.fails = {"conversations": AdapterError("down", state=FailureState.REJECTED)}
    context = await build_rag_context(_agent(adapter), lead_filters={"email": MAYA}, on_error="partial")
    assert (len(context.leads), context.conversations, context.messages) == (1, [], [])
    assert not context.complete
    assert [warning.split(":")[0] for warning in context.warnings] == ["conversations", "messages"]


async def test_a_programming_error_is_raised_even_when_partial_results_are_welcome(adapter: Watched) -> None:
    """Only a failing backend is tolerated; a refused column is the caller's to mend."""
    with pytest.raises(Exception, match="select"):
        await build_rag_context(_agent(adapter), lead_filters={"select": 1}, on_error="partial")


@pytest.mark.parametrize("readable", [("leads", "conversations", "messages"), ("leads",)])
async def test_tables_outside_the_policy_are_neither_asked_for_nor_shown(
    adapter: Watched, readable: Sequence[str]
) -> None:
    """They are named in the warnings."""
    agent = _agent(adapter, policy=TablePolicy(read=frozenset(readable)))
    context = await build_rag_context(agent, lead_filters={"email": MAYA})
    assert set(adapter.started) == set(readable)
    assert len(context.warnings) == 5 - len(readable)


async def test_a_filter_on_a_table_outside_the_policy_is_refused(adapter: Watched) -> None:
    """Before any query."""
    agent = _agent(adapter, policy=TablePolicy(read=frozenset({"leads"})))
    with pytest.raises(TableNotAllowedError):
        await build_rag_context(agent, client_filters={"name": "n"})
    assert adapter.started == []


async def test_nothing_is_written_while_a_context_is_built(adapter: Watched) -> None:
    """An agent is wrapped by its read-only façade: a policy without any writable table changes nothing."""
    agent = _agent(adapter, policy=TablePolicy(read=BUSINESS_TABLES))
    assert (await build_rag_context(agent.readonly(), lead_filters={"email": MAYA})).leads


async def test_columns_outside_the_policy_are_neither_asked_for_nor_shown(adapter: Watched) -> None:
    """The context holds the readable ones; what they say which rows belong is still followed."""
    columns = {"leads": {"read": ["id", "created_at", "company", "client_id", "email"]}}
    context = await build_rag_context(
        _agent(adapter, policy=TablePolicy(read=BUSINESS_TABLES, columns=columns)),
        lead_filters={"email": MAYA},
    )
    assert set(context.leads[0]) == {"id", "created_at", "company", "client_id", "email"}
    assert context.clients
    assert context.messages
    assert [warning for warning in context.warnings if warning.startswith("campaigns: left out")]


async def test_a_failed_table_is_told_to_the_model_and_its_error_is_not(adapter: Watched) -> None:
    """It must not take silence for absence."""
    adapter.fails = {"messages": AdapterError("secret host is down", state=FailureState.REJECTED)}
    context = await build_rag_context(_agent(adapter), lead_filters={"email": MAYA}, on_error="partial")
    assert "<note>The messages could not be read: they may exist.</note>" in context.to_prompt()
    assert "secret host" not in context.to_prompt()
    nothing = await build_rag_context(_agent(adapter), lead_filters={"email": "nobody@x.io"}, on_error="partial")
    assert "No matching records were found." in nothing.to_prompt()


async def test_a_limit_that_leaves_rows_out_is_told_to_the_model(adapter: Watched) -> None:
    """It must not take what it sees for everything."""
    context = await build_rag_context(_agent(adapter), lead_filters={"email": MAYA}, limits={"messages": 5})
    assert "<note>More messages exist than are shown.</note>" in context.to_prompt()
    whole = await build_rag_context(_agent(adapter), lead_filters={"email": MAYA})
    assert "<note>" not in whole.to_prompt()


@pytest.mark.parametrize(
    ("most", "more_exist", "note"),
    [(5, True, "messages exist than"), (4, None, "messages may exist than")],
)
async def test_a_limit_may_be_all_that_may_be_asked_for(
    adapter: Watched, most: int, more_exist: bool | None, note: str
) -> None:
    """Then no row is read beyond it, and whether more exist is not known: it is said, not guessed."""
    agent = _agent(adapter, policy=TablePolicy(read=frozenset(FIVE), max_rows=most))
    context = await build_rag_context(agent, limits=dict.fromkeys(FIVE, 4), follow_relations=False)
    assert context.report["messages"]["more_exist"] is more_exist
    assert len(context.messages) == 4
    assert note in context.to_prompt()


async def test_a_limit_above_what_may_be_asked_for_is_refused(adapter: Watched) -> None:
    """It is not lowered in silence."""
    agent = _agent(adapter, policy=TablePolicy(read=frozenset(FIVE), max_rows=4))
    with pytest.raises(ValidationError, match="max_rows"):
        await build_rag_context(agent, limits=dict.fromkeys(FIVE, 5), follow_relations=False)


async def test_a_time_without_a_zone_is_refused(adapter: Watched) -> None:
    """Ages would depend on the machine."""
    with pytest.raises(ValidationError, match="time zone"):
        await build_rag_context(_agent(adapter), now=datetime(2026, 1, 1))  # noqa: DTZ001
