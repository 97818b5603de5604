"""Related rows that come with each row: the same over every back end, and each table as if it were asked alone."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    CachePolicy,
    ColumnNotAllowedError,
    InMemoryAdapter,
    Redaction,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    asc,
    desc,
    gt,
)
from agent_persistence.client.including import Includes, RelatedRows
from agent_persistence.query.records import Row
from agent_persistence.redaction import redact
from agent_persistence.schema_registry import default_schema
from tests.doubles import RecordingAdapter
from tests.pipeline.related import POLICY, TENANTS, Made, fill, tenants

pytestmark = pytest.mark.asyncio


async def test_a_parent_is_one_row_or_none(made: Made) -> None:
    """Where the foreign key is NULL there is none."""
    rows = await made().query("leads", order_by="email", select=["email"], include={"clients": ["name"]})
    assert rows == [
        {"email": "0@x.example", "clients": None},
        {"email": "1@x.example", "clients": {"name": "Acme"}},
        {"email": "2@x.example", "clients": {"name": "Acme"}},
    ]


async def test_children_are_a_list_in_their_order_within_their_limit(made: Made) -> None:
    """The limit counts for each row by itself; a row without children has an empty list."""
    talks: RelatedRows = {"select": ["subject"], "order_by": desc("subject"), "limit": 1}
    rows = await made().query("leads", order_by="email", select=["email"], include={"conversations": talks})
    assert [row["conversations"] for row in rows] == [[], [{"subject": "talk 0"}], [{"subject": "talk 1"}]]


async def test_a_filter_chooses_among_the_related_rows_and_not_among_the_rows(made: Made) -> None:
    """Every lead comes back, with the conversations that were opened."""
    rows = await made().query(
        "leads", order_by="email", include={"talks": {"table": "conversations", "filters": {"opened": True}}}
    )
    assert [[talk["subject"] for talk in row["talks"]] for row in rows] == [[], [], ["talk 1"]]


async def test_related_rows_bring_their_own(made: Made) -> None:
    """Down two tables and up one, in one request."""
    inner: RelatedRows = {"select": ["content"], "order_by": desc("content")}
    talks: RelatedRows = {"select": ["subject"], "order_by": "subject", "include": {"messages": inner}}
    rows = await made().query(
        "leads", {"score": gt(1)}, select=["email"], include={"clients": ["plan"], "conversations": talks}
    )
    assert rows == [
        {
            "email": "2@x.example",
            "clients": {"plan": "pro"},
            "conversations": [
                {"subject": "talk 0", "messages": [{"content": "201"}, {"content": "200"}]},
                {"subject": "talk 1", "messages": [{"content": "211"}, {"content": "210"}]},
            ],
        }
    ]


async def test_it_is_what_queries_of_each_table_and_a_join_by_hand_give(made: Made) -> None:
    """Whole rows, values and all."""
    service = made()
    rows = await service.query("leads", order_by="email", include=["clients", "conversations"])
    for row in rows:
        own = {name: value for name, value in row.items() if name not in ("clients", "conversations")}
        assert own == await service.read("leads", row["id"])
        parent = None if row["client_id"] is None else await service.read("clients", row["client_id"])
        assert row["clients"] == parent
        assert row["conversations"] == await service.query("conversations", {"lead_id": row["id"]}, order_by="id")


async def test_read_and_iterate_take_related_rows_too(made: Made) -> None:
    """And iterate leaves out the key that it pages by, where that was not asked for."""
    service = made()
    (lead,) = await service.query("leads", {"email": "2@x.example"})
    found = await service.read("leads", lead["id"], include={"clients": ["name"]})
    assert found == {**lead, "clients": {"name": "Acme"}}
    assert await service.read("leads", "00000000-0000-4000-8000-000000000000", include=["clients"]) is None
    seen = [
        row
        async for row in service.iterate(
            "leads", page_size=2, order_by="email", select=["score"], include={"conversations": ["subject"]}
        )
    ]
    assert [len(row["conversations"]) for row in seen] == [0, 1, 2]
    assert all(row.keys() == {"score", "conversations"} for row in seen)


async def test_a_filter_that_nothing_meets_leaves_empty_lists(made: Made) -> None:
    """The rows come back nevertheless."""
    include: Includes = {"conversations": {"filters": {"subject": "-"}}}
    rows = await made().query("leads", order_by="email", include=include)
    assert [row["conversations"] for row in rows] == [[], [], []]


async def test_a_table_that_may_not_be_read_is_not_included(made: Made) -> None:
    """At any depth, and whatever it is called."""
    service = made(policy=TablePolicy(read={"leads", "conversations"}))
    refused: list[Includes] = [
        ["clients"],
        {"parent": {"table": "clients"}},
        {"conversations": {"include": ["messages"]}},
    ]
    for include in refused:
        with pytest.raises(TableNotAllowedError):
            await service.query("leads", include=include)


async def test_only_readable_columns_of_a_related_table_come_back(made: Made) -> None:
    """Others may neither be asked for nor compared; without a list those that may be read come."""
    columns = {"clients": {"read": ["id", "name"]}, "conversations": {"read": ["subject"]}}
    service = made(policy=TablePolicy(read=POLICY.read, columns=columns))
    rows = await service.query("leads", {"email": "1@x.example"}, include=["clients"])
    assert rows[0]["clients"].keys() == {"id", "name"}
    refused: list[Includes] = [
        {"clients": ["plan"]},
        {"clients": {"filters": {"plan": "pro"}}},
        {"clients": {"order_by": "plan"}},
        ["conversations"],  # the column by which they are found may not be read
    ]
    for include in refused:
        with pytest.raises(ColumnNotAllowedError):
            await service.query("leads", include=include)


async def test_rules_for_rows_hold_for_related_ones(made: Made) -> None:
    """A row outside of them is not there."""
    service = made(
        policy=TablePolicy(read=POLICY.read, rows={"clients": {"plan": "free"}, "conversations": {"opened": True}})
    )
    rows = await service.query("leads", order_by="email", include={"clients": ["name"], "conversations": ["subject"]})
    assert [row["clients"] for row in rows] == [None, None, None]
    assert [len(row["conversations"]) for row in rows] == [0, 0, 1]


async def test_masks_hold_for_related_rows(made: Made) -> None:
    """And a masked column is no filter within them."""
    masks = Redaction(columns={"clients": {"name": redact("name")}, "conversations": {"subject": redact("subject")}})
    service = made(mask_reads=masks)
    rows = str(await service.query("leads", include=["clients", "conversations"]))
    assert "Acme" not in rows
    assert "talk" not in rows
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await service.query("leads", include={"clients": {"filters": {"name": "Acme"}}})


async def test_a_cached_answer_is_forgotten_when_a_related_table_changes(made: Made) -> None:
    """And kept when another one does."""
    service = made(cache=CachePolicy(ttl_s=60))

    async def asked() -> list[Row]:
        return await service.query("leads", order_by="email", include={"clients": ["name"]})

    before = await asked()
    assert await asked() == before
    assert service.cache is not None
    assert service.cache.stats.hits == 1
    await service.update("clients", {"name": "Apex"}, {"name": "Acme"})
    assert [row["clients"] for row in await asked()] == [None, {"name": "Apex"}, {"name": "Apex"}]


async def test_what_is_handed_out_may_be_changed(made: Made) -> None:
    """A row that two rows are related to is each one's own."""
    rows = await made(cache=True).query("leads", order_by="email", include=["clients"])
    rows[1]["clients"]["name"] = "changed"
    assert rows[2]["clients"]["name"] == "Acme"


