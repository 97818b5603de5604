"""The filter language: immutable values that say which rows are meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import (
    NULL,
    InMemoryAdapter,
    UnsupportedOperationError,
    ValidationError,
    all_of,
    any_of,
    eq,
    exists,
    gt,
    gte,
    ilike,
    in_,
    is_false,
    is_null,
    is_true,
    like,
    lt,
    lte,
    ne,
    not_,
    not_in,
    not_null,
)
from agent_persistence.backends.memory.predicates import Predicate, predicate
from agent_persistence.backends.memory.types import pg_type
from agent_persistence.filters import Filters, equalities, parse_filters
from agent_persistence.query.predicates import (
    FALSE,
    AllOf,
    Comparison,
    Exists,
    Filter,
    Operator,
    comparisons,
    fold,
)
from tests.doubles import shown

ROWS: list[dict[str, Any]] = [
    {"id": "a", "n": 1, "s": "Alpha", "b": True},
    {"id": "b", "n": 2, "s": "beta", "b": False},
    {"id": "c", "n": 3, "s": "50%", "b": None},
    {"id": "d", "n": None, "s": None, "b": None},
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        ({"n": 1}, "a"),
        ({"n": None}, "d"),
        ({"n": NULL}, "d"),
        ({"n": eq(2)}, "b"),
        ({"n": ne(2)}, "ac"),
        ({"n": gt(2)}, "c"),
        ({"n": gte(2)}, "bc"),
        ({"n": lt(2)}, "a"),
        ({"n": lte(2)}, "ab"),
        ({"n": in_([1, 3, 9])}, "ac"),
        ({"n": in_(number for number in (1, 2))}, "ab"),
        ({"n": in_([])}, ""),
        ({"n": not_in([1])}, "bc"),
        ({"n": not_in([])}, "abcd"),
        ({"s": like("%a")}, "ab"),
        ({"s": like("a%")}, ""),
        ({"s": ilike("a%")}, "a"),
        ({"s": like("50\\%")}, "c"),
        ({"n": is_null()}, "d"),
        ({"n": not_null()}, "abc"),
        ({"b": is_true()}, "a"),
        ({"b": is_false()}, "b"),
        ({"n": all_of(gt(1), lt(3))}, "b"),
        ({"n": any_of(eq(1), is_null())}, "ad"),
        ({"n": not_(eq(1))}, "bc"),
        ({"n": gt(0), "s": like("%a")}, "ab"),
        (any_of({"n": 1}, {"s": "beta"}), "ab"),
        (all_of({"n": 1}, {"s": "beta"}), ""),
        (not_({"n": 1}), "bc"),
        (not_(not_({"n": 1})), "a"),
        (all_of(), "abcd"),
        (any_of(), ""),
        (not_(any_of()), "abcd"),
        ({"n": any_of()}, ""),
        (any_of({"n": in_([])}, {"n": 3}), "c"),
    ],
    ids=shown,
)
async def test_a_filter_selects_the_rows_that_sql_would(filters: Any, ids: str) -> None:
    """None in a mapping means IS NULL; comparisons with a NULL are neither true nor false."""
    adapter = InMemoryAdapter({"things": ROWS})
    assert "".join(row["id"] for row in await adapter.query("things", filters)) == ids


@pytest.mark.parametrize(
    "make",
    [
        lambda: eq(None),
        lambda: ne(None),
        lambda: gt(NULL),
        lambda: in_([1, None]),
        lambda: not_in([NULL]),
        lambda: eq([[1]]),
        lambda: ne([{"a": 1}]),
        lambda: gt([1]),
        lambda: lt({"a": 1}),
        lambda: eq(object()),
        lambda: eq(float("nan")),
        lambda: eq("a\0"),
        lambda: in_("abc"),
        lambda: in_(b"abc"),
        lambda: in_({"a": 1}),
        lambda: in_(5),  # type: ignore[arg-type]
        lambda: like(5),  # type: ignore[arg-type]
        lambda: like("a*"),
        lambda: ilike("a\\"),
        lambda: all_of(5),  # type: ignore[arg-type]
        lambda: any_of("x"),  # type: ignore[arg-type]
        lambda: not_(None),  # type: ignore[arg-type]
        lambda: not_({"a": object()}),
    ],
)
def test_an_operand_that_cannot_be_meant_is_refused_where_it_is_written(make: Any) -> None:
    """The caller's own line is in the traceback, and nothing is asked."""
    with pytest.raises(ValidationError):
        make()


@pytest.mark.parametrize(
    "filters",
    [
        5,
        "n=1",
        [("n", 1)],
        {"n": [1, 2]},
        {"n": {"gt": 1}},
        {"n": object()},
        eq(1),
        all_of(gt(1), {"n": 2}),
        {"n": not_({"m": 1})},
        {None: 1},
        {"n": exists("things")},
        exists("things", gt(1)),
    ],
    ids=shown,
)
def test_a_malformed_filter_is_refused_with_the_table_it_was_for(filters: Any) -> None:
    """A value that is no scalar, an operator without a column, and a column inside a column."""
    with pytest.raises(ValidationError) as caught:
        parse_filters("leads", filters)
    assert caught.value.table == "leads"


