"""What a context may be, and what is refused when it is made."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_persistence import ConfigurationError, ValidationError, build_rag_context
from agent_persistence.presets import crm
from agent_persistence.rag_context import ContextSpec, Entity, Parent
from agent_persistence.schema_registry import Schema, default_schema
from tests.rag.contexts.desk import BY_HAND, SCHEMA, SPEC, desk

pytestmark = pytest.mark.anyio


def test_what_is_not_said_comes_from_the_schema() -> None:
    """Parents from foreign keys, the needed one first; titles, labels, body and time from types and tags."""
    told = ContextSpec([Entity("customers"), Entity("agents"), Entity("tickets"), Entity("comments")]).shape(SCHEMA)
    tickets, comments = told.tables["tickets"], told.tables["comments"]
    assert [relation.columns for relation in tickets.parents] == [("customer_id",), ("agent_id",)]
    assert (tickets.title, tickets.labels, tickets.time) == (("subject",), (("status", "status"),), "created_at")
    assert [relation.parent for relation in comments.parents] == ["tickets", "agents"]
    assert [relation.columns for relation in comments.threads] == [("reply_to",)]
    assert (comments.body, comments.needs_parent, comments.in_time_order) == ("body", True, True)
    assert told.tables["agents"].columns == ("id", "full_name")
    assert told.roots == ("customers",)


def test_what_is_said_stands() -> None:
    """The schema only fills in."""
    entity = Entity("tickets", parent=(), title="status", labels=[], time="", limit=3, half_life=timedelta(days=1))
    told = ContextSpec([entity]).shape(SCHEMA).tables["tickets"]
    assert (told.parents, told.title, told.labels, told.time, told.limit) == ((), ("status",), (), None, 3)
    assert told.half_life == timedelta(days=1)


def test_tables_that_no_schema_declares_have_what_is_said_of_them() -> None:
    """And the key `id`."""
    told = BY_HAND.shape(Schema()).tables
    assert told["comments"].key == ("id",)
    assert [relation.references for relation in told["comments"].parents] == [("id",)]
    assert told["tickets"].labels == ()


def test_parents_may_have_several_columns_and_be_named_by_others_than_their_key() -> None:
    """As values, where a mapping cannot say it."""
    entities = [
        Entity("orders", key=("year", "number")),
        Entity("people"),
        Entity(
            "items",
            parent=[
                Parent(("order_year", "order_number"), "orders"),
                Parent("buyer", "people", references="email", shown_as="by"),
            ],
        ),
    ]
    told = ContextSpec(entities).shape(Schema()).tables["items"].parents
    assert [(one.columns, one.references, one.shown_as) for one in told] == [
        (("order_year", "order_number"), ("year", "number"), "order"),
        (("buyer",), ("email",), "by"),
    ]


CUSTOMERS, TICKETS = Entity("customers", parent=()), Entity("tickets", parent={"customer_id": "customers"})


@pytest.mark.parametrize(
    ("entities", "options", "message"),
    [
        ([], {}, "an Entity at least"),
        ([CUSTOMERS, CUSTOMERS], {}, "stands twice"),
        (["customers"], {}, "holds Entity"),
        ([Entity("a", parent={"b_id": "b"}), Entity("b", parent={"a_id": "a"})], {}, "circle: .* → "),
        ([TICKETS], {}, "'customers' is none of tickets"),
        ([CUSTOMERS, TICKETS], {"root": "ticket"}, "did you mean 'tickets'"),
        ([CUSTOMERS, TICKETS], {"root": []}, "needs a root"),
        ([CUSTOMERS, TICKETS, Entity("notes", parent=())], {"root": "tickets"}, "notes: no relation leads there"),
        ([CUSTOMERS], {"name": "My context"}, "lower-case"),
        ([Entity("customers", title="nme")], {"schema": SCHEMA}, "title: no column 'nme': did you mean 'name'"),
        ([Entity("customers", body="text")], {"schema": SCHEMA}, "body: no column 'text'"),
        ([Entity("customers", time="at")], {"schema": SCHEMA}, "time: no column 'at'"),
        ([Entity("customers", columns=["id", "fax"])], {"schema": SCHEMA}, "columns: no column 'fax'"),
        ([CUSTOMERS, Entity("tickets", parent={"client": "customers"})], {"schema": SCHEMA}, "no column 'client'"),
        (
            [CUSTOMERS, Entity("tickets", parent=[Parent("customer_id", "customers", references="nr")])],
            {"schema": SCHEMA},
            "references of customers: no column 'nr'",
        ),
        ([Entity("customers", title="id")], {"schema": SCHEMA}, "'id' is the key"),
        ([Entity("ticket_tags", link=True)], {"schema": SCHEMA}, "two parents"),
        (
            [
                *(Entity(table) for table in ("customers", "agents", "comments")),
                Entity("tickets", link=True),
            ],
            {"schema": SCHEMA},
            "comments cannot stand under a link",
        ),
        ([Entity("customers", tag="x"), Entity("tickets", tag="x")], {"schema": SCHEMA}, "tag 'x' is taken"),
        ([Entity("customers", key=[])], {"schema": SCHEMA}, "by a key"),
        ([Entity("orders", key=["a", "b"]), Entity("items", parent={"x": "orders"})], {"schema": Schema()}, "a, b"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(entities: Any, options: dict[str, Any], message: str) -> None:
    """A typed error that says what is wrong and what may have been meant."""
    with pytest.raises(ConfigurationError, match=message):
        ContextSpec(entities, **options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"limit": True},
        {"half_life": 30},
        {"prefix": "c1"},
        {"tag": "a b"},
        {"parent": ["customers"]},
        {"title": ["name", "name"]},
        {"labels": "a->>b"},
        {"needs_parent": "yes"},
    ],
    ids=str,
)
def test_nonsense_in_an_entity_names_its_table(wrong: dict[str, Any]) -> None:
    """And the option."""
    with pytest.raises(ConfigurationError, match=r"^tickets: "):
        Entity("tickets", **wrong)


def test_foreign_keys_in_a_circle_do_not_make_a_context_impossible() -> None:
    """The one that would close the circle is left out."""
    document = SCHEMA.to_document()
    document["tables"]["customers"]["columns"]["first_ticket"] = {"type": "bigint"}
    document["tables"]["customers"]["foreign_keys"] = [{"column": "first_ticket", "table": "tickets"}]
    declared = Schema.from_document(document)
    told = ContextSpec.from_schema(declared, "tickets").shape(declared)
    assert [relation.parent for relation in told.tables["tickets"].parents] == ["customers", "agents"]
    assert told.tables["customers"].parents == ()


def test_the_context_of_a_table_is_what_is_above_it_below_it_and_what_these_refer_to() -> None:
    """Pairs become a link; what nothing leads to is named as a further root."""
    told = SPEC.shape(SCHEMA)
    assert told.order == ("customers", "tickets", "kb_articles", "comments", "ticket_tags", "agents", "tags")
    assert told.tables["ticket_tags"].link
    assert "kb_articles" not in ContextSpec.from_schema(SCHEMA, "tickets").shape(SCHEMA).tables
    assert set(ContextSpec.from_schema(SCHEMA, "tickets", depth=0).shape(SCHEMA).tables) == {
        "customers",
        "agents",
        "tickets",
    }
    assert set(ContextSpec.from_schema(SCHEMA, "tickets", tables=["customers", "comments"]).shape(SCHEMA).tables) == {
        "customers",
        "tickets",
        "comments",
    }


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        ("ticket", {}, "root: no table 'ticket': did you mean 'tickets'"),
        ("tickets", {"tables": ["kb_articles"]}, "no foreign key leads from tickets to kb_articles"),
        ("tickets", {"tables": ["kb"]}, "tables: no table 'kb'"),
        ("tickets", {"without": ["tickets"]}, "root: tickets"),
        ("tickets", {"depth": -1}, "depth"),
    ],
)
def test_a_draft_that_cannot_be_is_refused(root: str, options: dict[str, Any], message: str) -> None:
    """With the name that may have been meant."""
    with pytest.raises(ConfigurationError, match=message):
        ContextSpec.from_schema(SCHEMA, root, **options)


@pytest.mark.parametrize("spec", [SPEC, BY_HAND, crm.CONTEXT], ids=["from a schema", "by hand", "the preset"])
def test_a_file_holds_the_same_context(spec: ContextSpec, tmp_path: Path) -> None:
    """As TOML, and as a mapping; and it survives a pickle."""
    path = tmp_path / "context.toml"
    path.write_text(spec.to_toml())
    assert ContextSpec.from_file(path) == spec
    assert ContextSpec.from_document(spec.to_document()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_draft_means_the_same_without_its_schema() -> None:
    """It says everything."""
    assert SPEC.shape(Schema()) == SPEC.shape(SCHEMA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entities is missing"),
        ("[entities.a]\nparrent = {}", "entities: a: unknown key 'parrent': did you mean 'parent'"),
        ("[entities.a]\nhalf_life_days = 0", "half_life_days"),
        ("[entities.a]\nparent = [{ table = 'b' }]", "columns is missing"),
        ("roots = ['a']\n[entities.a]", "did you mean 'root'"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    """File, entity and key."""
    path = tmp_path / "context.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"context.toml: .*{message}"):
        ContextSpec.from_file(path)


async def test_a_builder_takes_a_spec_or_its_file_and_nothing_else(tmp_path: Path) -> None:
    """The file is read when the context is built."""
    path = tmp_path / "context.toml"
    path.write_text(SPEC.to_toml())
    by_file = await build_rag_context(desk(), spec=path)
    assert by_file.to_prompt() == (await build_rag_context(desk(), spec=SPEC)).to_prompt()
    assert (await build_rag_context(desk(), spec=str(path))).rows == by_file.rows
    with pytest.raises(ValidationError, match="spec is a ContextSpec"):
        await build_rag_context(desk(), spec={"tickets": {}})  # type: ignore[arg-type]


def test_the_preset_is_what_the_schema_of_the_preset_allows() -> None:
    """Its tables and columns exist."""
    ContextSpec(crm.CONTEXT.entities, root="leads", name="crm_context", schema=default_schema())
    assert set(crm.CONTEXT_TABLES) < crm.BUSINESS_TABLES == set(default_schema().tables)
