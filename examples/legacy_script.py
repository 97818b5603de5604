"""An old script that used DBWriteAgent: only its import has changed."""

from agent_persistence.legacy import DBWriteAgent


def main() -> None:
    agent = DBWriteAgent(kind="memory")
    agent.write("inquiries", {"email": "old@x.io", "body": "How much is it?"})
    agent.batch_write("leads", [{"email": "one@x.io"}, {"email": "two@x.io"}])
    lead = agent.upsert("leads", {"email": "one@x.io", "status": "contacted"}, on_conflict=["email"])
    print(f"{lead['email']} is {lead['status']}")


if __name__ == "__main__":
    main()
