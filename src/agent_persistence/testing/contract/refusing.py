"""Laws of what the database refuses."""

# persistence-guard: allow-file AP002 the laws are run on stores made for tests

from __future__ import annotations

from typing import Final
from uuid import uuid4

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState
from agent_persistence.query.filters import gt
from agent_persistence.testing.contract.stage import equal, raised


async def integrity_rules_are_conflicts_that_name_their_constraint(adapter: PersistenceAdapter) -> None:
    for table, record, code, constraint in (
        ("leads", {"first_name": "no e-mail"}, "23502", None),
        ("conversations", {"lead_id": str(uuid4())}, "23503", "conversations_lead_id_fkey"),
        ("campaigns", {"name": "n", "status": "no such"}, "23514", "campaigns_status_check"),
    ):
        error = await raised(ConflictError, adapter.write(table, record))
        equal((error.code, error.constraint, error.state), (code, constraint, FailureState.REJECTED))


async def values_of_the_wrong_type_are_rejected(adapter: PersistenceAdapter) -> None:
    for call, code in (
        (adapter.read("leads", "no-uuid"), "22P02"),
        (adapter.write("leads", {"email": "e@a.example", "score": "much"}), "22P02"),
        (adapter.query("leads", {"created_at": gt("yesterday-ish")}), "22007"),
    ):
        error = await raised(AdapterError, call)
        equal((error.code, error.state), (code, FailureState.REJECTED))


async def a_column_that_does_not_exist_is_rejected(adapter: PersistenceAdapter) -> None:
    for call in (
        adapter.write("leads", {"email": "e@a.example", "no_such_column": 1}),
        adapter.query("leads", {"no_such_column": 1}),
        adapter.query("leads", select=["no_such_column"]),
        adapter.query("leads", order_by="no_such_column"),
    ):
        error = await raised(AdapterError, call)
        equal(error.state, FailureState.REJECTED)


LAWS: Final = (
    integrity_rules_are_conflicts_that_name_their_constraint,
    values_of_the_wrong_type_are_rejected,
    a_column_that_does_not_exist_is_rejected,
)
