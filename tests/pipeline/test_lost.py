"""A lost answer: which calls may be sent again, and what the rows that are there say about them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import InMemoryAdapter, Schema
from agent_persistence.filters import Filters, all_of, any_of, eq, gt, in_, not_, parse_some_rows
from agent_persistence.operations import (
    BatchWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Query,
    Read,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.pipeline.retry.lost import KEYS_A_QUERY, Recovery, applied, lost, queries, resent
from agent_persistence.query.equality import same
from agent_persistence.query.predicates import Filter, comparisons, conjunction
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema_registry import Column, Table
from tests.doubles import shown

Sets = tuple[tuple[str, ...], ...]


def keys_of(unique: Sets, key_type: str = "text", *, is_given: bool = True) -> ClientKeys:
    """The keys of a table whose schema says that these sets are unique, the first of them its primary key."""
    columns = {name: Column(key_type) for columns in unique for name in columns}
    tables = {"t": Table(columns, unique[0], unique=unique[1:])} if unique else {}
    return ClientKeys(Schema(tables), is_given=is_given)


UNIQUE: Sets = (("id",), ("step", "campaign"))
KEYS = keys_of(UNIQUE)
ROW = {"id": "k1", "email": "a"}


def changed(filters: Filters, unique: Sets = UNIQUE) -> tuple[Recovery, Any]:
    found = lost(Update("t", {"email": "b"}, parse_some_rows("t", filters)), keys_of(unique))
    return found.plan, found.keys


@pytest.mark.parametrize(
    ("operation", "plan"),
    [
        (Read("t", "k1"), Recovery.RESEND),
        (Query("t"), Recovery.RESEND),
        (Count("t"), Recovery.RESEND),
        (GetColumns("t"), Recovery.RESEND),
        (Call("f", {}), Recovery.RESEND),
        (WritingCall("f", {}), Recovery.GIVE_UP),
        (Write("t", ROW), Recovery.RESEND),
        (Write("t", {"step": 1, "campaign": "c"}), Recovery.RESEND),
        (Write("t", {"step": 1, "campaign": None}), Recovery.GIVE_UP),
        (Write("t", {"email": "a"}), Recovery.GIVE_UP),
        (BatchWrite("t", (ROW, {"id": "k2"})), Recovery.RESEND),
        (BatchWrite("t", (ROW, {"email": "b"})), Recovery.GIVE_UP),
        (Upsert("t", ROW), Recovery.LOOK),
        (Upsert("t", ROW, generated_key="id"), Recovery.RESEND),
        (Upsert("t", ROW, ("email",)), Recovery.LOOK),
        (Upsert("t", {"email": "a"}), Recovery.GIVE_UP),
        (Upsert("t", {"id": "k1"}, ("email",)), Recovery.GIVE_UP),
        (Update("t", {"email": "b"}, eq("k1")), Recovery.GIVE_UP),
        (Delete("t", parse_some_rows("t", {"id": "k1"})), Recovery.LOOK),
        (Delete("t", parse_some_rows("t", {"id": in_(["k1", "k2"])})), Recovery.LOOK),
        (Delete("t", parse_some_rows("t", {"email": "a"})), Recovery.GIVE_UP),
    ],
    ids=shown,
)
def test_the_operation_decides_what_may_be_done(operation: Operation, plan: Recovery) -> None:
    """Reads again; inserts where a unique set of columns is their fence; merges only after a look; else nothing."""
    assert lost(operation, KEYS).plan is plan


def test_only_a_deletion_by_a_key_that_is_made_here_is_sent_again() -> None:
    """Under a natural key somebody may have made a new row since, which the second one would delete."""
    deletion = Delete("t", parse_some_rows("t", {"id": "k1"}))
    assert lost(deletion, keys_of((("id",),), "uuid")).plan is Recovery.RESEND
    assert lost(deletion, keys_of((("id",),), "text")).plan is Recovery.LOOK


@pytest.mark.parametrize(
    ("record", "plan"),
    [
        ({"step": 1, "campaign": "c"}, Recovery.GIVE_UP),
        ({"id": "k1"}, Recovery.RESEND),
        ({"email": "a"}, Recovery.GIVE_UP),
    ],
)
def test_what_the_default_schema_calls_unique_is_no_fence(record: dict[str, Any], plan: Recovery) -> None:
    """It is a guess: only the column of the keys that are made here counts where no schema was given."""
    assert lost(Write("t", record), keys_of(UNIQUE, "uuid", is_given=False)).plan is plan
    assert lost(BatchWrite("t", (record,)), keys_of(UNIQUE, "uuid", is_given=False)).plan is plan


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"id": "k1"}, (Recovery.LOOK, (("k1",),))),
        ({"id": in_(["k1", "k2"])}, (Recovery.LOOK, (("k1",), ("k2",)))),
        (all_of({"id": "k1"}), (Recovery.LOOK, (("k1",),))),
        ({"id": "k1", "status": "open"}, (Recovery.GIVE_UP, ())),
        ({"id": gt("k1")}, (Recovery.GIVE_UP, ())),
        ({"id": all_of(eq("k1"), gt("a"))}, (Recovery.GIVE_UP, ())),
        (not_({"id": "k1"}), (Recovery.GIVE_UP, ())),
        ({"step": 1, "campaign": "c"}, (Recovery.GIVE_UP, ())),
    ],
    ids=shown,
)
def test_a_change_is_by_key_only_if_it_says_nothing_else(filters: Filters, found: object) -> None:
    """`status = open` beside the key makes it a compare-and-set, whose effect may be somebody else's."""
    assert changed(filters) == found


