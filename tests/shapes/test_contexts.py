"""Contexts of tables of any shape: what they are called in a prompt, and what hangs together by several columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_persistence import build_rag_context
from agent_persistence.rag_context import ContextSpec
from agent_persistence.schema.contexts.naming import tag_of
from tests.shapes.conftest import BackEnd

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("table", "tag"),
    [
        ("User", "user"),
        ("OrderLines", "order_line"),
        ("order lines", "order_line"),
        ("_PostToTag", "post_to_tag"),
        ('naïve, (v1) "100%"', "na_ve_v1_100"),
        ("таблица", "record"),
        ("1st", "record_1st"),
        ("order_lines", "order_line"),
    ],
)
def test_a_record_is_called_by_the_words_of_its_table(table: str, tag: str) -> None:
    """A tag is a plain name, whatever the table's is."""
    assert tag_of(table, set()) == tag


async def test_rows_hang_together_by_several_columns(backend: BackEnd, tmp_path: Path) -> None:
    """A shipment stands under its order line, whose key has two columns."""
    spec = ContextSpec.from_schema(backend.schema, root="order lines")
    async with backend.agent(row_cap=1000) as agent:
        await agent.batch_write("order lines", [{"order-id": 1, "line": n, "sku": f"sku {n}"} for n in (1, 2)])
        await agent.write("shipments", {"order-id": 1, "line": 2, "carrier": "by sea"})
        context = await build_rag_context(agent, spec=spec)
    prompt = context.to_prompt()
    assert context.complete
    first, second = prompt.split("</order_line>")[:2]
    assert ("by sea" in first, "by sea" in second) == ("sku 2" in first, "sku 2" in second)
    assert {table: len(rows) for table, rows in context.rows.items()} == {"order lines": 2, "shipments": 1}
    path = tmp_path / "context.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    assert ContextSpec.from_file(path, schema=backend.schema) == spec
