"""Which queries a call of build_rag_context means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent_persistence import TableNotAllowedError, ValidationError
from agent_persistence._rag.plan import DEFAULT_LIMITS, LEVELS, Plan, plan

ALL = frozenset(LEVELS)


def _plan(*, readable: frozenset[str] = ALL, follow: bool = True, limits: Any = None, **filters: Any) -> Plan:
    return plan(filters, limits, readable=readable, follow_relations=follow)


def _links(planned: Plan) -> Mapping[str, list[str]]:
    return {
        step.table: [f"{link.column} in {link.table}.{link.values_from}" for link in step.links]
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
    assert _links(planned) == {table: [] for table in LEVELS}
    assert {step.table: step.limit for step in planned.steps} == DEFAULT_LIMITS


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
    planned = _plan(readable=ALL - {"clients"})
    assert "clients" not in _links(planned)
    assert planned.warnings == ("clients: not readable under this policy",)


def test_a_filter_on_a_table_that_may_not_be_read_is_refused() -> None:
    """Whoever names a table wants it; leaving it out in silence would answer another question."""
    with pytest.raises(TableNotAllowedError):
        _plan(readable=ALL - {"leads"}, leads={"email": "a@x.io"})


@pytest.mark.parametrize("limits", [{"leads": -1}, {"leads": True}, {"leads": "5"}, {"sequences": 1}])
def test_nonsense_limits_are_refused(limits: dict[str, Any]) -> None:
    """A limit is an int of at least 0, for one of the five tables."""
    with pytest.raises(ValidationError):
        _plan(limits=limits)


def test_a_filter_on_a_table_with_limit_zero_is_refused() -> None:
    """One of the two is a mistake."""
    with pytest.raises(ValidationError, match="limit of 0"):
        _plan(limits={"leads": 0}, leads={"email": "a@x.io"})
