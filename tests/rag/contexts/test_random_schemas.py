"""Contexts drafted from random schemas, over rows of any content: what holds for every prompt, and for every read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args
from xml.etree import ElementTree

import anyio
from hypothesis import given, settings, strategies as st

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy, build_rag_context
from agent_persistence.query.records import Row
from agent_persistence.rag.outline import Record, outline
from agent_persistence.rag_context import ContextSpec, EstimatedTokens, PromptFormat, RAGContext
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table
from tests.rag.worlds import ANY_TEXT, JSON

FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
TABLES = ("notes", "people", "order", "fields", "t_5", "categories")
COLUMNS: Mapping[str, Column] = {
    "name": Column("text"),
    "title": Column("varchar(80)"),
    "body": Column("text"),
    "status": Column("text", one_of=("a", "b")),
    "created_at": Column("timestamptz"),
    "at": Column("timestamptz"),
    "ref": Column("text"),
    "note": Column("text"),
    "Größe <cm>": Column("numeric"),
    "data": Column("jsonb"),
    "people": Column("text"),
    "password": Column("text"),
}
KEYS = st.integers(0, 3)


@st.composite
def tables(draw: st.DrawFn) -> Schema:
    """Tables with keys of one or two columns, and foreign keys to each other and to themselves, also in circles."""
    names = draw(st.lists(st.sampled_from(TABLES), min_size=1, max_size=5, unique=True))
    made = {}
    for name in names:
        columns = {"id": Column("bigint", nullable=False)}
        chosen = draw(st.lists(st.sampled_from([*COLUMNS]), max_size=4, unique=True))
        columns |= {one: COLUMNS[one] for one in chosen}
        links = draw(st.lists(st.sampled_from(names), max_size=3))
        for number, parent in enumerate(links):
            columns[f"{parent}_{number}_id"] = Column("bigint", nullable=draw(st.booleans()))
        key: tuple[str, ...] = ("id",)
        is_composite: bool = draw(st.booleans())
        if links and is_composite:
            key = ("id", f"{links[0]}_0_id")
        keys = tuple(ForeignKey(f"{parent}_{number}_id", parent) for number, parent in enumerate(links))
        made[name] = Table(columns, primary_key=key, foreign_keys=keys)
    return Schema(made)


@st.composite
def contexts(draw: st.DrawFn) -> tuple[ContextShape, RAGContext]:
    """A drafted context with rows of any content, whose keys and parents often meet."""
    schema = draw(tables())
    spec = ContextSpec.from_schema(schema, draw(st.sampled_from([*schema.tables])))
    shape = spec.shape(schema)
    rows = {table: draw(st.lists(_row(schema.tables[table], any_value=True), max_size=4)) for table in shape.tables}
    return shape, RAGContext(rows=rows, spec=spec)


def _row(table: Table, *, any_value: bool) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries({name: _value(name, column, any_value) for name, column in table.columns.items()})


def _value(name: str, column: Column, any_value: bool) -> st.SearchStrategy[Any]:
    if name == "id" or name.endswith("_id"):
        return KEYS if name == "id" or not column.nullable else st.none() | KEYS
    if any_value:
        return JSON
    if column.type == "timestamptz":
        return st.sampled_from(["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"])
    if column.type in ("numeric", "jsonb"):
        return st.integers(0, 9)
    return st.sampled_from(column.one_of) if column.one_of else ANY_TEXT.map(_storable)


def _storable(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()


def _records(context: RAGContext, shape: ContextShape) -> list[Record]:
    return [record for root in outline(context.rows, shape) for record in root.walk()]


@given(contexts())
@settings(deadline=None, max_examples=150)
def test_every_record_is_told_once_in_every_format(made: tuple[ContextShape, RAGContext]) -> None:
    """Under one reference, under its parent; the prompt parses, and nothing closes what it did not open."""
    shape, context = made
    told = _records(context, shape)
    expected = sorted(record.ref for record in told)
    assert len(expected) == sum(len(rows) for table, rows in context.rows.items() if not shape.tables[table].link)
    assert len(set(expected)) == len(expected)
    found = ElementTree.fromstring(context.to_prompt("xml"))
    assert sorted(one.get("ref") or "" for one in found.iter() if one.get("ref")) == expected
    above = {child.get("ref"): parent.get("ref") for parent in found.iter() for child in parent if child.get("ref")}
    assert above == {record.ref: record.parent.ref if record.parent else None for record in told}
    document = json.loads(context.to_prompt("json"), object_pairs_hook=_without_twins)
    assert sorted(_refs(document)) == expected
    assert sorted(context.sources) == expected


def _refs(told: Any) -> list[str]:
    if isinstance(told, dict):
        own = [told["ref"]] if "ref" in told else []
        return [*own, *(ref for name, item in told.items() if name != "data" for ref in _refs(item))]
    return [ref for item in told for ref in _refs(item)] if isinstance(told, list) else []


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of our own members; a value of the caller's may hold what it likes."""
    names = [name for name, _ in pairs]
    assert "ref" not in names or len(set(names)) == len(names)
    return dict(pairs)


