"""What the differential suite draws: rows of the reference schema, filters over every operator, orders and pages."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from agent_persistence.filters import (
    all_of,
    any_of,
    contained_by,
    contains,
    eq,
    ilike,
    imatch,
    in_,
    is_false,
    is_null,
    is_true,
    like,
    match,
    ne,
    not_,
    not_in,
    not_null,
    overlaps,
    parse_filters,
)
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Comparison, Filter, Operator
from agent_persistence.query.records import encode_value
from agent_persistence.schema_registry import Column, Table, default_schema

SCHEMA = default_schema()

# --- values -----------------------------------------------------------------------------------------------------------

NASTY = [
    *("", " ", "a", "A", "b", "ab", "AB", "a b", " a ", "a,b", 'say "hi"', '"', "'", "(x)", ")", "{d}", "{a,b}", "[1]"),
    *("back\\slash", "\\", "100%", "%", "under_score", "_", "a.b:c", "eq.x", "line\nend", "\n", "tab\t", "\r\n", "&=?"),
    *("null", "NULL", "true", "t", "5", "5.0", "007", "1e3", "NaN", "-", "+1", "#", ";--", "$1", "a$", "^a"),
    *("ß", "ẞ", "SS", "ü", "Ü", "e\u0301", "é", "İ", "i", "I", "ı", "ς", "Σ", "σ", "K", "k", "ſ", "s"),
    *("漢字", "🚀", "👩‍👩‍👧", "عربى", "\u200f", "\u00a0", "\ufeff", "\x7f", "\x01"),
]
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.sampled_from(NASTY) | st.text("aAb%_\\ ,\"'(){}.ü", max_size=4) | st.text(letters, max_size=6)
keys = st.integers(0, 5).map(lambda number: str(UUID(int=number << 96 | 0x4000_8000_0000_0000_0000)))
uuids = keys | st.uuids().map(str)
integers = st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31), 50, 24])
bigints = integers | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
numerics = (
    st.integers(-3, 3)
    | st.sampled_from([0.1, 0.2, 0.30000000000000004, 0.5, 1.5, -0.0, 1e16, 1e-7, 2**53 + 1, 10**30])
    | st.decimals(-10, 10, places=2).map(str)
    | st.sampled_from(["0.1234567890123456789", "12345678901234567890.5", "0.10000000000000000000", "1e-400"])
    | st.sampled_from(["1.0", "1.00", "0.1", "0.10", "-0.00", "1e3", "NaN", "Infinity", "-Infinity", "1e-20"])
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
)
money = st.decimals(-1000, 1000, places=3).map(str) | st.integers(-3, 3) | st.sampled_from([0.005, 1.005, "NaN"])
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=3, minutes=30))])
moments = st.datetimes(datetime(2025, 12, 31), datetime(2026, 1, 2), timezones=zones) | st.sampled_from(  # noqa: DTZ001
    [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 0, 120000, tzinfo=UTC)]
)
times = moments.map(datetime.isoformat) | st.sampled_from(["2026-01-01", "2026-01-01 12:00:00.1+02", "infinity"])
dates = st.dates(datetime(2026, 1, 1).date(), datetime(2026, 1, 5).date()).map(str)  # noqa: DTZ001
scalars = st.none() | st.booleans() | bigints | st.floats(-2, 2, width=16) | texts
documents = st.recursive(
    scalars | st.sampled_from(["a", "b", 1, 1.0, 0, {}, []]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "aa", "ü", '"']), inner, max_size=3)
    ),
    max_leaves=5,
)
arrays = st.lists(st.none() | st.sampled_from(["a", "b", "a,b", '"', "\\", "", "null", "{d}", " "]) | texts, max_size=3)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "uuid": uuids,
    "integer": integers,
    "bigint": bigints,
    "numeric": numerics,
    "numeric(12,2)": money,
    "boolean": st.booleans(),
    "date": dates,
    "timestamptz": times,
    "text[]": arrays,
    "jsonb": documents,
}
WRONG: list[Any] = [
    *("", " ", "x", "no", "tr", " T ", "o", "5.0", " 5 ", "1_0", "0x1F", "+5", "1e3", "99999999999999999999", "1e400"),
    *(
        "NaN",
        "inf",
        "2026-02-30",
        "2026-13-01",
        "2026-1-2",
        "2026-01-01T24:00:00",
        "2026-01-01T23:59:60",
        "yesterday-ish",
    ),
    *("2026-01-01T12:00:00+16", "2026-01-01T25:00", "2026-01-01T12:00:00.1234567", "infinity", "epoch", "2026-01-01x"),
    *("{5F0C1A52-58A4-4D0E-9D3A-0C2F4A6B8E10}", "5f0c1a5258a44d0e9d3a0c2f4a6b8e10", "[]", "{}", '{"a": 1}', "{a,null}"),
    *(True, False, 0, 1, 2, 5, 1.5, 5.0, -0.0, 1e16, 2**31, 2**63, 10**20, 1e300),
]
wrong = st.sampled_from(WRONG)


def value_of(type_name: str) -> st.SearchStrategy[Any]:
    """JSON values of the type, NULL apart."""
    return VALUES[type_name].filter(lambda value: value is not None)


def record_of(table: Table, names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Values for all of these columns; NULL where it is allowed."""
    return st.fixed_dictionaries({name: column_value(table.columns[name]) for name in names})


