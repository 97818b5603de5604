"""One script of calls with every verb, and what it gives in a form in which one run can equal another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from agent_persistence import (
    NULL,
    AsyncPersistenceService,
    PersistenceError,
    all_of,
    any_of,
    build_rag_context,
    contains,
    desc,
    exists,
    gte,
    ilike,
    in_,
    increment,
    is_null,
    like,
    lt,
    merge,
    not_,
)
from agent_persistence.bulk import bulk_import
from agent_persistence.client.including import Includes
from agent_persistence.client.typed import TypedTable
from agent_persistence.runtime.concurrency import together

FUNCTION: Final = "doubled"
"""The database function that the script calls, of one argument, `word`."""


class Campaign(BaseModel):
    """The columns that the script looks at; options are free to change the others."""

    id: UUID
    client_id: UUID | None
    name: str
    status: str
    daily_limit: int | None


class Lead(BaseModel):
    id: UUID
    client_id: UUID | None
    campaign_id: UUID | None
    email: str
    first_name: str | None
    company: str | None
    status: str
    score: float | None
    tags: list[str] | None
    custom: dict[str, Any] | None
    notes: str | None


class Conversation(BaseModel):
    id: UUID
    lead_id: UUID | None
    channel: str | None
    subject: str | None


class Message(BaseModel):
    id: int
    conversation_id: UUID
    role: str
    content: str | None
    tokens: int | None


class Step(BaseModel):
    id: int
    campaign_id: UUID | None
    step: int
    delay_hours: int | None
    template: str | None


class StagedLead(BaseModel):
    id: int
    email: str | None
    raw: dict[str, Any] | None
    source: str | None
    status: str | None


MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "campaigns": Campaign,
    "leads": Lead,
    "conversations": Conversation,
    "messages": Message,
    "sequences": Step,
    "staging_leads": StagedLead,
}


@dataclass(frozen=True)
class Untyped:
    """The verbs of a service over one table, with plain dicts."""

    service: AsyncPersistenceService
    name: str

    def __getattr__(self, verb: str) -> Any:
        return partial(getattr(self.service, verb), self.name)


@dataclass(frozen=True)
class Caller:
    """Who runs the script: a view of a service, a client whose leads they are, and a domain that only theirs have."""

    service: AsyncPersistenceService
    client_id: str
    domain: str
    is_typed: bool = False

    def table(self, name: str) -> TypedTable[BaseModel] | Untyped:
        """The verbs over the table, with models or without."""
        return self.service.table(MODELS[name], name) if self.is_typed else Untyped(self.service, name)

    def email(self, name: str) -> str:
        return f"{name}@{self.domain}"

    def lead(self, name: str, **columns: Any) -> dict[str, Any]:
        return {"client_id": self.client_id, "email": self.email(name), "first_name": name.title(), **columns}


async def script(by: Caller) -> AsyncIterator[tuple[str, Any]]:
    """The name of each step and what it gave, as soon as it is done. Callers may take turns step by step."""
    leads, campaigns = by.table("leads"), by.table("campaigns")

    campaign = await campaigns.write({"client_id": by.client_id, "name": "Spring", "status": "active"})
    yield "write", campaign
    campaign_id = plain(campaign)["id"]
    ada = await leads.write(
        by.lead(
            "ada", campaign_id=campaign_id, phone="+49 170 1234567", score=0.5, tags=["a", "b"], custom={"role": "cto"}
        )
    )
    yield "write of a lead", ada
    ada_id = plain(ada)["id"]
    batch = [
        by.lead("bob", score=0.9, notes=None),
        by.lead("cyd", status="lost", company="Cyd, Ltd."),
        by.lead("dan", score=0.1, custom={"role": "ceo", "none": None}),
    ]
    yield "batch_write", await leads.batch_write(batch)
    yield "bulk_write", await by.service.bulk_write("leads", [by.lead("eve"), by.lead("fay", status="lost")])
    yield "writes at once", await together([partial(leads.write, by.lead(name, score=0.7)) for name in ("gil", "hal")])

    yield "upsert that merges", await leads.upsert(by.lead("ada", status="open"), on_conflict=["email"])
    yield "upsert that inserts", await leads.upsert(by.lead("ida", score=0.3), on_conflict=["email"])
    opened = await leads.update({"status": "open", "notes": "called"}, {"status": "new", "score": gte(0.7)})
    yield "update", by_email(opened)
    changes = {"score": increment(0.25), "custom": merge({"seen": True})}
    yield "update of what is there", await leads.update(changes, {"id": ada_id})
    yield "update by key", await leads.update({"company": "Ada & Co", "notes": NULL}, {"id": ada_id}, max_affected=1)

    yield "read", await leads.read(ada_id)
    yield "read by another column", await leads.read(by.email("cyd"), "email")
    yield "read by several columns", await leads.read({"id": ada_id, "email": by.email("ada")})
    yield "read of nothing", await leads.read(str(UUID(int=1)))
    for again in ("first", "second"):
        yield f"query, {again}", await leads.query({"status": "open"}, order_by=["score", "email"])
    yield "queries at once", await together([partial(leads.query, {"score": lt(0.5)}, order_by="email")] * 3)
    emails = ("ada", "bob", "cyd")
    yield "reads at once", await together([partial(leads.read, by.email(name), "email") for name in emails])
    yield "query, ordered page", await leads.query(None, 3, [desc("score"), "email"], offset=1)
    yield "query, select", await by.service.query("leads", order_by="email", select=["email", "score"])
    conditions = any_of({"tags": contains(["b"])}, {"company": ilike("cyd%")}, {"custom": contains({"role": "ceo"})})
    yield "query, logic", await leads.query(conditions, order_by="email")
    yield "query, list", await leads.query({"status": in_(["lost", "none"])}, 10, "email", True)
    page = await by.service.page("leads", {"status": "open"}, limit=2, order_by="email", select=["email"])
    yield "page", [*page.rows, {"score": page.total}]
    parent: Includes = {"campaigns": {"select": ["name"], "filters": {"status": "active"}}}
    yield (
        "query with its parents",
        await by.service.query("leads", {"score": gte(0.5)}, order_by="email", select=["email"], include=parent),
    )
    active = exists("campaigns", {"status": "active"})
    yield "query by what is related", await leads.query(all_of({"score": gte(0.2)}, active), order_by="email")
    yield "query by what is not", await leads.query(all_of({"score": gte(0.2)}, not_(active)), order_by="email")
    together_merged = await leads.upsert_many([by.lead("ida", score=0.4), by.lead("kit", score=0.2)], ["email"])
    yield "upsert_many", together_merged
    known = [by.lead("kit", score=9), by.lead("lou", score=0.2)]
    yield "batch_write that ignores duplicates", await leads.batch_write(known, on_duplicate="ignore")
    yield "write of a duplicate", await leads.write(by.lead("lou"), on_duplicate="ignore", on_conflict=["email"])
    yield "bulk_write of duplicates", await by.service.bulk_write("leads", known, on_duplicate="ignore")
    yield "count", [await by.service.count("leads"), await by.service.count("leads", {"score": is_null()})]
    yield "iterate", [row async for row in leads.iterate({"status": "open"}, page_size=2, order_by="email")]

    conversation = await by.table("conversations").write({"lead_id": ada_id, "subject": "Hello"})
    yield "write of a conversation", conversation
    within = {"conversation_id": plain(conversation)["id"]}
    messages = by.table("messages")
    yield (
        "batch_write of messages",
        await messages.batch_write(
            [
                {**within, "role": "user", "content": "Hi", "tokens": 1},
                {**within, "role": "agent", "content": '{}, "ü"'},
            ]
        ),
    )
    yield "query of messages", await messages.query(within, order_by="id", descending=True)
    steps, key = by.table("sequences"), ["campaign_id", "step"]
    texts = ("one", "two")
    merged = [
        plain(await steps.upsert({"campaign_id": campaign_id, "step": 1, "template": text}, on_conflict=key))
        for text in texts
    ]
    yield "upserts of a step", [merged[0]["id"] == merged[1]["id"], *merged]

    yield "get_columns", await by.service.get_columns("leads")
    yield "call", await by.service.call(FUNCTION, {"word": "so"})
    context = await build_rag_context(by.service, lead_filters={"email": by.email("ada")})
    yield (
        "build_rag_context",
        {
            "leads": context.leads,
            "campaigns": context.campaigns,
            "conversations": context.conversations,
            "messages": sorted(context.messages, key=lambda row: str(row["role"])),
            "clients": [row["name"] for row in context.clients],
            "complete": context.complete,
        },
    )

    staged = ({"email": by.email(f"s{number}"), "raw": {"n": number}, "source": "file"} for number in range(5))
    imported = await bulk_import(by.service, "staging_leads", staged, chunk_rows=2, concurrency=1)
    yield "bulk_import", imported.rows
    theirs = {"email": like(f"%@{by.domain}")}
    yield "query of what was imported", await by.table("staging_leads").query(theirs, order_by="email")
    newer = [by.lead("ada", score=1), by.lead("jim", score=2)]
    report = await bulk_import(by.service, "leads", newer, on_conflict=["email"])
    yield "bulk_import that merges", [report.rows, await leads.query({"score": gte(1)}, order_by="email")]

    report = await bulk_import(by.service, "leads", newer, on_conflict=["email"], on_duplicate="ignore")
    yield "bulk_import that ignores duplicates", [report.rows, report.ignored]

    yield "delete", by_email(await leads.delete({"status": "lost"}))
    yield "count after it", await by.service.count("leads")
    yield "read after it", await leads.read(by.email("cyd"), "email")
    yield (
        "refused",
        [
            await refused(leads.write(by.lead("ada"))),
            await refused(leads.delete({"status": "open"}, max_affected=1)),
            await refused(by.service.query("secrets")),
            await refused(by.table("messages").delete(within)),
        ],
    )
    yield "query at the end", await leads.query(order_by="email")


def by_email(rows: list[Any]) -> list[Any]:
    """Rows that come in no certain order in a certain one."""
    return sorted((plain(row) for row in rows), key=lambda row: str(row["email"]))


async def refused(call: Any) -> str:
    """The class of the error that the call ends with."""
    try:
        await call
    except PersistenceError as error:
        return type(error).__name__
    return "nothing"


def plain(row: Any) -> Mapping[str, Any]:
    """A row as JSON values."""
    return row.model_dump(mode="json") if isinstance(row, BaseModel) else row


LOOKED_AT: Final = frozenset(name for model in MODELS.values() for name in model.model_fields)


class Canonical:
    """What the steps of one caller gave, with its keys numbered in the order in which they are met."""

    def __init__(self, by: Caller) -> None:
        self._by = by
        self._keys: dict[str, str] = {by.client_id: "the client"}

    def __call__(self, given: Any, column: str = "") -> Any:
        match given:
            case BaseModel():
                return self(plain(given))
            case dict() if column in ("custom", "raw"):
                return given
            case dict():
                looked_at = sorted(given.keys() & (LOOKED_AT | _COMPOSED))
                return {name: self(given[name], name) for name in looked_at}
            case list():
                return [self(each, column) for each in given]
            case bool() | None:
                return given
            case int() if column == "id":
                return "a number"
            case _ if column == "id" or column.endswith("_id"):
                return self._keys.setdefault(str(given), f"key {len(self._keys)}")
            case str():
                return given.replace(self._by.domain, "the.domain")
            case _:
                return float(given)


_COMPOSED: Final = frozenset({"leads", "campaigns", "conversations", "messages", "clients", "complete"})
