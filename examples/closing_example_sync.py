"""The same without await, for code that has no event loop."""

from agent_persistence.sync import build_rag_context, create_persistence_agent, create_readonly_rag_facade


def main() -> None:
    agent = create_persistence_agent(kind="memory")
    agent.write("leads", {"email": "a@x.io"})
    ro = create_readonly_rag_facade(kind="memory")
    ctx = build_rag_context(ro, lead_filters={"email": "a@x.io"}, limits={"leads": 10})
    print(ctx.to_prompt())


if __name__ == "__main__":
    main()
