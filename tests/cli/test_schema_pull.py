"""`schema pull` writes what a backend tells of its tables, as a file that reads back equal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_persistence.schema_registry import Schema, Table, default_schema
from tests.backends.stub_server import answer, stub_server
from tests.cli.program import ran
from tests.openapi import FORMS, Form, business
from tests.server import LocalServer

OPENAPI = {
    "swagger": "2.0",
    "definitions": {
        "leads": {
            "required": ["id", "email"],
            "properties": {
                "id": {"format": "uuid", "type": "string", "description": "<pk/>", "default": "gen_random_uuid()"},
                "email": {"format": "text", "type": "string"},
            },
        },
        "notes": {"properties": {"id": {"format": "bigint", "description": "<pk/>"}}, "required": ["id"]},
    },
}


def _database(project: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", project.database_url)


def _bare(schema: Schema, names: list[str]) -> dict[str, Table]:
    """The tables without what no backend tells: what a column says about a person."""
    return {
        name: replace(
            schema.tables[name],
            columns={key: replace(column, pii=None) for key, column in schema.tables[name].columns.items()},
        )
        for name in names
    }


def test_an_openapi_description_becomes_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """TOML, from which Schema.from_file reads the same tables."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(OPENAPI).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("schema", "pull", "--output", "schema.toml")
        assert (ended.status, ended.out) == (0, "")
        assert Schema.from_file("schema.toml") == Schema.from_openapi(OPENAPI)
        assert ran("schema", "pull").out == Path("schema.toml").read_text()
        assert ran("schema", "pull", "--json").document["schema"] == Schema.from_openapi(OPENAPI).to_document()


@pytest.mark.parametrize("form", FORMS)
def test_a_pulled_schema_works_in_memory(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    """A file from the description of either version: rows are imported without their numbers, and found by them."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(business(form)).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert ran("schema", "pull", "--output", "schema.toml").status == 0
    Path("rows.json").write_text(json.dumps({"inquiries": [{"body": "a"}, {"body": "b"}]}))
    arguments = ("--kind", "memory", "--rows", "rows.json", "--schema", "schema.toml", "--where", "id=2", "--json")
    assert [row["body"] for row in ran("query", "inquiries", *arguments).document["rows"]] == ["b"]


def test_a_file_that_exists_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold tags that no backend tells; --force writes over it."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    (tmp_path / "schema.json").write_text("{}")
    with stub_server(answer(json.dumps(OPENAPI).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert ran("schema", "pull", "--output", "schema.json").status == 3
        assert (tmp_path / "schema.json").read_text() == "{}"
        assert ran("schema", "pull", "--output", "schema.json", "--force").status == 0
        assert Schema.from_file("schema.json") == Schema.from_openapi(OPENAPI)


def test_a_part_of_the_tables_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order told; one that is not there is told with those that are."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(OPENAPI).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert list(ran("schema", "pull", "--tables", "notes", "--json").document["schema"]["tables"]) == ["notes"]
        refused = ran("schema", "pull", "--tables", "note")
        assert (refused.status, "leads, notes" in refused.err) == (3, True)


def test_a_server_that_tells_no_tables_is_refused_with_the_ways_out(project: LocalServer) -> None:
    """As hosted Supabase does to a publishable key, and this server to everybody."""
    ended = ran("schema", "pull")
    assert ended.status == 6
    assert "--kind postgres" in ended.err


def test_a_refused_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable to look at."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(b'{"message": "no"}', status=401)) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("schema", "pull")
    assert (ended.status, "check SUPABASE_SERVICE_KEY" in ended.err) == (6, True)


def test_a_memory_store_has_nothing_to_pull() -> None:
    """Its schema is the one it was given."""
    assert ran("schema", "pull", "--kind", "memory").status == 3


def test_the_catalogues_tell_the_default_schema(project: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, keys, unique sets, relations, cascades, defaults and listed values of all eight tables."""
    _database(project, monkeypatch)
    names = list(default_schema().tables)
    ended = ran("schema", "pull", "--kind", "postgres", "--tables", ",".join(names), "--output", "schema.toml")
    assert ended.status == 0
    pulled = Schema.from_file("schema.toml")
    assert _bare(pulled, names) == _bare(default_schema(), names)


def test_the_catalogues_tell_what_the_default_schema_has_not(
    project: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enums, keys of two columns, computed columns, serial numbers, constants of other types; and no other schema."""
    _database(project, monkeypatch)
    project.execute("""
        create schema odd;
        create type odd.mood as enum ('glad', 'sad');
        create table odd.parents (a int, b int, primary key (a, b));
        create table odd.things (
          id serial primary key, mood odd.mood default 'glad', price numeric not null default 1.5,
          twice numeric generated always as (price * 2) stored, seen jsonb default '{"a": [1]}', parent_a int,
          parent_b int, told text default upper('x'), note varchar(5) default 'it''s', made date default current_date,
          size text check (size in ('s', 'l')), foreign key (parent_a, parent_b) references odd.parents);
        create view odd.seen_things as select id from odd.things;
        create table odd."Strange name" (id int);
    """)
    try:
        ended = ran("schema", "pull", "--kind", "postgres", "--db-schema", "odd", "--json")
    finally:
        project.execute("drop schema odd cascade")
    tables = ended.document["schema"]["tables"]
    assert list(tables) == ["Strange name", "parents", "seen_things", "things"]
    assert (tables["parents"]["primary_key"], tables["seen_things"]["primary_key"]) == (["a", "b"], [])
    assert tables["things"]["foreign_keys"] == [
        {
            "column": ["parent_a", "parent_b"],
            "table": "parents",
            "references": ["a", "b"],
            "on_delete_cascade": False,
        }
    ]
    assert tables["things"]["columns"] == {
        "id": {"type": "integer", "nullable": False, "generated": "identity"},
        "mood": {"type": "odd.mood", "default": "glad", "one_of": ["glad", "sad"]},
        "price": {"type": "numeric", "nullable": False, "default": 1.5},
        "twice": "numeric",
        "seen": {"type": "jsonb", "default": {"a": [1]}},
        "parent_a": "integer",
        "parent_b": "integer",
        "told": "text",
        "note": {"type": "character varying(5)", "default": "it's"},
        "made": "date",
        "size": {"type": "text", "one_of": ["s", "l"]},
    }


def test_a_database_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """4; and without its address, or with one that is none, 3."""
    assert ran("schema", "pull", "--kind", "postgres").status == 3
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret-word@127.0.0.1:9/x")
    ended = ran("schema", "pull", "--kind", "postgres")
    assert (ended.status, "secret-word" in ended.said) == (4, False)
    monkeypatch.setenv("DATABASE_URL", "no such=thing")
    assert ran("schema", "pull", "--kind", "postgres").status == 3