async def test_a_tenant_sees_related_rows_of_its_own_alone() -> None:
    """Also from a table that belongs to all, and without the column that says whose they are."""
    own = tenants(tenant=TenantScope("a"))
    rows = await own.query("tickets", order_by="id", select=["id"], include={"desks": ["name"]})
    assert rows == [{"id": 1, "desks": {"name": "A"}}, {"id": 3, "desks": None}]
    shared = tenants(tenant=TenantScope("a", shared=["desks"]))
    desks = await shared.query("desks", order_by="id", select=["id"], include={"tickets": ["id"]})
    assert desks == [{"id": 1, "tickets": [{"id": 1}]}, {"id": 2, "tickets": [{"id": 3}]}]


async def test_rows_of_the_same_table_are_related_in_both_directions() -> None:
    """A thread: which one is meant is said, not guessed."""
    service = tenants()
    with pytest.raises(ValidationError, match="several ways"):
        await service.query("tickets", include={"replies": {"table": "tickets"}})
    thread: Includes = {
        "above": {"table": "tickets", "many": False, "select": ["id"]},
        "replies": {"table": "tickets", "many": True, "select": ["id"]},
    }
    rows = await service.query("tickets", order_by="id", select=["id"], include=thread)
    assert rows == [
        {"id": 1, "above": None, "replies": [{"id": 2}, {"id": 3}]},
        {"id": 2, "above": {"id": 1}, "replies": []},
        {"id": 3, "above": {"id": 1}, "replies": []},
    ]


