"""Conversations of pydantic-ai are stored once and whole, each user's by themselves; tools tell a model how to mend."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import anyio
import pytest
from pydantic_ai import Agent, ModelRetry, UnexpectedModelBehavior
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
    repair_messages,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    PersistenceAgent,
    PostgresAdapter,
    RetryPolicy,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    create_persistence_agent,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.ext.pydantic_ai import TABLES, history, sql, toolset, with_history
from agent_persistence.policy.tenant import TenantScope
from tests.ext.backends import UID
from tests.server import LocalServer, running_server
from tests.server.fixtures import local_server

__all__ = ["local_server"]
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

(TABLE,) = TABLES
A, B = (str(UUID(int=number << 96 | 0x4000_8000 << 64)) for number in (0xA, 0xB))
SCHEMA = with_history(Schema.default())
POLICY = TablePolicy(read={TABLE, "leads"}, write={TABLE, "leads"})
echo = Agent(TestModel(call_tools=[]))


def memory(**options: Any) -> PersistenceAgent:
    adapter = options.pop("adapter", None) or InMemoryAdapter({"leads": [{"email": "a@x.example"}]}, schema=SCHEMA)
    return PersistenceAgent(AsyncPersistenceService(adapter, policy=POLICY, schema=SCHEMA, **options))


@pytest.fixture(scope="module")
def own_server() -> Iterator[LocalServer]:
    """A server with the table that `sql` makes, where each row belongs to the user who wrote it."""
    with running_server() as server:
        server.execute(UID)
        for _ in range(2):
            server.execute(sql(owner=True))  # a second time changes nothing
        server.reload_schema()
        yield server


@pytest.fixture(params=["PostgREST", "PostgreSQL", "memory"])
def of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], PersistenceAgent]]:
    """The agent of a user: by token, by claims, and of a tenant."""
    if request.param == "memory":
        schema = with_history(Schema.default(), tenant="tenant_id")
        scope = TenantScope("nobody", shared={"leads"})
        made = AsyncPersistenceService(InMemoryAdapter(schema=schema), policy=POLICY, schema=schema, tenant=scope)
        agent = PersistenceAgent(made)
        yield lambda user: agent.as_user(tenant=user)
        return
    server: LocalServer = request.getfixturevalue("own_server")
    server.reset()
    claims = {user: {"sub": user, "role": "authenticated"} for user in (A, B)}
    adapter: Any
    if request.param == "PostgREST":
        adapter = SupabaseAdapter(server.url, server.anon_key, schema=SCHEMA)
        agent = PersistenceAgent(AsyncPersistenceService(adapter, policy=POLICY, schema=SCHEMA))
        yield lambda user: agent.as_user(access_token=server.token(**claims[user]))
    else:
        adapter = PostgresAdapter(server.database_url)
        agent = PersistenceAgent(AsyncPersistenceService(adapter, policy=POLICY, schema=SCHEMA))
        yield lambda user: agent.as_user(claims=claims[user])


# --- history ----------------------------------------------------------------------------------------------------------


async def test_a_conversation_goes_on_where_it_ended(of: Callable[[str], PersistenceAgent]) -> None:
    """Every message of every run, in order, equal to what pydantic-ai held in memory."""
    past = history(of(A), "one")
    assert await past.load() == []
    messages: list[ModelMessage] = []
    for prompt in ("Hello", "And then?", "Bye"):
        result = await echo.run(prompt, message_history=await past.load())
        assert await past.append(result) == 2
        messages = result.all_messages()
    assert await past.load() == messages
    assert len(messages) == 6
    assert await history(of(A), "two").load() == []


async def test_a_run_is_appended_once(of: Callable[[str], PersistenceAgent]) -> None:
    """However often it is told, in parts, with what came before, and at once from everywhere."""
    past = history(of(A), "one")
    first = await echo.run("Hello")
    assert await past.append(first) == 2
    second = await echo.run("More", message_history=await past.load())
    assert await past.append(second.new_messages()[:1]) == 1
    async with anyio.create_task_group() as tasks:
        for told in (second, second.new_messages(), second.all_messages(), first) * 2:
            tasks.start_soon(past.append, told)
    assert await past.append(second) == 0
    assert await past.load() == second.all_messages()


async def test_a_job_that_is_done_anew_adds_nothing(of: Callable[[str], PersistenceAgent]) -> None:
    """Its first result stays: the second has another run id and other messages."""
    past = history(of(A), "one")
    first, second = await echo.run("Hello"), await echo.run("Hello")
    assert await past.append(first, key="job 1") == 2
    assert await past.append(second, key="job 1") == 0
    assert await past.append(second.new_messages() * 2, key="job 1") == 0
    assert await past.load() == first.all_messages()
    assert await past.append(second, key="job 2") == 2


async def test_two_users_and_two_tenants_have_their_own(of: Callable[[str], PersistenceAgent]) -> None:
    """Under one id of a conversation nobody reads another's messages."""
    for user in (A, B):
        await history(of(user), "one").append(await echo.run(f"I am {user}"))
    for user, other in ((A, B), (B, A)):
        told = ModelMessagesTypeAdapter.dump_json(await history(of(user), "one").load()).decode()
        assert user in told
        assert other not in told


