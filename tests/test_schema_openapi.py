"""Schemas from PostgREST's OpenAPI root; the documents are in the form that its OpenAPI.hs writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent_persistence import ConfigurationError, InMemoryAdapter, Schema, create_persistence_agent
from agent_persistence.filters import gt
from agent_persistence.schema_registry import Column, ForeignKey, Generated, Table, default_schema
from tests.doubles import shown
from tests.openapi import FORMS, Form, business, definition

PRIMARY = "Note:\nThis is a Primary Key.<pk/>"
DOCUMENT: dict[str, Any] = {
    "swagger": "2.0",
    "definitions": {
        "leads": {
            "description": "People who may buy",
            "required": ["id", "email", "created_at"],
            "properties": {
                "id": {
                    "default": "gen_random_uuid()",
                    "description": PRIMARY,
                    "format": "uuid",
                    "type": "string",
                },
                "client_id": {
                    "description": "Whose\n\nNote:\nThis is a Foreign Key to `clients.id`."
                    "<fk table='clients' column='id'/>",
                    "format": "uuid",
                    "type": "string",
                },
                "email": {"format": "character varying", "maxLength": 80, "type": "string"},
                "mood": {"enum": ["good", "bad"], "format": "public.mood", "type": "string"},
                "is_open": {"default": True, "format": "boolean", "type": "boolean"},
                "tags": {"format": "text[]", "items": {"type": "string"}, "type": "array"},
                "custom": {"format": "jsonb"},
                "created_at": {"default": "now()", "format": "timestamp with time zone", "type": "string"},
            },
            "type": "object",
        },
        "clients": {
            "required": ["id"],
            "properties": {"id": {"description": PRIMARY, "format": "bigint", "type": "integer"}},
            "type": "object",
        },
        "totals": {"properties": {"n": {"format": "bigint", "type": "integer"}}, "type": "object"},
        "Weird Name": {"properties": {}, "type": "object"},
    },
}


def test_a_document_is_read() -> None:
    """Types, keys, defaults, enums, lengths and NOT NULL, of tables of any name."""
    assert Schema.from_openapi(DOCUMENT) == Schema(
        {
            "leads": Table(
                {
                    "id": Column("uuid", nullable=False, default=Generated.UUID),
                    "client_id": Column("uuid"),
                    "email": Column("character varying(80)", nullable=False),
                    "mood": Column("public.mood", one_of=("good", "bad")),
                    "is_open": Column("boolean", default=True),
                    "tags": Column("text[]"),
                    "custom": Column("jsonb"),
                    "created_at": Column("timestamptz", nullable=False, default=Generated.NOW),
                },
                foreign_keys=(ForeignKey("client_id", "clients"),),
            ),
            "clients": Table({"id": Column("bigint", nullable=False, default=Generated.IDENTITY)}),
            "totals": Table({"n": Column("bigint")}, primary_key=()),
            "Weird Name": Table({}, primary_key=()),
        }
    )


def _told(table: Table) -> Table:
    """The table without what a description does not tell: checks, unique sets, paths, cascades, documents, digits."""
    columns = {
        name: replace(
            column,
            pii=None,
            one_of=(),
            default=None if isinstance(column.default, (list, dict)) else column.default,
            type=column.type.partition("(")[0],
        )
        for name, column in table.columns.items()
    }
    links = tuple(replace(link, on_delete_cascade=False) for link in table.foreign_keys)
    return replace(table, columns=columns, foreign_keys=links, unique=(), paths=())


@pytest.mark.parametrize("form", FORMS)
def test_the_business_tables_are_read_from_the_description_of_any_version(form: Form) -> None:
    """Since 14.8 integers are int32 and int64; the columns are those of the default schema either way."""
    pulled = Schema.from_openapi(business(form))
    assert pulled == Schema({name: _told(table) for name, table in default_schema().tables.items()})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.asyncio
async def test_a_described_schema_makes_the_keys_in_memory(form: Form) -> None:
    """An integer key without a default is an identity: a row may be written without it, and found by it."""
    schema = Schema.from_openapi(business(form))
    async with create_persistence_agent(adapter=InMemoryAdapter(schema=schema), schema=schema) as agent:
        rows = [await agent.write("inquiries", {"body": body}) for body in "ab"]
        assert [row["id"] for row in rows] == [1, 2]
        assert await agent.read("inquiries", 2) == rows[1]
        assert await agent.query("sequences", {"step": gt(1), "delay_hours": 24}) == []


def test_int32_is_integer_because_smallint_cannot_be_told_apart() -> None:
    """Of the two the wider one, so that no value of the column is refused; arrays have their own names."""
    told = definition({"a": "smallint", "b": "integer", "c": "bigint", "d": "integer[]"}, "since 14.8")
    columns = Schema.from_openapi({"definitions": {"things": told}}).columns("things")
    assert [column.type for column in columns.values()] == ["integer", "integer", "bigint", "integer[]"]


@pytest.mark.parametrize("form", FORMS)
def test_a_key_that_refers_to_another_table_is_no_identity(form: Form) -> None:
    """Its values are those of the other table's rows."""
    told = {"profiles": definition({"id": "bigint! pk clients"}, form)}
    assert Schema.from_openapi({"definitions": told}).columns("profiles")["id"].default is None


