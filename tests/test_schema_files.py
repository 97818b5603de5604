"""Schemas as TOML and JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import ConfigurationError, Schema
from agent_persistence.schema_registry import Column, ForeignKey, Generated, Table
from tests.doubles import shown

EXAMPLE = """
[tables.leads]
primary_key = ["id"]
unique = [["email"]]
paths = ["custom->>role", "custom->address->>city"]

[tables.leads.columns]
id = { type = "uuid", nullable = false, generated = "uuid" }
email = { type = "text", nullable = false, pii = "email" }
status = { type = "text", default = "new", one_of = ["new", "won"] }
custom = { type = "jsonb", default_json = '{"seen": null}' }
client_id = "uuid"

[[tables.leads.foreign_keys]]
column = "client_id"
table = "clients"
references = "id"
on_delete_cascade = false
"""
SCHEMA = Schema(
    {
        "leads": Table(
            {
                "id": Column("uuid", nullable=False, default=Generated.UUID),
                "email": Column("text", nullable=False, pii="email"),
                "status": Column("text", default="new", one_of=("new", "won")),
                "custom": Column("jsonb", default={"seen": None}),
                "client_id": Column("uuid"),
            },
            unique=(("email",),),
            paths=("custom->>role", "custom->address->>city"),
            foreign_keys=(ForeignKey("client_id", "clients"),),
        )
    }
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
words = texts.filter(str.strip)
columns = st.builds(
    Column,
    words,
    st.booleans(),
    st.sampled_from(Generated) | values,
    st.lists(texts, max_size=3).map(tuple),
    st.none() | words,
)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    declared = draw(st.dictionaries(texts.filter(bool), columns, min_size=1, max_size=4))
    keys = st.lists(st.sampled_from(list(declared)), min_size=1, max_size=2, unique=True).map(tuple)
    links = st.builds(ForeignKey, st.sampled_from(list(declared)), names.map("x{}".format), words, st.booleans())
    return Table(
        declared,
        draw(keys | st.just(())),
        draw(st.lists(keys, max_size=2).map(tuple)),
        draw(st.lists(links, max_size=2).map(tuple)),
    )


schemas = st.dictionaries(names.map("t{}".format), tables(), max_size=3).map(Schema)


@pytest.mark.parametrize("suffix", ["toml", "json", "TOML"])
@given(schema=schemas)
def test_a_schema_that_is_written_reads_back_equal(
    suffix: str, schema: Schema, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also in the order of its columns, and with values of the same types."""
    path = tmp_path_factory.getbasetemp() / f"schema.{suffix}"
    schema.to_file(path)
    again = Schema.from_file(str(path))
    assert again == schema
    assert repr(again) == repr(schema)


def test_the_format_is_the_one_that_is_documented() -> None:
    """The example of the docstring, which this text repeats, is read as it says."""
    documented = "".join((Schema.from_file.__doc__ or "").split())
    plain = [line for line in EXAMPLE.splitlines() if line]
    assert all("".join(line.split()) in documented for line in plain)


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    """Every key of the format counts; what is left out has its default."""
    path = tmp_path / "schema.toml"
    path.write_text(EXAMPLE)
    assert Schema.from_file(path) == SCHEMA


def test_a_json_file_has_the_same_keys(tmp_path: Path) -> None:
    """The two formats differ in nothing but syntax."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA.to_document()))
    assert Schema.from_file(path) == SCHEMA


def test_a_written_file_has_one_line_for_each_column() -> None:
    """So that a change of the schema reads well in a diff."""
    lines = SCHEMA.to_toml().splitlines()
    assert 'email = { type = "text", nullable = false, pii = "email" }' in lines
    assert 'client_id = "uuid"' in lines


def document(**changes: Any) -> dict[str, Any]:
    return {"tables": {"leads": {"columns": {"id": "bigint"}, **changes}}}


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ([], "a mapping is needed here, not list"),
        ({}, "tables is missing"),
        ({"table": {}}, "unknown key 'table': did you mean 'tables'?; keys are tables"),
        ({"tables": []}, "tables: a mapping is needed here"),
        ({"tables": {"": {}}}, "'' is no name of a table"),
        ({"tables": {"leads": {}}}, "leads: columns is missing"),
        (document(colums={}), "leads: unknown key 'colums': did you mean 'columns'?"),
        (document(primary_key="id"), "leads: primary_key is a list"),
        (document(primary_key=["idd"]), "leads: primary_key: no column 'idd': did you mean 'id'?"),
        (document(unique=[["id", 5]]), "leads: unique holds int"),
        (document(paths="id->>a"), "leads: paths is a list"),
        (document(paths=["id->>a"]), "leads: paths: id->>a reads id, which is bigint"),
        (document(foreign_keys={}), "leads: foreign_keys: a list is needed here"),
        (document(foreign_keys=[{"column": "id"}]), "leads: foreign_keys: table is missing"),
        (
            document(foreign_keys=[{"colum": "id"}]),
            "leads: foreign_keys: unknown key 'colum': did you mean 'column'?",
        ),
        (document(columns=["id"]), "leads: columns: a mapping is needed here"),
        (document(columns={"id": 5}), "leads: columns.id: a mapping is needed here, not int"),
        (document(columns={"id": {}}), "leads: columns.id: type is missing"),
        (
            document(columns={"id": {"type": "uuid", "nulable": True}}),
            "leads: columns.id: unknown key 'nulable': did you mean 'nullable'?",
        ),
        (document(columns={"id": {"type": "uuid", "nullable": "no"}}), "leads: columns.id: nullable is true or false"),
        (document(columns={"id": {"type": "uuid", "generated": "serial"}}), "generated is one of uuid, now, identity"),
        (document(columns={"id": {"type": "uuid", "generated": ["uuid"]}}), "generated is one of"),
        (document(columns={"id": {"type": "uuid", "default_json": "{"}}), "default_json is no JSON text"),
        (document(columns={"id": {"type": "uuid", "default_json": 5}}), "default_json is no JSON text"),
        (
            document(columns={"id": {"type": "uuid", "default": 1, "generated": "uuid"}}),
            "leads: columns.id: default and generated both say",
        ),
    ],
    ids=shown,
)
def test_a_mistake_is_refused_with_its_place(told: Any, problem: str) -> None:
    """The message goes from the table to the key, and names the key that may have been meant."""
    with pytest.raises(ConfigurationError) as caught:
        Schema.from_document(told)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("schema.yaml", b"", ".toml or .json"),
        ("schema", b"", ".toml or .json"),
        ("schema.toml", b"[tables", "no valid TOML"),
        ("schema.toml", b"\xff", "no valid TOML"),
        ("schema.json", b"{", "no valid JSON"),
        ("schema.json", b'{"tables": {}, "tables": {}}', "'tables' stands twice"),
        ("schema.json", b"[" * 100_000, "no valid JSON"),
        ("absent.toml", None, "cannot be read"),
    ],
    ids=shown,
)
def test_a_file_that_is_no_schema_is_refused_by_its_name(
    name: str, content: bytes | None, problem: str, tmp_path: Path
) -> None:
    """The error is the package's own, and tells the path."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Schema.from_file(path)
    assert str(path) in str(caught.value)


def test_a_schema_is_not_written_into_a_file_of_an_unknown_kind(tmp_path: Path) -> None:
    """Nothing is created."""
    with pytest.raises(ConfigurationError, match=r"\.toml or \.json"):
        SCHEMA.to_file(tmp_path / "schema.yaml")
    assert list(tmp_path.iterdir()) == []
