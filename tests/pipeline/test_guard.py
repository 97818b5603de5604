"""The guard: what the policy does not allow never reaches an adapter."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias

import pytest

from agent_persistence import (
    AuditEvent,
    ColumnNotAllowedError,
    PersistenceError,
    PersistencePermissionError,
    Schema,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    all_of,
    any_of,
    asc,
    desc,
    gt,
    is_null,
    metrics,
    not_,
    not_in,
)
from agent_persistence.adapters.memory import InMemoryAdapter
from agent_persistence.query import identifiers
from agent_persistence.query.identifiers import RESERVED
from agent_persistence.schema_registry import Column, Table
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import Lying, RecordingAdapter, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService, Any], Awaitable[object]]

HOSTILE_TABLES: list[Any] = [
    "leads/../clients",
    "../../auth/v1/admin/users",
    "rpc/purge",
    "",
    ".",
    "leads/",
    "leads?select=*",
    "leads#x",
    "le%61ds",
    "LEADS",
    "leads ",
    " leads",
    "leads\t",
    "leads\n",
    "leads\0",
    "ｌｅａｄｓ",
    "le\u200bads",
    "auth.users",
    "public.leads",
    "https://evil.example/leads",
    "leads,clients",
    "leads;drop table leads",
    "leads(*)",
    "a" * 100_000,
    "unlisted",
    Lying("clients", "leads"),
    Lying("leads", "leads"),
    None,
    5,
    b"leads",
    ["leads"],
    {"leads": 1},
]
HOSTILE_COLUMNS: list[Any] = [
    "*",
    " * ",
    "",
    "id,clients(*)",
    "clients(*)",
    "...clients(ssn)",
    "clients!inner()",
    "contact:email",
    "ssn::text",
    "meta->>email",
    "meta->email",
    "budget.sum()",
    "count()",
    "id,ssn",
    "clients.ssn",
    "or",
    "and",
    "not",
    "not.or",
    "select",
    "order",
    "limit",
    "offset",
    "columns",
    "on_conflict",
    "apikey",
    "Email",
    "e-mail",
    'email"',
    "email\n",
    "email ",
    "ｅｍａｉｌ",
    "id&select=*",
    "x" * 64,
    Lying("clients(*)", "status"),
    5,
    b"email",
]
ON_TABLES: dict[str, Call] = {
    "write": lambda service, table: service.write(table, {"email": "a@a.example"}),
    "batch_write": lambda service, table: service.batch_write(table, [{"email": "a@a.example"}]),
    "empty batch_write": lambda service, table: service.batch_write(table, []),
    "upsert": lambda service, table: service.upsert(table, {"email": "a@a.example"}, ["email"]),
    "read": lambda service, table: service.read(table, "1"),
    "query": lambda service, table: service.query(table, {"email": "a@a.example"}),
    "get_columns": lambda service, table: service.get_columns(table),
    "count": lambda service, table: service.count(table),
    "update": lambda service, table: service.update(table, {"email": "a"}, {"id": "1"}),
    "delete": lambda service, table: service.delete(table, {"id": "1"}),
}
ON_COLUMNS: dict[str, Call] = {
    "projection": lambda service, column: service.query("leads", select=[column]),
    "projection of several": lambda service, column: service.query("leads", select=["id", column]),
    "filter": lambda service, column: service.query("leads", {column: 1}),
    "IS NULL filter": lambda service, column: service.query("leads", {column: None}),
    "operator": lambda service, column: service.query("leads", {column: gt(1)}),
    "nested filter": lambda service, column: service.query(
        "leads", any_of({"id": 1}, not_(all_of({"id": 2}, {column: is_null()})))
    ),
    "order": lambda service, column: service.query("leads", order_by=asc(column)),
    "second order": lambda service, column: service.query("leads", order_by=["id", desc(column)]),
    "id_column": lambda service, column: service.read("leads", "1", column),
    "record": lambda service, column: service.write("leads", {column: 1}),
    "null in a record": lambda service, column: service.write("leads", {"email": "a", column: 0}),
    "second record": lambda service, column: service.batch_write("leads", [{"email": "a"}, {column: 1}]),
    "upserted record": lambda service, column: service.upsert("leads", {column: 1}),
    "on_conflict": lambda service, column: service.upsert("leads", {"email": "a"}, ["email", column]),
    "count": lambda service, column: service.count("leads", {column: 1}),
    "changes": lambda service, column: service.update("leads", {column: 1}, {"id": "1"}),
    "filter of an update": lambda service, column: service.update("leads", {"email": "a"}, {column: 1}),
    "filter of a delete": lambda service, column: service.delete("leads", {column: 1}),
    "argument": lambda service, column: service.call("reading", {column: 1}),
}


@pytest.fixture
def adapter() -> RecordingAdapter:
    return RecordingAdapter()


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


@pytest.fixture
def service(adapter: RecordingAdapter, events: list[AuditEvent]) -> AsyncPersistenceService:
    policy = replace(
        TablePolicy.default(),
        delete=frozenset({"leads"}),
        call=frozenset({"reading"}),
        call_write=frozenset({"writing"}),
    )
    return AsyncPersistenceService(adapter, policy=policy, audit=events.append)


@pytest.mark.parametrize("call", ON_TABLES.values(), ids=ON_TABLES)
@pytest.mark.parametrize("table", HOSTILE_TABLES, ids=shown)
async def test_no_call_on_a_hostile_table_arrives(
    call: Call, table: Any, service: AsyncPersistenceService, adapter: RecordingAdapter, events: list[AuditEvent]
) -> None:
    """Every verb refuses it with TableNotAllowedError; the refusal is audited, and counted under `<denied>`."""
    with pytest.raises(TableNotAllowedError) as caught:
        await call(service, table)
    assert adapter.calls == []
    assert caught.value.table is table
    assert [event.outcome for event in events] == ["denied"]
    assert [set(tables) for tables in metrics.snapshot().values()] == [{"<denied>"}]
    assert len(str(caught.value)) < 500
    assert len(events[0].table) < 600
    assert events[0].table.isascii()


@pytest.mark.parametrize(
    ("place", "column"),
    [pair for pair in product(ON_COLUMNS, HOSTILE_COLUMNS) if pair[0] != "argument" or pair[1] not in RESERVED],
    ids=shown,
)
async def test_no_call_with_a_hostile_column_arrives(
    place: str, column: Any, service: AsyncPersistenceService, adapter: RecordingAdapter, events: list[AuditEvent]
) -> None:
    """Embedding, alias, cast, path, aggregate, parameter names: refused wherever a column can stand, and audited.

    Only arguments of functions may be called as a parameter is: the codec then puts them into a body.
    """
    with pytest.raises(ColumnNotAllowedError):
        await ON_COLUMNS[place](service, column)
    assert adapter.calls == []
    assert [event.outcome for event in events] == ["denied"]


@pytest.mark.parametrize("call", ON_TABLES.values(), ids=ON_TABLES)
async def test_calls_on_a_listed_table_arrive(call: Call, service: AsyncPersistenceService) -> None:
    """Control: the same calls pass for a good name."""
    await call(service, "leads")


@pytest.mark.parametrize("call", ON_COLUMNS.values(), ids=ON_COLUMNS)
async def test_calls_with_a_plain_column_arrive(
    call: Call, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Control: the same calls pass for a good name."""
    await call(service, "company")
    assert len(adapter.calls) == 1


