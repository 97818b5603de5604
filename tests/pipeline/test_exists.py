"""Filters on related rows: the same over every back end, and each table in them as if it were queried alone."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    CachePolicy,
    ColumnNotAllowedError,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAdapter,
    Redaction,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    all_of,
    any_of,
    exists,
    gt,
    gte,
    ilike,
    in_,
    not_,
    parse_filters,
)
from agent_persistence.filters import Filters
from agent_persistence.query.predicates import Filter
from agent_persistence.redaction import allow, redact
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table, default_schema
from tests.doubles import RecordingAdapter
from tests.pipeline.related import POLICY, TENANTS, Made, fill, tenants

pytestmark = pytest.mark.asyncio


async def emails(service: AsyncPersistenceService, filters: Filters | None, **options: Any) -> list[str]:
    rows = await service.query("leads", filters, order_by="email", select=["email"], **options)
    return [row["email"][0] for row in rows]


FOUND: list[tuple[Filters, list[str]]] = [
    (exists("conversations"), ["1", "2"]),
    (not_(exists("conversations")), ["0"]),
    (exists("conversations", {"opened": True}), ["2"]),
    (not_(exists("conversations", {"opened": True})), ["0", "1"]),
    (exists("clients"), ["1", "2"]),
    (exists("clients", {"name": "Acme"}), ["1", "2"]),
    (exists("clients", {"name": "Nobody's"}), []),
    (not_(exists("clients", {"plan": "pro"})), ["0"]),
    (all_of({"score": gte(1)}, exists("conversations", {"subject": "talk 1"})), ["2"]),
    (all_of(exists("conversations", {"opened": True}), exists("conversations", {"opened": False})), ["2"]),
    (exists("conversations", {"opened": True, "subject": "talk 0"}), []),
    (exists("conversations", exists("messages", {"content": "211"})), ["2"]),
    (exists("conversations", not_(exists("messages", {"content": "100"}))), ["2"]),
    (exists("conversations", any_of({"subject": "talk 1"}, {"subject": "-"})), ["2"]),
    (exists("conversations", not_(any_of({"opened": True}, {"subject": "-"}))), ["1", "2"]),
    (exists("conversations", {"subject": in_([])}), []),
    (not_(exists("conversations", {"subject": in_([])})), ["0", "1", "2"]),
    (exists("conversations", {"subject": ' "),talk(0'}), []),
    (exists("conversations", via="lead_id", many=True), ["1", "2"]),
]
ANYWHERE: list[tuple[Filters, list[str]]] = [
    (any_of({"score": 0}, exists("conversations", {"opened": True})), ["0", "2"]),
    (any_of(exists("conversations", {"subject": "-"}), not_(exists("clients"))), ["0"]),
    (not_(any_of({"score": 1}, exists("conversations", {"opened": True}))), ["0"]),
]
"""What PostgREST is not asked."""


@pytest.mark.parametrize(("filters", "expected"), FOUND)
async def test_rows_are_found_by_what_is_related_to_them(made: Made, filters: Filter, expected: list[str]) -> None:
    """To parents and children, nested, negated; a parent's NULL is no parent. A count and a page say the same."""
    service = made()
    assert await emails(service, filters) == expected
    assert await service.count("leads", filters) == len(expected)
    page = await service.page("leads", filters, limit=1, order_by="email")
    assert [row["email"][0] for row in page.rows] == expected[:1]
    assert page.total == len(expected)
    assert all(row.keys() == default_schema().columns("leads").keys() for row in page.rows)
    seen = [row["email"][0] async for row in service.iterate("leads", filters, page_size=1, order_by="email")]
    assert seen == expected


@pytest.mark.parametrize(("filters", "expected"), ANYWHERE)
async def test_they_stand_among_alternatives_where_the_back_end_can(
    made: Made, adapter: PersistenceAdapter, filters: Filter, expected: list[str]
) -> None:
    """Over PostgREST they are refused with words."""
    if isinstance(adapter, SupabaseAdapter):
        with pytest.raises(UnsupportedOperationError, match="must all hold") as refused:
            await emails(made(), filters)
        assert refused.value.capability == "exists"
    else:
        assert await emails(made(), filters) == expected


