"""What users call, as two of them do it at once, and what of it would be a leak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Final, TypeAlias
from uuid import uuid4

from pydantic import BaseModel

from agent_persistence import PersistenceAgent, PersistenceError, build_rag_context, bulk_import, sync
from agent_persistence.service import AsyncPersistenceService
from tests.security.users import A, B, Backend, LeakError, Open

COPIED: Final = 200
"""As many rows as PostgreSQL is sent by COPY."""


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: str | None = None
    owner: str | None = None
    topic: str | None = None
    body: str | None = None


@dataclass(frozen=True)
class Topic:
    """The rows of one case: two of A's and three of B's to begin with. Whoever writes one, signs it in its body."""

    backend: Backend
    key: str = field(default_factory=lambda: str(uuid4()))
    seeds: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {user: [str(uuid4()) for _ in range(number)] for user, number in ((A, 2), (B, 3))}
    )

    async def begin(self) -> Topic:
        """The first rows are there."""
        rows = [{"id": key, **self.row(user)} for user, keys in self.seeds.items() for key in keys]
        await self.backend.seed(rows)
        return self

    def row(self, user: str) -> dict[str, Any]:
        return {"owner": user, **self.written(user)}

    def written(self, user: str) -> dict[str, Any]:
        """A record that leaves it to the database, or the service, whose it is."""
        return {"topic": self.key, "body": user}

    async def judge(self) -> None:
        """Every row belongs to whoever wrote it last, and nobody's first rows are gone."""
        rows = await self.backend.rows(self.key)
        if wrong := [row for row in rows if row["owner"] != row["body"]]:
            raise LeakError(f"rows were written as somebody else: {wrong}")
        if gone := {*chain(*self.seeds.values())} - {row["id"] for row in rows}:
            raise LeakError(f"rows were deleted: {gone}")

    async def own(self, user: str) -> int:
        return sum(row["owner"] == user for row in await self.backend.rows(self.key))


def all_own(rows: Iterable[Any], user: str, *, expected: Iterable[str] = ()) -> None:
    """The rows are the user's, signed by the user, and those that were expected are among them."""
    dicts = [row.model_dump() if isinstance(row, BaseModel) else row for row in rows]
    if wrong := [row for row in dicts if (row["owner"], row["body"]) != (user, user)]:
        raise LeakError(f"{user} was shown {wrong}")
    if missing := {*expected} - {row["id"] for row in dicts}:
        raise LeakError(f"{user} was not shown {missing}")


Action: TypeAlias = Callable[[Any, str, Topic], Awaitable[None]]
"""What is called, by whom, about which rows. It raises LeakError, or what the call raises."""


def other(user: str) -> str:
    return B if user == A else A


# --- the verbs --------------------------------------------------------------------------------------------------------


async def writes(door: Any, me: str, topic: Topic) -> None:
    all_own([await door.write(topic.written(me))], me)


async def batch_writes(door: Any, me: str, topic: Topic) -> None:
    all_own(await door.batch_write([topic.written(me), topic.written(me)]), me)


async def upserts(door: Any, me: str, topic: Topic) -> None:
    all_own([await door.upsert({"id": topic.seeds[me][0], **topic.written(me)})], me, expected=topic.seeds[me][:1])


async def updates(door: Any, me: str, topic: Topic) -> None:
    all_own(await door.update({"body": me}, {"topic": topic.key}), me, expected=topic.seeds[me])


async def queries(door: Any, me: str, topic: Topic) -> None:
    all_own(await door.query({"topic": topic.key}), me, expected=topic.seeds[me])


async def reads(door: Any, me: str, topic: Topic) -> None:
    mine, theirs = topic.seeds[me][0], topic.seeds[other(me)][0]
    found = await asyncio.gather(door.read(mine), door.read(theirs))
    if found[1] is not None:
        raise LeakError(f"{me} was shown {found[1]}")
    all_own(found[:1], me, expected=[mine])


