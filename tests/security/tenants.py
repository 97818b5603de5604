"""Two tenants over one table, and an adversary that is one of them: what it draws, what it does, what is a breach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeAlias, cast
from uuid import UUID

from hypothesis import strategies as st
from pydantic import BaseModel

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    Next,
    Operation,
    PersistenceError,
    Result,
    RetryPolicy,
    Schema,
    TablePolicy,
    all_of,
    any_of,
    asc,
    desc,
    eq,
    gt,
    gte,
    in_,
    is_null,
    like,
    ne,
    not_,
    not_in,
    not_null,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.filters import Filters
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import NULL, Row
from agent_persistence.schema_registry import Column, Table
from tests.server import LocalServer

COLUMNS = ("id", "tenant_id", "slug", "body", "rank", "meta")
SCHEMA = Schema(
    {
        "notes": Table(
            {
                "id": Column("uuid", nullable=False),
                "tenant_id": Column("text", nullable=False),
                "slug": Column("text"),
                "body": Column("text"),
                "rank": Column("integer"),
                "meta": Column("jsonb"),
            },
            primary_key=("id",),
            unique=(("tenant_id", "slug"), ("id", "tenant_id")),
            paths=("meta->>tenant_id",),
        )
    }
)
SQL = """
create table notes (
  id uuid primary key, tenant_id text not null, slug text, body text, rank integer, meta jsonb,
  unique (tenant_id, slug), unique (id, tenant_id));
create function rank_of(tenant text) returns bigint stable language sql
  as 'select sum(rank) from notes where tenant_id = tenant';
"""
DROP = "drop table if exists notes; drop function if exists rank_of"
POLICY = TablePolicy(read={"notes"}, write={"notes"}, delete={"notes"}, call={"rank_of"})
ATTACKER, VICTIM, SENTINEL = "a", "b", "belongs to the victim"
KEYS = {owner: [str(UUID(int=number << 96 | 0x4000_8000 << 64 | base)) for number in (1, 2, 3)] for base, owner in
        enumerate((ATTACKER, VICTIM), 1)}  # fmt: skip


def note(owner: str, number: int) -> dict[str, Any]:
    body = SENTINEL if owner == VICTIM else "mine"
    slug, meta = f"s{2 * number if owner == VICTIM else number}", {"tenant_id": owner}
    return {"id": KEYS[owner][number], "tenant_id": owner, "slug": slug, "body": body, "rank": 100, "meta": meta}


ROWS = [note(owner, number) for owner in (ATTACKER, VICTIM) for number in (0, 1)]
THEIRS = [row for row in ROWS if row["tenant_id"] == VICTIM]


# --- what the adversary draws -----------------------------------------------------------------------------------------

keys = st.sampled_from([*KEYS[ATTACKER], *KEYS[VICTIM]])
owners = st.sampled_from([VICTIM, ATTACKER, "", "B", " b", "%"])
slugs = st.sampled_from(["s0", "s1", "s2", "s9"])
ranks = st.integers(-1, 101)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": keys,
    "tenant_id": owners,
    "slug": slugs,
    "body": st.sampled_from(["mine", "x", SENTINEL]),
    "rank": ranks,
    "meta->>tenant_id": owners,
}
SENT = {**VALUES, "meta": st.just({"tenant_id": VICTIM})}
del SENT["meta->>tenant_id"]


def _comparison(column: str) -> st.SearchStrategy[Filters]:
    values = VALUES[column]
    conditions = st.one_of(
        values.flatmap(lambda value: st.sampled_from([eq(value), ne(value), gt(value), gte(value)])),
        st.lists(values, max_size=3).flatmap(lambda found: st.sampled_from([in_(found), not_in(found)])),
        st.sampled_from([is_null(), not_null()]),
    )
    if column in ("tenant_id", "slug", "body"):
        conditions |= st.just(like("%"))
    return conditions.map(lambda condition: {column: condition})


leaves = st.sampled_from([*VALUES]).flatmap(_comparison)
filters = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda terms: any_of(*terms))
        | st.lists(inner, max_size=3).map(lambda terms: all_of(*terms))
        | inner.map(not_)
    ),
    max_leaves=4,
)
records = st.lists(st.sampled_from([*SENT]), unique=True, max_size=5).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: SENT[name] | st.just(NULL) if name in ("tenant_id", "rank") else SENT[name] for name in names}
    )
)
targets = st.sampled_from([None, ["id"], ["slug"], ["tenant_id"], ["tenant_id", "slug"], ["id", "tenant_id"], ["body"]])
selects = st.none() | st.lists(st.sampled_from([*COLUMNS, "meta->>tenant_id"]), min_size=1, unique=True)
columns = st.sampled_from([*VALUES])
orders = st.none() | st.lists(st.builds(asc, columns) | st.builds(desc, columns), min_size=1, max_size=2)
limits = st.none() | st.integers(1, 5)

CALLS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "read": st.tuples(VALUES["id"]),
    "read by": st.sampled_from(["slug", "tenant_id", "body"]).flatmap(
        lambda column: st.tuples(VALUES[column], st.just(column))
    ),
    "query": st.tuples(st.none() | filters, limits, orders, st.just(False), selects),
    "count": st.tuples(st.none() | filters),
    "iterate": st.tuples(st.none() | filters),
    "get_columns": st.tuples(),
    "write": st.tuples(records),
    "batch_write": st.tuples(st.lists(records, min_size=1, max_size=3)),
    "upsert": st.tuples(records, targets),
    "update": st.tuples(records, filters),
    "delete": st.tuples(filters),
    "call": st.tuples(st.sampled_from([None, {}, {"tenant": VICTIM}, {"tenant": None}, {"tenant": ATTACKER}])),
}


@dataclass(frozen=True)
class Step:
    """One call: through which door, with what arguments, and what becomes of its first request's answer."""

    verb: str
    arguments: tuple[Any, ...]
    door: str = "service"
    lost: str = ""


