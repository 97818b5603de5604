"""The in-memory adapter beyond the contract: order, privacy, types, keys, undo, threads and the shared store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel

from agent_persistence import InMemoryAdapter, create_persistence_agent
from agent_persistence.backends.memory.adapter import shared_memory
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    ConflictError,
    FailureState,
    UnsupportedOperationError,
    ValidationError,
)
from agent_persistence.filters import gt, in_, like, ne, text_search
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, ForeignKey, Generated, Schema, Table, default_schema
from agent_persistence.testing import reset_memory
from tests.backends.doubles import BACKENDS, Backend

pytestmark = pytest.mark.asyncio
PARENT, CHILD = "5f0c1a52-58a4-4d0e-9d3a-0c2f4a6b8e10", "5f0c1a52-58a4-4d0e-9d3a-0c2f4a6b8e11"


@pytest.fixture
def store() -> InMemoryAdapter:
    """An empty store of the reference schema."""
    return InMemoryAdapter(schema=default_schema())


def emails(rows: list[Row]) -> list[str]:
    return [row["email"] for row in rows]


# --- order and privacy ------------------------------------------------------------------------------------------------


async def test_rows_keep_the_order_of_their_insertion(store: InMemoryAdapter) -> None:
    """Also after an upsert of an early one, and whatever their keys are."""
    await store.batch_write("leads", [{"email": email} for email in "cab"])
    await store.upsert("leads", {"email": "c", "company": "new"}, ["email"])
    await store.write("leads", {"email": "A"})
    assert emails(await store.query("leads")) == ["c", "a", "b", "A"]


@pytest.mark.parametrize("schema", [None, default_schema()], ids=["undeclared", "declared"])
async def test_the_order_by_key_is_the_order_of_insertion_where_the_store_makes_the_keys(schema: Schema | None) -> None:
    """A service sorts by the key where nobody says how; a test sees the same rows in the same order in every run."""
    given = [{"email": email} for email in "edcbazyx"]
    store = InMemoryAdapter({"leads": given}, schema=schema)
    async with create_persistence_agent(adapter=store) as agent:
        await agent.batch_write("leads", [{"email": email} for email in "wf"])
        assert emails(await agent.query("leads")) == [*"edcbazyxwf"]


@pytest.mark.parametrize("descending", [False, True])
async def test_rows_with_equal_keys_keep_the_order_of_their_insertion(store: InMemoryAdapter, descending: bool) -> None:
    """Sorting is stable in both directions."""
    await store.batch_write("leads", [{"email": email, "score": 1} for email in "cab"])
    assert emails(await store.query("leads", order_by="score", descending=descending)) == ["c", "a", "b"]


async def test_every_store_is_private() -> None:
    """`InMemoryAdapter()` shares rows with nobody."""
    first, second = InMemoryAdapter(), InMemoryAdapter()
    await first.write("notes", {"body": "b"})
    assert await second.query("notes") == []
    assert await shared_memory(default_schema()).query("leads") == []


async def test_clear_empties_every_table_and_restarts_identity_keys(store: InMemoryAdapter) -> None:
    """As `truncate … restart identity` does."""
    await store.batch_write("inquiries", [{"body": "a"}, {"body": "b"}])
    await store.write("leads", {"email": "e"})
    store.clear()
    assert (await store.query("inquiries"), await store.query("leads")) == ([], [])
    assert (await store.write("inquiries", {"body": "c"}))["id"] == 1


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["leads", "undeclared"])
@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert", "rows"])
async def test_a_record_that_went_in_is_not_kept(table: str, verb: str) -> None:
    """A caller who changes it afterwards changes nothing in the store."""
    record: dict[str, Any] = {"id": PARENT, "email": "e", "custom": {"tags": ["a"], "deep": [{"k": 1}]}, "tags": ["t"]}
    store = InMemoryAdapter({table: [record]} if verb == "rows" else None, schema=default_schema())
    if verb == "batch_write":
        await store.batch_write(table, [record])
    elif verb != "rows":
        await getattr(store, verb)(table, record)
    record["custom"]["deep"][0]["k"] = "changed"
    record["custom"]["tags"].append("changed")
    record["tags"].append("changed")
    record["email"] = "changed"
    assert "changed" not in repr(await store.query(table))


@pytest.mark.parametrize("table", ["leads", "undeclared"])
async def test_a_row_that_came_out_is_the_callers(table: str) -> None:
    """Whatever a caller does to it, by whichever verb it came."""
    store = InMemoryAdapter(schema=default_schema())
    record = {"email": "e", "custom": {"deep": [{"k": 1}]}}
    row = await store.write(table, record)
    handed_out = [row, await store.read(table, row["id"]), *await store.query(table)]
    handed_out += [await store.upsert(table, {**row}), *await store.query(table, select=["custom", "email"])]
    handed_out += await store.batch_write(table, [{"email": "f", "custom": {"deep": [{"k": 1}]}}])
    for found in handed_out:
        assert found is not None
        found["custom"]["deep"][0]["k"] = "changed"
        found["email"] = "changed"
    assert "changed" not in repr(await store.query(table))


async def test_a_default_is_not_shared_between_rows(store: InMemoryAdapter) -> None:
    """`tags` and `metadata` of a client start as a new list and a new object each."""
    first, second = await store.batch_write("clients", [{"name": "a"}, {"name": "b"}])
    first["tags"].append("x")
    first["metadata"]["x"] = 1
    assert (second["tags"], second["metadata"]) == ([], {})
    assert [(row["tags"], row["metadata"]) for row in await store.query("clients")] == [([], {}), ([], {})]


# --- rows= ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
async def test_initial_rows_may_name_children_before_their_parents(turned: bool) -> None:
    """Foreign keys are checked when all rows are there."""
    rows = {"leads": [{"id": PARENT, "email": "e"}], "conversations": [{"id": CHILD, "lead_id": PARENT}]}
    store = InMemoryAdapter(dict(reversed(rows.items())) if turned else rows, schema=default_schema())
    assert (await store.read("conversations", CHILD) or {})["lead_id"] == PARENT


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({"conversations": [{"lead_id": PARENT}]}, "23503"),
        ({"leads": [{"email": "e"}, {"email": "e"}]}, "23505"),
        ({"leads": [{"company": "no e-mail"}]}, "23502"),
        ({"leads": [{"email": "e", "nonsense": 1}]}, "PGRST204"),
        ({"leads": [{"id": "no uuid", "email": "e"}]}, "22P02"),
    ],
)
async def test_initial_rows_obey_the_rules_of_the_schema(rows: dict[str, list[Row]], code: str) -> None:
    """Control for the above: what PostgreSQL would refuse is refused here too."""
    with pytest.raises(AdapterError) as caught:
        InMemoryAdapter(rows, schema=default_schema())
    assert caught.value.code == code


async def test_initial_rows_may_hold_anything_with_a_json_form() -> None:
    """Values are encoded as the service encodes them; pydantic models are records."""

    class Lead(BaseModel):
        id: UUID
        email: str

    seeded: Any = {"leads": [Lead(id=UUID(PARENT), email="e"), {"email": "f", "created_at": datetime(2026, 1, 2)}]}  # noqa: DTZ001
    rows = await InMemoryAdapter(seeded, schema=default_schema()).query("leads")
    assert (rows[0]["id"], rows[1]["created_at"]) == (PARENT, "2026-01-02T00:00:00+00:00")


@pytest.mark.parametrize("rows", [{"leads": ["x"]}, {"leads": {"email": "x"}}, {"leads": [{"email": object()}]}])
async def test_initial_rows_that_are_no_records_are_refused(rows: Any) -> None:
    """A typed error that names the place."""
    with pytest.raises(ValidationError, match="leads"):
        InMemoryAdapter(rows)


# --- tables without a schema ------------------------------------------------------------------------------------------


async def test_an_undeclared_table_takes_any_columns() -> None:
    """`id` and `created_at` are made where a record lacks them."""
    store = InMemoryAdapter()
    row = await store.write("notes", {"anything": {"goes": [1]}, "n": 1.5})
    assert str(UUID(row["id"])) == row["id"]
    assert datetime.fromisoformat(row["created_at"]).utcoffset() is not None
    assert await store.write("notes", {"id": 7, "created_at": "then", "other": True}) == {
        "id": 7,
        "created_at": "then",
        "other": True,
    }
    assert await store.read("notes", 7) is not None


async def test_the_id_of_an_undeclared_table_is_unique() -> None:
    """It is the primary key."""
    store = InMemoryAdapter({"notes": [{"id": 1}]})
    with pytest.raises(ConflictError) as caught:
        await store.write("notes", {"id": 1})
    assert (caught.value.constraint, caught.value.code) == ("notes_pkey", "23505")


async def test_an_undeclared_table_merges_by_any_columns() -> None:
    """Without a schema the caller knows what is unique."""
    store = InMemoryAdapter()
    first = await store.upsert("notes", {"slug": "a", "lang": "de", "body": 1, "kept": True}, ["slug", "lang"])
    second = await store.upsert("notes", {"slug": "a", "lang": "de", "body": 2}, ["slug", "lang"])
    await store.upsert("notes", {"slug": "a", "lang": "en", "body": 3}, ["slug", "lang"])
    assert second == {**first, "body": 2}
    assert [row["body"] for row in await store.query("notes")] == [2, 3]


async def test_null_merges_with_nothing() -> None:
    """In SQL no NULL equals another."""
    store = InMemoryAdapter()
    for _ in range(2):
        await store.upsert("notes", {"slug": None}, ["slug"])
    assert len(await store.query("notes")) == 2


async def test_the_columns_of_an_undeclared_table_are_those_of_its_rows() -> None:
    """In order of first appearance; None while there is no row."""
    store = InMemoryAdapter()
    assert await store.get_columns("notes") is None
    await store.batch_write("notes", [{"a": 1}, {"b": 2, "a": 1}])
    assert await store.get_columns("notes") == ["id", "created_at", "a", "b"]


async def test_rows_of_an_undeclared_table_that_lack_a_column_have_null_there() -> None:
    """In filters, in projections and in the order."""
    store = InMemoryAdapter({"notes": [{"id": 1, "a": 1}, {"id": 2}]})
    assert await store.query("notes", {"a": None}, select=["id", "a"]) == [{"id": 2, "a": None}]
    assert [row["id"] for row in await store.query("notes", order_by="a", descending=True)] == [2, 1]


@pytest.mark.parametrize("key", [[1], {"a": 1}])
async def test_a_key_that_is_no_scalar_is_an_error_of_ours(key: Any) -> None:
    """Not a TypeError from the depths of the store."""
    with pytest.raises((AdapterError, ValidationError)):
        await InMemoryAdapter().write("notes", {"id": key})


@pytest.mark.parametrize("filters", [{"a": gt(1)}, {"a": like("x%")}])
async def test_values_that_cannot_be_compared_are_an_adapter_error(filters: Any) -> None:
    """PostgreSQL has no operator for them: 42883."""
    store = InMemoryAdapter({"notes": [{"a": "text"}, {"a": 1}]})
    with pytest.raises(AdapterError) as caught:
        await store.query("notes", filters)
    assert caught.value.code == "42883"


# --- indexes ----------------------------------------------------------------------------------------------------------

SMALL = Schema(
    {
        "things": Table(
            {
                "id": Column("bigint", nullable=False, default=Generated.IDENTITY),
                "code": Column("text"),
                "a": Column("integer"),
                "b": Column("integer"),
            },
            unique=(("code",), ("a", "b")),
        )
    }
)
small_ints = st.integers(0, 4) | st.none()
things = st.fixed_dictionaries(
    {}, optional={"id": st.integers(1, 6), "code": st.sampled_from("xyz") | st.none(), "a": small_ints, "b": small_ints}
).filter(bool)
VERBS = ["write", "upsert", "batch_write", "update", "delete"]
changes = st.tuples(st.sampled_from(VERBS), st.lists(things, min_size=1, max_size=3))


async def applied(store: InMemoryAdapter, history: list[tuple[str, list[Row]]]) -> None:
    """The changes that the store's rules allow."""
    for verb, records in history:
        try:
            if verb == "batch_write":
                await store.batch_write("things", records)
            elif verb == "update":
                await store.update("things", records[-1], records[0])
            elif verb == "delete":
                await store.delete("things", records[0], max_affected=2)
            else:
                await getattr(store, verb)("things", records[0])
        except AdapterError:
            continue