async def test_they_stand_within_what_is_included_and_beside_it(made: Made) -> None:
    """A filter chooses among related rows by rows that are related to these."""
    talks: Any = {"select": ["subject"], "filters": exists("messages", {"content": "211"}), "order_by": "subject"}
    rows = await made().query(
        "leads",
        exists("conversations", {"opened": True}),
        select=["email"],
        include={"clients": ["name"], "conversations": talks},
    )
    assert rows == [
        {"email": "2@x.example", "clients": {"name": "Acme"}, "conversations": [{"subject": "talk 1"}]},
    ]


async def test_rows_are_changed_by_what_is_related_to_them_where_the_back_end_can(
    made: Made, adapter: PersistenceAdapter
) -> None:
    """PostgREST would change every row, and so it is not asked."""
    service = made(policy=TablePolicy(read=POLICY.read, write=POLICY.write, delete={"messages"}))
    opened = exists("conversations", {"opened": True})
    spoken = exists("conversations", exists("leads", {"email": "1@x.example"}))
    if isinstance(adapter, SupabaseAdapter):
        for refused in (service.update("leads", {"notes": "x"}, opened), service.delete("messages", spoken)):
            with pytest.raises(UnsupportedOperationError, match="query the keys"):
                await refused
        assert await emails(service, {"notes": "x"}) == []
        return
    assert [row["email"] for row in await service.update("leads", {"notes": "x"}, opened)] == ["2@x.example"]
    assert len(await service.update("leads", {"notes": "y"}, not_(opened))) == 2
    assert len(await service.delete("messages", spoken)) == 2
    assert await service.count("messages") == 4


async def test_a_unit_of_work_takes_them_where_the_back_end_can(made: Made, adapter: PersistenceAdapter) -> None:
    """As filters and as what is required."""
    service = made()
    unit = service.unit_of_work()
    unit.require("leads", exists("conversations", {"opened": True}), expect=1)
    changed = unit.update("leads", {"notes": "x"}, not_(exists("conversations")), expect=1)
    if isinstance(adapter, SupabaseAdapter):
        with pytest.raises(UnsupportedOperationError, match="query the keys"):
            await unit.commit()
        return
    results = await unit.commit()
    assert [row["email"] for row in results[changed]] == ["0@x.example"]


async def test_a_table_that_may_not_be_read_is_not_asked_about(made: Made) -> None:
    """Nor through one that may, nor to change rows: each answer would tell a bit of it."""
    service = made(policy=TablePolicy(read={"leads", "conversations"}, write={"leads"}, delete={"leads"}))
    for hidden in (exists("clients"), not_(exists("clients")), exists("conversations", exists("messages"))):
        for call in (
            service.query("leads", hidden),
            service.count("leads", hidden),
            service.page("leads", any_of({"score": 1}, hidden), limit=1),
            service.update("leads", {"notes": "x"}, hidden),
            service.delete("leads", hidden),
            service.query("leads", include={"conversations": {"filters": exists("leads", hidden)}}),
        ):
            with pytest.raises(TableNotAllowedError):
                await call


async def test_a_column_that_may_not_be_read_is_not_compared(made: Made) -> None:
    """Nor that by which rows are found, on either side."""
    columns = {"clients": {"read": ["id", "name"]}, "conversations": {"read": ["subject"]}}
    service = made(policy=TablePolicy(read=POLICY.read, columns=columns))
    assert await emails(service, exists("clients", {"name": "Acme"})) == ["1", "2"]
    for hidden in (exists("clients", {"plan": "pro"}), exists("conversations")):
        with pytest.raises(ColumnNotAllowedError):
            await emails(service, hidden)
    unlinked = made(policy=TablePolicy(read=POLICY.read, columns={"leads": {"read": ["id", "email"]}}))
    with pytest.raises(ColumnNotAllowedError, match="client_id"):
        await emails(unlinked, exists("clients"))


