"""Which queries a call of build_rag_context means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent_persistence import ColumnNotAllowedError, Schema, TableNotAllowedError, ValidationError
from agent_persistence.rag.plan import ReadPlan, plan
from agent_persistence.schema_registry import default_schema
from tests.rag.crm import CRM

ALL: Mapping[str, frozenset[str] | None] = dict.fromkeys(CRM.tables)


def _plan(
    *,
    readable: Mapping[str, frozenset[str] | None] = ALL,
    follow: bool = True,
    limits: Any = None,
    schema: Schema | None = None,
    **filters: Any,
) -> ReadPlan:
    return plan(CRM, filters, limits, readable=readable, follow_relations=follow, schema=schema or default_schema())


def _without(table: str) -> dict[str, frozenset[str] | None]:
    return {name: columns for name, columns in ALL.items() if name != table}


def _links(planned: ReadPlan) -> Mapping[str, list[str]]:
    return {
        step.table: [
            f"{', '.join(choice.columns)} in {choice.table}.{', '.join(choice.values_from)}"
            for link in step.links
            for choice in link.choices
        ]
        for step in planned.steps
    }


FROM_LEADS = {
    "clients": ["id in leads.client_id"],
    "campaigns": ["id in leads.campaign_id"],
    "leads": [],
    "conversations": ["lead_id in leads.id"],
    "messages": ["conversation_id in conversations.id"],
}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, FROM_LEADS),
        ({"leads": {"email": "a@x.io"}}, FROM_LEADS),
        ({"leads": {"status": "new"}, "messages": {"role": "user"}}, FROM_LEADS),
        (
            {"clients": {"name": "n"}},
            {**FROM_LEADS, "clients": [], "leads": ["client_id in clients.id"]},
        ),
        (
            {"clients": {"name": "n"}, "campaigns": {"status": "active"}},
            {
                **FROM_LEADS,
                "clients": [],
                "campaigns": [],
                "leads": ["client_id in clients.id", "campaign_id in campaigns.id"],
            },
        ),
        (
            {"conversations": {"channel": "chat"}},
            {**FROM_LEADS, "leads": ["id in conversations.lead_id"], "conversations": []},
        ),
        (
            {"messages": {"role": "user"}},
            {
                **FROM_LEADS,
                "leads": ["id in conversations.lead_id"],
                "conversations": ["id in messages.conversation_id"],
                "messages": [],
            },
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_children_follow_the_filtered_table_and_parents_are_looked_up_from_it(
    filters: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    """The highest filtered table anchors the plan; without a filter it is leads."""
    assert _links(_plan(**filters)) == expected


def test_without_relations_the_tables_are_independent() -> None:
    """Every table is queried by its own filter alone."""
    planned = _plan(follow=False, leads={"status": "new"})
    assert _links(planned) == {table: [] for table in CRM.tables}
    assert {step.table: step.limit for step in planned.steps} == {
        "clients": 10,
        "campaigns": 10,
        "leads": 10,
        "conversations": 20,
        "messages": 50,
    }


def test_a_limit_of_zero_leaves_a_table_out_and_what_hangs_on_it() -> None:
    """Messages are found through conversations: without these, nobody's messages are shown."""
    planned = _plan(limits={"conversations": 0})
    assert set(_links(planned)) == {"clients", "campaigns", "leads"}
    assert any(warning.startswith("messages: left out") for warning in planned.warnings)


def test_without_leads_conversations_are_the_anchor() -> None:
    """Clients and campaigns hang on leads and are left out with them."""
    planned = _plan(limits={"leads": 0})
    assert _links(planned) == {"conversations": [], "messages": ["conversation_id in conversations.id"]}


def test_tables_that_may_not_be_read_are_left_out_with_a_warning() -> None:
    """The rest of the context is still built."""
    planned = _plan(readable=_without("clients"))
    assert "clients" not in _links(planned)
    assert planned.warnings == ("clients: not readable under this policy",)


def test_a_filter_on_a_table_that_may_not_be_read_is_refused() -> None:
    """Whoever names a table wants it; leaving it out in silence would answer another question."""
    with pytest.raises(TableNotAllowedError):
        _plan(readable=_without("leads"), leads={"email": "a@x.io"})


