"""OpenAI Agents' session over each back end, and a run of an agent with a model that is scripted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from agents import Agent, RunConfig, Runner, Session, SessionSettings
from agents.items import TResponseInputItem
from agents.memory import OpenAIResponsesCompactionSession
from agents.testing import ScriptedModel, assistant_message

from agent_persistence import (
    AdapterError,
    ConfigurationError,
    InMemoryAdapter,
    Schema,
    ValidationError,
    create_persistence_agent,
)
from agent_persistence.context import CallContext
from agent_persistence.ext.openai_agents import AgentSession
from agent_persistence.operations import Operation, Result
from tests.ext.backends import BackEnd, allowing

pytestmark = pytest.mark.asyncio
TABLES = AgentSession.tables()
TABLE = "agent_session_items"


@asynccontextmanager
async def opened(back_end: BackEnd, session_id: str = "s", **options: Any) -> AsyncIterator[AgentSession]:
    async with back_end.agent(TABLES) as agent:
        yield AgentSession(agent, session_id, **options)


def said(text: str) -> TResponseInputItem:
    return {"role": "user", "content": text}


def texts(items: Sequence[TResponseInputItem]) -> list[str]:
    return [str(cast("dict[str, Any]", item)["content"]) for item in items]


ODD = cast(
    "list[TResponseInputItem]",
    [
        {"type": "message", "role": "user", "content": "a\0b \ud800 漢字"},
        {"zeta": 1, "alpha": {"b": 1e22, "a": 0.1, "c": 2**70}, "nobody knows": [None, True, 1.0]},
        {"role": "user", "content": "again"},
        {"role": "user", "content": "again"},
    ],
)


async def test_items_come_back_exactly(back_end: BackEnd) -> None:
    """With the order of their keys, keys that nobody knows, and equal ones as often as they were added."""
    async with opened(back_end) as session:
        assert isinstance(session, Session)
        await session.add_items(ODD)
        await session.add_items([])
        found = await session.get_items()
    assert repr(found) == repr(ODD)


async def test_the_newest_are_given_in_the_order_of_time(back_end: BackEnd) -> None:
    """As many as the call says, else the settings; the settings of a run count as well."""
    async with opened(back_end, session_settings=SessionSettings(limit=2)) as session:
        for text in "abcd":
            await session.add_items([said(text)])
        assert texts(await session.get_items()) == ["c", "d"]
        assert texts(await session.get_items(3)) == ["b", "c", "d"]
        assert texts(await session.get_items(2**31 - 1)) == ["a", "b", "c", "d"]
        assert await session.get_items(0) == []
        assert await session.get_items(-1) == []


async def test_more_items_than_an_answer_holds_come_back_in_their_order(back_end: BackEnd) -> None:
    """1,100 in one call and one by one."""
    async with opened(back_end) as session:
        await session.add_items([said(f"{number}") for number in range(1100)])
        await session.add_items([said("last")])
        assert texts(await session.get_items()) == [*map(str, range(1100)), "last"]


async def test_items_of_one_call_are_all_stored_or_none(back_end: BackEnd) -> None:
    """One that is no JSON is refused before any request leaves."""
    async with opened(back_end) as session:
        wrong = cast("TResponseInputItem", {"role": object()})
        with pytest.raises(ValidationError, match="JSON object"):
            await session.add_items([said("a"), wrong])
        assert await session.get_items() == []


async def test_what_is_popped_is_the_newest_and_nobody_else_gets_it(back_end: BackEnd) -> None:
    """Of one session; ten callers at once get ten items."""
    async with opened(back_end) as session, opened(back_end, "other") as other:
        await session.add_items([said(f"{number}") for number in range(12)])
        await other.add_items([said("others")])
        last = await session.pop_item()
        assert last == said("11")
        popped: list[TResponseInputItem | None] = []

        async def pop() -> None:
            popped.append(await session.pop_item())

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(pop)
        assert sorted(texts([item for item in popped if item is not None]), key=int) == [*map(str, range(1, 11))]
        assert texts(await session.get_items()) == ["0"]
        assert [await session.pop_item(), await session.pop_item()] == [said("0"), None]
        assert texts(await other.get_items()) == ["others"]


async def test_two_writers_lose_nothing(back_end: BackEnd) -> None:
    """The items of each come in the order in which that writer added them."""
    async with opened(back_end) as first, opened(back_end) as second:

        async def add(session: AgentSession, name: str) -> None:
            for number in range(10):
                await session.add_items([said(f"{name}{number}a"), said(f"{name}{number}b")])

        async with anyio.create_task_group() as group:
            group.start_soon(add, first, "x")
            group.start_soon(add, second, "y")
        found = texts(await first.get_items())
    for name in "xy":
        assert [text for text in found if text[0] == name] == [f"{name}{n}{s}" for n in range(10) for s in "ab"]
    assert len(found) == 40


async def test_a_replacement_is_whole_and_keeps_what_came_meanwhile(back_end: BackEnd) -> None:
    """Only what was expected goes; a second replacement of the same items changes nothing."""
    async with opened(back_end) as session, back_end.agent(TABLES) as agent:
        await session.add_items([said("a"), said("b")])
        before = await session.get_items()
        await session.add_items([said("c")])
        assert not await session.replace_items([said("x")], expected=[said("b")])
        assert await session.replace_items([said("a+b"), said("a+b again")], expected=before)
        assert texts(await session.get_items()) == ["a+b", "a+b again", "c"]
        assert texts(await session.get_items(2)) == ["a+b again", "c"]
        assert not await session.replace_items([said("x")], expected=before)
        assert await session.replace_items([said("all")], expected=await session.get_items())
        assert await agent.count(TABLE) == 2  # the item, and the row that hides what was before it
        assert await session.pop_item() == said("all")
        assert await session.pop_item() is None
        await session.clear_session()
        assert await agent.count(TABLE) == 0
        assert await session.replace_items([said("first")], expected=[])
        assert texts(await session.get_items()) == ["first"]


async def test_clearing_leaves_other_sessions(back_end: BackEnd) -> None:
    """And may be done again."""
    async with opened(back_end) as session, opened(back_end, "other") as other:
        await session.add_items([said("a")])
        await other.add_items([said("b")])
        await session.clear_session()
        await session.clear_session()
        assert await session.get_items() == []
        assert texts(await other.get_items()) == ["b"]


async def test_an_agent_remembers_between_two_runs(back_end: BackEnd) -> None:
    """The second run's model sees the first one's question and answer, as another process would."""
    model = ScriptedModel([[assistant_message("Hello, Ada.")], [assistant_message("You are Ada.")]])
    assistant = Agent(name="assistant", model=model)
    quiet = RunConfig(tracing_disabled=True)
    async with opened(back_end) as session:
        await Runner.run(assistant, "I am Ada.", session=session, run_config=quiet)
    async with opened(back_end) as session:
        ended = await Runner.run(assistant, "Who am I?", session=session, run_config=quiet)
        assert ended.final_output == "You are Ada."
        kept = await session.get_items()
    assert model.last_call is not None
    seen = cast("list[dict[str, Any]]", model.last_call.input)
    assert [item.get("role") for item in seen] == ["user", "assistant", "user"]
    assert [cast("dict[str, Any]", item).get("role") for item in kept] == ["user", "assistant", "user", "assistant"]


class _Compacted:
    """What the client's `responses.compact` answers."""

    output = ({"type": "compaction", "encrypted_content": "short"},)
    usage = None


