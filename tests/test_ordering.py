"""The order of a query's rows."""

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import ValidationError, asc, desc
from agent_persistence.query.ordering import Order, parse_order
from tests.doubles import shown

A, B = Order("a"), Order("b")
A_DOWN, B_DOWN = Order("a", descending=True), Order("b", descending=True)


@pytest.mark.parametrize(
    ("order_by", "descending", "keys"),
    [
        (None, False, ()),
        (None, True, ()),
        ([], True, ()),
        ("a", False, (A,)),
        ("a", True, (A_DOWN,)),
        (asc("a"), True, (A,)),
        (desc("a"), False, (A_DOWN,)),
        (["a", desc("b")], False, (A, B_DOWN)),
        (("a", asc("b")), True, (A_DOWN, B)),
    ],
    ids=shown,
)
def test_descending_speaks_for_plain_names_only(order_by: Any, descending: bool, keys: tuple[Order, ...]) -> None:
    """The keys keep their order; `asc` and `desc` decide for themselves."""
    assert parse_order("leads", order_by, descending) == keys


@pytest.mark.parametrize("order_by", [5, b"a", {"a"}, {"a": "desc"}, iter(["a"]), ["a", 5], [["a"]], [None]], ids=shown)
def test_an_order_is_made_of_names(order_by: Any) -> None:
    """Anything else is refused, saying what an order looks like."""
    with pytest.raises(ValidationError, match=r"asc\(…\)"):
        parse_order("leads", order_by)


@pytest.mark.parametrize("descending", [1, 0, None, "desc"], ids=shown)
def test_descending_is_a_bool(descending: Any) -> None:
    """A truthy text such as "asc" must not sort downwards."""
    with pytest.raises(ValidationError, match="descending is True or False"):
        parse_order("leads", "a", descending)