def test_unique_sets_are_added_by_table() -> None:
    """PostgREST does not tell them."""
    schema = Schema.from_openapi(DOCUMENT, unique={"leads": [["email"]]})
    assert schema.tables["leads"].unique == (("email",),)
    with pytest.raises(ConfigurationError, match=r"unique: no table 'lead': did you mean 'leads'"):
        Schema.from_openapi(DOCUMENT, unique={"lead": [["email"]]})


def test_paths_are_added_by_table() -> None:
    """PostgREST does not know what its JSON holds."""
    document = {"definitions": {"notes": {"properties": {"body": {"format": "jsonb"}}}}}
    assert Schema.from_openapi(document, paths={"notes": ["body->>a"]}).paths("notes") == ("body->>a",)
    with pytest.raises(ConfigurationError, match="paths: no table 'note': did you mean 'notes'"):
        Schema.from_openapi(document, paths={"note": ["body->>a"]})


def test_several_columns_can_be_the_primary_key() -> None:
    """Each of them carries the mark, and none is an identity."""
    key = {"description": PRIMARY, "format": "integer", "type": "integer"}
    schema = Schema.from_openapi(
        {"definitions": {"steps": {"properties": {"a": key, "b": key}, "required": ["a", "b"]}}}
    )
    assert schema.tables["steps"] == Table(dict.fromkeys("ab", Column("integer", nullable=False)), ("a", "b"))


@pytest.mark.parametrize(
    ("told", "default"),
    [
        ("free", "free"),
        ("", ""),
        ("it''s", "it's"),
        ("'new'::mood", "new"),
        ("'it''s'::public.mood", "it's"),
        (50, 50),
        (False, False),
        ("extensions.uuid_generate_v4()", Generated.UUID),
        ("CURRENT_TIMESTAMP", Generated.NOW),
        ("timezone('utc'::text, now())", Generated.NOW),
        ("nextval('t_seq'::regclass)", Generated.IDENTITY),
        ("CURRENT_DATE", None),
        ("auth.uid()", None),
        ("(now() + '7 days'::interval)", None),
        ("NULL::character varying", None),
    ],
    ids=shown,
)
def test_a_default_is_a_constant_or_a_generated_one_or_not_known(told: Any, default: Any) -> None:
    """An expression that only the database computes is no default of ours."""
    properties = {"a": {"format": "text", "default": told}}
    table = Schema.from_openapi({"definitions": {"things": {"properties": properties}}}).tables["things"]
    assert table.columns["a"].default == default


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "a mapping is needed"),
        ({}, "secret key"),
        ({"definitions": []}, "a mapping is needed"),
        ({"definitions": {"leads": []}}, "definitions.leads: a mapping is needed"),
        ({"definitions": {"leads": {"properties": {"a": 5}}}}, "definitions.leads: a mapping is needed"),
        ({"definitions": {"leads": {"properties": {"": {}}}}}, "no name of a column"),
        ({"definitions": {"leads": {"required": 5}}}, "definitions.leads: required"),
        ({"definitions": {"leads": {"properties": {"a": {"enum": "x"}}}}}, "one_of is a list"),
        ({"definitions": {"leads": {"properties": {"a": {"format": 5}}}}}, "type"),
    ],
    ids=shown,
)
def test_what_is_no_description_is_refused(document: Any, problem: str) -> None:
    """A server's answer is not trusted; the error is the package's own."""
    with pytest.raises(ConfigurationError) as caught:
        Schema.from_openapi(document)
    assert problem in str(caught.value)