LYING_NEIGHBOURS: dict[str, Call] = {
    "projection": lambda service, lie: service.query("leads", select=["id", lie]),
    "filter": lambda service, lie: service.query("leads", all_of({"id": 1}, {lie: 2})),
    "order": lambda service, lie: service.query("leads", order_by=["id", asc(lie)]),
    "on_conflict": lambda service, lie: service.upsert("leads", {"id": 1}, [lie]),
    "second record": lambda service, lie: service.batch_write("leads", [{"id": 1}, {lie: 1}]),
}


@pytest.mark.parametrize("call", LYING_NEIGHBOURS.values(), ids=LYING_NEIGHBOURS)
async def test_a_name_that_claims_to_equal_its_neighbour_is_refused(
    call: Call, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """A subclass of str with its own `__eq__` does not hide behind a name that is allowed."""
    with pytest.raises(ColumnNotAllowedError):
        await call(service, Lying("clients(*)", "id"))
    assert adapter.calls == []


@pytest.mark.parametrize("place", ["projection", "order", "id_column", "on_conflict"])
async def test_a_column_that_is_no_text_is_refused_as_one(
    place: str, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Also where it cannot be hashed: the error is one of this package's."""
    with pytest.raises(PersistenceError):
        await ON_COLUMNS[place](service, ["id"])
    assert adapter.calls == []


async def test_a_malformed_column_does_not_name_a_metric(service: AsyncPersistenceService) -> None:
    """A hostile table stays `<denied>`, whatever else is wrong with the call."""
    columns: Any = [["id"]]
    with pytest.raises(PersistenceError):
        await service.query("evil/x", select=columns)
    assert set(metrics.snapshot()["query"]) == {"<denied>"}


async def test_a_hostile_column_is_refused_also_where_its_condition_always_holds(
    service: AsyncPersistenceService,
) -> None:
    """`not_in([])` selects every row, but its column is a name like any other."""
    with pytest.raises(ColumnNotAllowedError):
        await service.query("leads", {"or": not_in([])})


async def test_a_batch_is_refused_as_a_whole(service: AsyncPersistenceService, adapter: RecordingAdapter) -> None:
    """One bad record, and none of the others is written."""
    with pytest.raises(ColumnNotAllowedError):
        await service.batch_write("leads", [{"email": "a"}, {"email": "b"}, {"clients(*)": "c"}])
    assert adapter.calls == []


@pytest.mark.parametrize("table", ["clients", "campaigns"])
@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert"])
async def test_governance_tables_are_read_only(
    table: str, verb: str, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """By default agents read `clients` and `campaigns` and never write them."""
    with pytest.raises(TableNotAllowedError) as caught:
        await ON_TABLES[verb](service, table)
    assert (caught.value.verb, adapter.calls) == (verb, [])
    await service.query(table)
    assert adapter.verbs == ["query"]


@pytest.mark.parametrize("table", ["leads", "clients"])
async def test_nothing_is_deleted_that_the_policy_does_not_name(table: str, adapter: RecordingAdapter) -> None:
    """Permission to write a table is no permission to delete from it."""
    with pytest.raises(TableNotAllowedError, match="delete="):
        await AsyncPersistenceService(adapter).delete(table, {"id": "1"})
    assert adapter.calls == []


@pytest.mark.parametrize("function", ["leads", "purge", "rpc/reading", "", Lying("purge", "writing"), None], ids=shown)
async def test_no_function_is_called_that_the_policy_does_not_name(
    function: Any, service: AsyncPersistenceService, adapter: RecordingAdapter, events: list[AuditEvent]
) -> None:
    """A table is no function; the refusal is audited like any other."""
    with pytest.raises(TableNotAllowedError, match="call="):
        await service.call(function)
    assert adapter.calls == []
    assert [event.outcome for event in events] == ["denied"]


@pytest.mark.parametrize(("function", "may_write"), [("reading", False), ("writing", True)])
async def test_the_policy_decides_whether_a_function_may_write(
    function: str, may_write: bool, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """A façade calls the reading ones and no others."""
    assert await service.call(function, {"a": 1}) == {"a": 1}
    assert adapter.calls == [("call", (function, {"a": 1}, may_write))]
    if may_write:
        with pytest.raises(TableNotAllowedError):
            await service.readonly().call(function, {"a": 1})


async def test_permission_to_write_is_no_permission_to_read(adapter: RecordingAdapter) -> None:
    """The two lists are separate."""
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read=frozenset(), write=frozenset({"leads"})))
    await service.write("leads", {"email": "a"})
    with pytest.raises(PersistencePermissionError):
        await service.query("leads")
    assert adapter.verbs == ["write"]


async def test_what_may_not_be_read_does_not_come_back_from_a_write() -> None:
    """Of a table that may only be written, a caller sees what was sent, and the key."""
    inner = InMemoryAdapter({"leads": [{"id": "1", "email": "a", "phone": "secret"}]})
    policy = TablePolicy(read=frozenset(), write=frozenset({"leads"}), delete=frozenset({"leads"}))
    service = AsyncPersistenceService(RecordingAdapter(inner), policy=policy)
    assert await service.upsert("leads", {"id": "1", "email": "b"}) == {"id": "1", "email": "b"}
    assert await service.batch_write("leads", [{"id": "2", "email": "c"}]) == [{"id": "2", "email": "c"}]


@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_what_may_not_be_read_is_no_condition_of_a_write(verb: str) -> None:
    """Which rows were changed would tell what the column holds: PostgreSQL asks for SELECT here too."""
    adapter = RecordingAdapter(InMemoryAdapter({"leads": [{"id": "1", "phone": "secret"}]}))
    policy = TablePolicy(read=frozenset(), write=frozenset({"leads"}), delete=frozenset({"leads"}))
    service = AsyncPersistenceService(adapter, policy=policy)
    arguments: list[Any] = [{"email": "a"}] if verb == "update" else []
    with pytest.raises(PersistencePermissionError):
        await getattr(service, verb)("leads", *arguments, {"phone": gt("a")})
    assert adapter.calls == []


@pytest.mark.parametrize("column", ["order", "Weird Name", "e-mail"])
async def test_a_declared_column_may_have_any_name(column: str) -> None:
    """A name that is refused by default passes where the schema has a column of exactly that name."""
    schema = Schema({"leads": Table({"id": Column("bigint"), column: Column("text")})})
    adapter = RecordingAdapter(InMemoryAdapter(schema=schema))
    service = AsyncPersistenceService(adapter, schema=schema)
    await service.write("leads", {"id": 1, column: "x"})
    assert await service.query("leads", {column: "x"}, select=[column]) == [{column: "x"}]
    with pytest.raises(ColumnNotAllowedError):
        await service.query("messages", {column: "x"})


@pytest.mark.parametrize("limit", [11, 10**12])
async def test_a_limit_above_the_policys_is_refused(limit: int, adapter: RecordingAdapter) -> None:
    """One query asks for `max_rows` rows at the most."""
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, max_rows=10))
    with pytest.raises(ValidationError, match="max_rows of 10"):
        await service.query("leads", limit=limit)
    assert adapter.calls == []
    await service.query("leads", limit=10)
    assert adapter.verbs == ["query"]


