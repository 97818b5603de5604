"""`context draft` writes the context of a table as a file that `rag preview` and the library read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_persistence.cli.status import Status
from agent_persistence.rag_context import ContextSpec
from agent_persistence.schema_registry import Schema
from tests.backends.stub_server import answer, stub_server
from tests.cli.program import ROOT, ran

SHOP = ROOT / "tests" / "rag" / "samples" / "shop.toml"
ROWS = {
    "customers": [{"customer_id": "VINET", "company_name": "Vins et alcools"}],
    "orders": [{"order_id": 1, "customer_id": "VINET", "ship_city": "Reims"}],
}
OPENAPI = {
    "swagger": "2.0",
    "definitions": {
        "tickets": {
            "required": ["id", "subject"],
            "properties": {
                "id": {"format": "bigint", "type": "integer", "description": "<pk/>"},
                "subject": {"format": "text", "type": "string"},
            },
        },
        "comments": {
            "required": ["id", "ticket_id"],
            "properties": {
                "id": {"format": "bigint", "type": "integer", "description": "<pk/>"},
                "ticket_id": {
                    "format": "bigint",
                    "type": "integer",
                    "description": "<fk table='tickets' column='id'/>",
                },
                "body": {"format": "text", "type": "string"},
            },
        },
    },
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_file_is_the_context_that_the_schema_suggests() -> None:
    """TOML on stdout or in a file; as JSON the document."""
    expected = ContextSpec.from_schema(Schema.from_file(SHOP), "orders", without=["shippers"], name="shop")
    told = ("context", "draft", "orders", "--schema", SHOP, "--without", "shippers", "--name", "shop")
    assert ran(*told).out == expected.to_toml()
    ended = ran(*told, "--output", "context.toml")
    assert (ended.status, ended.out) == (0, "")
    assert ContextSpec.from_file("context.toml") == expected
    assert ContextSpec.from_document(ran(*told, "--json").document["context"]) == expected


def test_a_file_that_exists_is_not_written_over() -> None:
    """Somebody may have edited it."""
    Path("context.toml").write_text("mine")
    told = ("context", "draft", "orders", "--schema", SHOP, "-o", "context.toml")
    assert ran(*told).status == Status.CONFIGURATION
    assert Path("context.toml").read_text() == "mine"
    assert ran(*told, "--force").status == 0
    assert ContextSpec.from_file("context.toml").roots == ("orders",)


def test_without_a_schema_the_tables_are_those_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the relations that it describes."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(OPENAPI).encode())) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("context", "draft", "tickets")
    assert 'parent = { ticket_id = "tickets" }' in ended.out


def test_a_table_that_there_is_not_is_a_mistake_of_the_caller() -> None:
    """With the name that may have been meant."""
    ended = ran("context", "draft", "order", "--schema", SHOP)
    assert ended.status == Status.CONFIGURATION
    assert "did you mean 'orders'" in ended.err


def test_a_prompt_of_ones_own_tables_can_be_previewed() -> None:
    """By the file, with conditions on any of its tables."""
    Path("rows.json").write_text(json.dumps(ROWS))
    Path("policy.toml").write_text('read = ["customers", "orders"]')
    assert ran("context", "draft", "orders", "--schema", SHOP, "-o", "context.toml").status == 0
    told = ("rag", "preview", "--kind", "memory", "--rows", "rows.json", "--schema", SHOP, "--policy", "policy.toml")
    ended = ran(*told, "--spec", "context.toml", "--where", "customers.company_name.ilike=vins%", "--json")
    assert '<customer ref="c1" company_name="Vins et alcools">' in ended.document["prompt"]
    assert "<ship_city>Reims</ship_city>" in ended.document["prompt"]
    assert any(warning.startswith("employees: not readable") for warning in ended.document["warnings"])


@pytest.mark.parametrize("wrong", ["status", ".status=new", "orders."])
def test_a_condition_names_its_table(wrong: str) -> None:
    """A usage error says how it is written."""
    ended = ran("rag", "preview", "--kind", "memory", "--where", wrong)
    assert ended.status == Status.USAGE
    assert "TABLE.CONDITION" in ended.err
