"""Conditions of the command line mean the filters that they read as."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import typer

from agent_persistence.cli.conditions import NAMES, parse_conditions, parse_orders
from agent_persistence.filters import Filters, parse_filters
from agent_persistence.query import filters
from agent_persistence.query.ordering import asc, desc
from agent_persistence.query.predicates import Comparison, comparisons
from agent_persistence.schema_registry import default_schema

SCHEMA = default_schema()


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("status=new", {"status": "new"}),
        ("status!=new", {"status": filters.ne("new")}),
        ("score>=0.5", {"score": filters.gte(Decimal("0.5"))}),
        ("score>1", {"score": filters.gt(1)}),
        ("score<=-2", {"score": filters.lte(-2)}),
        ("score<2", {"score": filters.lt(2)}),
        ("score.gte=0.5", {"score": filters.gte(Decimal("0.5"))}),
        ("is_qualified=true", {"is_qualified": True}),
        ("status=true", {"status": "true"}),
        ("phone=007", {"phone": "007"}),
        ("company=a=b", {"company": "a=b"}),
        ("company=", {"company": ""}),
        ("unknown=5", {"unknown": "5"}),
        ("email.ilike=%@example.org", {"email": filters.ilike("%@example.org")}),
        ("notes.text_search=red fox", {"notes": filters.text_search("red fox")}),
        ("status.in=new,won", {"status": filters.in_(["new", "won"])}),
        ('status.not_in=["a,b", "c"]', {"status": filters.not_in(["a,b", "c"])}),
        ("score.in=1,2.5", {"score": filters.in_([1, Decimal("2.5")])}),
        ("tags.contains=vip,eu", {"tags": filters.contains(["vip", "eu"])}),
        ('custom.contains={"role": "cto"}', {"custom": filters.contains({"role": "cto"})}),
        ("tags.overlaps=vip", {"tags": filters.overlaps(["vip"])}),
        ('"display Name"=x', {"display Name": "x"}),
        ('"a ""b"""->>role=x', {'a "b"->>role': "x"}),
        ("phone.is_null", {"phone": None}),
        ("phone.not_null", {"phone": filters.not_null()}),
        ("is_qualified.is_true", {"is_qualified": filters.is_true()}),
        ("custom->>role=cto", {"custom->>role": "cto"}),
        ("custom->address->>city!=Oslo", {"custom->address->>city": filters.ne("Oslo")}),
        ("custom->>age>5", {"custom->>age": filters.gt("5")}),
    ],
)
def test_a_condition_is_the_filter_it_reads_as(told: str, meant: Filters) -> None:
    """Signs and names of operators; numbers and booleans where the column is declared as such, else text."""
    parsed = parse_conditions("leads", [told], SCHEMA)
    assert parsed is not None
    expected = parse_filters("leads", meant)
    assert expected is not None
    assert [_shown(leaf) for leaf in comparisons(parsed)] == [_shown(leaf) for leaf in comparisons(expected)]


def _shown(leaf: Comparison) -> tuple[Any, ...]:
    return leaf.column, leaf.operator, leaf.operand, type(leaf.operand)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("score", "write COLUMN=VALUE"),
        ("score~5", "write COLUMN=VALUE"),
        ("=5", "write COLUMN=VALUE"),
        ("", "write COLUMN=VALUE"),
        ("two words=5", "write COLUMN=VALUE"),
        ("score.near=5", "near is no operator; operators are eq, ne"),
        ("score.gte", "gte takes a value"),
        ("score.is_null=5", "is_null takes no value"),
        ("score.gte>5", "between gte and its value stands ="),
        ("email.like=a*", "PostgREST reads * as %"),
    ],
)
def test_a_condition_that_is_none_is_a_wrong_call(told: str, problem: str) -> None:
    """The message says what is wrong and what would be right."""
    with pytest.raises(typer.BadParameter, match=problem.replace("*", r"\*")):
        parse_conditions("leads", [told], SCHEMA)


def test_all_conditions_hold_together() -> None:
    """Two on one column are a range."""
    parsed = parse_conditions("leads", ["score>=0.2", "score<0.9", "status=new"], SCHEMA)
    assert parsed is not None
    assert [leaf.column for leaf in comparisons(parsed)] == ["score", "score", "status"]


def test_no_condition_is_no_filter() -> None:
    """And selects every row."""
    assert parse_conditions("leads", [], SCHEMA) is None


def test_the_names_are_those_of_the_filters() -> None:
    """An operator that the filters get is one here, too."""
    public = {name for name, made in vars(filters).items() if callable(made) and made.__module__ == filters.__name__}
    own = {name for name in public if name[0].islower() and not name.startswith(("parse_", "all_", "any_", "not_("))}
    assert {name.rstrip("_") for name in own} - {"equalities", "exists", "not"} == set(NAMES)


def test_orders_descend_where_a_minus_stands() -> None:
    """As in URLs of many services."""
    assert parse_orders("-score, name") == [desc("score"), asc("name")]
    assert parse_orders(None) is None