@given(history=st.lists(changes, max_size=8), column=st.sampled_from(["id", "code"]))
async def test_an_index_finds_what_a_scan_finds(history: list[tuple[str, list[Row]]], column: str) -> None:
    """Equality on a unique column gives the same as looking at every row, after any changes, failed ones included."""
    store = InMemoryAdapter(schema=SMALL)
    await applied(store, history)
    everything = await store.query("things")
    for value in (*range(7), *"xyz", "1", "01"):
        if column == "id" and value in set("xyz"):
            continue
        expected = [
            row
            for row in everything
            if str(row[column]) == (str(value).lstrip("0") or "0" if column == "id" else str(value))
        ]
        assert await store.query("things", {column: value}) == expected
        beside = [row for row in expected if row["a"] is not None and row["a"] != 1]
        assert await store.query("things", {column: value, "a": ne(1)}) == beside


@given(history=st.lists(changes, max_size=8))
async def test_no_history_breaks_a_unique_rule(history: list[tuple[str, list[Row]]]) -> None:
    """Whatever was written, upserted and undone: no two rows share a key, NULLs apart."""
    store = InMemoryAdapter(schema=SMALL)
    await applied(store, history)
    rows = await store.query("things")
    for columns in (("id",), ("code",), ("a", "b")):
        keys = [tuple(row[column] for column in columns) for row in rows]
        complete = [key for key in keys if None not in key]
        assert len(complete) == len(set(complete))


