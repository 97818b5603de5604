"""Two clients, the leads of one with their conversations and messages; and a desk of two tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table

POLICY = TablePolicy(
    read={"clients", "campaigns", "leads", "conversations", "messages"},
    write={"clients", "campaigns", "leads", "conversations", "messages"},
)
Made: TypeAlias = Callable[..., AsyncPersistenceService]


async def fill(service: AsyncPersistenceService) -> None:
    acme = await service.write("clients", {"name": "Acme", "plan": "pro"})
    await service.write("clients", {"name": "Nobody's"})
    for number in range(3):
        lead = await service.write(
            "leads", {"email": f"{number}@x.example", "client_id": acme["id"] if number else None, "score": number}
        )
        for talk in range(number):
            conversation = await service.write(
                "conversations", {"lead_id": lead["id"], "subject": f"talk {talk}", "opened": bool(talk)}
            )
            await service.batch_write(
                "messages",
                [
                    {"conversation_id": conversation["id"], "role": "user", "content": f"{number}{talk}{turn}"}
                    for turn in range(2)
                ],
            )


TENANTS = Schema(
    {
        "desks": Table(
            {"id": Column("integer"), "tenant_id": Column("text"), "name": Column("text")}, primary_key=("id",)
        ),
        "tickets": Table(
            {
                **{name: Column("integer") for name in ("id", "desk_id", "parent_id")},
                "tenant_id": Column("text"),
            },
            primary_key=("id",),
            foreign_keys=(ForeignKey("desk_id", "desks"), ForeignKey("parent_id", "tickets")),
        ),
    }
)
ROWS: dict[str, list[dict[str, Any]]] = {
    "desks": [{"id": 1, "tenant_id": "a", "name": "A"}, {"id": 2, "tenant_id": "b", "name": "B"}],
    "tickets": [
        {"id": 1, "tenant_id": "a", "desk_id": 1, "parent_id": None},
        {"id": 2, "tenant_id": "b", "desk_id": 1, "parent_id": 1},
        {"id": 3, "tenant_id": "a", "desk_id": 2, "parent_id": 1},
    ],
}


def tenants(**options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(
        InMemoryAdapter(ROWS, schema=TENANTS),
        **{"policy": TablePolicy(read={"desks", "tickets"}), "schema": TENANTS, **options},
    )
