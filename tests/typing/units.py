"""Only type-checked: what a handle gives, and that a unit of the blocking module waits."""

from __future__ import annotations

from typing import Any, ClassVar, assert_type

from pydantic import BaseModel

from agent_persistence import PersistenceAgent, UnitOfWork, UnitResults, increment, merge, sync
from agent_persistence.query.records import Row


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    email: str


async def committing(agent: PersistenceAgent) -> None:
    unit = agent.unit_of_work()
    assert_type(unit, UnitOfWork)
    lead = unit.upsert("leads", {"email": "a"}, on_conflict=["email"])
    batch = unit.batch_write("messages", [{"lead_id": lead["id"]}])
    changed = unit.update("leads", {"status": "open"}, {"id": lead["id"]}, expect=1)
    gone = unit.delete("messages", {"id": batch[0]["id"]})
    held = unit.require("leads", {"email": "a"}, lock=False)
    typed = unit.table(Lead)
    model, models = typed.write(Lead(email="a")), typed.update({"email": "b"}, {"email": "a"})
    results = await unit.commit()
    assert_type(results, UnitResults)
    assert_type(results[lead], Row)
    assert_type(results[batch], list[Row])
    assert_type(results[changed], list[Row])
    assert_type(results[gone], list[Row])
    assert_type(results[held], int)
    assert_type(results[model], Lead)
    assert_type(results[models], list[Lead])

    held["id"]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    merged = unit.upsert_many("leads", [{"email": "a"}], ["email"])
    called = unit.call("noted", {"body": "a"})
    counted = unit.update("leads", {"score": increment(1), "custom": merge({"a": 1})}, {"id": lead["id"]})
    assert_type(results[merged], list[Row])
    assert_type(results[merged[0]], Any)
    assert_type(results[called], Any)
    assert_type(results[counted], list[Row])
    results["leads"]  # type: ignore[index]  # pyright: ignore[reportArgumentType]


def waiting(agent: sync.PersistenceAgent) -> None:
    unit = agent.unit_of_work("0192f0c1-2b3c-4d4e-8f50-617283940a1b")
    note = unit.write("inquiries", {"body": "a"})
    assert_type(unit.commit()[note], Row)