async def test_rules_for_rows_hold_within_them(made: Made) -> None:
    """A row outside of them is not there."""
    service = made(policy=TablePolicy(read=POLICY.read, rows={"conversations": {"opened": True}}))
    assert await emails(service, exists("conversations")) == ["2"]
    assert await emails(service, exists("conversations", {"subject": "talk 0"})) == []
    assert await emails(service, not_(exists("conversations"))) == ["0", "1"]
    assert await service.query("clients", exists("leads", exists("conversations", {"opened": False}))) == []


async def test_a_masked_column_is_not_compared_within_them(made: Made) -> None:
    """Or one could ask for its value letter by letter."""
    masks = Redaction(
        columns={"clients": {"name": redact("name")}, "leads": {"client_id": redact("id")}}, unknown=allow()
    )
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await emails(made(mask_reads=masks), exists("clients"))
    masks = Redaction(columns={"clients": {"name": redact("name")}}, unknown=allow())
    assert await emails(made(mask_reads=masks), exists("clients", {"plan": "pro"})) == ["1", "2"]
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await emails(made(mask_reads=masks), not_(exists("clients", {"name": "Acme"})))


async def test_a_cached_answer_is_forgotten_when_a_table_of_its_filter_changes(made: Made) -> None:
    """And kept when another one does."""
    service = made(cache=CachePolicy(ttl_s=60))
    assert await emails(service, exists("clients", {"name": "Acme"})) == ["1", "2"]
    await service.write("campaigns", {"name": "x"})
    assert await emails(service, exists("clients", {"name": "Acme"})) == ["1", "2"]
    assert await emails(service, exists("clients", {"name": "Apex"})) == []
    assert service.cache is not None
    assert (service.cache.stats.hits, service.cache.stats.misses) == (1, 2)
    await service.update("clients", {"name": "Apex"}, {"name": "Acme"})
    assert await emails(service, exists("clients", {"name": "Acme"})) == []
    assert await emails(service, exists("clients", {"name": "Apex"})) == ["1", "2"]


async def test_an_answer_is_kept_only_where_all_its_tables_are(made: Made) -> None:
    """Those that others write are left out, also where a filter is about them or they are included."""
    service = made(cache=CachePolicy(tables=frozenset({"leads"})))
    for _ in range(2):
        await emails(service, {"score": gt(0)})
        await emails(service, exists("clients"))
        await service.query("leads", include=["clients"])
    assert service.cache is not None
    assert (service.cache.stats.hits, service.cache.stats.misses) == (1, 1)


async def test_a_policy_limits_rows_by_what_is_related_to_them(made: Made, adapter: PersistenceAdapter) -> None:
    """Reads show these alone; what is written names no column by which they are found."""
    service = made(
        policy=TablePolicy(
            read=POLICY.read, write={"leads"}, rows={"leads": exists("clients", {"plan": "pro"})}, columns={}
        )
    )
    assert await emails(service, None) == ["1", "2"]
    assert await emails(service, exists("conversations", {"opened": True})) == ["2"]
    assert await service.count("conversations", exists("leads")) == 3
    with pytest.raises(ColumnNotAllowedError, match="limits the rows"):
        await service.write("leads", {"email": "9@x.example", "client_id": "00000000-0000-4000-8000-000000000000"})
    if not isinstance(adapter, SupabaseAdapter):
        assert len(await service.update("leads", {"notes": "x"}, {"score": gte(0)})) == 2


async def test_a_rule_of_the_policy_may_compare_what_is_masked(made: Made) -> None:
    """It is not the caller who asks; the caller's own condition on the same column is refused."""
    masks = Redaction(columns={"clients": {"plan": redact("plan")}}, unknown=allow())
    policy = TablePolicy(read=POLICY.read, rows={"leads": exists("clients", {"plan": "pro"})})
    service = made(policy=policy, mask_reads=masks)
    assert await emails(service, None) == ["1", "2"]
    assert await service.count("conversations", exists("leads")) == 3
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await emails(service, exists("clients", {"plan": "pro"}))