def test_a_change_by_a_key_of_two_columns_is_by_key() -> None:
    """In whatever order the filter names them."""
    assert changed({"campaign": "c", "step": 1}, (("step", "campaign"),)) == (Recovery.LOOK, ((1, "c"),))


SCOPE = parse_some_rows("t", all_of({"tenant": "a"}, any_of({"owner": "me"}, {"shared": True})))


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ({"id": "k1"}, (("k1",),)),
        ({"id": in_(["k1", "k2"])}, (("k1",), ("k2",))),
        ({"id": "k1", "tenant": "a"}, (("k1",),)),
        ({"id": "k1", "tenant": "b"}, ()),
        ({"id": "k1", "status": "open"}, ()),
        ({"status": "open"}, ()),
    ],
    ids=shown,
)
@pytest.mark.parametrize("make", [lambda filters: Update("t", {"email": "b"}, filters), lambda f: Delete("t", f)])
def test_a_change_by_key_within_a_scope_is_by_key(
    make: Callable[[Filter], Operation], filters: Filters, keys: object
) -> None:
    """What a policy or a tenancy adds is no condition of the caller's; the rows are looked for within it alone."""
    operation = make(conjunction((parse_some_rows("t", filters), SCOPE)))
    found = lost(operation, KEYS, SCOPE)
    assert found.keys == keys
    assert all(comparisons_of(SCOPE) <= comparisons_of(query.filters) for query in queries(operation, found))
    assert lost(operation, KEYS).plan is Recovery.GIVE_UP


def comparisons_of(filters: Filter | None) -> set[str]:
    return {f"{leaf!r} {leaf.operand!r}" for leaf in comparisons(filters)}


def test_a_table_of_which_no_key_is_known_has_no_fence() -> None:
    """`id` may be any column there."""
    assert lost(Write("t", ROW), keys_of(())).plan is Recovery.GIVE_UP
    assert changed({"id": "k1"}, ()) == (Recovery.GIVE_UP, ())


def test_an_upsert_under_a_key_of_ours_is_sent_again_as_an_insert() -> None:
    """A merge that arrives late would overwrite what others wrote to the row; an insert is refused."""
    ours = Upsert("t", ROW, ("id",), generated_key="id", returning=())
    again = resent(ours)
    assert again == Write("t", ROW, generated_key="id", returning=())
    theirs = Upsert("t", ROW, ("id",))
    assert resent(theirs) is theirs


