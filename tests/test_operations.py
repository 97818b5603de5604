"""Operations: every call as an immutable value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from agent_persistence import Operation, all_of, any_of, asc, gt, ilike, in_, is_null, like, not_
from agent_persistence.filters import parse_filters
from agent_persistence.operations import BatchWrite, GetColumns, Query, Read, Result, Upsert, Write
from agent_persistence.query.records import distinct
from tests.doubles import shown

SECRET = "s3cret"
OPERATIONS: list[Operation] = [
    Write("leads", {"email": SECRET}),
    BatchWrite("leads", ({"email": SECRET}, {"notes": SECRET, "email": SECRET})),
    Upsert("leads", {"email": SECRET}, ("email", "company")),
    Read("leads", SECRET, "email"),
    Query(
        "leads",
        parse_filters("leads", any_of({"email": SECRET}, {"notes": ilike(SECRET)}, {"phone": in_([SECRET])})),
        select=("id", "email"),
        order=(asc("score"),),
    ),
    GetColumns("leads"),
]


def _verb(operation: Operation) -> str:
    return operation.verb


@pytest.mark.parametrize("operation", OPERATIONS, ids=_verb)
def test_an_operation_is_frozen(operation: Operation) -> None:
    """A changed operation is a new one."""
    for field in fields(operation):
        with pytest.raises(FrozenInstanceError):
            setattr(operation, field.name, "other")
    assert replace(operation, table="messages").table == "messages"
    assert operation.table == "leads"


@pytest.mark.parametrize("operation", OPERATIONS, ids=_verb)
def test_no_value_stands_in_the_repr(operation: Operation) -> None:
    """An operation may be logged: it shows names and no value of a record, a key or a filter."""
    assert SECRET not in repr(operation)
    assert "leads" in repr(operation)


@pytest.mark.parametrize(
    ("operation", "columns"),
    list(zip(OPERATIONS[:4], [("email",), ("email", "notes"), ("email", "company"), ("email",)], strict=True)),
    ids=["write", "batch_write", "upsert", "read"],
)
def test_an_operation_names_all_of_its_columns(operation: Operation, columns: tuple[str, ...]) -> None:
    """Of its record or records and of its target, in order of appearance."""
    assert distinct(operation.columns()) == columns


def test_a_query_names_every_column_it_touches() -> None:
    """Projection, filters however deep, and order: a filter or an order tells about a column as a projection does."""
    tree = parse_filters("leads", not_(any_of({"f1": 1}, all_of({"f2": 2}, {"f3": not_(is_null())}))))
    columns = Query("leads", tree, select=("s",), order=(asc("o"),)).columns()
    assert distinct(columns) == ("s", "f1", "f2", "f3", "o")


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        ({}, set()),
        ({"filters": {"a": 1}}, {"equality_filters"}),
        ({"filters": {"a": None}}, {"equality_filters"}),
        ({"filters": {"a": 1, "b": 2}}, {"equality_filters"}),
        ({"filters": {"a": gt(1)}}, {"range_operators"}),
        ({"filters": {"a": in_([1])}}, {"in_operator"}),
        ({"filters": {"a": like("x%")}}, {"pattern"}),
        ({"filters": {"a": ilike("x%")}}, {"ilike"}),
        ({"filters": any_of({"a": 1}, {"b": 2})}, {"equality_filters", "logic"}),
        ({"filters": not_({"a": 1})}, {"equality_filters", "logic"}),
        ({"filters": {"a": 1, "b": not_(gt(2))}}, {"equality_filters", "range_operators", "logic"}),
        ({"limit": 5}, {"limit"}),
        ({"offset": 5}, {"offset"}),
        ({"order": (asc("a"),)}, {"ordering"}),
        ({"select": ("a",)}, {"projections"}),
    ],
    ids=shown,
)
def test_a_query_asks_for_the_capabilities_it_uses_and_no_others(parts: dict[str, Any], needed: set[str]) -> None:
    """An adapter that only knows equality serves whatever needs no more."""
    parts = parts | {"filters": parse_filters("leads", parts.get("filters"))}
    assert set(Query("leads", **parts).capabilities()) == needed


@pytest.mark.parametrize("operation", OPERATIONS, ids=_verb)
def test_verbs_that_write_say_so(operation: Operation) -> None:
    """`writes` decides between the two allow-lists, the two deadlines and what may be tried again."""
    assert operation.writes == (operation.verb in {"write", "batch_write", "upsert"})


def test_a_result_took_one_attempt_unless_it_says_otherwise() -> None:
    """A middleware that answers by itself needs to give the value only."""
    assert Result([]) == Result([], attempts=1)
