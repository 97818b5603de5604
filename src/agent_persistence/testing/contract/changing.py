"""Laws of count, update and delete."""

# persistence-guard: allow-file AP002 the laws are run on stores made for tests

from __future__ import annotations

from typing import Final, cast
from uuid import uuid4

from agent_persistence.backends.base import Counts, Deletes, PersistenceAdapter, Updates
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState
from agent_persistence.query.filters import gt, in_
from agent_persistence.testing.contract.stage import equal, raised, scored_leads


async def count_is_exact(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("count"):
        await scored_leads(adapter)
        counts = cast("Counts", adapter).count
        equal(
            (
                await counts("leads"),
                await counts("leads", {"score": gt(0.1)}),
                await counts("leads", {"email": in_([])}),
            ),
            (4, 2, 0),
        )


async def update_sets_the_named_columns_of_the_selected_rows(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("update"):
        await scored_leads(adapter)
        update = cast("Updates", adapter).update
        rows = await update("leads", {"status": "won", "company": None}, {"is_qualified": True})
        equal(
            sorted((row["email"][0], row["status"], row["company"]) for row in rows),
            [("a", "won", None), ("d", "won", None)],
        )
        equal(len(await adapter.query("leads", {"status": "won", "company": None})), 2)
        equal(await update("leads", {"status": "lost"}, {"email": "nobody@a.example"}), [])


async def a_refused_update_changes_nothing(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("update"):
        await scored_leads(adapter)
        update = cast("Updates", adapter).update
        before = await adapter.query("leads", order_by="email")
        for changes, error_class, code in (
            ({"email": "same@a.example"}, ConflictError, "23505"),
            ({"email": None}, ConflictError, "23502"),
            ({"client_id": str(uuid4())}, ConflictError, "23503"),
            ({"score": "much"}, AdapterError, "22P02"),
        ):
            error = await raised(error_class, update("leads", changes, {"is_qualified": True}))
            equal((error.code, error.state), (code, FailureState.REJECTED))
        error = await raised(AdapterError, update("leads", {"status": "won"}, {"is_qualified": True}, max_affected=1))
        equal((error.code, error.state), ("PGRST124", FailureState.REJECTED))
        equal(await adapter.query("leads", order_by="email"), before)


async def delete_removes_the_selected_rows_and_what_cascades(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("delete"):
        await scored_leads(adapter)
        leads = await adapter.query("leads", order_by="email")
        talk = await adapter.write("conversations", {"lead_id": leads[0]["id"]})
        await adapter.write("messages", {"conversation_id": talk["id"], "role": "user"})
        delete = cast("Deletes", adapter).delete
        equal(await delete("leads", {"id": leads[0]["id"]}), [leads[0]])
        equal((await adapter.query("conversations"), await adapter.query("messages")), ([], []))
        equal(await delete("leads", {"id": leads[0]["id"]}), [])
        equal(await adapter.query("leads", order_by="email"), leads[1:])


async def a_refused_delete_removes_nothing(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("delete"):
        client = await adapter.write("clients", {"name": "n"})
        await adapter.batch_write("leads", [{"email": f"{n}@a.example", "client_id": client["id"]} for n in range(2)])
        delete = cast("Deletes", adapter).delete
        error: AdapterError = await raised(ConflictError, delete("clients", {"id": client["id"]}))
        equal((error.code, error.state), ("23503", FailureState.REJECTED))
        error = await raised(AdapterError, delete("leads", {"client_id": client["id"]}, max_affected=1))
        equal((error.code, error.state), ("PGRST124", FailureState.REJECTED))
        equal((len(await adapter.query("clients")), len(await adapter.query("leads"))), (1, 2))


LAWS: Final = (
    count_is_exact,
    update_sets_the_named_columns_of_the_selected_rows,
    a_refused_update_changes_nothing,
    delete_removes_the_selected_rows_and_what_cascades,
    a_refused_delete_removes_nothing,
)
