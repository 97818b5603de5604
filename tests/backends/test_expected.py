"""What PostgreSQL prints otherwise than it was sent is no other call's answer."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from agent_persistence import Schema, SupabaseAdapter
from agent_persistence.operations import Write
from agent_persistence.query.equality import may_be_same
from agent_persistence.schema_registry import Column, Table
from tests.backends.doubles import Recorder, done, rows
from tests.server import LocalServer

KEY = UUID("018f3a5e-0000-7000-8000-00000000000a")
OTHER = UUID("018f3a5e-0000-7000-8000-00000000000b")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("Ada@X.io", "ada@x.io"),
        ("Élodie", "elodie"),
        ("Øre", "ore"),
        ("abc", "abc  "),
        (" abc", "abc"),
        ("a-b", "ab"),
        (KEY.hex, str(KEY)),
        (f"{{{str(KEY).upper()}}}", str(KEY)),
        ("true", True),
        ("t", True),
        (1, True),
        (True, "true"),
        ("5", 5),
        (5, "5"),
        ("0x1f", 31),
        (20260101, "2026-01-01"),
        (5, "$5.00"),
        (5, 5.0),
        ("1e3", 1000),
    ],
)
def test_these_may_be_the_same_value(sent: Any, stored: Any) -> None:
    """By a type's own way of reading and printing, by a collation, or by a trigger that trims."""
    assert may_be_same(sent, stored)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("a@x.io", "b@x.io"), (5, 6), ("5", 6), (str(KEY), str(OTHER)), (True, False), ("a", None), (5, None)],
)
def test_these_are_certainly_different(sent: Any, stored: Any) -> None:
    """Control: else no answer would ever be known for another call's."""
    assert not may_be_same(sent, stored)


KINDS: dict[str, tuple[str, Any, Any]] = {
    "word": ("text", "Ada", "Ada"),
    "folded": ("text", "ada@x.io", "ADA@x.io"),
    "padded": ("char(6)", "ab", "ab"),
    "short": ("varchar(3)", "abc", "abc"),
    "amount": ("numeric(12,2)", "1.5", 1.50),
    "many": ("numeric", "1e3", 1000),
    "ratio": ("double precision", "1.50", 1.5),
    "whole": ("integer", "0005", 5),
    "big": ("bigint", "9007199254740993", 9007199254740993),
    "yes": ("boolean", "t", True),
    "at": ("timestamptz", "2026-01-02T03:04:05+05:00", "2026-01-01 22:04:05+00"),
    "here": ("timestamp", "2026-01-02T03:04:05", "2026-01-02 03:04:05"),
    "day": ("date", "2026-01-02", "20260102"),
    "span": ("interval", "1 day", "24 hours"),
    "key": ("uuid", KEY.hex, str(KEY).upper()),
    "host": ("inet", "10.0.0.1/32", "10.0.0.1"),
    "bits": ("bit(3)", "101", "101"),
    "coin": ("money", "5", "$5.00"),
    "raw": ("bytea", "\\x0a", "\\012"),
}
"""By column its type, a value to write and another form of it to ask by."""
DECLARED = {
    "declared": Table(
        {"id": Column("uuid"), "doc": Column("jsonb"), "version": Column("integer")}
        | {name: Column(kind) for name, (kind, _, _) in KINDS.items()},
        unique=tuple((name,) for name in KINDS),
        paths=("doc->>role",),
    ),
    "undeclared": None,
    "keyed by it": Table({name: Column(kind) for name, (kind, _, _) in KINDS.items()}, primary_key=("whole",)),
}