@pytest.mark.parametrize("bounds", [{"limit": 10**5000}, {"limit": -(10**5000)}, {"offset": -(10**5000)}], ids=list)
async def test_a_bound_too_long_to_print_is_refused(bounds: dict[str, int], service: AsyncPersistenceService) -> None:
    """The refusal is a ValidationError, however long the number."""
    with pytest.raises(ValidationError):
        await service.query("leads", **bounds)  # type: ignore[arg-type]


# --- paths ------------------------------------------------------------------------------------------------------------

PATHS = Schema(
    {
        "leads": Table(
            {"id": Column("bigint"), "email": Column("text"), "custom": Column("jsonb")}, paths=("custom->>a",)
        )
    }
)
READING: dict[str, Call] = {
    "filters": lambda service, path: service.query("leads", {path: "x"}),
    "nested filters": lambda service, path: service.query("leads", any_of({"id": 1}, not_({path: "x"}))),
    "select": lambda service, path: service.query("leads", select=[path]),
    "order_by": lambda service, path: service.query("leads", order_by=desc(path)),
    "count": lambda service, path: service.count("leads", {path: "x"}),
    "update": lambda service, path: service.update("leads", {"email": "x"}, {path: "x"}),
    "delete": lambda service, path: service.delete("leads", {path: "x"}),
}
WHOLE: dict[str, Call] = {
    "write": lambda service, path: service.write("leads", {path: "x"}),
    "batch_write": lambda service, path: service.batch_write("leads", [{"email": "a"}, {path: "x"}]),
    "upsert": lambda service, path: service.upsert("leads", {"id": 1, path: "x"}),
    "on_conflict": lambda service, path: service.upsert("leads", {"id": 1}, [path]),
    "changes": lambda service, path: service.update("leads", {path: "x"}, {"id": 1}),
    "changes and filters": lambda service, path: service.update("leads", {path: "x"}, {path: "x"}),
    "id_column": lambda service, path: service.read("leads", "x", path),
}