@given(history=st.lists(changes, max_size=5), bad=st.lists(things, max_size=3))
async def test_a_failed_batch_leaves_rows_and_indexes_as_they_were(
    history: list[tuple[str, list[Row]]], bad: list[Row]
) -> None:
    """All or nothing: afterwards every query, by index or not, gives what it gave before."""
    store = InMemoryAdapter(schema=SMALL)
    await applied(store, history)
    probes: list[dict[str, Any] | None] = [None, *({"id": n} for n in range(1, 30)), *({"code": c} for c in "xyz")]
    before = [await store.query("things", probe) for probe in probes]
    with pytest.raises(AdapterError):
        await store.batch_write("things", [*bad, {"a": "no integer"}])
    assert [await store.query("things", probe) for probe in probes] == before


async def test_a_value_of_a_failed_batch_is_free_again(store: InMemoryAdapter) -> None:
    """The undo reaches the index: the same e-mail can be written afterwards; identity numbers stay used."""
    with pytest.raises(ConflictError):
        await store.batch_write("leads", [{"email": "e"}, {"email": "e"}])
    assert (await store.write("leads", {"email": "e"}))["email"] == "e"
    with pytest.raises(AdapterError):
        await store.batch_write("inquiries", [{"id": 5}, {"id": "no number"}])
    assert (await store.write("inquiries", {"body": "b"}))["id"] == 1, (
        "a value of the wrong type is noticed before that"
    )


