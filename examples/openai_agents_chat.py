"""A chat with the OpenAI Agents SDK that goes on where it was left, also in another process.

    python -m examples.openai_agents_chat

The model is scripted, so that nothing is paid for, and everything is in memory. With SUPABASE_URL and a key,
`create_persistence_agent(schema=…, policy=…)` keeps the same in a project whose owner has run `AgentSession.sql()`.
"""

from __future__ import annotations

import anyio
from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message

from agent_persistence import PersistenceAgent, Schema, TablePolicy, create_persistence_agent
from agent_persistence.ext.openai_agents import AgentSession

TABLES = AgentSession.tables()
ANSWERS = ("Noted, Ada.", "Your name is Ada.")


async def say(agent: PersistenceAgent, assistant: Agent, text: str) -> None:
    """One turn, with a session of its own, as a request to a web service has."""
    session = AgentSession(agent, "chat-1", session_settings={"limit": 50})
    result = await Runner.run(assistant, text, session=session, run_config=RunConfig(tracing_disabled=True))
    print(f"{text} -> {result.final_output}")


async def main() -> None:
    model = ScriptedModel([[assistant_message(answer)] for answer in ANSWERS])
    assistant = Agent(name="assistant", model=model)
    policy = TablePolicy(read=TABLES, write=TABLES, delete=TABLES)
    async with create_persistence_agent("memory", schema=Schema(TABLES), policy=policy) as agent:
        await say(agent, assistant, "I am Ada.")
        await say(agent, assistant, "Who am I?")
        seen = model.last_call.input if model.last_call else []
        print(f"the model saw {len(seen)} items, {len(await AgentSession(agent, 'chat-1').get_items())} are kept")


if __name__ == "__main__":
    anyio.run(main)
