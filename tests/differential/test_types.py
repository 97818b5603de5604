"""Every type of PostgreSQL's catalogue: the twin stores, prints and compares its values as PostgreSQL does, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_persistence import InMemoryAdapter
from agent_persistence.backends.memory.types import pg_type
from agent_persistence.filters import eq, gt, gte, ilike, in_, like, lt, match, not_in
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from agent_persistence.schema.types import BUILT_IN, base_name
from agent_persistence.schema_registry import Column, Generated, Schema, Table
from tests.differential import strategies
from tests.differential.twins import Twins, canonical, check_against_postgresql, read_by_postgresql, write_of

CATALOGUE = """
select typname::text as name, format_type(oid, null) as formatted, (typarray <> 0) as has_array from pg_type
where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm', 'e', 'd')
  and not (typelem <> 0 and typcategory = 'A' and typname like '\\_%')
order by 1"""
FOLLOWED = {
    *("bool", "int2", "int4", "int8", "numeric", "float4", "float8", "text", "varchar", "bpchar", "uuid", "json"),
    *("jsonb", "date", "time", "timestamp", "timestamptz", "bytea", "inet", "cidr"),
}
MODIFIED = [
    *("character(4)", "char(2)", "char", "character", "bpchar", "varchar(3)", "numeric(5)", "numeric(5,1)", "_int4"),
    *("TEXT", "pg_catalog.int4", "real[]", "time[]", "inet[]", "bytea[]", "character(3)[]", "cidr[]", "_bpchar"),
    *("time(3)", "timestamp(3) with time zone", "timestamptz(3)", "bit(3)", "bit varying(5)", "interval(3)"),
    *("interval day to second", '"char"', "integer[][]", "integer[3]", "national character(3)", "nchar(3)"),
    "float(3)",
]
SAMPLES: list[Any] = [
    *strategies.WRONG,
    *("\\x", "\\xAb 0f", "\\xa", "\\xzz", "\\\\", "\\001z", "\\400", "\\1", "\\xab\n", "\\xDEADBEEF", "ü"),
    *("10.0.0.1", "10.0.0.1/8", "10.0.0.0/8", "10.0.0.1/32", "10.0.0.1/33", "::1", "::1/64", "fe80::/10"),
    *("::ffff:10.0.0.1", "::10.0.0.1", "::ffff:a00:1", "1::", "1:0:0:2::", "::/0", "0.0.0.0/0", "10.1", "10"),
    *("10.0.0.1/08", "10.0.0.256", "::g", "fe80::1%eth0", "1.2.3.4/255.255.0.0", " 10.0.0.1", "1.2.3.4.5", "a"),
    *("::ffff:0:0/96", "::1.2.3.4/128", "1:2:3:4:5:6:7:8", "1:0:3:0:5:0:7:0", "1:0:0:4:5:0:0:8", "::2:3:4:5:6:7:8"),
    *("2001:DB8::1", "010.0.0.1", "::0:1", "$.a"),
    *("10:00", "10:00:00", "1:2:3", "23:59:60", "24:00", "24:00:01", "25:00", "10:60", "10:00:61", "10:00:00.1234567"),
    *("23:59:59.9999999", "10:00:00.5", " 10:00 ", "10:00+02", "10:00 PM", "T10:00", "noon", "allballs", "now", "10"),
    *("2026-01-02 10:00:00+00", "1 day", "P1DT2H", "[1,2)", "{[1,2)}", "(1,2)", "12.50", "$12", "101", "0102030405ab"),
    *("08:00:2b:01:02:03", "a b", "ab  ", "abcd", "abcde", "abcd ", "abc", "   ", "漢字漢字", "'a' & 'b'", "<a/>"),
    *("0.1", "1e6", "999999", "1000000", "123456.7", "1e-5", "0.0001", "16777217", "3.4028235e38", "3.5e38", "1e-45"),
    *("1e-46", "0.30000001192092896", "-0", "NaN", "-inf", "1.17549435e-38", "7.0385307e-26", "1.00000017881393432617"),
    *("1.00000017881393432618", "1.00000017881393421514", "8.5899346e9", "5e-45", "1.", ".5", "1_000", "0x1p3"),
    *([], ["a"], [1, None], {"a": 1}, 1.1, 16777217, 0.1, 1e39),
]


def of_one_column(name: str) -> Schema:
    return Schema({"t": Table({"id": Column("bigint", default=Generated.IDENTITY), "c": Column(name)})})


def compare(twins: Twins, name: str) -> int:
    """How many of the samples the twin takes or refuses as PostgreSQL does; it may leave out the others."""
    compared, schema = 0, of_one_column(name)
    for value in SAMPLES:
        ours = twins.outcome(InMemoryAdapter(schema=schema), write_of("t", {"c": value}))
        if not ours.refused:
            compared += 1
            mine = ours.code or canonical(json.loads(ours.value or "")["c"])
            assert mine == read_by_postgresql(twins, name, value), (name, value)
    return compared


def test_every_type_of_the_catalogue_is_followed_or_refused(twins: Twins) -> None:
    """By both its names and as an array; none passes without being looked at."""
    twins.tally.most = 1.0
    types = twins.server.execute(CATALOGUE)
    assert {row["name"] for row in types} >= FOLLOWED
    for row in types:
        names = {row["formatted"], f"_{row['name']}", f"{row['formatted']}[]"}
        for name in names if row["name"] == "char" else {*names, row["name"]}:  # in SQL, char is character(1)
            assert base_name(name) in BUILT_IN, f"PostgreSQL has a type {name}"
            assert (pg_type(name).kind != "refused") is (row["name"] in FOLLOWED), name


@pytest.mark.parametrize("name", [*sorted(FOLLOWED), *MODIFIED])
def test_a_value_of_any_type_is_stored_as_postgresql_stores_it_or_refused(twins: Twins, name: str) -> None:
    """The same JSON comes back, or the same code; of a type that is followed not a few are compared."""
    twins.tally.most = 1.0
    is_followed = pg_type(name).kind != "refused"
    compared = compare(twins, name) / len(SAMPLES)
    assert compared > 0.15 if is_followed else compared == 0


def test_a_type_that_is_refused_holds_null_alone(twins: Twins) -> None:
    """And says so by the error for what the twin does not follow; a default of such a type is one of its values."""
    twins.tally.most = 1.0
    memory = InMemoryAdapter(schema=of_one_column("interval"))
    assert not twins.outcome(memory, write_of("t", {"c": None})).refused
    assert twins.outcome(memory, write_of("t", {"c": "1 day"})).refused
    assert twins.outcome(memory, lambda adapter: adapter.query("t", {"c": "1 day"})).refused


@pytest.mark.parametrize("name", ["mood", "public.mood", "vector(3)", "vector", "citext", "odd.mood[]"])
def test_a_type_that_is_not_postgresqls_own_keeps_values_as_they_are(twins: Twins, name: str) -> None:
    """Enums and types of extensions: nothing is known about them, and no filter on them is followed."""
    memory = InMemoryAdapter(schema=of_one_column(name))
    for value in ("glad", [1, 2], "5"):
        told = twins.outcome(memory, write_of("t", {"c": value})).value
        assert json.loads(told or "")["c"] == value
    twins.tally.most = 1.0
    assert twins.outcome(memory, lambda adapter: adapter.query("t", {"c": "glad"})).refused


OPERANDS: list[Any] = [value for value in SAMPLES if isinstance(value, str)]
CONDITIONS: list[Filter] = [
    *(condition(value) for value in OPERANDS for condition in (eq, gt, lt)),
    *(in_([value, OPERANDS[0]]) for value in OPERANDS),
    *(not_in([value]) for value in OPERANDS),
    *(like("a%"), ilike("A% "), match("^a"), like("ab_ "), gte("2")),
]


@pytest.mark.parametrize("name", ["real", "time", "bytea", "inet", "cidr", "character(4)", "bpchar"])
def test_values_of_a_type_are_compared_and_ordered_as_in_postgresql(twins: Twins, name: str) -> None:
    """By every comparison, with operands that are values of the type and others."""
    twins.tally.most = 0.8
    rows = [{"id": f"{place:03}", "c": value} for place, value in enumerate(storable(twins, name))]
    assert len(rows) > 5
    schema = Schema({"probe": Table({"id": Column("text"), "c": Column(name)})})
    twins.memory, before = InMemoryAdapter({"probe": rows}, schema=schema), twins.memory
    twins.schema, declared = schema, twins.schema
    twins.server.execute(f"create temporary table probe (id text, c {name})")
    try:
        for row in rows:
            twins.server.execute("insert into probe values (%s, %s)", row["id"], row["c"])
        for condition in CONDITIONS:
            tree = strategies.bound("c", condition)
            check_against_postgresql(twins, "probe", tree, [Order("c"), Order("id")])
    finally:
        twins.memory, twins.schema = before, declared
        twins.server.execute("drop table probe")


def storable(twins: Twins, name: str) -> list[Any]:
    """The texts that both take for values of the type."""
    schema = of_one_column(name)
    told = {value: twins.outcome(InMemoryAdapter(schema=schema), write_of("t", {"c": value})) for value in OPERANDS}
    return [value for value, outcome in told.items() if outcome.value is not None]
