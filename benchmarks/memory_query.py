"""What a query of the in-memory adapter costs over 100,000 leads: by key or unique column, and by tests of every row.

The first rows are microseconds a call, found by an index; the others are tests of rows a second on one core, over
filters that select few rows, so that copying the result does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from _measure import Rounds, Target, arguments, interleave, per_call, report

from agent_persistence import InMemoryAdapter
from agent_persistence.filters import (
    Filters,
    any_of,
    contains,
    gt,
    ilike,
    in_,
    like,
    not_,
    text_search,
)
from agent_persistence.schema_registry import default_schema

ROWS = 100_000
TARGET_US = 100.0
TARGET_US_A_ROW = 1.0
CALLS = 200
INDEXED: dict[str, Filters] = {
    "id = …": {"id": str(UUID(int=ROWS // 2))},
    "email = …": {"email": f"{ROWS // 2}@a.example"},
    "email in (10 values)": {"email": in_([f"{number}@a.example" for number in range(0, ROWS, ROWS // 10)])},
}
SCANNING: dict[str, Filters] = {
    "company = …": {"company": "none"},
    "score > …": {"score": gt(1e6)},
    "company like '%x%y%'": {"company": like("%x%y%")},
    "company ilike 'NONE%'": {"company": ilike("NONE%")},
    "any_of of three": any_of({"company": "none"}, {"score": gt(1e6)}, {"first_name": "none"}),
    "not_ and two more": {"status": "none", "company": not_(like("%none%")), "score": gt(1e6)},
    "tags contain …": {"tags": contains(["none"])},
    "custom contains …": {"custom": contains({"plan": "none"})},
    "company text_search …": {"company": text_search("none", config="simple")},
}


async def filled() -> InMemoryAdapter:
    store = InMemoryAdapter(schema=default_schema())
    records: list[dict[str, Any]] = [
        {
            "id": str(UUID(int=number)),
            "email": f"{number}@a.example",
            "company": f"Company {number % 997}",
            "first_name": "Ada",
            "score": number / 8,
            "tags": ["a", "b"],
            "custom": {"plan": "free", "n": number},
        }
        for number in range(ROWS)
    ]
    await store.batch_write("leads", records)
    return store


def table(found: dict[str, Rounds]) -> list[str]:
    lines = [f"{'by index':<28} {'us a call':>12} {'least':>10}"]
    lines += [f"  {name:<26} {found[name].median * 1e6:12.1f} {found[name].least * 1e6:10.1f}" for name in INDEXED]
    lines += ["", f"{'by every row':<28} {'M rows/s':>12} {'best':>10}"]
    lines += [
        f"  {name:<26} {ROWS / found[name].median / 1e6:12.2f} {ROWS / found[name].least / 1e6:10.2f}"
        for name in SCANNING
    ]
    return lines


async def main(rounds: int, as_json: bool) -> None:
    store = await filled()

    def query(filters: Filters) -> Callable[[], Awaitable[object]]:
        return partial(store.query, "leads", filters)

    cases = {name: partial(per_call, query(filters), CALLS) for name, filters in INDEXED.items()}
    cases |= {name: partial(per_call, query(filters), 1) for name, filters in SCANNING.items()}
    found = await interleave(cases, rounds=rounds)
    targets = [Target(name, found[name].median * 1e6, TARGET_US, " us") for name in ("id = …", "email = …")]
    containing = found["custom contains …"].median / ROWS * 1e6
    targets.append(Target("custom contains …", containing, TARGET_US_A_ROW, " us a row"))
    report(table(found), targets, {name: case.summary() for name, case in found.items()}, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=10).parse_args()
    asyncio.run(main(options.rounds, options.json))