OPERATIONS: list[tuple[Operation, list[dict[str, Any]], Any]] = [
    (Write("t", ROW), [{**ROW, "created_at": "now"}], {**ROW, "created_at": "now"}),
    (Write("t", ROW), [{**ROW, "email": "other"}], None),
    (Write("t", ROW), [], None),
    (
        Write("t", ROW, generated_key="id"),
        [{**ROW, "email": "changed by a trigger"}],
        {**ROW, "email": "changed by a trigger"},
    ),
    (Write("t", ROW, generated_key="id"), [], None),
    (Write("t", {**ROW, "gone": 1}), [ROW], None),
    (BatchWrite("t", ({"id": 1}, {"id": 2})), [{"id": 2}, {"id": 1}], [{"id": 1}, {"id": 2}]),
    (BatchWrite("t", ({"id": 1}, {"id": 2})), [{"id": 2}], None),
    (Upsert("t", ROW), [ROW], ROW),
    (Upsert("t", ROW), [{"id": "k1", "email": "older"}], None),
    (Delete("t", parse_some_rows("t", {"id": "k1"})), [], []),
    (Delete("t", parse_some_rows("t", {"id": "k1"})), [ROW], None),
    (Update("t", {"email": "a"}, parse_some_rows("t", {"id": "k1"})), [ROW], [ROW]),
    (Update("t", {"email": "b"}, parse_some_rows("t", {"id": "k1"})), [ROW], None),
    (Update("t", {"email": "a"}, parse_some_rows("t", {"id": in_(["k1", "k2"])})), [ROW], [ROW]),
    (Update("t", {"email": "a"}, parse_some_rows("t", {"id": "k1"})), [], None),
    (WritingCall("f", {}), [], None),
]


@pytest.mark.parametrize(("operation", "rows", "value"), OPERATIONS, ids=shown)
def test_the_rows_tell_whether_a_call_was_applied(operation: Operation, rows: list[Any], value: object) -> None:
    """Only where every row is there, with everything that was sent in it."""
    assert applied(operation, lost(operation, KEYS), rows) == value


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("count", [1, KEYS_A_QUERY, KEYS_A_QUERY + 1, 3 * KEYS_A_QUERY])
async def test_many_keys_are_asked_for_in_short_queries(count: int) -> None:
    """All rows are found, none of them by a URL that a gateway would refuse."""
    stored = InMemoryAdapter(schema=Schema({"t": Table({"a": Column("int4"), "b": Column("text")}, ("a", "b"))}))
    rows = await stored.batch_write("t", [{"a": number, "b": "x"} for number in range(count)])
    operation = BatchWrite("t", tuple(rows))
    seen = lost(operation, keys_of((("a", "b"),)))
    asked = list(queries(operation, seen))
    found = [row for query in asked for row in await stored.query("t", query.filters)]
    assert len(asked) == -(-count // KEYS_A_QUERY)
    assert applied(operation, seen, found[::-1]) == rows


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a", "a"),
        ("01A0ead0-BF46-447A-9BFE-6EA1ACA6311F", "01a0ead0-bf46-447a-9bfe-6ea1aca6311f"),
        ("2026-01-02T12:30:00+02:00", "2026-01-02T10:30:00+00:00"),
        ("2026-01-02T10:30:00", "2026-01-02T10:30:00+00:00"),
        ("1.50", 1.5),
        (1, 1.0),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        (None, None),
        (True, True),
        ([1, ["a"]], [1.0, ["a"]]),
        ({"a": {"b": None}}, {"a": {"b": None}}),
    ],
    ids=shown,
)
def test_a_value_is_the_same_in_the_form_that_the_server_gives_it(sent: object, stored: object) -> None:
    """Times in UTC, numerics as numbers, uuids in lower case."""
    assert same(sent, stored)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a", "A"),
        ("ABC", "abc"),
        ("a", None),
        (None, "a"),
        (1, True),
        (0, False),
        ("true", True),
        (1, 2),
        ("x", 1),
        ("nan", 1),
        ([1], [1, 2]),
        ([1], {"0": 1}),
        ("[1]", [1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, None),
        ("2026-01-02", "2026-01-03"),
    ],
    ids=shown,
)
def test_a_value_that_might_be_another_is_not_the_same(sent: object, stored: object) -> None:
    """In doubt it is not: the caller is told that the outcome is unknown, and nothing false."""
    assert not same(sent, stored)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_every_json_value_is_the_same_as_itself_and_comparing_never_fails(one: Any, other: Any) -> None:
    """Of whatever type the other is."""
    assert same(one, one)
    assert same(one, other) is same(other, one)