def _with_paths() -> tuple[AsyncPersistenceService, RecordingAdapter]:
    adapter = RecordingAdapter()
    policy = TablePolicy(read={"leads"}, write={"leads"}, delete=frozenset({"leads"}))
    return AsyncPersistenceService(adapter, policy=policy, schema=PATHS), adapter


@pytest.mark.parametrize("where", READING)
async def test_a_declared_path_may_be_read(where: str) -> None:
    """In filters, select and order_by."""
    service, adapter = _with_paths()
    await READING[where](service, "custom->>a")
    assert adapter.calls


@pytest.mark.parametrize("where", WHOLE)
async def test_a_declared_path_is_not_written(where: str) -> None:
    """Nor is it a key; the error says to write the whole column."""
    service, adapter = _with_paths()
    with pytest.raises(ColumnNotAllowedError, match="for filters, select and order_by; write the whole of custom"):
        await WHOLE[where](service, "custom->>a")
    assert adapter.calls == []


@pytest.mark.parametrize("where", [*READING, *WHOLE])
@pytest.mark.parametrize("path", ["custom->>b", "custom->a", "email->>a", "custom->>a->b", "custom->>a::int"])
async def test_any_other_path_is_refused(where: str, path: str) -> None:
    """Also one that differs in its arrow alone, or goes on where a declared one ends."""
    service, adapter = _with_paths()
    with pytest.raises(ColumnNotAllowedError):
        await (READING | WHOLE)[where](service, path)
    assert adapter.calls == []