@given(contexts(), st.integers(1, 400), st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=100)
def test_no_prompt_has_more_tokens_than_its_budget(
    made: tuple[ContextShape, RAGContext], budget: int, format: PromptFormat
) -> None:
    """And shows no record without those it stands under, in the same bytes each time."""
    shape, context = made
    prompt = context.prompt(format, max_tokens=budget)
    assert EstimatedTokens().count(prompt.text) == prompt.tokens.used <= budget
    assert prompt.text == context.to_prompt(format, max_tokens=budget)
    above = {record.ref: record.parent.ref for record in _records(context, shape) if record.parent}
    assert {above[ref] for ref in prompt.refs if ref in above} <= set(prompt.refs)


@st.composite
def stores(draw: st.DrawFn) -> tuple[Schema, ContextSpec, str, int, Mapping[str, Sequence[Row]]]:
    """A schema, a context of it, a key of its root, and rows that a database could hold: each key once."""
    schema = draw(tables())
    root = draw(st.sampled_from([*schema.tables]))
    rows = {}
    for name, table in schema.tables.items():
        given_rows = draw(st.lists(_row(table, any_value=False), max_size=5))
        rows[name] = [dict(row) for row in {row["id"]: row for row in given_rows}.values()]
    return schema, ContextSpec.from_schema(schema, root), root, draw(KEYS), rows


@given(stores())
@settings(deadline=None, max_examples=150)
def test_what_is_read_for_one_row_belongs_to_it(
    made: tuple[Schema, ContextSpec, str, int, Mapping[str, Sequence[Row]]],
) -> None:
    """The root's row alone, and of other tables what a relation connects with a row that is read."""
    schema, spec, root, key, rows = made
    store = Schema({name: replace(table, foreign_keys=()) for name, table in schema.tables.items()})
    adapter = InMemoryAdapter({name: [dict(row) for row in held] for name, held in rows.items()}, schema=store)
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read=set(schema.tables)), schema=schema, retry=False)
    shape = spec.shape(schema)

    async def build() -> RAGContext:
        return await build_rag_context(service, spec=spec, filters={root: {"id": key}})

    context = anyio.run(build)
    assert [row["id"] for row in context.rows[root]] == [row["id"] for row in rows[root] if row["id"] == key]
    assert not any("password" in row for held in context.rows.values() for row in held)
    for table, held in context.rows.items():
        for row in held:
            assert table == root or _is_connected(table, row, context, shape)
    for form in FORMATS:
        assert context.to_prompt(form)
    assert context.complete


def _is_connected(table: str, row: Row, context: RAGContext, shape: ContextShape) -> bool:
    up = any(
        row[relation.columns[0]] == other["id"]
        for relation in shape.tables[table].parents
        for other in context.rows[relation.parent]
    )
    return up or any(
        other[relation.columns[0]] == row["id"]
        for child in shape.children[table]
        for relation in shape.tables[child].parents
        if relation.parent == table
        for other in context.rows[child]
    )