async def test_two_tenants_have_jobs_of_one_name() -> None:
    """A key says which job of the tenant is meant."""
    schema = with_history(Schema.default(), tenant="tenant_id")
    made = AsyncPersistenceService(
        InMemoryAdapter(schema=schema), policy=POLICY, schema=schema, tenant=TenantScope("nobody")
    )
    agent = PersistenceAgent(made)
    for tenant in ("a", "b"):
        assert await history(agent.as_user(tenant=tenant), "one").append(await echo.run("Hi"), key="job") == 2


async def test_a_key_that_belongs_to_a_row_out_of_sight_is_a_conflict(own_server: LocalServer) -> None:
    """Not a quiet success: the messages are not stored."""
    own_server.reset()
    adapter = SupabaseAdapter(own_server.url, own_server.anon_key, schema=SCHEMA)
    agent = PersistenceAgent(AsyncPersistenceService(adapter, policy=POLICY, schema=SCHEMA))
    tokens = [own_server.token(sub=user) for user in (A, B)]
    result = await echo.run("Hi")
    assert await history(agent.as_user(access_token=tokens[0]), "one").append(result, key="job") == 2
    with pytest.raises(ConflictError):
        await history(agent.as_user(access_token=tokens[1]), "one").append(result, key="job")


AWKWARD: list[ModelMessage] = [
    ModelRequest(parts=[UserPromptPart(content="NUL \0, \N{GRINNING FACE} ж, 1e22")]),
    ModelResponse(
        parts=[ToolCallPart(tool_name="t", args={"z": 1, "a": 1e22, "n": None, "big": 2**70}, tool_call_id="1")]
    ),
    ModelRequest(parts=[ToolReturnPart(tool_name="t", content={"b": 1.0, "a": "\0"}, tool_call_id="1")]),
    ModelRequest(
        parts=[UserPromptPart(content=["see", BinaryContent(data=b"\0\xff", media_type="application/octet-stream")])]
    ),
    ModelResponse(parts=[TextPart(content="same")]),
    ModelResponse(parts=[TextPart(content="same")]),
]


async def test_messages_come_back_as_they_were(of: Callable[[str], PersistenceAgent]) -> None:
    """Also those of no run, with what jsonb would refuse or round; two that are equal are two."""
    past = history(of(A), "awkward")
    assert await past.append(AWKWARD) == 6
    assert await past.append(AWKWARD) == 0
    loaded = await past.load()
    assert loaded == AWKWARD
    assert _json(loaded) == _json(AWKWARD)


def _json(messages: list[ModelMessage]) -> bytes:
    return ModelMessagesTypeAdapter.dump_json(messages)


async def test_runs_that_end_at_once_do_not_mix(of: Callable[[str], PersistenceAgent]) -> None:
    """A tool's answer stays behind its call, whatever else is appended meanwhile."""
    past = history(of(A), "busy")
    caller = Agent(TestModel(call_tools="all"))

    @caller.tool_plain
    def look() -> str:
        return "seen"

    results = [await caller.run(f"question {number}") for number in range(8)]
    async with anyio.create_task_group() as tasks:
        for result in results:
            tasks.start_soon(past.append, result)
    loaded = await past.load()
    blocks = [loaded[start : start + 4] for start in range(0, len(loaded), 4)]
    assert sorted(map(_json, blocks)) == sorted(_json(result.new_messages()) for result in results)


async def test_a_history_that_ends_in_a_tool_call_can_be_repaired() -> None:
    """As pydantic-ai does it; what is stored stays as it was."""
    past = history(memory(), "one")
    await past.append(AWKWARD[:2])
    result = await echo.run("go on", message_history=repair_messages(await past.load()))
    assert await past.append(result) == 2
    assert len(await past.load()) == 4


async def test_a_lost_answer_stores_nothing_twice() -> None:
    """The rows carry their keys, by which the second try finds the first."""

    class Losing(InMemoryAdapter):
        lost = 0

        async def batch_write(self, *arguments: Any, **options: Any) -> Any:
            rows = await super().batch_write(*arguments, **options)
            self.lost += 1
            if self.lost == 1:
                raise AdapterError("the connection broke", state=FailureState.AMBIGUOUS)
            return rows

    async def no_pause(_: float) -> None: ...

    agent = memory(adapter=Losing(schema=SCHEMA), retry=RetryPolicy(attempts=3), sleep=no_pause)
    past, result = history(agent, "one"), await echo.run("Hello")
    await past.append(result)
    assert await past.append(result) == 0
    assert await past.load() == result.all_messages()


async def test_a_row_that_is_no_message_is_told_and_not_shown() -> None:
    """A version of pydantic-ai that cannot read what another wrote is an error, not a hole in the conversation."""
    agent = memory()
    past = history(agent, "one")
    await past.append(await echo.run("Hello"))
    await agent.update(TABLE, {"message": '{"secret": 1}'}, {"conversation_id": "one", "position": 0})
    with pytest.raises(AdapterError, match="no message of this version") as refused:
        await past.load()
    assert "secret" not in str(refused.value)