async def test_the_refusal_of_a_path_says_how_to_declare_it() -> None:
    """And which one may have been meant."""
    service, _ = _with_paths()
    with pytest.raises(ColumnNotAllowedError) as caught:
        await service.query("leads", {"custom->>aa": "x"})
    assert "did you mean 'custom->>a'?" in str(caught.value)
    assert 'paths = ["custom->>aa"] at [tables.leads]' in str(caught.value)


async def test_a_path_is_no_order_to_read_by_in_pages() -> None:
    """`iterate` goes on behind the value that the last row tells, and a whole row tells no paths."""
    service, adapter = _with_paths()
    with pytest.raises(ValidationError, match="order_by is a column here"):
        await anext(aiter(service.iterate("leads", order_by="custom->>a")))
    assert adapter.calls == []


@pytest.mark.parametrize(
    "call",
    [
        lambda service, name: service.query(name),
        lambda service, name: service.query("leads", {name: 1}),
        lambda service, name: service.query("leads", order_by=name),
        lambda service, name: service.query("leads", select=[name]),
        lambda service, name: service.write("leads", {name: 1}),
        lambda service, name: service.read("leads", 1, name),
        lambda service, name: service.call(name),
    ],
    ids=["table", "filter", "order", "select", "record", "id_column", "function"],
)
async def test_a_refused_name_is_not_kept(call: Call) -> None:
    """Whoever chooses the names would fill the memory: 300 refused calls with names of 1 MB each leave none of it."""
    service = AsyncPersistenceService(RecordingAdapter(), metrics=metrics.Metrics())

    async def refused(number: int) -> None:
        with pytest.raises((PersistenceError, ValueError)):
            await call(service, f"{number}" + "x" * 2**20)

    await refused(0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(300):
            await refused(number)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 3 * 2**20


async def test_names_that_were_columns_are_known_again_within_bounds() -> None:
    """Control: what may be kept is kept, in lists that are short, and not without end."""
    for number in range(3 * identifiers._MOST_KEPT):
        assert identifiers.are_columns((f"c{number}",))
        assert len(identifiers._known) <= identifiers._MOST_KEPT
    assert (f"c{number}",) in identifiers._known
    assert identifiers.are_columns(tuple(f"c{n}" for n in range(1000)))
    assert max(map(len, identifiers._known)) <= identifiers._MOST_KEPT
