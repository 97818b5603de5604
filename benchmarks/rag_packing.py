"""What it costs to rank 10,000 records and to pack the best of them into a budget, step by step.

The records are made up: 10 clients, 90 leads, 900 conversations and 9,000 messages of some 40 words. What ranks and
packs is measured with the costs of the records known; finding these costs, which is writing and counting each record,
is told beside it, and so is looking for the words of a question in all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import anyio
from _measure import Rounds, Target, arguments, interleave, report

from agent_persistence.presets import crm
from agent_persistence.rag.composing import compose_within
from agent_persistence.rag.lexical import word_relevance
from agent_persistence.rag.outline import Record, outline
from agent_persistence.rag.packing import Item, pack
from agent_persistence.rag.scoring import scores
from agent_persistence.rag.xml_format import Xml
from agent_persistence.rag_context import EstimatedTokens, Scoring, TokenBudget
from agent_persistence.schema_registry import Schema

TARGET_MS = 150.0
CRM = crm.CONTEXT.shape(Schema())
SIZES = {"clients": 10, "campaigns": 0, "leads": 90, "conversations": 900, "messages": 9_000}
PARENTS = {
    "leads": ("client_id", "clients"),
    "conversations": ("lead_id", "leads"),
    "messages": ("conversation_id", "conversations"),
}
BUDGETS = (2_000, 32_000, 10_000_000)
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
    relevance = word_relevance(QUESTION, records)
    ranked = scores(records, Scoring(), relevance, None)

    def whole(budget: int) -> None:
        compose_within(roots, ranked, Xml(CRM), lambda shown: [], budget=TokenBudget(budget), counter=EstimatedTokens())

    cases: dict[str, Callable[[], object]] = {
        "rank": partial(scores, records, Scoring(), relevance, None),
        **{f"pack into {budget:,}": partial(pack, costed, budget) for budget in BUDGETS},
        "match the words of a question": partial(word_relevance, QUESTION, records),
        "write, count, pack and write again": partial(whole, BUDGETS[0]),
    }
    return await interleave({name: partial(took, call) for name, call in cases.items()}, rounds=rounds)


def main(rounds: int, as_json: bool) -> None:
    found = anyio.run(measure, rounds)
    table = [f"{'10,000 records':<38} {'ms':>8} {'least':>8}"]
    table += [f"  {name:<36} {case.median * 1e3:8.1f} {case.least * 1e3:8.1f}" for name, case in found.items()]
    packing_s = max(found[f"pack into {budget:,}"].median for budget in BUDGETS)
    report(
        table,
        [Target("rank and pack 10,000 records", (found["rank"].median + packing_s) * 1e3, TARGET_MS, " ms")],
        {name: case.summary() for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=7).parse_args()
    main(options.rounds, options.json)
