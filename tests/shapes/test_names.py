"""Declared tables and columns of any name, over each back end; what is not declared stays refused."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import (
    AuditEvent,
    ColumnNotAllowedError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    PersistenceAdapter,
    PersistenceAgent,
    PersistenceError,
    PostgresAdapter,
    Schema,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    any_of,
    create_persistence_agent,
    desc,
    ilike,
    in_,
    not_,
)
from agent_persistence.client.including import Includes
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.schema_registry import Column, ForeignKey, Table
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import Recorder, rows
from tests.shapes.conftest import BackEnd

pytestmark = pytest.mark.anyio

HOSTILE = 'naïve, (v1) "100%"'
COLUMNS = [
    *('a"b', "(x)", "c,d", "e.f", "g -> h", "50%", "имя", "back\\slash"),
    *('x;drop table "User"--', "&select=id", "eq.1", " "),
]
NOT_MERGED_BY_LITE = ["e.f", "eq.1", " "]
"""The test server takes these for the column of a table, or for none, in what it merges."""
RESERVED = ["order", "limit", "and", "not", "group", "select"]


async def test_tables_as_prisma_makes_them(backend: BackEnd) -> None:
    """Capitals in tables and columns: every verb."""
    async with backend.agent() as agent:
        ada = await agent.write("User", {"email": "ada@example.org", "displayName": "Ada", "role": "ADMIN"})
        bob, cy = await agent.batch_write(
            "User", [{"email": "bob@example.org"}, {"email": "cy@x", "displayName": "Cy"}]
        )
        assert (ada["role"], bob["role"], bob["plan"], cy["displayName"]) == ("ADMIN", "USER", "free", "Cy")
        merged = await agent.upsert("User", {"email": "cy@x", "displayName": "Cyd"}, ["email"])
        assert (merged["id"], merged["displayName"]) == (cy["id"], "Cyd")
        named = await agent.query(
            "User", {"displayName": ilike("%d%")}, order_by=desc("displayName"), select=["displayName"]
        )
        assert named == [{"displayName": "Cyd"}, {"displayName": "Ada"}]
        assert await agent.count("User", any_of({"displayName": None}, {"displayName": "Ada"})) == 2
        post = await agent.write("Post", {"authorId": ada["id"], "title": "One", "isPublished": True})
        await agent.write("_PostToTag", {"A": post["id"], "B": "news"})
        assert await agent.update("Post", {"isPublished": False}, {"authorId": ada["id"]}) == [
            post | {"isPublished": False}
        ]
        assert [row async for row in agent.iterate("_PostToTag")] == [{"A": post["id"], "B": "news"}]
        assert await agent.delete("User", {"id": ada["id"]}) == [ada]
        assert await agent.count("_PostToTag") == 0
        page = await agent.page("User", {"role": "USER"}, limit=1, order_by="createdAt")
        assert (len(page.rows), page.total) == (1, 2)
        assert (await agent.get_columns("User") or [])[:3] == ["id", "email", "displayName"]


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_column_of_any_name(backend: BackEnd, column: str) -> None:
    """Alone, in a junction and negated, as an order, among those selected and among those written."""
    async with backend.agent() as agent:
        await agent.batch_write(HOSTILE, [{"id": 1, column: "b"}, {"id": 2, column: 'a,(")'}, {"id": 3}])
        assert await agent.query(HOSTILE, {column: 'a,(")'}, select=["id", column]) == [{"id": 2, column: 'a,(")'}]
        either = await agent.query(HOSTILE, any_of({column: "b"}, {column: None}), select=["id"], order_by=column)
        assert either == [{"id": 1}, {"id": 3}]
        assert [row["id"] for row in await agent.query(HOSTILE, not_({column: "b"}))] == [2]
        assert [row["id"] for row in await agent.query(HOSTILE, {column: in_(["b", 'a,(")'])}, order_by=column)] == [
            2,
            1,
        ]
        assert [row[column] for row in await agent.update(HOSTILE, {column: "c"}, {column: "b"})] == ["c"]
        assert [row["id"] async for row in agent.iterate(HOSTILE, order_by=column, page_size=1)] == [2, 1, 3]
        merging = backend.name != "supabase" or backend.server.is_postgrest or column not in NOT_MERGED_BY_LITE
        change = agent.upsert(HOSTILE, {"id": 3, column: "d"}) if merging else _one(agent, {"id": 3}, {column: "d"})
        merged = await change
        assert merged[column] == "d"
        assert (await agent.read(HOSTILE, "d", column)) == merged
        assert await agent.count(HOSTILE, {column: "d"}) == 1


async def _one(agent: PersistenceAgent, filters: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    (row,) = await agent.update(HOSTILE, changes, filters)
    return row


async def test_all_columns_of_any_name_at_once(backend: BackEnd) -> None:
    """Records with all of them, and with different ones."""
    async with backend.agent() as agent:
        stored = await agent.write(HOSTILE, {"id": 1, **{column: column for column in COLUMNS}})
        assert {column: stored[column] for column in COLUMNS} == {column: column for column in COLUMNS}
        records = [{"id": number, column: column} for number, column in enumerate(COLUMNS, 2)]
        several = await agent.batch_write(HOSTILE, records)
        assert [row[column] for row, column in zip(several, COLUMNS, strict=True)] == COLUMNS
        filters = {column: column for column in COLUMNS}
        assert await agent.query(HOSTILE, filters, order_by=COLUMNS, select=COLUMNS) == [filters]


@pytest.mark.parametrize("column", RESERVED)
async def test_a_reserved_word_as_a_name(backend: BackEnd, column: str) -> None:
    """Of SQL, and of PostgREST's parameters."""
    async with backend.agent() as agent:
        value = 7 if column == "order" else "seven"
        stored = await agent.upsert("select", {"order": 7, column: value})
        assert stored[column] == value
        assert await agent.query("select", {column: value}, order_by=column, select=[column]) == [{column: value}]
        assert await agent.query("select", {column: in_([value])}) == [stored]
        assert [row async for row in agent.iterate("select", page_size=1)] == [stored]


