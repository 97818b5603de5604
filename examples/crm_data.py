"""The CRM data set in `examples/data`, and a way to load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from agent_persistence import PersistenceAgent, TablePolicy
from agent_persistence.policy import BUSINESS_TABLES

DATA: Final = Path(__file__).parent / "data"
PARENTS_FIRST: Final = (
    "clients",
    "campaigns",
    "leads",
    "conversations",
    "messages",
    "sequences",
    "staging_leads",
    "inquiries",
)
LOADER: Final = TablePolicy(read=BUSINESS_TABLES, write=BUSINESS_TABLES)
"""Loading the data set is an administrator's job: unlike an agent, it may write clients and campaigns."""


def rows(table: str) -> list[dict[str, Any]]:
    """The rows of one table, in file order."""
    return [json.loads(line) for line in (DATA / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()]


async def load(administrator: PersistenceAgent) -> int:
    """Insert every row, parents first, one request a table; return how many."""
    # persistence-guard: allow AP002 loading reference data is an administrator's job
    counts = [len(await administrator.batch_write(table, rows(table))) for table in PARENTS_FIRST]
    return sum(counts)
