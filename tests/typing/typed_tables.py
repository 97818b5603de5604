"""Only type-checked: a typed table gives models, and a façade's only reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import ClassVar, assert_type

from pydantic import BaseModel

from agent_persistence import AsyncPersistenceService, PersistenceAgent, ReadOnlyPersistenceFacade, Schema, gte, sync
from agent_persistence.client.typed import ReadOnlyTable, TypedTable


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    email: str


class Message(BaseModel):
    content: str


async def reading(facade: ReadOnlyPersistenceFacade) -> None:
    leads = facade.table(Lead)
    assert_type(leads, ReadOnlyTable[Lead])
    assert_type(await leads.read("1"), Lead | None)
    assert_type(await leads.query({"score": gte(0.5)}, 5, order_by="email", offset=5), list[Lead])
    assert_type(await leads.count(), int)
    assert_type(leads.iterate(page_size=5), AsyncGenerator[Lead, None])
    assert_type(leads.model, type[Lead])

    await leads.query(select=["email"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await leads.write(Lead(email="a"))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    facade.table("leads")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def writing(agent: PersistenceAgent, service: AsyncPersistenceService) -> None:
    leads = agent.table(Lead, "leads")
    assert_type(leads, TypedTable[Lead])
    assert_type(service.table(Lead), TypedTable[Lead])
    assert_type(await leads.write(Lead(email="a")), Lead)
    assert_type(await leads.write({"email": "a"}), Lead)
    assert_type(await leads.batch_write([Lead(email="a"), {"email": "b"}]), list[Lead])
    assert_type(await leads.upsert({"email": "a"}, ["email"]), Lead)
    assert_type(await leads.update({"email": "b"}, {"email": "a"}, max_affected=1), list[Lead])
    assert_type(await leads.delete({"email": "a"}), list[Lead])

    assert_type(await leads.write(Lead(email="a"), on_duplicate="ignore"), Lead | None)
    assert_type(await leads.batch_write([], on_duplicate="ignore"), list[Lead | None])
    await leads.write(Message(content="a"))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await leads.write("a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def blocking(agent: sync.PersistenceAgent, facade: sync.ReadOnlyPersistenceFacade) -> None:
    leads = agent.table(Lead)
    assert_type(leads, sync.TypedTable[Lead])
    assert_type(facade.table(Lead), sync.ReadOnlyTable[Lead])
    assert_type(leads.write(Lead(email="a")), Lead)
    assert_type(leads.read("1"), Lead | None)
    assert_type(leads.query({"score": gte(0.5)}, limit=5), list[Lead])
    assert_type(leads.iterate(), Iterator[Lead])

    facade.table(Lead).write({})  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def declaring() -> None:
    assert_type(Schema.default(), Schema)
    assert_type(Schema.from_models({"leads": Lead}, unique={"leads": [("email",)]}), Schema)
    Schema.from_models({"leads": Lead(email="a")})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