steps = st.sampled_from([*CALLS]).flatmap(
    lambda verb: st.builds(
        Step,
        st.just(verb),
        CALLS[verb],
        st.sampled_from(["service", "service", "typed", "options", "middleware", "façade"]),
        st.sampled_from(["", "", "", "before", "after"]),
    )
)
histories = st.lists(steps, min_size=1, max_size=6)


# --- what it does -----------------------------------------------------------------------------------------------------


class BreachError(AssertionError):
    """A row of the other tenant was seen, counted, changed, moved or taken away."""


class World(Protocol):
    """Where the rows are."""

    adapter: Any

    def reset(self) -> None:
        """The table holds ROWS and no others."""

    def rows(self) -> list[Row]:
        """All rows, whoever they belong to."""


class Memory:
    """In this process."""

    def __init__(self, loop: asyncio.Runner) -> None:
        self._loop = loop
        self.reset()

    def reset(self) -> None:
        self.adapter = InMemoryAdapter({"notes": ROWS}, schema=SCHEMA, functions={"rank_of": self._rank_of})

    def rows(self) -> list[Row]:
        return self._loop.run(self.adapter.query("notes"))

    async def _rank_of(self, tenant: str) -> int:
        return sum(row["rank"] or 0 for row in await self.adapter.query("notes") if row["tenant_id"] == tenant)


@dataclass
class Real:
    """On the real server; SQL is the judge."""

    server: LocalServer
    adapter: Any

    def reset(self) -> None:
        self.server.execute("truncate notes")
        for row in ROWS:
            self.server.execute(
                "insert into notes values (%s, %s, %s, %s, %s, %s::jsonb)",
                *(row[name] for name in COLUMNS[:-1]),
                json.dumps(row["meta"]),
            )

    def rows(self) -> list[Row]:
        return self.server.execute("select id::text, tenant_id, slug, body, rank, meta from notes")


