"""The assistant of examples/pydantic_ai_assistant.py, with models that are made up."""

from __future__ import annotations

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent_persistence import create_persistence_agent, create_readonly_rag_facade
from examples import pydantic_ai_assistant as example


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Two questions, of which the first takes a tool call, are six messages."""
    anyio.run(example.main)
    told = capsys.readouterr().out
    assert told.count('"count":1') == 2
    assert "6 messages are stored" in told


def test_another_process_goes_on_where_the_conversation_ended() -> None:
    """The model gets what was said before."""
    seen: list[int] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(len(messages))
        return ModelResponse(parts=[TextPart(content="yes")])

    async def twice() -> None:
        for _ in range(2):
            async with (
                create_persistence_agent("memory", policy=example.FOR_THE_APPLICATION, schema=example.SCHEMA) as store,
                create_readonly_rag_facade("memory", policy=example.FOR_THE_MODEL, schema=example.SCHEMA) as crm,
            ):
                assert await example.answers(store, crm, FunctionModel(model), "one", "two") == ["yes", "yes"]

    anyio.run(twice)
    assert seen == [1, 3, 5, 7]
