"""The smallest whole use: write a lead, read it back as a prompt."""

import asyncio

from agent_persistence.factory import create_persistence_agent, create_readonly_rag_facade
from agent_persistence.rag_context import build_rag_context


async def main() -> None:
    agent = create_persistence_agent(kind="memory")
    await agent.write("leads", {"email": "a@x.io"})
    ro = create_readonly_rag_facade(kind="memory")  # sees the agent's rows: kind="memory" is one store a process
    ctx = await build_rag_context(ro, lead_filters={"email": "a@x.io"}, limits={"leads": 10})
    print(ctx.to_prompt())


if __name__ == "__main__":
    asyncio.run(main())