def _policy_document(rule: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"read": ["leads", "clients"], "rows": {"leads": {"exists": rule}}, **options}


async def test_a_policy_file_and_json_spell_them(made: Made) -> None:
    """With the options of the function."""
    rule = {"table": "clients", "filters": {"plan": "pro"}, "via": "client_id", "many": False}
    assert await emails(made(policy=TablePolicy.from_document(_policy_document(rule))), None) == ["1", "2"]
    filters = parse_filters('{"score": {"gte": 2}, "exists": {"table": "conversations", "filters": {"opened": true}}}')
    assert await emails(made(), filters) == ["2"]
    assert await emails(made(), parse_filters({"not": {"exists": {"table": "conversations"}}})) == ["0"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (_policy_document({"table": "messages"}), "so must be in read"),
        (
            _policy_document({"table": "clients", "filters": {"plan": "pro"}}, columns={"clients": ["id"]}),
            "clients.plan is compared",
        ),
    ],
)
async def test_a_policy_looks_into_what_it_lets_be_read(document: dict[str, Any], problem: str) -> None:
    """So that a role with its rights alone can carry it out."""
    with pytest.raises(ConfigurationError, match=problem):
        TablePolicy.from_document(document)


async def test_a_policy_whose_relation_is_not_declared_is_refused_where_it_is_used() -> None:
    """There the schema is known."""
    policy = TablePolicy(read={"leads", "inquiries"}, rows={"leads": exists("inquiries")})
    with pytest.raises(ConfigurationError, match=r"rows\.leads: exists: no foreign key"):
        AsyncPersistenceService(RecordingAdapter(), policy=policy)


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        (exists("inquiries"), "no foreign key is declared"),
        (exists("clients", via="campaign_id"), "no foreign key 'campaign_id'"),
        (exists("conversations", exists("clients")), "no foreign key is declared"),
        (exists("clients", {"nmae": "x"}), "did you mean 'name'"),
        (exists("conversations", {"opened": ilike("x")}), "does not compare"),
        (all_of(*[exists("clients")] * 17), "at most 16 related tables"),
        (all_of(*[exists("clients", {"name": in_(["x"])})] * 16, *[{"score": 1}] * 490), "max_filters"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_a_request(filters: Filters, problem: str) -> None:
    """With what would be right."""
    adapter = RecordingAdapter()
    with pytest.raises(ValidationError, match=problem):
        await AsyncPersistenceService(adapter, schema=default_schema()).query("leads", filters)
    assert adapter.calls == []


async def test_they_reach_four_tables_deep_and_no_deeper() -> None:
    """As what is included does."""
    deep = exists("leads", exists("conversations", exists("leads", exists("conversations"))))
    service = AsyncPersistenceService(InMemoryAdapter(schema=default_schema()), policy=POLICY)
    assert await service.query("clients", deep) == []
    with pytest.raises(ValidationError, match="at most 4 tables away"):
        await service.query("leads", exists("clients", deep))


async def test_an_adapter_that_lacks_it_is_not_asked() -> None:
    """Those that others write have six verbs."""
    adapter = RecordingAdapter()
    with pytest.raises(UnsupportedOperationError, match="exists"):
        await AsyncPersistenceService(adapter).query("leads", exists("clients"))
    assert adapter.calls == []


async def test_an_adapter_by_itself_knows_no_foreign_keys() -> None:
    """Agents and services do; nothing is guessed."""
    with pytest.raises(ValidationError, match="needs the declared foreign keys"):
        await InMemoryAdapter(schema=default_schema()).query("leads", exists("clients"))


async def test_a_tenant_finds_rows_by_its_own_alone() -> None:
    """Also from a table that belongs to all, and in what is changed."""
    own = tenants(tenant=TenantScope("a"))
    assert [row["id"] for row in await own.query("tickets", exists("desks"), order_by="id")] == [1]
    assert [row["id"] for row in await own.query("tickets", not_(exists("desks")), order_by="id")] == [3]
    assert await own.count("desks", exists("tickets", {"id": 2})) == 0
    shared = tenants(
        tenant=TenantScope("a", shared=["desks"]), policy=TablePolicy(read={"desks", "tickets"}, write={"desks"})
    )
    assert [row["id"] for row in await shared.query("desks", exists("tickets"), order_by="id")] == [1, 2]
    assert await shared.query("desks", exists("tickets", {"id": 2})) == []
    changed = await shared.update("desks", {"name": "x"}, exists("tickets", {"id": 3}))
    assert [row["id"] for row in changed] == [2]
    assert await shared.update("desks", {"name": "y"}, exists("tickets", {"id": 2})) == []


async def test_rows_of_the_same_table_are_related_in_both_directions() -> None:
    """Which one is meant is said, not guessed; over PostgREST neither can be."""
    service = tenants()
    with pytest.raises(ValidationError, match="several ways"):
        await service.query("tickets", exists("tickets"))
    replied = exists("tickets", {"id": 3}, many=True)
    assert [row["id"] for row in await service.query("tickets", replied)] == [1]
    assert [row["id"] for row in await service.query("tickets", exists("tickets", many=False), order_by="id")] == [2, 3]
    adapter = SupabaseAdapter("https://project.supabase.co", "sb_secret_x", schema=TENANTS)
    over_rest = AsyncPersistenceService(adapter, policy=TablePolicy(read={"tickets"}), schema=TENANTS, row_cap=1000)
    with pytest.raises(UnsupportedOperationError, match="computed relationship"):
        await over_rest.query("tickets", replied)
    await adapter.aclose()


TWO_WAYS = Schema(
    {
        "people": Table({"id": Column("integer"), "name": Column("text")}, primary_key=("id",)),
        "letters": Table(
            {name: Column("integer") for name in ("id", "sender_id", "reader_id")},
            primary_key=("id",),
            foreign_keys=(ForeignKey("sender_id", "people"), ForeignKey("reader_id", "people")),
        ),
    }
)


async def test_of_two_foreign_keys_one_is_named() -> None:
    """By its column."""
    people = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}]
    store = InMemoryAdapter({"people": people, "letters": [{"id": 1, "sender_id": 1, "reader_id": 2}]}, schema=TWO_WAYS)
    service = AsyncPersistenceService(store, policy=TablePolicy(read={"people", "letters"}), schema=TWO_WAYS)
    with pytest.raises(ValidationError, match="several ways"):
        await service.query("letters", exists("people", {"name": "Ada"}))
    assert await service.count("letters", exists("people", {"name": "Ada"}, via="sender_id")) == 1
    assert await service.count("letters", exists("people", {"name": "Ada"}, via="reader_id")) == 0


async def test_equal_queries_of_many_callers_go_as_one(made: Made) -> None:
    """And each gets its own rows."""
    import anyio

    service, found = made(coalesce=True), []

    async def ask(name: str) -> None:
        found.append((name, await emails(service, exists("clients", {"name": name}))))

    async with anyio.create_task_group() as tasks:
        for name in ("Acme", "Acme", "Nobody's"):
            tasks.start_soon(ask, name)
    assert sorted(found) == [("Acme", ["1", "2"]), ("Acme", ["1", "2"]), ("Nobody's", [])]


async def test_a_long_list_is_split_beside_them() -> None:
    """Each part has the condition."""
    adapter = InMemoryAdapter(schema=default_schema())
    await fill(AsyncPersistenceService(adapter, policy=POLICY))
    service = AsyncPersistenceService(adapter, policy=POLICY)
    listed = [f"{number}@x.example" for number in range(1_000)]
    assert await emails(service, all_of({"email": in_(listed)}, exists("conversations", {"opened": True}))) == ["2"]


async def test_what_is_asked_does_not_show_in_messages_and_logs() -> None:
    """The names do, the values do not."""
    assert repr(exists("clients", {"name": "secret"})) == "exists(clients, name eq(…))"