async def test_a_failed_upsert_leaves_the_row_as_it_was(store: InMemoryAdapter) -> None:
    """A merge that another unique rule or a foreign key refuses changes nothing."""
    first, second = await store.batch_write("leads", [{"email": "a"}, {"email": "b"}])
    for change in ({"id": first["id"], "email": "b"}, {"id": first["id"], "email": "a", "client_id": PARENT}):
        with pytest.raises(ConflictError):
            await store.upsert("leads", change)
    assert await store.query("leads") == [first, second]
    assert emails(await store.query("leads", {"email": in_(["a", "b"])})) == ["a", "b"]


async def test_an_upsert_that_changes_an_indexed_value_frees_the_old_one(store: InMemoryAdapter) -> None:
    """The index follows the row."""
    row = await store.write("leads", {"email": "old"})
    await store.upsert("leads", {"id": row["id"], "email": "new"})
    assert await store.read("leads", "old", "email") is None
    assert (await store.read("leads", "new", "email") or {})["id"] == row["id"]
    await store.write("leads", {"email": "old"})


KEYLESS = Schema({"events": Table({"kind": Column("text"), "at": Column("integer", default=0)}, primary_key=())})


async def test_a_table_without_a_key_holds_equal_rows() -> None:
    """Nothing says that they are one; updates and deletions reach all of them."""
    store = InMemoryAdapter({"events": [{"kind": "a"}, {"kind": "a"}]}, schema=KEYLESS)
    await store.batch_write("events", [{"kind": "a"}, {}, {}])
    assert len(await store.query("events", {"kind": "a"})) == 3
    assert len(await store.update("events", {"at": 1}, {"kind": "a"})) == 3
    assert len(await store.delete("events", {"kind": "a"})) == 3
    assert await store.query("events") == [{"kind": None, "at": 0}] * 2


async def test_an_upsert_into_a_table_without_a_key_is_an_insertion() -> None:
    """There is no primary key that could decide; a target of its own is refused as elsewhere: 42P10."""
    store = InMemoryAdapter(schema=KEYLESS)
    assert [await store.upsert("events", {"kind": "a"}) for _ in range(2)] == [{"kind": "a", "at": 0}] * 2
    assert await store.bulk_write("events", [{"kind": "a"}] * 2, on_conflict=[]) == 2
    assert len(await store.query("events")) == 4
    with pytest.raises(AdapterError) as caught:
        await store.upsert("events", {"kind": "a"}, ["kind"])
    assert caught.value.code == "42P10"


async def test_an_upsert_needs_a_unique_rule_for_its_target(store: InMemoryAdapter) -> None:
    """As PostgreSQL: 42P10."""
    with pytest.raises(AdapterError) as caught:
        await store.upsert("leads", {"email": "e", "status": "new"}, ["status"])
    assert (caught.value.code, caught.value.state) == ("42P10", FailureState.REJECTED)


async def test_a_refused_delete_or_update_leaves_the_order_as_it_was(store: InMemoryAdapter) -> None:
    """The undo puts rows back where they were, with their children and their keys."""
    leads = await store.batch_write("leads", [{"email": email} for email in "abc"])
    await store.batch_write("conversations", [{"lead_id": lead["id"], "subject": lead["email"]} for lead in leads])
    before = [await store.query(table) for table in ("leads", "conversations")]
    with pytest.raises(AdapterError):
        await store.delete("leads", {"email": in_(["a", "b"])}, max_affected=1)
    with pytest.raises(AdapterError):
        await store.update("leads", {"company": "x"}, {"email": in_(["a", "b"])}, max_affected=1)
    with pytest.raises(ConflictError):
        await store.update("leads", {"email": "same"}, {"email": in_(["a", "b"])})
    assert [await store.query(table) for table in ("leads", "conversations")] == before
    assert emails(await store.query("leads", {"email": "a"})) == ["a"]


async def test_a_broken_rule_is_told_before_too_many_rows(store: InMemoryAdapter) -> None:
    """The statement comes first, then the count of what it affected."""
    (lead,) = await store.batch_write("leads", [{"email": "a"}])
    with pytest.raises(ConflictError) as caught:
        await store.update("leads", {"client_id": PARENT}, {"id": lead["id"]}, max_affected=0)
    assert caught.value.code == "23503"
    with pytest.raises(AdapterError) as caught_too:
        await store.update("leads", {"company": "x"}, {"id": lead["id"]}, max_affected=0)
    assert caught_too.value.code == "PGRST124"


