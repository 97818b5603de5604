"""What `->` and `->>` read of a document in memory; tests/differential asks PostgreSQL whether that is right."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agent_persistence import InMemoryAdapter, Schema, UnsupportedOperationError, desc
from agent_persistence.backends.memory.paths import document_text
from agent_persistence.exceptions import AdapterError
from agent_persistence.schema_registry import Column, Table
from tests.doubles import shown

pytestmark = pytest.mark.anyio
SCHEMA = Schema({"t": Table({"id": Column("bigint"), "c": Column("jsonb"), "j": Column("json"), "n": Column("text")})})
DOCUMENT = {"a": {"b": "x"}, "l": ["y", 1.5, None], "null": None, "yes": True, "B": "upper"}


@pytest.fixture(params=["declared", "not declared"])
def adapter(request: pytest.FixtureRequest) -> InMemoryAdapter:
    """One row, in a table with a schema and in one without."""
    rows = {"t": [{"id": 1, "c": DOCUMENT}]}
    return InMemoryAdapter(rows, schema=SCHEMA if request.param == "declared" else None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("c->>a", '{"b": "x"}'),
        ("c->a", {"b": "x"}),
        ("c->a->>b", "x"),
        ("c->a->b", "x"),
        ("c->l->0", "y"),
        ("c->l->>1", "1.5"),
        ("c->l->-3", "y"),
        ("c->l->>3", None),
        ("c->l->>-4", None),
        ("c->l->b", None),
        ("c->0", None),
        ("c->null", None),
        ("c->>null", None),
        ("c->>yes", "true"),
        ("c->>B", "upper"),
        ("c->a->b->0", "x"),
        ("c->a->b->1", None),
    ],
)
async def test_a_path_reads_a_part(adapter: InMemoryAdapter, path: str, value: Any) -> None:
    """Under its own name; None where there is nothing, and for JSON's null."""
    assert await adapter.query("t", select=[path]) == [{path: value}]


async def test_a_missing_part_is_null_and_jsons_null_is_a_document(adapter: InMemoryAdapter) -> None:
    """As text, both are NULL."""
    counts = [
        await adapter.count("t", {path: None}) for path in ("c->none", "c->null", "c->>none", "c->>null", "c->l->2")
    ]
    assert counts == [1, 0, 1, 1, 0]
    assert await adapter.count("t", {"c->null": "null"}) == 1


async def test_a_path_orders_the_rows_and_shows_nothing(adapter: InMemoryAdapter) -> None:
    """A key of the order is no column of the row."""
    await adapter.write("t", {"id": 2, "c": {"B": "a"}})
    await adapter.write("t", {"id": 3, "c": {}})
    rows = await adapter.query("t", order_by="c->>B")
    assert [row["id"] for row in rows] == [2, 1, 3]
    assert all("c->>B" not in row and "" not in row for row in rows)
    found = await adapter.query("t", order_by=desc("c->>B", nulls="last"), select=["id"])
    assert found == [{"id": 1}, {"id": 2}, {"id": 3}]


async def test_what_is_read_is_a_copy(adapter: InMemoryAdapter) -> None:
    """A caller who changes it changes nothing here."""
    [row] = await adapter.query("t", select=["c->a"])
    row["c->a"]["b"] = "changed"
    assert await adapter.query("t", select=["c->a"]) == [{"c->a": {"b": "x"}}]


@pytest.mark.parametrize("path", ["j->>a", "n->>a"])
async def test_a_path_of_what_is_no_jsonb_is_refused(path: str) -> None:
    """A json column keeps its text, blanks and all, which is not kept here."""
    adapter = InMemoryAdapter(schema=SCHEMA)
    with pytest.raises(UnsupportedOperationError, match="paths of columns that are not jsonb"):
        await adapter.query("t", select=[path])
    with pytest.raises(UnsupportedOperationError):
        await adapter.query("t", {path: "x"})
    with pytest.raises(UnsupportedOperationError):
        await adapter.query("t", order_by=path)


async def test_a_path_of_a_column_that_is_not_there_is_refused() -> None:
    """As PostgreSQL refuses the column."""
    with pytest.raises(AdapterError) as caught:
        await InMemoryAdapter(schema=SCHEMA).query("t", {"d->>a": "x"})
    assert caught.value.code == "42703"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"bb": 1, "a": [True, None], "": {}}, '{"": {}, "a": [true, null], "bb": 1}'),
        (['é\x7f\x01\n"\\/'], '["é\x7f\\u0001\\n\\"\\\\/"]'),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E-7"), "0.0000001"),
        (10**30, "1" + "0" * 30),
    ],
    ids=shown,
)
def test_a_document_is_printed_as_postgresql_prints_jsonb(value: Any, text: str) -> None:
    """Keys by length, blanks behind `:` and `,`, all digits."""
    assert document_text(value) == text