@pytest.mark.parametrize("limits", [{"leads": -1}, {"leads": True}, {"leads": "5"}, {"sequences": 1}])
def test_nonsense_limits_are_refused(limits: dict[str, Any]) -> None:
    """A limit is an int of at least 0, for one of the five tables."""
    with pytest.raises(ValidationError):
        _plan(limits=limits)


def test_a_filter_on_a_table_with_limit_zero_is_refused() -> None:
    """One of the two is a mistake."""
    with pytest.raises(ValidationError, match="limit of 0"):
        _plan(limits={"leads": 0}, leads={"email": "a@x.io"})


def test_a_table_whose_link_may_not_be_read_is_left_out() -> None:
    """Which conversations are the lead's cannot be known without their lead_id; nobody's are shown."""
    planned = _plan(readable={**ALL, "conversations": frozenset({"id", "created_at", "subject"})})
    assert set(_links(planned)) == {"clients", "campaigns", "leads"}
    assert [warning for warning in planned.warnings if "lead_id" in warning] == [
        "conversations: left out, because its column lead_id is not read and would say which rows belong"
    ]


def test_the_column_that_links_to_a_parent_must_be_readable_too() -> None:
    """Without the lead's client_id nobody knows whose client it is."""
    planned = _plan(readable={**ALL, "leads": frozenset({"id", "created_at", "campaign_id", "email"})})
    assert set(_links(planned)) == {"campaigns", "leads", "conversations", "messages"}
    assert "clients: left out, because the column client_id of leads is not read" in planned.warnings[0]


def test_a_table_whose_key_may_not_be_read_is_left_out_or_refused_where_a_filter_names_it() -> None:
    """Its records could be neither told apart nor cited."""
    readable = {**ALL, "clients": frozenset({"name"})}
    assert _plan(readable=readable).warnings == (
        "clients: left out, because its key id is not readable under this policy",
    )
    with pytest.raises(ColumnNotAllowedError):
        _plan(readable=readable, clients={"name": "n"})


def test_rows_are_sorted_by_readable_columns_only() -> None:
    """The newest are those with the greatest key where the time is hidden."""
    planned = _plan(readable={**ALL, "clients": frozenset({"id", "name"})})
    assert {step.table: step.newest_by for step in planned.steps}["clients"] == ("id",)
    assert {step.table: step.newest_by for step in planned.steps}["leads"] == ("created_at", "id")


@pytest.mark.parametrize(
    ("filters", "searched"),
    [
        ({}, {"clients", "campaigns", "leads", "conversations", "messages"}),
        ({"leads": {"email": "a@x.io"}}, {"leads", "conversations", "messages"}),
        ({"clients": {"name": "n"}}, {"clients", "leads", "conversations", "messages"}),
        ({"messages": {"role": "user"}}, {"messages"}),
    ],
    ids=lambda value: "+".join(sorted(value)),
)
def test_only_tables_that_hold_rows_of_the_chosen_world_are_searched(filters: Any, searched: set[str]) -> None:
    """A retriever is not asked for clients when one lead was chosen."""
    assert set(_plan(**filters).searched) == searched


@pytest.mark.parametrize("type", ["vector(768)", "halfvec(768)", "sparsevec", "tsvector", "extensions.vector(3)"])
def test_declared_vectors_are_not_asked_for(type: str) -> None:
    """They are long and tell a reader nothing; without any, all columns are asked for, declared or not."""
    document = default_schema().to_document()
    document["tables"]["messages"]["columns"]["embedding"] = {"type": type}
    selects = {step.table: step.select for step in _plan(schema=Schema.from_document(document)).steps}
    assert selects.pop("messages") == tuple(default_schema().columns("messages"))
    assert set(selects.values()) == {None}


def test_what_is_asked_for_beside_a_vector_is_readable() -> None:
    """A select names no column that the policy hides."""
    document = default_schema().to_document()
    document["tables"]["messages"]["columns"]["embedding"] = {"type": "vector(3)"}
    readable = {**ALL, "messages": frozenset({"id", "conversation_id", "created_at", "embedding"})}
    selects = {
        step.table: step.select for step in _plan(readable=readable, schema=Schema.from_document(document)).steps
    }
    assert selects["messages"] == ("id", "conversation_id", "created_at")