class Losing:
    """An adapter whose next call gets no answer: it is not applied ("before") or it is ("after")."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.lost = ""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("write", "batch_write", "upsert", "insert", "update", "delete", "query", "count", "call"):
            return found

        async def losing(*arguments: Any, **options: Any) -> Any:
            lost, self.lost = self.lost, ""
            if lost == "before":
                raise AdapterError("lost", state=FailureState.AMBIGUOUS)
            value = await found(*arguments, **options)
            if lost == "after":
                raise AdapterError("lost", state=FailureState.AMBIGUOUS)
            return value

        return losing


class Note(BaseModel):
    __tablename__: ClassVar[str] = "notes"
    id: str | None = None
    tenant_id: str | None = None
    slug: str | None = None
    body: str | None = None
    rank: int | None = None
    meta: Any = None


async def widening(operation: Operation, call_next: Next) -> Result:
    """A middleware of the attacker's: every filter is gone, and every record is the victim's first one."""
    changed: dict[str, Any] = {}
    if hasattr(operation, "filters"):
        changed["filters"] = (
            None if operation.verb in ("query", "count") else not_in([]).__class__(ne("").operator, "", "tenant_id")
        )
    if operation.verb == "upsert":
        changed |= {"on_conflict": ("id",), "generated_key": None}
    return await call_next(replace(operation, **changed))


@dataclass
class Attack:
    """A history of calls by one tenant, and the rows of the other one before and after each."""

    world: World
    loop: asyncio.Runner
    tenant: TenantScope | None = field(default_factory=lambda: TenantScope(ATTACKER, arguments={"rank_of": "tenant"}))

    def run(self, history: Sequence[Step]) -> int:
        """How many calls succeeded; BreachError if one of them reached the victim's rows."""
        self.world.reset()
        adapter = Losing(self.world.adapter)
        options: dict[str, Any] = {"policy": POLICY, "schema": SCHEMA, "tenant": self.tenant, "sleep": _at_once}
        options["retry"] = RetryPolicy(attempts=2, last_write_wins=True)
        services = {
            "service": AsyncPersistenceService(adapter, **options),
            "middleware": AsyncPersistenceService(adapter, middleware=[widening], **options),
        }
        succeeded = 0
        for step in history:
            adapter.lost = step.lost
            own = sum(row["tenant_id"] == ATTACKER for row in self.world.rows())
            try:
                told = self.loop.run(_called(services, step))
            except PersistenceError as refused:
                told = str(refused)
            else:
                succeeded += 1
            adapter.lost = ""
            self._judge(step, told, own)
        return succeeded

    def _judge(self, step: Step, told: Any, own: int) -> None:
        rows = self.world.rows()
        theirs = sorted((row for row in rows if row["tenant_id"] != ATTACKER), key=lambda row: str(row["id"]))
        if theirs != THEIRS:
            raise BreachError(f"{step}: the victim's rows are now {theirs}")
        for row in _rows(told):
            if row.get("tenant_id", ATTACKER) != ATTACKER or (row.get("id") in KEYS[VICTIM] and not _is_own(row, rows)):
                raise BreachError(f"{step}: told {row}")
        if isinstance(told, str) and SENTINEL in told:
            raise BreachError(f"{step}: said {told}")
        if step.verb == "count" and isinstance(told, int) and told > own:
            raise BreachError(f"{step}: counted {told}, there are {own}")
        if step.verb == "call" and isinstance(told, int):
            mine = sum(row["rank"] or 0 for row in rows if row["tenant_id"] == ATTACKER)
            if told != mine:
                raise BreachError(f"{step}: the ranks are {told}, and not {mine}")


def _is_own(row: Mapping[str, Any], rows: Sequence[Row]) -> bool:
    """Whether a row with one of the victim's unused keys is the attacker's."""
    return any(found["id"] == row["id"] and found["tenant_id"] == ATTACKER for found in rows) or row["id"] not in {
        theirs["id"] for theirs in THEIRS
    }


def _rows(told: Any) -> list[Mapping[str, Any]]:
    found = told if isinstance(told, list) else [told]
    as_dicts = [row.model_dump() if isinstance(row, BaseModel) else row for row in found]
    return [row for row in as_dicts if isinstance(row, Mapping)]


Door: TypeAlias = Callable[..., Awaitable[Any]]


async def _called(services: Mapping[str, AsyncPersistenceService], step: Step) -> Any:
    verb, arguments = step.verb.partition(" ")[0], step.arguments
    made: Any = services["middleware" if step.door == "middleware" else "service"]
    if verb == "call":
        return await made.call("rank_of", *arguments)
    if step.door == "typed" and verb != "query":
        target: Any = made.table(Note)
    else:
        doors = {"options": lambda: made.with_options(deadline_s=5), "façade": made.readonly}
        target = _Named(doors.get(step.door, lambda: made)())
    if verb == "iterate":
        return await _first(target.iterate(*arguments, page_size=2))
    return await getattr(target, verb)(*arguments)


async def _first(found: AsyncIterator[Any]) -> list[Any]:
    """Some rows: the middleware above drops the filter by which the pages move on."""
    some: list[Any] = []
    async with aclosing(cast("AsyncGenerator[Any]", found)) as rows:
        async for row in rows:
            some.append(row)
            if len(some) == 10:
                break
    return some


class _Named:
    """The verbs of a service over the one table."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        found = getattr(self._service, verb)
        return lambda *arguments, **options: found("notes", *arguments, **options)


async def _at_once(pause_s: float) -> None:
    """A pause that does not last."""