async def test_over_rest_a_table_does_not_include_itself() -> None:
    """PostgREST cannot be told which direction of a foreign key within one table is meant."""
    adapter = SupabaseAdapter("https://project.supabase.co", "sb_secret_x", schema=TENANTS)
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"tickets"}), schema=TENANTS, row_cap=1000)
    with pytest.raises(UnsupportedOperationError, match="computed relationship"):
        await service.query("tickets", include={"replies": {"table": "tickets", "many": True}})
    await adapter.aclose()


@pytest.mark.parametrize(
    ("include", "told"),
    [
        ({"inquiries": []}, "no foreign key is declared"),
        ({"nowhere": ["a"]}, "related tables are"),
        ({"clients": {"selct": ["name"]}}, "did you mean select"),
        ({"email": {"table": "clients"}}, "is a column of it"),
        ({"clients": {"via": "campaign_id"}}, "no foreign key 'campaign_id'"),
        ("clients", "include maps names"),
        ({"clients": {"limit": 0}}, "limit is an int of at least 1"),
        ({"clients": ["nmae"]}, "did you mean 'name'"),
        ({"clients": {"filters": {"nmae": "x"}}}, "did you mean 'name'"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_a_request(include: Any, told: str) -> None:
    """With what would be right."""
    adapter = RecordingAdapter()
    with pytest.raises(ValidationError, match=told):
        await AsyncPersistenceService(adapter, schema=default_schema()).query("leads", include=include)
    assert adapter.calls == []


async def test_lists_that_the_server_may_have_cut_are_refused() -> None:
    """Nothing is short in silence: as many related rows as the cap, or a cap that nobody knows."""
    adapter = InMemoryAdapter(schema=default_schema())
    await fill(AsyncPersistenceService(adapter, policy=POLICY))
    service = AsyncPersistenceService(adapter, policy=POLICY, schema=default_schema(), row_cap=2)
    with pytest.raises(ValidationError, match="give the include a limit"):
        await service.query("leads", include=["conversations"])
    rows = await service.query("leads", order_by="email", include={"conversations": {"limit": 2}})
    assert [len(row["conversations"]) for row in rows] == [0, 1, 2]
    unknown = SupabaseAdapter("http://127.0.0.1:9", "sb_secret_x")
    with pytest.raises(ValidationError, match="row_cap="):
        await AsyncPersistenceService(unknown, policy=POLICY).query("leads", include=["conversations"])
    await unknown.aclose()


async def test_an_adapter_that_lacks_it_is_not_asked() -> None:
    """Those that others write have six verbs."""
    with pytest.raises(UnsupportedOperationError, match="include"):
        await AsyncPersistenceService(RecordingAdapter(), row_cap=1000).query("leads", include={"clients": ["name"]})


async def test_ties_of_related_rows_are_broken_by_their_key(made: Made) -> None:
    """So that a list is the same at every call."""
    service = made()
    rows = await service.query("leads", include={"conversations": {"order_by": asc("channel"), "select": ["id"]}})
    for row in rows:
        assert row["conversations"] == sorted(row["conversations"], key=lambda talk: str(talk["id"]))