async def test_a_deleted_value_is_free_again(store: InMemoryAdapter) -> None:
    """The index forgets the row."""
    await store.write("leads", {"email": "e"})
    assert emails(await store.delete("leads", {"email": "e"})) == ["e"]
    assert await store.read("leads", "e", "email") is None
    await store.write("leads", {"email": "e"})


async def test_rows_of_one_batch_may_refer_to_each_other() -> None:
    """Foreign keys hold at the end of the statement."""
    schema = Schema(
        {
            "nodes": Table(
                {"id": Column("integer", nullable=False), "parent": Column("integer")},
                foreign_keys=(ForeignKey("parent", "nodes"),),
            )
        }
    )
    store = InMemoryAdapter(schema=schema)
    await store.batch_write("nodes", [{"id": 1, "parent": 2}, {"id": 2, "parent": 1}])
    with pytest.raises(ConflictError):
        await store.batch_write("nodes", [{"id": 3, "parent": None}, {"id": 4, "parent": 5}])
    assert [row["id"] for row in await store.query("nodes")] == [1, 2]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, gt(0), {"a": 1}, [1]])
async def test_reading_by_what_is_no_value_is_refused(store: InMemoryAdapter, value: Any) -> None:
    """As the Supabase adapter refuses it: an id is a value, never a filter and never NULL."""
    with pytest.raises(ValidationError):
        await store.read("inquiries", value)


# --- types ------------------------------------------------------------------------------------------------------------

TYPES = Schema(
    {
        "values": Table(
            {
                "id": Column("bigint", nullable=False, default=Generated.IDENTITY),
                "text": Column("text"),
                "small": Column("smallint"),
                "int": Column("integer"),
                "big": Column("bigint"),
                "num": Column("numeric"),
                "money": Column("numeric(12,2)"),
                "bool": Column("boolean"),
                "uuid": Column("uuid"),
                "date": Column("date"),
                "at": Column("timestamptz"),
                "doc": Column("jsonb"),
                "texts": Column("text[]"),
                "ints": Column("integer[]"),
                "plan": Column("text", default="free"),
            }
        )
    }
)


