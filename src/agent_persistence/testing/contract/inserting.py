"""Laws of write, batch_write, bulk_write and upsert."""

# persistence-guard: allow-file AP002 the laws are run on stores made for tests

from __future__ import annotations

from typing import Final, cast

from agent_persistence.backends.base import BulkWrites, Counts, PersistenceAdapter
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState
from agent_persistence.testing.contract.stage import equal, raised


async def a_batch_keeps_its_order(adapter: PersistenceAdapter) -> None:
    emails = [f"{number}@a.example" for number in (3, 1, 2)]
    rows = await adapter.batch_write("leads", [{"email": email} for email in emails])
    equal([row["email"] for row in rows], emails)
    equal(await adapter.batch_write("leads", []), [])


async def a_batch_is_all_or_nothing(adapter: PersistenceAdapter) -> None:
    await adapter.write("leads", {"email": "taken@a.example"})
    error = await raised(
        ConflictError, adapter.batch_write("leads", [{"email": "new@a.example"}, {"email": "taken@a.example"}])
    )
    equal((error.code, error.constraint, error.state), ("23505", "leads_email_key", FailureState.REJECTED))
    equal(await adapter.query("leads", {"email": "new@a.example"}), [])


async def columns_absent_from_one_record_of_a_batch_take_their_default(adapter: PersistenceAdapter) -> None:
    rows = await adapter.batch_write(
        "leads", [{"email": "a@a.example", "status": "won"}, {"email": "b@a.example", "company": "B"}]
    )
    equal([(row["status"], row["company"]) for row in rows], [("won", None), ("new", "B")])


async def a_bulk_write_stores_all_rows_or_none(adapter: PersistenceAdapter) -> None:
    if not adapter.capabilities.get("bulk"):
        return
    bulk = cast("BulkWrites", adapter)
    emails = [f"{number}@a.example" for number in range(50)]
    equal(await bulk.bulk_write("leads", [{"email": email, "status": "won"} for email in emails]), 50)
    equal(await cast("Counts", adapter).count("leads", {"status": "won"}), 50)
    equal(await bulk.bulk_write("leads", []), 0)
    error = await raised(
        ConflictError, bulk.bulk_write("leads", [{"email": "new@a.example"}, {"email": "7@a.example"}])
    )
    equal((error.code, error.constraint, error.state), ("23505", "leads_email_key", FailureState.REJECTED))
    equal(await adapter.query("leads", {"email": "new@a.example"}), [])


async def a_bulk_write_merges_by_the_columns_named(adapter: PersistenceAdapter) -> None:
    if not adapter.capabilities.get("bulk"):
        return
    bulk = cast("BulkWrites", adapter)
    there = await adapter.write("leads", {"email": "old@a.example", "company": "A", "first_name": "Ada"})
    records = [{"email": "old@a.example", "company": "B"}, {"email": "new@a.example", "company": "C"}]
    equal(await bulk.bulk_write("leads", records, on_conflict=["email"]), 2)
    merged = await adapter.read("leads", there["id"])
    equal(merged and (merged["company"], merged["first_name"]), ("B", "Ada"))
    equal(len(await adapter.query("leads", {"company": "C"})), 1)
    moved = [{"id": there["id"], "email": "moved@a.example"}]
    equal(await bulk.bulk_write("leads", moved, on_conflict=[]), 1)
    equal([row["company"] for row in await adapter.query("leads", {"email": "moved@a.example"})], ["B"])


async def a_bulk_write_merges_no_row_twice(adapter: PersistenceAdapter) -> None:
    if not adapter.capabilities.get("bulk"):
        return
    same = [{"email": "a@a.example", "company": "A"}, {"email": "a@a.example", "company": "B"}]
    error = await raised(AdapterError, cast("BulkWrites", adapter).bulk_write("leads", same, on_conflict=["email"]))
    equal((error.code, error.state), ("21000", FailureState.REJECTED))
    equal(await adapter.query("leads"), [])


async def upsert_inserts_then_merges(adapter: PersistenceAdapter) -> None:
    first = await adapter.upsert("leads", {"email": "u@a.example", "company": "A"}, ["email"])
    second = await adapter.upsert("leads", {"email": "u@a.example", "status": "won"}, ["email"])
    equal((second["id"], second["company"], second["status"]), (first["id"], "A", "won"))
    equal(len(await adapter.query("leads")), 1)


async def upsert_without_target_merges_by_primary_key(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("conversations", {"subject": "a", "channel": "chat"})
    merged = await adapter.upsert("conversations", {"id": row["id"], "subject": "b"})
    equal(merged, {**row, "subject": "b"})


async def upsert_on_several_columns(adapter: PersistenceAdapter) -> None:
    campaign = (await adapter.write("campaigns", {"name": "c"}))["id"]
    first = await adapter.upsert(
        "sequences", {"campaign_id": campaign, "step": 1, "template": "a"}, ["campaign_id", "step"]
    )
    second = await adapter.upsert(
        "sequences", {"campaign_id": campaign, "step": 1, "template": "b"}, ["campaign_id", "step"]
    )
    equal((first["id"], second["template"]), (second["id"], "b"))


LAWS: Final = (
    a_batch_keeps_its_order,
    a_batch_is_all_or_nothing,
    columns_absent_from_one_record_of_a_batch_take_their_default,
    a_bulk_write_stores_all_rows_or_none,
    a_bulk_write_merges_by_the_columns_named,
    a_bulk_write_merges_no_row_twice,
    upsert_inserts_then_merges,
    upsert_without_target_merges_by_primary_key,
    upsert_on_several_columns,
)