async def test_what_cannot_work_is_refused_before_anything_is_sent() -> None:
    """With what would be right."""
    async with create_persistence_agent("memory") as agent:
        with pytest.raises(ConfigurationError, match="with_history"):
            history(agent, "one")
    for wrong in ("", "x" * 1_001, 5):
        with pytest.raises(ValidationError, match="conversation_id is a text"):
            history(memory(), wrong)  # type: ignore[arg-type]
    past = history(memory(), "one")
    with pytest.raises(ValidationError, match="key is a text"):
        await past.append([], key="")
    with pytest.raises(ValidationError, match="no message of pydantic-ai"):
        await past.append(["Hello"])  # type: ignore[list-item]
    assert await past.append([]) == 0
    with pytest.raises(ConfigurationError, match="no plain name"):
        sql(db_schema="a; drop table b")


# --- tools ------------------------------------------------------------------------------------------------------------


async def test_every_tool_is_called_by_a_model_that_knows_only_its_schema() -> None:
    """TestModel makes arguments of the schemas: they are enough to be right."""
    tools = toolset(memory(), context=True)
    result = await Agent(TestModel(call_tools=["count_rows", "list_columns", "get_context"]), toolsets=[tools]).run("?")
    assert '"count":1' in result.output
    assert "email" in result.output


async def test_a_model_that_calls_wrongly_is_told_how_to_mend_it() -> None:
    """As a retry, in words without a variable or a way to more rights; then it is right."""
    told: list[ToolReturnPart] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        (*_, last) = messages
        told.extend(part for part in last.parts if isinstance(part, ToolReturnPart))
        if told and told[-1].outcome == "success":
            return ModelResponse(parts=[TextPart(content="done")])
        table = "leads" if told else "clients"
        return ModelResponse(parts=[ToolCallPart(tool_name="query_rows", args={"table": table, "select": ["email"]})])

    assert (await Agent(FunctionModel(model), toolsets=[toolset(memory())]).run("?")).output == "done"
    refused, answered = told
    assert (refused.outcome, answered.outcome) == ("retried", "success")
    assert str(refused.content).startswith("query on table 'clients' is not allowed")
    assert "PERSIST_" not in str(refused.content)
    assert answered.content == {"rows": [{"email": "a@x.example"}], "more": False}


@pytest.mark.parametrize("arguments", ["[1]", '{"table": 5}', '{"table": "leads", "x": 1}', '{"filters": {}}'])
async def test_arguments_that_are_wrong_are_a_retry(arguments: str) -> None:
    """Until the model has had its tries."""
    model = FunctionModel(
        lambda messages, info: ModelResponse(parts=[ToolCallPart(tool_name="query_rows", args=arguments)])
    )
    with pytest.raises(UnexpectedModelBehavior) as given_up:
        await Agent(model, toolsets=[toolset(memory(), max_retries=2)]).run("?")
    assert isinstance(given_up.value.__cause__, ModelRetry)


async def test_what_no_other_call_mends_is_raised_as_it_is() -> None:
    """The application decides, not the model."""

    class Down(InMemoryAdapter):
        async def count(self, *arguments: Any, **options: Any) -> Any:
            raise AdapterError("down", state=FailureState.NOT_SENT)

    tools = toolset(memory(adapter=Down(schema=SCHEMA), retry=False))
    with pytest.raises(BackendUnavailableError):
        await Agent(TestModel(call_tools=["count_rows"]), toolsets=[tools]).run("?")


async def test_two_users_each_have_their_own_tools(of: Callable[[str], PersistenceAgent]) -> None:
    """A toolset over a user's view sees that user's rows."""
    for user in (A, B):
        await history(of(user), "one").append(await echo.run(f"I am {user}"))

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        (*_, last) = messages
        returned = [part for part in last.parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse(parts=[TextPart(content=str(returned[0].content))])
        return ModelResponse(parts=[ToolCallPart(tool_name="query_rows", args={"table": TABLE})])

    for user, other in ((A, B), (B, A)):
        told = (await Agent(FunctionModel(model), toolsets=[toolset(of(user))]).run("?")).output
        assert f"I am {user}" in told
        assert f"I am {other}" not in told


async def test_a_toolset_is_over_an_async_source() -> None:
    """A blocking one would stop the loop."""
    from agent_persistence.sync import create_persistence_agent as blocking

    with blocking("memory") as agent, pytest.raises(ConfigurationError, match="takes an async"):
        toolset(agent)  # type: ignore[arg-type]


async def test_nothing_of_pydantic_ai_is_imported_by_the_rest_of_the_package() -> None:
    """Who does not ask for it does not pay for it."""
    script = (
        "import sys, agent_persistence as a; [getattr(a, n) for n in a.__all__];"
        " print({'pydantic_ai', 'mcp', 'starlette'} & set(sys.modules))"
    )
    ended = await anyio.run_process([sys.executable, "-c", script])
    assert ended.stdout.strip() == b"set()"