@pytest.mark.parametrize(
    "filters",
    [{"n": "s3cret"}, {"n": in_(["s3cret"])}, any_of({"n": ne("s3cret")}, exists("m", {"n": like("s3cret%")}))],
    ids=["eq", "in", "nested"],
)
def test_the_repr_of_a_filter_shows_no_value(filters: Any) -> None:
    """Filters end in logs, and their values are people's addresses."""
    assert "s3cret" not in repr(parse_filters("leads", filters))


@pytest.mark.parametrize(
    "value", [gt(1), all_of({"a": 1}), any_of({"a": 1}), not_({"a": 1}), exists("things", {"a": 1})], ids=shown
)
def test_filters_are_immutable(value: Filter) -> None:
    """A filter can be kept and used again: nobody can add to it, so that nothing leaks between queries."""
    name = next(iter(value.__slots__))
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


def test_later_edits_of_the_mapping_or_list_change_nothing() -> None:
    """The values are copied into the filter."""
    values = [1]
    mapping: dict[str, Any] = {"n": in_(values)}
    parsed = parse_filters("leads", mapping)
    values.append(2)
    mapping["m"] = 1
    assert parsed == Comparison(Operator.IN, (1,), "n")


LEAVES: list[Filters] = [
    {},
    {"n": 1},
    {"n": None},
    {"n": gt(1)},
    {"n": in_([])},
    {"n": not_in([])},
    {"n": 2, "s": "beta"},
    exists("things", {"n": 1}),
    exists("things", {"n": in_([])}),
]
_TREES: st.SearchStrategy[Filter] = st.recursive(
    st.sampled_from([all_of(leaf) for leaf in LEAVES]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda terms: all_of(*terms))
        | st.lists(inner, max_size=3).map(lambda terms: any_of(*terms))
        | inner.map(not_)
    ),
    max_leaves=8,
)


def _ids(tree: Filter | None) -> list[str]:
    def any_row(exists: Exists) -> Predicate:
        return lambda row: bool(_ids(exists.term))

    holds = predicate(AllOf(()) if tree is None else tree, lambda column: pg_type("any"), any_row)
    return [row["id"] for row in ROWS if holds(row) is True]


@given(_TREES)
def test_folding_changes_no_row(tree: Filter) -> None:
    """Constants are taken out and nothing else changes; FALSE stands alone or not at all."""
    assert _ids(parse_filters("things", tree)) == _ids(tree)
    folded = fold(tree)
    assert _ids(folded) == _ids(tree)
    assert fold(folded) == folded
    assert folded == FALSE or all(leaf.operand != () for leaf in comparisons(folded))


@pytest.mark.parametrize(
    ("filters", "pairs"),
    [
        (None, {}),
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": None}, {"a": None}),
        ({"a": 1, "b": None, "c": "x"}, {"a": 1, "b": None, "c": "x"}),
        (all_of({"a": 1, "b": 2}), {"a": 1, "b": 2}),
        (all_of({"a": 1, "b": 2}, {"c": 3}), {"a": 1, "b": 2, "c": 3}),
    ],
    ids=shown,
)
def test_equalities_gives_the_plain_map_of_the_document(filters: Any, pairs: Mapping[str, Any]) -> None:
    """An adapter that knows equality only needs to know nothing of the operators."""
    assert equalities("leads", parse_filters("leads", filters)) == pairs


@pytest.mark.parametrize(
    ("filters", "capability"),
    [
        ({"a": gt(1)}, "range_operators"),
        ({"a": in_([1])}, "in_operator"),
        ({"a": like("x")}, "pattern"),
        ({"a": ilike("x")}, "ilike"),
        (any_of({"a": 1}, {"b": 1}), "logic"),
        (not_({"a": 1}), "logic"),
        ({"a": 1, "b": not_(eq(1))}, "logic"),
        (all_of({"a": 1}, {"a": 2}), "logic"),
        (any_of(), "logic"),
    ],
    ids=shown,
)
def test_equalities_refuses_the_rest_by_the_capability_it_needs(filters: Any, capability: str) -> None:
    """Nothing is dropped silently: a condition that cannot be kept is an error."""
    with pytest.raises(UnsupportedOperationError) as caught:
        equalities("leads", parse_filters("leads", filters))
    assert caught.value.capability == capability


@pytest.mark.parametrize("under_a_column", [False, True])
def test_a_filter_nested_without_end_is_refused(under_a_column: bool) -> None:
    """Records have a limit of nesting, and so do filters, also those below one column."""
    tree: Any = eq(1) if under_a_column else {"n": 1}
    for _ in range(3000):
        tree = not_(tree)
    with pytest.raises(ValidationError):
        parse_filters("leads", {"n": tree} if under_a_column else tree)
