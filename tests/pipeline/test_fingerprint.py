"""Two operations have one fingerprint only if they are equal in type and value."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence.operations import Call, Count, GetColumns, Operation, Query, Read
from agent_persistence.pipeline.caching.fingerprint import fingerprint
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import AllOf, AnyOf, Comparison, Not, Operator, TextQuery
from tests.doubles import Lying, shown

ALIKE: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, 10**20, 1e20),
    *("", "1", "1.0", "true", "n", "s1:a", "(0:", "é", "\ud800", Decimal(1), Decimal("1.0"), Decimal("1E+2")),
]
VALUES: Final = st.recursive(
    st.sampled_from(ALIKE),
    lambda values: st.one_of(
        st.lists(values, max_size=3),
        st.lists(values, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["", "a", "b", "1"]), values, max_size=3),
    ),
    max_leaves=4,
)
NAMES: Final = st.sampled_from(["a", "b", "ab", "c->>d"])
COMPARISONS: Final = st.builds(
    Comparison, st.sampled_from(Operator), st.one_of(VALUES, st.builds(TextQuery, NAMES, NAMES)), st.none() | NAMES
)
FILTERS: Final = st.recursive(
    COMPARISONS,
    lambda terms: st.one_of(
        st.builds(AllOf, st.lists(terms, max_size=2).map(tuple)),
        st.builds(AnyOf, st.lists(terms, max_size=2).map(tuple)),
        st.builds(Not, terms),
    ),
    max_leaves=3,
)
ORDERS: Final = st.lists(st.builds(Order, NAMES, st.booleans(), st.sampled_from([None, "first", "last"])), max_size=2)
NUMBERS: Final = st.sampled_from([None, 0, 1, 2])
OPERATIONS: Final[st.SearchStrategy[Operation]] = st.one_of(
    st.builds(Read, NAMES, VALUES, NAMES),
    st.builds(Count, NAMES, st.none() | FILTERS),
    st.builds(GetColumns, NAMES),
    st.builds(Call, NAMES, st.dictionaries(NAMES, VALUES, max_size=2)),
    st.builds(
        Query,
        NAMES,
        st.none() | FILTERS,
        NUMBERS,
        ORDERS.map(tuple),
        st.none() | st.lists(NAMES, max_size=2).map(tuple),
        st.sampled_from([0, 1]),
    ),
)


def _same(one: Any, other: Any) -> bool:
    """Equality in type and value, down to the last leaf, and of numbers down to how they are written."""
    if type(one) is not type(other):
        return False
    if is_dataclass(one):
        return all(_same(getattr(one, part.name), getattr(other, part.name)) for part in fields(one) if part.compare)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (float, Decimal)):
        return str(one) == str(other)
    return bool(one == other)


def _variants(value: Any) -> Iterator[Any]:
    """The value with one leaf replaced by one that is easily taken for it."""
    if isinstance(value, (list, tuple)):
        yield (list if isinstance(value, tuple) else tuple)(value)
        for index, item in enumerate(value):
            for other in _variants(item):
                yield type(value)([*value[:index], other, *value[index + 1 :]])
    elif isinstance(value, dict):
        for key, item in value.items():
            for other in _variants(item):
                yield {**value, key: other}
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            if part.compare:
                for other in _variants(getattr(value, part.name)):
                    yield _replaced(value, part.name, other)
    else:
        yield from (other for other in ALIKE if other == value or str(other) == str(value))


def _replaced(value: Any, name: str, other: Any) -> Any:
    made = deepcopy(value)
    object.__setattr__(made, name, other)
    return made


@settings(max_examples=400, deadline=None)
@given(OPERATIONS, OPERATIONS)
def test_two_operations_share_a_fingerprint_only_if_they_are_the_same(one: Operation, other: Operation) -> None:
    """Whatever they are made of."""
    assert (fingerprint(one) == fingerprint(other)) is _same(one, other)


@settings(max_examples=200, deadline=None)
@given(OPERATIONS)
def test_no_leaf_can_be_replaced_by_one_that_looks_like_it(operation: Operation) -> None:
    """1 by True, 1.0 by Decimal(1), None by a text, a list by a tuple."""
    for other in _variants(operation):
        assert (fingerprint(operation) == fingerprint(other)) is _same(operation, other)


def test_equality_would_not_tell_them_apart() -> None:
    """Control: `==`, and so a key made of the operations themselves, takes these for the same."""
    asked = [Read("leads", value) for value in (1, True, 1.0)]
    assert asked[0] == asked[1] == asked[2]
    assert len({fingerprint(read) for read in asked}) == 3


@settings(max_examples=100, deadline=None)
@given(OPERATIONS)
def test_an_equal_operation_has_the_same_fingerprint(operation: Operation) -> None:
    """Also as another object."""
    assert fingerprint(operation) == fingerprint(deepcopy(operation))


@pytest.mark.parametrize("value", [Lying("a", "b"), {1, 2}, object(), bytearray(b"a")], ids=shown)
def test_what_is_no_plain_json_has_none(value: Any) -> None:
    """Only code of the user's own can put it there, and it may say that it equals anything."""
    assert fingerprint(Read("leads", value)) is None
    assert fingerprint(Call("f", {"a": [{"b": value}]})) is None


def test_an_integer_that_python_refuses_to_print_has_one() -> None:
    """It may come from a middleware."""
    assert fingerprint(Read("leads", 10**5000)) not in (None, fingerprint(Read("leads", 10**5000 + 1)))