@pytest.fixture(scope="module")
def kinds(local_server: LocalServer) -> Iterator[LocalServer]:
    """A table of these types; a trigger lowers `folded` and counts versions."""
    columns = ", ".join(f"{name} {kind} unique" for name, (kind, _, _) in KINDS.items())
    local_server.execute(
        "create table printed (id uuid primary key default gen_random_uuid(), doc jsonb, version int default 1,"
        f" {columns})"
    )
    local_server.execute(
        "create function printed_changed() returns trigger language plpgsql as $$ begin"
        " new.folded := lower(btrim(new.folded)); if tg_op = 'UPDATE' then new.version := old.version + 1; end if;"
        " return new; end $$;"
        " create trigger changed before insert or update on printed for each row execute function printed_changed();"
        " grant all on printed to service_role, authenticated, anon"
    )
    local_server.reload_schema()
    yield local_server
    local_server.execute("drop table printed cascade; drop function printed_changed()")
    local_server.reload_schema()


@pytest_asyncio.fixture(params=DECLARED.values(), ids=DECLARED)
async def adapter(kinds: LocalServer, request: pytest.FixtureRequest) -> AsyncIterator[SupabaseAdapter]:
    kinds.reset()
    schema = Schema({} if request.param is None else {"printed": request.param})
    made = SupabaseAdapter(kinds.url, kinds.service_key, schema=schema)
    yield made
    await made.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", KINDS)
async def test_a_row_that_was_asked_for_in_another_form_is_the_answer(adapter: SupabaseAdapter, name: str) -> None:
    """By every verb that writes or asks by a value, whatever the schema says of its type."""
    _, written, asked = KINDS[name]
    identity = {"whole": 5} if name != "whole" else {}
    stored = await adapter.upsert("printed", {name: written, **identity}, [name])
    merged = await adapter.upsert("printed", {name: written, "doc": {"role": "x"}, **identity}, [name])
    assert merged["id"] == stored["id"]
    if name == "folded":
        asked = asked.lower()
    assert (await adapter.read("printed", asked, name) or {})["id"] == stored["id"]
    assert len(await adapter.query("printed", {name: asked})) == 1
    assert len((await adapter.page("printed", {name: asked}, select=["id"])).rows) == 1
    assert len(await adapter.update("printed", {"doc": {"role": "y"}}, {name: asked}, returning=["id"])) == 1
    assert len(await adapter.delete("printed", {name: asked})) == 1
    written_back = await done(adapter, Write("printed", {name: written, **identity}, returning=("id",)))
    assert written_back.keys() == {"id"}


@pytest.mark.asyncio
async def test_what_only_the_filter_names_need_not_be_in_the_row(adapter: SupabaseAdapter) -> None:
    """A part of a document, a column that is not selected."""
    await adapter.write("printed", {"word": "abcde", "doc": {"role": "x"}, "whole": 7})
    assert len(await adapter.query("printed", {"doc->>role": "x"})) == 1
    assert len(await adapter.query("printed", {"word": "abcde"}, select=["id"])) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("columns", [{"id": Column("uuid")}, {"id": Column("uuid"), "size": Column("integer")}])
async def test_a_computed_field_is_in_no_row_that_does_not_name_it(columns: dict[str, Column]) -> None:
    """PostgREST leaves it out of `select=*`, though it filters by it."""
    recorder = Recorder(lambda request: rows({"id": str(KEY)}))
    adapter = recorder.adapter(schema=Schema({"files": Table(columns)}))
    assert await adapter.read("files", 5, "size") == {"id": str(KEY)}
    assert await adapter.query("files", {"size": 5}) == [{"id": str(KEY)}]


@pytest.mark.asyncio
async def test_a_change_may_change_what_it_was_selected_by(adapter: SupabaseAdapter) -> None:
    """By itself, or by a trigger that counts versions."""
    await adapter.write("printed", {"word": "a", "whole": 7})
    assert len(await adapter.update("printed", {"doc": {}}, {"version": 1})) == 1
    assert len(await adapter.update("printed", {"word": "b"}, {"word": "a"})) == 1
    assert len(await adapter.update("printed", {"whole": 8}, {"whole": 7})) == 1


@pytest.mark.asyncio
async def test_a_key_may_be_a_uuid(adapter: SupabaseAdapter) -> None:
    """As an object, not as its text."""
    key: UUID = KEY
    assert (await adapter.write("printed", {"id": key, "whole": 1}))["id"] == str(key)
    assert await adapter.read("printed", key) is not None
