"""Paths of JSON columns: the twin, the server and PostgreSQL itself read the same of the same documents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.differential import strategies
from tests.differential.examples import examples
from tests.differential.test_queries import agree
from tests.differential.twins import Call, Twins, check_against_postgresql, query_of
from tests.doubles import shown

over_both = pytest.mark.parametrize("twins", ["supabase", "postgres"], indirect=True)
PATHS = (
    *("custom->>a", "custom->a", "custom->b->>aa", "custom->a->b", "custom->>aa", "custom->b->>a"),
    *("custom->0", "custom->>-1", "custom->a->0", "custom->a->>1", "custom->b->-1", "custom->0->>a"),
)
LEADS = replace(strategies.SCHEMA.tables["leads"], paths=PATHS)


def whole(**row: object) -> dict[str, object]:
    """The row with every other column of a lead."""
    return {**dict.fromkeys(LEADS.columns), "status": "new", "created_at": "2026-01-01T00:00:00+00:00", **row}


def rows_of(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, object]]]:
    """Leads whose documents are made of such scalars."""
    nested: st.SearchStrategy[Any] = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "aa", "c"]), inner),
        max_leaves=6,
    )
    return st.lists(
        st.fixed_dictionaries({"id": strategies.uuids, "email": strategies.texts, "custom": nested}),
        max_size=8,
        unique_by=(lambda row: str(row["id"]), lambda row: str(row["email"])),
    ).map(lambda drawn: [whole(**row) for row in drawn])


def is_json_text(value: object) -> bool:
    """Whether it is a text that could be read as JSON once more."""
    try:
        return isinstance(value, str) and bool([json.loads(value)])
    except ValueError:
        return False


@over_both
@given(data=st.data(), stored=rows_of(strategies.scalars.filter(lambda value: not is_json_text(value))))
@examples(25)
def test_a_path_reads_the_same_from_both(twins: Twins, data: st.DataObject, stored: list[dict[str, object]]) -> None:
    """As a column that is selected, in filters and in the order, beside plain columns."""
    twins.tally.most = 0.1
    twins.load("leads", stored)
    for _ in range(data.draw(st.integers(1, 4), label="queries")):
        filters = data.draw(st.none() | strategies.filters_of(LEADS), label="filters")
        order = data.draw(strategies.orders_of(LEADS), label="order")
        select = data.draw(st.lists(st.sampled_from([*PATHS, "id", "custom"]), min_size=1, unique=True), label="select")
        ours, theirs = twins.both(query_of("leads", filters, order_by=order, select=select))
        if not ours.refused and not twins.excuses(LEADS, filters):
            agree(ours, theirs, 2)


@given(data=st.data(), stored=rows_of(strategies.scalars))
@examples(25)
def test_a_path_selects_what_postgresql_selects(
    twins: Twins, data: st.DataObject, stored: list[dict[str, object]]
) -> None:
    """By every operator, also those that the server does not know for paths; regular expressions are often refused."""
    twins.tally.most = 0.1
    twins.load("leads", stored)
    either = strategies.filters_of(LEADS) | strategies.filters_of(LEADS, faults=True)
    for tree in data.draw(st.lists(either, min_size=1, max_size=8), label="filters"):
        check_against_postgresql(twins, "leads", tree, data.draw(strategies.orders_of(LEADS), label="order"))


@over_both
@pytest.mark.parametrize("filters", [{"custom->>a": "x"}, {"custom->a": None}, {"custom->b": "null"}], ids=shown)
def test_an_update_finds_its_rows_by_a_path(twins: Twins, filters: dict[str, Any]) -> None:
    """As do a count and a deletion; a missing key is SQL's NULL, JSON's null is a document."""
    documents: list[Any] = [{"a": "x"}, {"a": None, "b": None}, {"b": 1}]
    twins.load("leads", [whole(email=str(n), id=f"{n}" * 32, custom=one) for n, one in enumerate(documents)])
    calls: list[Call] = [
        lambda adapter: adapter.count("leads", filters),
        lambda adapter: adapter.update("leads", {"notes": "seen"}, filters),
        lambda adapter: adapter.delete("leads", filters),
    ]
    for call, expected in zip(calls, (1, None, None), strict=True):
        ours, theirs = twins.both(call)
        assert ours == theirs
        told = json.loads(theirs.value or "")
        assert told == expected if expected else [row["notes"] for row in told] == ["seen"]