@pytest.mark.parametrize(
    ("column", "given", "stored"),
    [
        ("at", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+00:00"),
        ("at", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("at", "2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00"),
        ("at", "2026-01-02T03:04:05.120000+00:00", "2026-01-02T03:04:05.12+00:00"),
        ("at", "2026-01-02T03:04:10-00:30", "2026-01-02T03:34:10+00:00"),
        ("date", "2026-03-04", "2026-03-04"),
        ("date", "2026-03-04T23:59:59", "2026-03-04"),
        ("money", 1.005, 1.01),
        ("money", "1234.5", 1234.5),
        ("money", "-0.005", -0.01),
        ("money", 9999999999.99, 9999999999.99),
        ("num", "0.25", 0.25),
        ("num", 7, 7),
        ("num", 9007199254740993, 9007199254740993),
        ("small", "32767", 32767),
        ("int", " -2147483648 ", -(2**31)),
        ("big", 2**63 - 1, 2**63 - 1),
        ("bool", "t", True),
        ("bool", "no", False),
        ("bool", " TRUE ", True),
        ("bool", 0, False),
        ("bool", True, True),
        ("uuid", PARENT.upper(), PARENT),
        ("uuid", "{" + PARENT + "}", PARENT),
        ("text", 5, "5"),
        ("text", True, "true"),
        ("doc", {"b": [1, None], "a": "ü"}, {"b": [1, None], "a": "ü"}),
        ("doc", "text", "text"),
        ("texts", ["a,b", None, 5], ["a,b", None, "5"]),
        ("ints", ["1", 2], [1, 2]),
        ("text", None, None),
        ("plan", None, None),
    ],
)
async def test_a_value_is_stored_as_its_column_stores_it(column: str, given: Any, stored: Any) -> None:
    """JSON in, the JSON that PostgREST would print out; and the same value is found by what is stored.

    By what was given too, but that an operand is not rounded: `budget = 1.005` finds no 1.01.
    """
    store = InMemoryAdapter(schema=TYPES)
    row = await store.write("values", {column: given})
    assert (row[column], type(row[column])) == (stored, type(stored))
    assert await store.read("values", row["id"]) == row
    if isinstance(given, (list, dict)) or given is None or column == "doc":
        return
    assert await store.query("values", {column: stored}) == [row]
    assert await store.query("values", {column: given}) == ([] if column == "money" and "005" in str(given) else [row])


@pytest.mark.parametrize(
    ("column", "given", "codes"),
    [
        ("small", 32768, {"22003"}),
        ("int", 2**31, {"22003"}),
        ("int", -(2**31) - 1, {"22003"}),
        ("big", 2**63, {"22003"}),
        ("int", 1.5, {"22P02"}),
        ("int", "1e3", {"22P02"}),
        ("int", True, {"22P02"}),
        ("int", "", {"22P02"}),
        ("big", "1" * 5000, {"22003"}),
        ("num", "much", {"22P02"}),
        ("num", [1], {"22P02"}),
        ("money", 1e10, {"22003"}),
        ("money", "1e30", {"22003"}),
        ("money", "Infinity", {"22003"}),
        ("bool", "maybe", {"22P02"}),
        ("bool", 2, {"22P02"}),
        ("uuid", "no uuid", {"22P02"}),
        ("uuid", 5, {"22P02"}),
        ("date", "tomorrow-ish", {"22007"}),
        ("date", "2026-03-04garbage", {"22007"}),
        ("date", "2026-02-30", {"22007", "22008"}),
        ("at", "noon-ish", {"22007"}),
        ("at", "2026-01-02T25:00:00", {"22007", "22008"}),
        ("texts", "no list", {"22P02"}),
        ("ints", ["x"], {"22P02"}),
    ],
)
async def test_what_no_column_of_the_type_can_hold_is_rejected(column: str, given: Any, codes: set[str]) -> None:
    """With PostgreSQL's code, in a record as in a filter, and without the value in the message."""
    store = InMemoryAdapter(schema=TYPES)
    calls: list[Callable[[], Any]] = [lambda: store.write("values", {column: given})]
    if not isinstance(given, list) and column != "money":  # an operand is a numeric without precision
        calls.append(lambda: store.query("values", {column: given}))
    for call in calls:
        with pytest.raises(AdapterError) as caught:
            await call()
        assert caught.value.code in codes
        assert caught.value.state is FailureState.REJECTED
        assert str(given)[:40] not in str(caught.value).split() or len(str(given)) < 4
    assert await store.query("values") == []


json_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = json_scalars | st.sampled_from(
    [
        "NaN",
        "Infinity",
        "-inf",
        "1e400",
        "1_0",
        "0x1",
        "infinity",
        "now",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
    ]
)


@given(column=st.sampled_from([name for name in TYPES.columns("values") if name != "id"]), value=json_values)
async def test_any_json_value_is_stored_or_rejected(column: str, value: Any) -> None:
    """Never another exception, and what was stored is JSON."""
    store = InMemoryAdapter(schema=TYPES)
    try:
        row = await store.write("values", {column: value})
    except (AdapterError, UnsupportedOperationError):
        assert await store.query("values") == []
        return
    assert row[column] == row[column], "NaN is no JSON"
    assert row[column] not in (float("inf"), float("-inf"))
    assert await store.query("values") == [row]


async def test_absent_columns_take_their_defaults(store: InMemoryAdapter) -> None:
    """Constants, clocks and keys; a column without a default is NULL."""
    row = await store.write("clients", {"name": "n"})
    assert (row["plan"], row["is_active"], row["budget"], row["email"]) == ("free", True, None, None)
    assert str(UUID(row["id"])) == row["id"]
    assert datetime.fromisoformat(row["updated_at"]).utcoffset() is not None
    assert list(row) == list(default_schema().columns("clients"))


async def test_given_identity_keys_do_not_move_the_counter(store: InMemoryAdapter) -> None:
    """`generated by default as identity`, as PostgreSQL has it: the counter meets the given key and collides."""
    await store.write("inquiries", {"id": 1, "body": "given"})
    with pytest.raises(ConflictError, match="inquiries_pkey"):
        await store.write("inquiries", {"body": "generated"})
    assert (await store.write("inquiries", {"body": "generated"}))["id"] == 2


# --- exact numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["0.1234567890123456789", "12345678901234567890.5", "-0.10000000000000000001", "1E-400", "9" * 400 + ".5"]
)
async def test_a_numeric_that_no_float_holds_comes_out_as_the_decimal_that_went_in(number: str) -> None:
    """From a write, a read and an update; and it is found by itself alone."""
    store = InMemoryAdapter({"values": [{"num": Decimal(number)}]}, schema=TYPES)
    (row,) = await store.query("values")
    assert (row["num"], type(row["num"])) == (Decimal(number), Decimal)
    assert await store.read("values", row["id"]) == row
    assert await store.query("values", {"num": Decimal(number)}) == [row]
    assert await store.query("values", {"num": float(number) if len(number) < 100 else 1e300}) == []
    assert await store.update("values", {"text": "t"}, {"id": row["id"]}) == [{**row, "text": "t"}]


@pytest.mark.parametrize("number", ["0.1", "0.30", "1.00", "1e3", "-0.5"])
async def test_a_numeric_that_a_float_holds_comes_out_as_a_number(number: str) -> None:
    """Control: not everything is a Decimal."""
    row = (await InMemoryAdapter({"values": [{"num": number}]}, schema=TYPES).query("values"))[0]
    assert (row["num"], type(row["num"]) in (int, float)) == (float(number), True)


# --- full-text search -------------------------------------------------------------------------------------------------

NOTES = {"leads": [{"email": "a", "notes": "The quick brown fox"}, {"email": "b", "notes": "brown, not quick"}]}


@pytest.mark.parametrize(
    ("query", "kind", "expected"),
    [
        ("quick brown", "plain", ["a", "b"]),
        ("quick brown", "phrase", ["a"]),
        ('"quick brown" or not', "websearch", ["a", "b"]),
        ("brown -not", "websearch", ["a"]),
        ("qui:* & !fox", "tsquery", ["b"]),
        ("", "plain", []),
    ],
)
@pytest.mark.parametrize("schema", [default_schema(), Schema()])
async def test_a_text_search_finds_words(schema: Schema, query: str, kind: str, expected: list[str]) -> None:
    """In declared tables and in others; the differential suite compares it with PostgreSQL."""
    store = InMemoryAdapter(NOTES, schema=schema)
    assert emails(await store.query("leads", {"notes": text_search(query, kind=kind, config="simple")})) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"notes": text_search("fox")},
        {"notes": text_search("fox", config="english")},
        {"notes": text_search("a@b.example", config="simple")},
        {"notes": text_search("a.b", kind="phrase", config="simple")},
        {"notes": text_search("fox:A", kind="tsquery", config="simple")},
        {"notes": text_search("'fox'", kind="tsquery", config="simple")},
        {"notes": text_search("quick <-> !fox", kind="tsquery", config="simple")},
        {"custom": text_search("fox", config="simple")},
    ],
)
async def test_a_text_search_that_python_cannot_follow_is_refused(filters: dict[str, Filter]) -> None:
    """Never answered by something like it."""
    with pytest.raises(UnsupportedOperationError, match="does not follow PostgreSQL"):
        await InMemoryAdapter(NOTES, schema=default_schema()).query("leads", filters)