async def test_paths_of_a_column_of_any_name(backend: BackEnd) -> None:
    """They filter, sort and are selected as those of a plain column are."""
    async with backend.agent() as agent:
        documents = [{"role": "cto", "tags": ["a"]}, {"role": "ceo"}, None]
        for number, document in enumerate(documents):
            await agent.write("User", {"email": f"{number}@x", "custom Data": document})
        role, tag = "custom Data->>role", "custom Data->tags->0"
        found = await agent.query("User", any_of({role: "cto"}, {role: "ceo"}), order_by=role, select=[role, tag])
        assert found == [{role: "ceo", tag: None}, {role: "cto", tag: "a"}]
        assert await agent.count("User", {role: "cto"}) == 1
        with pytest.raises(ColumnNotAllowedError):
            await agent.query("User", {"custom Data->>other": "cto"})


async def test_related_rows_of_tables_of_any_name(backend: BackEnd) -> None:
    """Under the table's own name, and with filters, orders and limits of their own."""
    async with backend.agent(row_cap=1000) as agent:
        ada = await agent.write("User", {"email": "ada@x", "displayName": "Ada"})
        await agent.batch_write("Post", [{"authorId": ada["id"], "title": title} for title in ("b", "a", "c")])
        posts: Includes = {
            "Post": {"select": ["title"], "order_by": "title", "limit": 2, "filters": {"isPublished": False}}
        }
        (found,) = await agent.query("User", {"displayName": "Ada"}, select=["displayName"], include=posts)
        assert found == {"displayName": "Ada", "Post": [{"title": "a"}, {"title": "b"}]}
        (post,) = await agent.query("Post", {"title": "a"}, select=["title"], include={"User": ["displayName"]})
        assert post == {"title": "a", "User": {"displayName": "Ada"}}


async def test_a_foreign_key_of_several_columns_is_not_included(backend: BackEnd) -> None:
    """The refusal says so, and what to do."""
    async with backend.agent() as agent:
        for table, other in (("shipments", "order lines"), ("order lines", "shipments")):
            with pytest.raises(ValidationError, match="has several columns; query them apart"):
                await agent.query(table, include=[other])


async def test_another_database_schema(database: BackEnd) -> None:
    """`db_schema` says where the tables are."""
    schema = Schema({"Log": Table({"id": Column("integer"), "what happened": Column("text")})})
    options: dict[str, Any] = {"schema": schema, "policy": TablePolicy(read=["Log"], write=["Log"])}
    adapter = in_schema(database, "audit", schema)
    async with database.agent(adapter=adapter, **options) as agent:
        stored = await agent.write("Log", {"what happened": "much"})
        assert await agent.query("Log", {"what happened": "much", "id": stored["id"]}) == [stored]


def in_schema(database: BackEnd, db_schema: str, schema: Schema) -> PersistenceAdapter:
    server = database.server
    if database.name == "postgres":
        return PostgresAdapter(server.database_url, role="service_role", db_schema=db_schema)
    return SupabaseAdapter(server.url, server.service_key, db_schema=db_schema, schema=schema)


# --- what is not declared ---------------------------------------------------------------------------------------------