class _Client:
    @property
    def responses(self) -> _Client:
        return self

    async def compact(self, **asked: Any) -> _Compacted:
        return _Compacted()


async def test_the_sdks_compaction_replaces_by_one_statement(back_end: BackEnd) -> None:
    """No moment is there at which the history is empty."""
    async with opened(back_end) as session:
        await session.add_items([said(f"{number}") for number in range(3)])
        cleared: list[str] = []
        session.clear_session = lambda: cleared.append("cleared")  # type: ignore[method-assign, assignment, return-value]
        compacting = OpenAIResponsesCompactionSession("s", session, client=cast("Any", _Client()))
        await compacting.run_compaction({"force": True, "compaction_mode": "input"})
        found = await session.get_items()
    assert not cleared
    assert [cast("dict[str, Any]", item)["type"] for item in found] == ["compaction"]


class LosesAnswers(InMemoryAdapter):
    """Applies what it is told and loses every other answer of a change."""

    def __init__(self) -> None:
        super().__init__(schema=Schema(TABLES))
        self.changes = 0

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        result = await super().execute(operation, context)
        self.changes += operation.writes
        if operation.writes and self.changes % 2:
            raise AdapterError("the connection broke", state="ambiguous")
        return result


async def test_what_got_no_answer_is_done_once() -> None:
    """Items are added once, and each is popped once."""
    session = AgentSession(create_persistence_agent(adapter=LosesAnswers(), **allowing(TABLES)), "s")
    for text in "abc":
        await session.add_items([said(text)])
    assert texts(await session.get_items()) == ["a", "b", "c"]
    assert [await session.pop_item() for _ in range(4)] == [said("c"), said("b"), said("a"), None]


@pytest.mark.parametrize("wrong", ["", None, 7])
async def test_a_session_without_a_name_is_refused(wrong: Any) -> None:
    """It would be everybody's."""
    agent = create_persistence_agent(adapter=InMemoryAdapter(schema=Schema(TABLES)), **allowing(TABLES))
    with pytest.raises(ConfigurationError, match="session_id"):
        AgentSession(agent, wrong)