@pytest.mark.parametrize("text", ["see a.example", "5\u20ac", "\U0001f680"])
async def test_a_row_whose_words_are_not_known_is_refused_too(text: str) -> None:
    """Once the search looks at it."""
    store = InMemoryAdapter({"leads": [{"email": "a", "notes": text}]}, schema=default_schema())
    with pytest.raises(UnsupportedOperationError, match="does not follow PostgreSQL"):
        await store.query("leads", {"notes": text_search("see", config="simple")})
    assert await store.query("leads", {"email": "b", "notes": text_search("see", config="simple")}) == []


@pytest.mark.parametrize(("query", "code"), [("fox &", "42601"), ("fox brown", "42601"), ("a <99999> b", "22023")])
async def test_what_is_no_tsquery_is_rejected(query: str, code: str) -> None:
    """With PostgreSQL's code, over an empty table too."""
    with pytest.raises(AdapterError) as caught:
        await InMemoryAdapter(schema=default_schema()).query(
            "leads", {"notes": text_search(query, kind="tsquery", config="simple")}
        )
    assert (caught.value.code, caught.value.state) == (code, FailureState.REJECTED)


async def test_a_search_of_what_is_no_text_is_rejected() -> None:
    """In a table that nobody declared: 42883, as for every operator of texts."""
    with pytest.raises(AdapterError) as caught:
        await InMemoryAdapter({"notes": [{"a": 1}]}).query("notes", {"a": text_search("x", config="simple")})
    assert caught.value.code == "42883"


# --- functions --------------------------------------------------------------------------------------------------------


def added(a: int, b: int = 1) -> int:
    return a + b


async def described(lead: dict[str, Any]) -> dict[str, Any]:
    await anyio.lowlevel.checkpoint()
    return {"at": datetime(2026, 1, 2), "lead": lead}  # noqa: DTZ001


def failing(how: type[Exception]) -> Callable[[], None]:
    def fail() -> None:
        raise how("the content of a row")

    return fail


async def test_a_call_returns_what_the_function_returns() -> None:
    """Plain or async; the arguments are its keywords, its value is in JSON form."""
    store = InMemoryAdapter(functions={"added": added, "described": described})
    assert await store.call("added", {"a": 2}) == 3
    assert await store.call("added", {"a": 2, "b": 3}, may_write=True) == 5
    assert await store.call("described", {"lead": {"n": [1]}}) == {"at": "2026-01-02T00:00:00", "lead": {"n": [1]}}


async def test_a_function_shares_nothing_with_its_caller() -> None:
    """What it changes in its arguments, and what is changed in its value, stays there."""
    kept: list[Any] = []

    def keeping(items: list[Any]) -> list[Any]:
        items.append("changed")
        kept.append(items)
        return items

    given_ = ["a"]
    value = await InMemoryAdapter(functions={"keeping": keeping}).call("keeping", {"items": given_})
    assert isinstance(value, list)
    value.append("more")
    assert (given_, kept) == (["a"], [["a", "changed"]])


@pytest.mark.parametrize(
    ("name", "arguments"), [("missing", {}), ("added", {}), ("added", {"a": 1, "c": 2}), ("Added", {"a": 1})]
)
async def test_a_function_that_is_not_there_is_rejected(name: str, arguments: Row) -> None:
    """By its name or by its arguments, as PostgREST rejects it."""
    with pytest.raises(AdapterError, match="added") as caught:
        await InMemoryAdapter(functions={"added": added}).call(name, arguments)
    assert (caught.value.code, caught.value.status, caught.value.state) == ("PGRST202", 404, FailureState.REJECTED)


