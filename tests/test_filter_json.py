"""Filters that are spelt as JSON say what those in Python say, and what is wrong with them is told with its place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import (
    ValidationError,
    adjacent,
    all_of,
    any_of,
    contained_by,
    contains,
    eq,
    exists,
    gt,
    gte,
    ilike,
    imatch,
    in_,
    is_false,
    is_null,
    is_true,
    like,
    lt,
    lte,
    match,
    ne,
    not_,
    not_in,
    not_null,
    overlaps,
    parse_filters,
    text_search,
)
from agent_persistence.query.filters import Filters, parse_filters as canonical
from agent_persistence.query.predicates import TRUE, fold

SAME: list[tuple[dict[str, Any], Filters]] = [
    ({"status": "new"}, {"status": "new"}),
    ({"status": "new", "score": 1}, {"status": "new", "score": 1}),
    ({"deleted_at": None}, {"deleted_at": None}),
    ({"score": {"gte": 0.5, "lt": 0.9}}, {"score": all_of(gte(0.5), lt(0.9))}),
    ({"s": {"eq": 1}}, {"s": eq(1)}),
    ({"s": {"ne": 1}}, {"s": ne(1)}),
    ({"s": {"gt": 1}}, {"s": gt(1)}),
    ({"s": {"lte": 1}}, {"s": lte(1)}),
    ({"s": {"in": ["a", "b"]}}, {"s": in_(["a", "b"])}),
    ({"s": {"in_": ["a", "b"]}}, {"s": in_(["a", "b"])}),
    ({"s": {"not_in": [1]}}, {"s": not_in([1])}),
    ({"s": {"like": "a%"}}, {"s": like("a%")}),
    ({"s": {"ilike": "a%"}}, {"s": ilike("a%")}),
    ({"s": {"match": "^a"}}, {"s": match("^a")}),
    ({"s": {"imatch": "^a"}}, {"s": imatch("^a")}),
    ({"s": {"contains": ["a"]}}, {"s": contains(["a"])}),
    ({"s": {"contains": {"a": 1}}}, {"s": contains({"a": 1})}),
    ({"s": {"contained_by": ["a"]}}, {"s": contained_by(["a"])}),
    ({"s": {"overlaps": ["a"]}}, {"s": overlaps(["a"])}),
    ({"s": {"overlaps": "[1,5)", "adjacent": "[5,9)"}}, {"s": all_of(overlaps("[1,5)"), adjacent("[5,9)"))}),
    ({"s": {"eq": ["a"]}}, {"s": eq(["a"])}),
    ({"s": {"text_search": "a b"}}, {"s": text_search("a b")}),
    (
        {"s": {"text_search": {"query": "a b", "kind": "phrase", "config": "english"}}},
        {"s": text_search("a b", kind="phrase", config="english")},
    ),
    ({"s": {"is_null": True}}, {"s": is_null()}),
    ({"s": {"not_null": True}}, {"s": not_null()}),
    ({"s": {"is_true": True}}, {"s": is_true()}),
    ({"s": {"is_false": True}}, {"s": is_false()}),
    ({"any_of": [{"a": 1}, {"b": {"gt": 2}}]}, any_of({"a": 1}, {"b": gt(2)})),
    ({"a": 1, "any_of": [{"b": 1}, {"c": 1}]}, all_of({"a": 1}, any_of({"b": 1}, {"c": 1}))),
    ({"all_of": [{"a": 1}, {"a": {"lt": 2}}]}, all_of({"a": 1}, {"a": lt(2)})),
    ({"not": {"a": 1}}, not_({"a": 1})),
    ({"custom->>city": "Rome"}, {"custom->>city": "Rome"}),
    ({"a": 1, "exists": {"table": "notes"}}, all_of({"a": 1}, exists("notes"))),
    ({"not": {"exists": {"table": "notes", "filters": {"b": {"gt": 2}}}}}, not_(exists("notes", {"b": gt(2)}))),
    (
        {"exists": {"table": "notes", "via": "owner", "many": True, "filters": {"exists": {"table": "tags"}}}},
        exists("notes", exists("tags"), via="owner", many=True),
    ),
    ({"exists": True}, {"exists": True}),
    ({"exists": {"is_true": True}}, {"exists": is_true()}),
]


@pytest.mark.parametrize(("told", "meant"), SAME, ids=[json.dumps(told) for told, _ in SAME])
def test_json_says_what_python_says(told: dict[str, Any], meant: Filters) -> None:
    """Also where it is the text that a client sent."""
    expected = canonical("t", meant)
    assert expected is not None
    assert parse_filters(told) == fold(expected)
    assert parse_filters(json.dumps(told)) == fold(expected)


def test_an_empty_object_selects_every_row() -> None:
    """As no filter does."""
    assert parse_filters({}) == TRUE
    assert canonical("t", parse_filters({})) is None


def test_numbers_of_a_text_stay_exact() -> None:
    """A bigint and a numeric are compared as they were written."""
    assert parse_filters('{"n": 9007199254740993}') == canonical("t", {"n": 9007199254740993})
    precise = "0.12345678901234567890"
    assert parse_filters(f'{{"n": {{"gte": {precise}}}}}') == canonical("t", {"n": gte(Decimal(precise))})


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"score": {"gtee": 1}}, "score: unknown operator 'gtee': did you mean 'gte'?"),
        ({"score": {}}, "score: an operator is needed here"),
        ({"score": {"gte": None}}, "score: gte(None) is never true"),
        ({"score": {"gte": [1]}}, "score: gte compares one value"),
        ({"status": ["new"]}, 'write {"in": […]}'),
        ({"status": {"in": "new"}}, "status: in_ takes a list"),
        ({"deleted": {"is_null": False}}, 'write {"is_null": true}'),
        ({"any_of": {"a": 1}}, "any_of: a list of filters is needed"),
        ({"any_of": []}, "any_of: a list of filters is needed, with at least one in it, not an empty list"),
        ({"any_of": [{"a": 1}, {"b": {"x": 1}}]}, "any_of[1].b: unknown operator 'x'"),
        ({"any_of": ["a"]}, "any_of[0]: an object"),
        ({"not": [{"a": 1}]}, "not: an object"),
        ({"s": {"text_search": {"kind": "plain"}}}, 'text_search takes a text or {"query"'),
        ({"s": {"text_search": {"query": "a", "kind": "odd"}}}, "kind is one of"),
        ({"exists": {"table": 5}}, "exists: exists names a related table"),
        ({"exists": {"table": "notes", "filter": {}}}, "exists: unknown key 'filter': did you mean 'filters'?"),
        ({"exists": {"table": "notes", "filters": {"a": {"x": 1}}}}, "exists.filters.a: unknown operator 'x'"),
        ({"exists": {"table": "notes", "many": 1}}, "many is True or False"),
        ({"s": {"__class__": 1}}, "unknown operator '__class__'"),
        ({"s": {"in": [1, None]}}, "in_(None) is never true"),
        ({"s": "a\0b"}, "NUL"),
        ({"s": float("nan")}, "not a JSON number"),
        ([{"a": 1}], "an object such as"),
        ("[]", "an object such as"),
        ("nonsense", "this is no JSON"),
        ('{"a": NaN}', "this is no JSON"),
        (5, "not a number"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told_with_its_place(told: Any, problem: str) -> None:
    """And what would be right."""
    with pytest.raises(ValidationError) as refused:
        parse_filters(told)
    assert problem in str(refused.value)


def test_every_problem_is_told_at_once() -> None:
    """A model mends them in one more call."""
    with pytest.raises(ValidationError) as refused:
        parse_filters({"a": {"x": 1}, "b": ["c"], "any_of": [{"d": {"gte": None}}]})
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["a", "b", "any_of[0].d"]


@pytest.mark.parametrize("deep", [200, 5_000, 200_000])
def test_what_is_nested_too_deeply_is_refused(deep: int) -> None:
    """With our error, not one of Python's stack."""
    with pytest.raises(ValidationError):
        parse_filters('{"not":' * deep + "{}" + "}" * deep)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
documents = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "gte", "in", "any_of", "not", "text_search", ""]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(documents)
def test_whatever_is_sent_is_a_filter_or_refused(told: Any) -> None:
    """Nothing else is raised."""
    try:
        parse_filters(told)
    except ValidationError as refused:
        refused.for_model()
