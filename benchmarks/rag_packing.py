"""What it costs to rank 10,000 records and to pack the best of them into a budget, step by step.

The records are made up: 10 clients, 90 leads, 900 conversations and 9,000 messages of some 40 words. What ranks and
packs is measured with the costs of the records known; finding these costs, which is writing and counting each record,
is told beside it. Then a question is asked of 10,000 and of 100,000 messages in memory, from the call to the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import anyio
from _measure import Rounds, Target, arguments, interleave, report

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, build_rag_context
from agent_persistence.presets import crm
from agent_persistence.rag.composing import compose_within
from agent_persistence.rag.outline import Record, outline
from agent_persistence.rag.packing import Item, pack
from agent_persistence.rag.rendering.xml_format import Xml
from agent_persistence.rag.scoring import scores
from agent_persistence.rag_context import EstimatedTokens, Scoring, TokenBudget
from agent_persistence.schema_registry import Schema, default_schema

TARGET_MS = 150.0
CRM = crm.CONTEXT.shape(Schema())
SIZES = {"clients": 10, "campaigns": 0, "leads": 90, "conversations": 900, "messages": 9_000}
PARENTS = {
    "leads": ("client_id", "clients"),
    "conversations": ("lead_id", "leads"),
    "messages": ("conversation_id", "conversations"),
}
BUDGETS = (2_000, 32_000, 10_000_000)
ASKED = {10_000: 150.0, 100_000: 1_500.0}
"""Messages in memory, and the milliseconds from a question to a prompt of 1,000 tokens."""
WORDS = ("price", "delivery", "contract", "meeting", "board", "security", "budget", "answer", "driver", "dock", "week")
QUESTION = "What was said about the price of delivery?"


def rows(random: Random) -> dict[str, list[dict[str, Any]]]:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    made: dict[str, list[dict[str, Any]]] = {}
    for table, size in SIZES.items():
        made[table] = [
            {"id": number, "created_at": (began + timedelta(minutes=random.randrange(400_000))).isoformat()}
            for number in range(size)
        ]
        for row in made[table]:
            if table in PARENTS:
                column, parent = PARENTS[table]
                row[column] = random.randrange(SIZES[parent])
            text = " ".join(random.choice(WORDS) for _ in range(40 if table == "messages" else 6))
            row["content" if table == "messages" else "name"] = text
    return made


def items(records: list[Record], random: Random) -> list[Item]:
    places: dict[str | None, int] = {record.ref: place for place, record in enumerate(records)}
    return [
        Item(
            random.random(),
            random.randrange(20, 120),
            record.table,
            places.get(record.parent.ref if record.parent else None),
        )
        for record in records
    ]


async def took(call: Callable[[], object]) -> float:
    """The seconds of processor time that the call takes, which other work on the machine does not lengthen."""
    start = time.process_time()
    call()
    return time.process_time() - start


async def measure(rounds: int) -> dict[str, Rounds]:
    random = Random(7)
    roots = outline(rows(random), CRM)
    records = [record for root in roots for record in root.walk()]
    costed = items(records, random)
    ranked = scores(records, Scoring(), {}, None)

    def whole(budget: int) -> None:
        compose_within(roots, ranked, Xml(CRM), lambda shown: [], budget=TokenBudget(budget), counter=EstimatedTokens())

    cases: dict[str, Callable[[], object]] = {
        "rank": partial(scores, records, Scoring(), {}, None),
        **{f"pack into {budget:,}": partial(pack, costed, budget) for budget in BUDGETS},
        "write, count, pack and write again": partial(whole, BUDGETS[0]),
    }
    found = await interleave({name: partial(took, call) for name, call in cases.items()}, rounds=rounds)
    for count in ASKED:
        found |= await interleave({asked(count): partial(answered, service_of(count, random))}, rounds=rounds)
    return found


def asked(count: int) -> str:
    return f"a question to {count:,} messages, to a prompt"


def service_of(count: int, random: Random) -> AsyncPersistenceService:
    """A lead with a hundred talks in memory; every message has ten words, a few of them rare."""
    lead, began = str(UUID(int=1)), datetime(2026, 1, 1, tzinfo=UTC)
    talks = [{"id": str(UUID(int=number)), "lead_id": lead, "created_at": began.isoformat()} for number in range(100)]
    messages = [
        {
            "id": number,
            "conversation_id": talks[number * 100 // count]["id"],
            "role": "user" if number % 2 else "assistant",
            "content": " ".join([*random.choices(WORDS, k=9), f"order{random.randrange(count // 4)}"]),
            "created_at": (began + timedelta(minutes=number)).isoformat(),
        }
        for number in range(count)
    ]
    leads = [{"id": lead, "email": "a@x.io", "created_at": began.isoformat()}]
    adapter = InMemoryAdapter({"leads": leads, "conversations": talks, "messages": messages}, schema=default_schema())
    return AsyncPersistenceService(adapter, retry=False)


async def answered(service: AsyncPersistenceService) -> float:
    """The seconds of processor time from the call to the prompt."""
    start = time.process_time()
    context = await build_rag_context(
        service, lead_filters={"email": "a@x.io"}, query=f"{QUESTION} Is it order17?", max_tokens=1_000
    )
    context.to_prompt()
    return time.process_time() - start


def main(rounds: int, as_json: bool) -> None:
    found = anyio.run(measure, rounds)
    table = [f"{'10,000 records':<38} {'ms':>8} {'least':>8}"]
    table += [f"  {name:<36} {case.median * 1e3:8.1f} {case.least * 1e3:8.1f}" for name, case in found.items()]
    packing_s = max(found[f"pack into {budget:,}"].median for budget in BUDGETS)
    report(
        table,
        [
            Target("rank and pack 10,000 records", (found["rank"].median + packing_s) * 1e3, TARGET_MS, " ms"),
            *(Target(asked(count), found[asked(count)].median * 1e3, most, " ms") for count, most in ASKED.items()),
        ],
        {name: case.summary() for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=7).parse_args()
    main(options.rounds, options.json)