async def counts(door: Any, me: str, topic: Topic) -> None:
    least = await topic.own(me)
    found = await door.count({"topic": topic.key})
    if not least <= found <= await topic.own(me):
        raise LeakError(f"{me} counted {found} rows")


async def asks_who(door: Any, me: str, topic: Topic) -> None:
    if (found := await door.who()) != me:
        raise LeakError(f"{me} was {found} to the database")


async def takes(door: Any, me: str, topic: Topic) -> None:
    """Everything that changes the other's rows, or makes new ones the other's; what is done in vain may be refused."""
    theirs = topic.seeds[other(me)][0]
    all_own([await door.read(topic.seeds[me][0])], me)
    await _is_in_vain(door.update({"body": me}, {"id": theirs}))
    await _is_in_vain(door.delete({"id": theirs}))
    await _is_in_vain(door.upsert({"id": theirs, **topic.written(me)}))
    await _is_in_vain(door.write(topic.row(other(me)) | {"body": me}))


async def _is_in_vain(call: Awaitable[Any]) -> None:
    try:
        changed = await call
    except PersistenceError:
        return
    if changed:
        raise LeakError(f"a row that is not ours was changed: {changed}")


# --- what is built of them --------------------------------------------------------------------------------------------


async def builds_context(door: Any, me: str, topic: Topic) -> None:
    context = await build_rag_context(door, lead_filters={"topic": topic.key})
    all_own(context.leads, me, expected=topic.seeds[me])


async def iterates(door: Any, me: str, topic: Topic) -> None:
    pages = door.iterate("leads", {"topic": topic.key}, page_size=1)
    all_own([row async for row in pages], me, expected=topic.seeds[me])


async def bulk_writes(door: Any, me: str, topic: Topic) -> None:
    await door.bulk_write("leads", [topic.written(me)] * 2)


async def copies(door: Any, me: str, topic: Topic) -> None:
    await door.bulk_write("leads", [topic.written(me)] * COPIED)


async def imports(door: Any, me: str, topic: Topic) -> None:
    await bulk_import(door, "leads", [topic.written(me)] * 4, chunk_rows=2, concurrency=2)


class Named:
    """The verbs of a service over the one table; those of a blocking one run in threads."""

    def __init__(self, service: Any, *, blocks: bool = False) -> None:
        self._service = service
        self._blocks = blocks

    def as_user(self, **user: Any) -> Named:
        return Named(self._service.as_user(**user), blocks=self._blocks)

    async def who(self) -> Any:
        return await self._call(self._service.call, "who")

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        found = getattr(self._service, verb)
        return lambda *arguments: self._call(found, "leads", *arguments)

    async def _call(self, verb: Callable[..., Any], *arguments: Any) -> Any:
        return await (asyncio.to_thread(verb, *arguments) if self._blocks else verb(*arguments))


def _blocking(service: AsyncPersistenceService) -> Named:
    return Named(sync.PersistenceAgent(PersistenceAgent(service)), blocks=True)


@dataclass(frozen=True)
class Door:
    """A way in: what of a service is opened, and what is called there.

    Of the calls in `shared` several may be answered by one request, or one of several. Those in `alone` begin with
    those that change what is ours, and end with those that would take what is not.
    """

    open: Open
    shared: Sequence[Action] = ()
    alone: Sequence[Action] = ()


_SHARED, _ALONE = (writes, queries, reads, counts), (batch_writes, upserts, updates, takes)
DOORS: Final[Mapping[str, Door]] = {
    "verbs": Door(Named, (*_SHARED, asks_who), _ALONE),
    "typed": Door(lambda service: service.table(Lead), _SHARED, _ALONE),
    "sync": Door(_blocking, (*_SHARED, asks_who), _ALONE),
    "RAG": Door(lambda service: service.readonly(), (builds_context,)),
    "iterate": Door(lambda service: service, (iterates,)),
    "bulk_write": Door(PersistenceAgent, (bulk_writes, copies)),
    "bulk_import": Door(PersistenceAgent, (imports,)),
}
