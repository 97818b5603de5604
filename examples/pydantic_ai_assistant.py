"""A pydantic-ai assistant over the sample CRM that remembers its conversations, and whose tools a policy bounds.

python -m examples.pydantic_ai_assistant asks a model that is made up; give `answers` your own, such as "openai:gpt-5".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from agent_persistence import (
    PersistenceAgent,
    ReadOnlyPersistenceFacade,
    Schema,
    TablePolicy,
    create_persistence_agent,
    create_readonly_rag_facade,
)
from agent_persistence.ext.pydantic_ai import TABLES, history, toolset, with_history

if TYPE_CHECKING:
    from pydantic_ai.models import Model

SCHEMA = with_history(Schema.default())
FOR_THE_APPLICATION = TablePolicy(read={"leads", *TABLES}, write={"leads", *TABLES})
FOR_THE_MODEL = TablePolicy(read={"leads"}, columns={"leads": ["id", "first_name", "company", "status", "score"]})


async def answers(
    store: PersistenceAgent, crm: ReadOnlyPersistenceFacade, model: Model | str, *questions: str
) -> list[str]:
    """What the model says; the conversation goes on where it ended, also in another process."""
    assistant = Agent(model, toolsets=[toolset(crm)], instructions="Answer from the CRM.")
    past = history(store, "conversation-1")
    told = []
    for question in questions:
        result = await assistant.run(question, message_history=await past.load())
        await past.append(result)
        told.append(result.output)
    return told


async def main() -> None:
    async with (
        create_persistence_agent("memory", policy=FOR_THE_APPLICATION, schema=SCHEMA) as store,
        create_readonly_rag_facade("memory", policy=FOR_THE_MODEL, schema=SCHEMA) as crm,
    ):
        await store.write(
            "leads", {"email": "maya@brightwater.example", "first_name": "Maya", "company": "Brightwater"}
        )
        made_up = TestModel(call_tools=["count_rows"])
        for answer in await answers(store, crm, made_up, "How many leads are there?", "Are you sure?"):
            print(answer)
        print(len(await history(store, "conversation-1").load()), "messages are stored")


if __name__ == "__main__":
    anyio.run(main)
