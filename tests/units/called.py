"""What is called under faults with the ledger: each has rows of its own, and an effect that can be counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from agent_persistence import AsyncPersistenceService, TablePolicy, increment, merge
from tests.units.conftest import TABLES
from tests.units.stores import Store

POLICY: Final = TablePolicy(read=TABLES, write=TABLES, delete=TABLES, call_write={"noted_twice"})
TORN: Final = -1


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, on rows of its own; `effect` counts how often it was applied, TORN for a part of it."""

    name: str
    call: Callable[[AsyncPersistenceService, str], Awaitable[Any]]
    effect: Callable[[Store, str], int]
    right: Callable[[Any], bool]
    seed: Callable[[Store, str], None] = lambda store, mark: None


def _times(count: int, size: int) -> int:
    return TORN if count % size else count // size


def _all_or_none(count: int, size: int) -> int:
    return {0: 0, size: 1}.get(count, TORN)


def _bodies(size: int) -> Callable[[Store, str], int]:
    return lambda store, mark: _times(store.count("inquiries", body=mark), size)


def _two_inquiries(store: Store, mark: str) -> None:
    store.seed("inquiries", [{"email": mark, "body": "seeded"}] * 2)


def _a_lead(store: Store, mark: str) -> None:
    store.seed("leads", [{"email": mark, "company": "old", "score": 1, "custom": {"old": 1}}])


async def turn(service: AsyncPersistenceService, mark: str, key: UUID | None = None) -> Any:
    """An agent's turn of five operations as one unit; what each of them gave."""
    unit = service.unit_of_work(key)
    talk = unit.write("conversations", {"subject": mark})
    records = [{"conversation_id": talk["id"], "role": role, "content": mark} for role in ("a", "b")]
    said = unit.batch_write("messages", records)
    changed = unit.update("inquiries", {"handled": True}, {"email": mark, "handled": False}, expect=2)
    noted = unit.call("noted_twice", {"text": mark})
    gone = unit.delete("inquiries", {"email": mark, "handled": True}, expect=2)
    results = await unit.commit()
    return results[talk], results[said], results[changed], results[noted], results[gone]


def _turns(store: Store, mark: str) -> int:
    talks, said = store.count("conversations", subject=mark), store.count("messages", content=mark)
    left, handled = store.count("inquiries", email=mark), store.count("inquiries", email=mark, handled=True)
    noted = store.count("inquiries", body=mark)
    if (talks, said, left, handled, noted) == (0, 0, 2, 0, 0):
        return 0
    return talks if said == noted == 2 * talks and left == 0 else TORN


def _added(store: Store, mark: str) -> int:
    """How often two was added to one."""
    scores = [score for score in range(1, 24) if store.count("leads", email=mark, score=score)]
    return TORN if len(scores) != 1 else _times(scores[0] - 1, 2)


CALLS: Final = {
    one.name: one
    for one in (
        Call(
            "unit",
            turn,
            _turns,
            lambda told: [len(part) if isinstance(part, list) else 1 for part in told] == [1, 2, 2, 1, 2],
            _two_inquiries,
        ),
        Call(
            "write",
            lambda service, mark: service.write("inquiries", {"body": mark}),
            _bodies(1),
            lambda told: isinstance(told["id"], int),
        ),
        Call(
            "batch_write",
            lambda service, mark: service.batch_write("inquiries", [{"body": mark}] * 3),
            _bodies(3),
            lambda told: len(told) == 3,
        ),
        Call(
            "bulk_write",
            lambda service, mark: service.bulk_write("inquiries", [{"body": mark}] * 3),
            _bodies(3),
            lambda told: told == 3,
        ),
        Call(
            "upsert",
            lambda service, mark: service.upsert("leads", {"email": mark, "company": "new"}, ["email"]),
            lambda store, mark: store.count("leads", email=mark, company="new"),
            lambda told: told["company"] == "new",
            _a_lead,
        ),
        Call(
            "update of many",
            lambda service, mark: service.update("inquiries", {"handled": True}, {"email": mark}),
            lambda store, mark: _all_or_none(store.count("inquiries", email=mark, handled=True), 2),
            lambda told: [row["handled"] for row in told] == [True, True],
            _two_inquiries,
        ),
        Call(
            "increment and merge",
            lambda service, mark: service.update(
                "leads", {"score": increment(2), "custom": merge({"new": 2})}, {"email": mark}
            ),
            _added,
            lambda told: [(row["score"], row["custom"]) for row in told] == [(3, {"old": 1, "new": 2})],
            _a_lead,
        ),
        Call(
            "call",
            lambda service, mark: service.call("noted_twice", {"text": mark}),
            _bodies(2),
            lambda told: told == 2,
        ),
        Call(
            "delete of many",
            lambda service, mark: service.delete("inquiries", {"email": mark}),
            lambda store, mark: _all_or_none(2 - store.count("inquiries", email=mark), 2),
            lambda told: len(told) == 2,
            _two_inquiries,
        ),
    )
}