UNDECLARED = ["Email", "e-mail", "select", "id,User(*)", "User(*)", 'a"b', "a.b", "id->>x", "id::text", "email;--"]
LOOK_ALIKES = ["user", "USER", "User ", '"User"', "public.User", "User,Post", "User(*)", "Us\u200ber"]


@pytest.mark.parametrize("name", UNDECLARED)
async def test_a_column_that_is_not_declared_stays_refused(name: str) -> None:
    """Though others of such names are declared beside it; no request leaves."""
    recorder = Recorder(lambda request: rows())
    schema = Schema({"User": Table({"id": Column("integer"), "displayName": Column("text"), "(x)": Column("text")})})
    service = AsyncPersistenceService(
        recorder.adapter(schema=schema), policy=TablePolicy(read=["User"], write=["User"]), schema=schema, retry=False
    )
    for call in (
        lambda: service.query("User", {name: "x"}),
        lambda: service.query("User", any_of({name: "x"}, {"id": 1})),
        lambda: service.query("User", select=[name]),
        lambda: service.query("User", order_by=name),
        lambda: service.read("User", "x", name),
        lambda: service.read("User", {"id": 1, name: "x"}),
        lambda: service.write("User", {name: "x"}),
        lambda: service.upsert("User", {"id": 1}, [name]),
        lambda: service.update("User", {name: "x"}, {"id": 1}),
    ):
        with pytest.raises((ColumnNotAllowedError, ValidationError)):
            await call()
    assert recorder.requests == []


@pytest.mark.parametrize("name", LOOK_ALIKES)
async def test_a_table_that_is_not_listed_stays_refused(name: str) -> None:
    """Though one that looks like it is declared and listed."""
    recorder = Recorder(lambda request: rows())
    schema = Schema({"User": Table({"id": Column("integer")}), name: Table({"id": Column("integer")})})
    service = AsyncPersistenceService(recorder.adapter(schema=schema), policy=TablePolicy(read=["User"]), schema=schema)
    with pytest.raises(TableNotAllowedError):
        await service.query(name)
    assert recorder.requests == []


def test_a_listed_table_of_such_a_name_must_be_declared() -> None:
    """The error says which list names it, and what may have been meant."""
    schema = Schema({"User": Table({"id": Column("integer")})})
    with pytest.raises(ConfigurationError, match=r"read: 'Usr' is no plain name, .* did you mean 'User'\?"):
        create_persistence_agent(adapter=InMemoryAdapter(), schema=schema, tables=["Usr"])


async def test_rows_of_a_tenant_by_a_column_of_any_name(backend: BackEnd) -> None:
    """Where the schema declares it; another tenant's rows are neither seen nor written."""
    async with backend.agent() as agent:
        await agent.write("User", {"email": "two@x", "displayName": "two"})
    async with backend.agent(tenant=TenantScope("one", column="displayName")) as agent:
        stored = await agent.write("User", {"email": "one@x"})
        assert stored["displayName"] == "one"
        assert await agent.query("User") == [stored]
        with pytest.raises(PersistenceError):
            await agent.write("User", {"email": "three@x", "displayName": "two"})


def test_a_foreign_key_may_lead_to_a_table_of_any_name() -> None:
    """And hold several columns; as many as it refers to."""
    link = ForeignKey(["order-id", "line"], "order lines", ["order-id", "line"])
    assert (link.columns, link.targets) == (("order-id", "line"), ("order-id", "line"))
    assert ForeignKey("authorId", "User").columns == ("authorId",)
    with pytest.raises(ConfigurationError, match="as many references as columns"):
        ForeignKey(["order-id", "line"], "order lines")


async def test_what_is_told_of_calls_names_the_table_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """In the audit, also of failures; in the log on one line; what is not declared is told as a quotation."""
    table = "User\nop=fake"
    schema = Schema({table: Table({"id": Column("integer"), "displayName": Column("text")})})
    events: list[AuditEvent] = []
    agent = create_persistence_agent(
        adapter=InMemoryAdapter(schema=schema), schema=schema, tables=[table], audit=[events.append], log=True
    )
    await agent.write(table, {"id": 1, "displayName": "Ada"})
    with pytest.raises(ConflictError):
        await agent.write(table, {"id": 1, "displayName": "Ada"})
    for call in (agent.query(table, {"Email": 1}), agent.query("user")):
        with pytest.raises((ColumnNotAllowedError, TableNotAllowedError)):
            await call
    assert [event.table for event in events] == [table, table, table, "user"]
    assert [event.columns for event in events[:3]] == [("id", "displayName"), ("id", "displayName"), ("'Email'",)]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("[persistence] op=") for line in lines)
    assert lines[0].split(" ms=")[0] == f"[persistence] op=write table={table!a}"
