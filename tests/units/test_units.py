"""What a unit of work does, over every back end."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from agent_persistence import (
    NULL,
    AdapterError,
    AsyncPersistenceService,
    ConflictError,
    ExpectationFailedError,
    UnitOfWork,
    ValidationError,
    all_of,
    any_of,
    contains,
    eq,
    gte,
    in_,
    is_null,
    like,
    not_,
    not_in,
)

pytestmark = pytest.mark.asyncio


def _turn(unit: UnitOfWork, email: str = "ada@x.io") -> Any:
    """An agent's turn: a lead, a conversation, two messages, and the lead's status."""
    lead = unit.upsert("leads", {"email": email, "first_name": "Ada"}, on_conflict=["email"])
    talk = unit.write("conversations", {"lead_id": lead["id"], "subject": "hello"})
    messages = unit.batch_write(
        "messages",
        [
            {"conversation_id": talk["id"], "role": "user", "content": "hi"},
            {"conversation_id": talk["id"], "role": "bot"},
        ],
    )
    changed = unit.update("leads", {"status": "open"}, {"id": lead["id"], "status": "new"}, expect=1)
    return lead, talk, messages, changed


async def test_all_operations_are_applied_and_each_has_its_result(service: AsyncPersistenceService) -> None:
    """In order, with what the database made of them."""
    unit = service.unit_of_work()
    lead, talk, messages, changed = _turn(unit)
    results = await unit.commit()
    assert results[lead]["email"] == "ada@x.io"
    assert results[talk]["lead_id"] == results[lead]["id"]
    assert [row["content"] for row in results[messages]] == ["hi", None]
    assert {row["conversation_id"] for row in results[messages]} == {results[talk]["id"]}
    assert [row["status"] for row in results[changed]] == ["open"]
    assert (await service.read("leads", results[lead]["id"]))["status"] == "open"  # type: ignore[index]
    assert await service.count("messages") == 2


async def test_nothing_is_applied_where_one_operation_is_refused(service: AsyncPersistenceService) -> None:
    """Neither what came before it nor what would have come after."""
    unit = service.unit_of_work()
    _turn(unit)
    unit.write("leads", {"email": "ada@x.io"})
    unit.write("inquiries", {"body": "never"})
    with pytest.raises(ConflictError) as refused:
        await unit.commit()
    assert (refused.value.code, refused.value.constraint, refused.value.part) == ("23505", "leads_email_key", 4)
    for table in ("leads", "conversations", "messages", "inquiries"):
        assert await service.count(table) == 0


@pytest.mark.parametrize(("expect", "found"), [(1, 2), (3, 2), (0, 2)])
async def test_another_number_of_rows_than_expected_applies_nothing(
    service: AsyncPersistenceService, expect: int, found: int
) -> None:
    """The error says how many there were."""
    await service.batch_write("inquiries", [{"body": "a"}, {"body": "b"}])
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "c"})
    unit.update("inquiries", {"handled": True}, {"body": in_(["a", "b"])}, expect=expect)
    with pytest.raises(ExpectationFailedError) as refused:
        await unit.commit()
    error = refused.value
    assert (error.expected, error.found, error.part, error.table) == (expect, found, 1, "inquiries")
    assert (error.http_status, error.caller_can_fix) == (409, True)
    assert await service.count("inquiries", {"handled": True}) == 0
    assert await service.count("inquiries") == 2


async def test_a_requirement_that_does_not_hold_applies_nothing(service: AsyncPersistenceService) -> None:
    """At least one row by default, or as many as are expected."""
    await service.write("inquiries", {"body": "a", "handled": False})
    unit = service.unit_of_work()
    held = unit.require("inquiries", {"body": "a", "handled": False}, expect=1)
    unit.update("inquiries", {"handled": True}, {"body": "a"})
    results = await unit.commit()
    assert results[held] == 1
    again = service.unit_of_work()
    again.require("inquiries", {"body": "a", "handled": False}, lock=False)
    again.delete("inquiries", {"body": "a"})
    with pytest.raises(ExpectationFailedError, match="0 rows were found, expected at least 1"):
        await again.commit()
    assert await service.count("inquiries") == 1


async def test_of_concurrent_units_that_require_the_same_one_is_applied(service: AsyncPersistenceService) -> None:
    """Compare and set: none sees what another is about to change."""
    await service.write("inquiries", {"body": "0"})

    async def claim(name: str) -> bool:
        unit = service.unit_of_work()
        unit.require("inquiries", {"body": "0"})
        unit.write("inquiries", {"body": f"claimed by {name}"})
        unit.update("inquiries", {"body": name}, {"body": "0"}, expect=1)
        try:
            await unit.commit()
        except ExpectationFailedError:
            return False
        return True

    won = await asyncio.gather(*(claim(str(n)) for n in range(1, 9)))
    assert won.count(True) == 1
    assert await service.count("inquiries", {"body": like("claimed%")}) == 1


async def test_under_a_key_a_unit_is_applied_once(service: AsyncPersistenceService) -> None:
    """Made again by another process, with the keys that it makes: the result is the first one."""
    key = uuid4()
    told = []
    for _ in range(3):
        unit = service.unit_of_work(key)
        lead, talk, messages, _changed = _turn(unit)
        results = await unit.commit()
        told.append((results[lead]["id"], results[talk], results[messages]))
    assert told[0] == told[1] == told[2]
    assert (await service.count("leads"), await service.count("messages")) == (1, 2)


async def test_concurrent_units_under_one_key_are_applied_once(service: AsyncPersistenceService) -> None:
    """Whoever is second waits for the first, and has its result."""
    key = str(uuid4())

    async def send() -> Any:
        unit = service.unit_of_work(key)
        note = unit.write("inquiries", {"body": "once"})
        return (await unit.commit())[note]["id"]

    assert len(set(await asyncio.gather(*(send() for _ in range(6))))) == 1
    assert await service.count("inquiries") == 1


async def test_a_key_with_another_content_is_refused(service: AsyncPersistenceService) -> None:
    """And nothing is applied."""
    key = uuid4()
    first = service.unit_of_work(key)
    first.write("inquiries", {"body": "one"})
    await first.commit()
    for change in ({"body": "two"}, {"body": "one", "email": "a@x.io"}):
        other = service.unit_of_work(key)
        other.write("inquiries", change)
        with pytest.raises(ConflictError, match="another content") as refused:
            await other.commit()
        assert refused.value.constraint == "ledger_pkey"
    assert await service.count("inquiries") == 1


async def test_references_stand_in_filters_and_keep_every_value_as_it_is(service: AsyncPersistenceService) -> None:
    """Numbers keep their digits, documents their shape, NULL is NULL."""
    document = {"b": [1, "5", None, 1.50], "a": {"c": "\\ ' \" {} $1"}}
    unit = service.unit_of_work()
    first = unit.write("leads", {"email": "a@x.io", "score": "12345678901234567890.123456789", "custom": document})
    second = unit.upsert("leads", {"email": "b@x.io", "notes": "x"}, on_conflict=["email"])
    copied = unit.update(
        "leads",
        {"score": second["score"], "notes": first["email"], "first_name": first["notes"]},
        {"email": second["email"], "notes": second["notes"]},
        expect=1,
    )
    third = unit.write("leads", {"email": "c@x.io", "score": first["score"], "custom": first["custom"], "tags": NULL})
    gone = unit.delete("leads", all_of({"score": gte(first["score"])}, {"email": eq(first["email"])}), expect=1)
    results = await unit.commit()
    assert results[copied][0]["notes"] == "a@x.io"
    assert results[copied][0]["first_name"] is None
    assert str(results[third]["score"]) == "12345678901234567890.123456789"
    assert results[third]["custom"] == document
    assert results[gone][0]["email"] == "a@x.io"
    rows = await service.query("leads", order_by="email")
    assert (rows[0]["email"], rows[0]["score"]) == ("b@x.io", None)


async def test_a_comparison_with_a_null_of_an_earlier_row_selects_nothing(service: AsyncPersistenceService) -> None:
    """As in SQL, negated or not."""
    unit = service.unit_of_work()
    lead = unit.upsert("leads", {"email": "a@x.io"}, on_conflict=["email"])
    plain = unit.update("leads", {"status": "x"}, {"notes": lead["notes"]})
    negated = unit.update("leads", {"status": "y"}, not_({"notes": eq(lead["notes"])}))
    results = await unit.commit()
    assert (results[plain], results[negated]) == ([], [])


async def test_every_kind_of_filter_means_what_it_means_alone(service: AsyncPersistenceService) -> None:
    """The rows that a unit changes are those that a query finds."""
    texts = ["plain", "it's", 'quo"te', "back\\slash", "per%cent", "com,ma", "{brace}", "$1", "ünï", ""]
    await service.batch_write(
        "leads",
        [
            {"email": f"{n}@x.io", "notes": text, "score": n / 2, "tags": [text, "all"], "custom": {"t": text, "n": n}}
            for n, text in enumerate(texts)
        ],
    )
    filters: list[Any] = [
        *({"notes": text} for text in texts),
        {"notes": in_(texts[:4])},
        {"notes": not_in(texts[2:6])},
        {"notes": like("%\\\\%")},
        {"score": gte(2.5)},
        {"tags": contains(["it's"])},
        {"custom": contains({"t": 'quo"te'})},
        not_(any_of({"notes": "plain"}, {"score": gte(2)})),
        {"last_name": is_null(), "is_qualified": False},
    ]
    for number, chosen in enumerate(filters):
        found = await service.query("leads", chosen, order_by="email")
        unit = service.unit_of_work()
        changed = unit.update("leads", {"phone": str(number)}, chosen)
        counted = unit.require("leads", chosen, expect=len(found))
        results = await unit.commit()
        assert sorted(row["email"] for row in results[changed]) == sorted(row["email"] for row in found)
        assert results[counted] == len(found)


async def test_records_of_different_keys_take_the_defaults(service: AsyncPersistenceService) -> None:
    """And NULL only where it is written."""
    unit = service.unit_of_work()
    notes = unit.batch_write(
        "leads", [{"email": "a@x.io"}, {"email": "b@x.io", "status": "hot"}, {"email": "c@x.io", "is_qualified": NULL}]
    )
    rows = (await unit.commit())[notes]
    assert [(row["status"], row["is_qualified"]) for row in rows] == [("new", False), ("hot", False), ("new", None)]


async def test_typed_tables_give_models(service: AsyncPersistenceService) -> None:
    """And their handles stand in records as any other."""

    class Lead(BaseModel):
        id: str | None = None
        email: str
        status: str | None = None

    unit = service.unit_of_work()
    leads = unit.table(Lead, "leads")
    lead = leads.upsert(Lead(email="a@x.io"), on_conflict=["email"])
    several = leads.batch_write([Lead(email="b@x.io"), {"email": "c@x.io"}])
    talk = unit.write("conversations", {"lead_id": lead["id"], "subject": several[1]["email"]})
    changed = leads.update({"status": "open"}, {"id": lead["id"]}, expect=1)
    results = await unit.commit()
    assert isinstance(results[lead], Lead)
    assert [one.email for one in results[several]] == ["b@x.io", "c@x.io"]
    assert results[changed][0].status == "open"
    assert results[talk]["lead_id"] == results[lead].id
    assert results[talk]["subject"] == "c@x.io"


@pytest.mark.parametrize(
    ("code", "table", "record"),
    [
        ("23502", "messages", {"role": "a", "conversation_id": NULL}),
        ("23503", "messages", {"role": "a", "conversation_id": "0198c2d0-0000-7000-8000-000000000000"}),
        ("22P02", "leads", {"email": "b", "score": "many"}),
        ("22P02", "inquiries", {"body": "a", "handled": "perhaps"}),
        ("42P10", "leads", {"email": "b"}),
    ],
)
async def test_what_the_database_refuses_has_its_code_and_its_part(
    service: AsyncPersistenceService, code: str, table: str, record: dict[str, Any]
) -> None:
    """As the same write by itself has it."""
    target = ["first_name"] if code == "42P10" else None
    with pytest.raises(AdapterError) as alone:
        await (service.write(table, record) if target is None else service.upsert(table, record, target))
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "first"})
    if target is None:
        unit.write(table, record)
    else:
        unit.upsert(table, record, target)
    with pytest.raises(AdapterError) as together:
        await unit.commit()
    assert (type(together.value), together.value.code, together.value.part) == (type(alone.value), code, 1)
    assert getattr(together.value, "constraint", None) == getattr(alone.value, "constraint", None)
    assert await service.count("inquiries") == 0


async def test_a_unit_that_was_committed_takes_nothing_more(service: AsyncPersistenceService) -> None:
    """Nor is it committed again."""
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "a"})
    await unit.commit()
    with pytest.raises(ValidationError, match="was committed"):
        await unit.commit()
    with pytest.raises(ValidationError, match="was committed"):
        unit.write("inquiries", {"body": "b"})
    with pytest.raises(ValidationError, match="no operation"):
        await service.unit_of_work().commit()
    assert await service.count("inquiries") == 1