def column_value(column: Column) -> st.SearchStrategy[Any]:
    """Values that the column may hold."""
    values = st.sampled_from(column.one_of) if column.one_of else value_of(column.type)
    return values | st.none() if column.nullable else values


def rows_of(table: Table, size: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows with every column given, no two with one key."""
    unique = tuple(partial(_unique_key, columns) for columns in (table.primary_key, *table.unique))
    return st.lists(record_of(table, list(table.columns)), max_size=size, unique_by=unique)


def _unique_key(columns: tuple[str, ...], row: Mapping[str, Any]) -> tuple[Any, ...]:
    """NULL equals nothing."""
    return tuple(object() if row[name] is None else row[name] for name in columns)


# --- filters ----------------------------------------------------------------------------------------------------------


def _operand(value: Any) -> Any:
    return encode_value("filters", value, "operand")


ORDERING = (Operator.EQ, Operator.NE, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
_any_patterns = st.text("ab%_AÜü\\ .", max_size=4) | st.sampled_from(["_", "a_%", "%", "\\_", "%b%", "a%", "%b"])
patterns = _any_patterns.filter(lambda text: (len(text) - len(text.rstrip("\\"))) % 2 == 0)
"""A lone backslash at the end is refused before any I/O."""
any_expressions = st.text("ab.AÜ[]()^$*+?|-", max_size=6) | st.sampled_from(
    [
        "^a",
        "a$",
        "[a-b]",
        "(a|b)+",
        "a.b",
        "\\.",
        "b?a",
        "[^a]",
        "(a|)",
        "a||b",
        "[b-a]",
        "*a",
        "$*",
        "a**",
        "[]a]",
        "ü",
        "[Ü]",
    ]
)


def _compiles(pattern: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except re.error:
        return False
    return True


expressions = any_expressions.filter(_compiles)
"""Whether PostgreSQL meets an invalid one over few rows is its planner's choice; test_sql.py tests them one by one."""


def _text_of(type_name: str) -> st.SearchStrategy[Any]:
    """Operands as they are compared with a column: scalars, documents and arrays as their text."""
    if type_name == "jsonb":
        return documents.map(_json) | st.sampled_from(["x", '"a"', "1.0", "[1, 2]", "null"])
    if type_name == "text[]":
        return arrays.map(array_text) | st.sampled_from(["{}", "{a}", "{a,b}", "x", "{a,}", "{ a , b }", '{"a}'])
    return value_of(type_name)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def array_text(items: list[Any]) -> str:
    quoted = ["null" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items]
    return "{" + ",".join(quoted) + "}"


def comparison(column: str, type_name: str, faults: bool) -> st.SearchStrategy[Filter]:
    """One comparison that the column's type has, with an operand of the type or, with `faults`, of another."""
    operands = _text_of(type_name)
    if faults:
        operands = operands | wrong
    one = operands.map(_operand)
    simple = st.builds(Comparison, st.sampled_from(ORDERING), one)
    found = [simple, simple, st.just(is_null()), st.just(not_null())]
    if type_name != "text[]" or faults:
        found.append(st.lists(operands, max_size=3).map(in_))
        found.append(st.lists(operands, max_size=3).map(not_in))
    if type_name == "boolean" or faults:
        found.append(st.sampled_from([is_true(), is_false()]))
    if type_name == "text" or faults:
        found += [patterns.map(like), patterns.map(ilike), expressions.map(match), expressions.map(imatch)]
    if type_name == "text[]":
        found += [arrays.map(eq), arrays.map(ne)]
    if type_name == "text[]" or faults:
        found += [arrays.map(contains), arrays.map(contained_by), arrays.map(overlaps)]
    if type_name == "jsonb" or faults:
        collections: st.SearchStrategy[Any] = documents.filter(lambda value: isinstance(value, (list, dict)))
        found += [collections.map(lambda value: contains(value)), collections.map(lambda value: contained_by(value))]
    return st.one_of(found).map(lambda condition: bound(column, condition))


def bound(column: str, condition: Filter) -> Filter:
    """The condition on the column."""
    tree = parse_filters("t", {column: condition})
    assert tree is not None
    return tree


def readable(table: Table) -> st.SearchStrategy[str]:
    """Names of columns and, as often, declared paths."""
    columns = st.sampled_from(sorted(table.columns))
    return columns | st.sampled_from(table.paths) if table.paths else columns


def type_of(table: Table, name: str) -> str:
    """The type of a column, or of what a path reads."""
    column = table.column(name)
    assert column is not None
    return column.type


def filters_of(table: Table, *, faults: bool = False) -> st.SearchStrategy[Filter]:
    """Filters over the table's columns and paths, nested up to four deep."""
    leaves = readable(table).flatmap(lambda name: comparison(name, type_of(table, name), faults))
    tree: st.SearchStrategy[Filter] = leaves
    for _ in range(3):
        inner = tree
        tree = (
            leaves
            | st.lists(inner, max_size=3).map(lambda terms: all_of(*terms))
            | st.lists(inner, max_size=3).map(lambda terms: any_of(*terms))
            | inner.map(not_)
        )
    return tree


def orders_of(table: Table) -> st.SearchStrategy[list[Order]]:
    """Up to three keys in either direction, and the primary key at the end, so that the order is total."""
    keys_drawn = st.lists(st.builds(Order, readable(table), st.booleans()), max_size=3)
    return keys_drawn.map(lambda drawn: [*drawn, Order("id")])