async def test_what_a_function_raises_is_told_by_its_class() -> None:
    """Without its message, which may hold content; the exception itself is the cause."""
    with pytest.raises(AdapterError) as caught:
        await InMemoryAdapter(functions={"fail": failing(RuntimeError)}).call("fail", {})
    assert caught.value.state is FailureState.REJECTED
    assert "RuntimeError" in str(caught.value)
    assert "content" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_an_error_of_ours_passes_through_a_function() -> None:
    """So that it can play any part of a server's."""
    with pytest.raises(ConflictError, match="content"):
        await InMemoryAdapter(functions={"fail": failing(ConflictError)}).call("fail", {})


async def test_a_value_without_a_json_form_is_refused() -> None:
    """A server could not have sent it."""
    with pytest.raises(ValidationError, match="object has no JSON form"):
        await InMemoryAdapter(functions={"odd": object}).call("odd", {})


@pytest.mark.parametrize(("functions", "can"), [(None, False), ({}, False), ({"added": added}, True)])
async def test_the_capability_call_is_there_with_the_functions(functions: Any, can: bool) -> None:
    """Without any, a call is refused before it gets here."""
    assert InMemoryAdapter(functions=functions).capabilities["call"] is can


@pytest.mark.parametrize("functions", [{"f": 1}, {1: added}])
async def test_functions_that_cannot_be_called_are_refused(functions: Any) -> None:
    """When the store is made."""
    with pytest.raises(ConfigurationError, match="functions"):
        InMemoryAdapter(functions=functions)


# --- tasks, threads, event loops --------------------------------------------------------------------------------------


async def test_several_threads_and_event_loops_share_one_store() -> None:
    """Eight threads, each with event loops of its own of both kinds: no row is lost, no number given twice."""
    store = InMemoryAdapter(schema=default_schema())

    async def write_some(worker: int, backend: str) -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(store.write, "inquiries", {"body": f"{worker} {backend} {number}"})

    def work(worker: int) -> None:
        for backend in BACKENDS:
            anyio.run(write_some, worker, backend, backend=backend)

    async with anyio.create_task_group() as group:
        for worker in range(8):
            group.start_soon(anyio.to_thread.run_sync, work, worker)
    rows = await store.query("inquiries")
    assert len({row["body"] for row in rows}) == len(rows) == 320
    assert sorted(row["id"] for row in rows) == list(range(1, 321))


async def test_of_many_tasks_that_claim_a_unique_value_one_wins(store: InMemoryAdapter) -> None:
    """The others get the conflict."""
    outcomes: list[str] = []

    async def claim() -> None:
        try:
            await store.write("leads", {"email": "e"})
        except ConflictError:
            outcomes.append("refused")
        else:
            outcomes.append("written")

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(claim)
    assert sorted(outcomes) == ["refused"] * 19 + ["written"]


@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert", "query"])
async def test_every_call_gives_others_a_turn(store: InMemoryAdapter, verb: str) -> None:
    """A loop of calls does not starve the event loop, and it can be cancelled."""
    arguments: tuple[Any, ...] = ([{"body": "b"}],) if verb == "batch_write" else ({"body": "b"},)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await getattr(store, verb)("inquiries", *arguments)
    assert scope.cancelled_caught
    assert await store.query("inquiries") == []


# --- the shared store -------------------------------------------------------------------------------------------------


async def test_the_shared_store_is_one_per_process() -> None:
    """Whoever asks with the same schema gets the same rows, also after `aclose`."""
    first = shared_memory(default_schema())
    await first.write("leads", {"email": "e"})
    await first.aclose()
    assert emails(await shared_memory(default_schema()).query("leads")) == ["e"]
    assert shared_memory(Schema(dict(default_schema().tables))) is first


async def test_the_shared_store_refuses_another_schema() -> None:
    """Two agents would otherwise see each other's rows under different rules."""
    shared_memory(default_schema())
    with pytest.raises(ConfigurationError, match="InMemoryAdapter"):
        shared_memory(Schema())


async def test_a_reset_empties_the_shared_store_and_frees_its_schema() -> None:
    """Agents that hold it go on, with the emptied store."""
    held = shared_memory(default_schema())
    await held.write("leads", {"email": "e"})
    reset_memory()
    assert await held.query("leads") == []
    assert await shared_memory(Schema()).query("anything") == []


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_store_outlives_its_event_loop(backend: Backend) -> None:
    """No part of it belongs to a loop: one `run` after another."""
    store = InMemoryAdapter()

    async def write() -> int:
        await store.write("notes", {"body": "b"})
        return len(await store.query("notes"))

    def runs() -> list[int]:
        return [anyio.run(write, backend=backend) for _ in range(3)]

    assert await anyio.to_thread.run_sync(runs) == [1, 2, 3]
