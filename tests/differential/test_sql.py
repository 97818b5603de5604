"""PostgreSQL itself judges the twin: the same filter by SQL, the same value into a column."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given, strategies as st

from agent_persistence import InMemoryAdapter
from agent_persistence.filters import eq, imatch, match
from agent_persistence.query.predicates import Filter
from agent_persistence.schema_registry import Column, Generated, Schema, Table
from tests.differential import strategies
from tests.differential.examples import examples
from tests.differential.twins import (
    Twins,
    canonical,
    check_against_postgresql,
    judged,
    query_of,
    read_by_postgresql,
    write_of,
)

TABLES = sorted(strategies.SCHEMA.tables)


@given(data=st.data(), table=st.sampled_from(TABLES))
@examples(80)
def test_a_filter_selects_what_postgresql_selects(twins: Twins, data: st.DataObject, table: str) -> None:
    """Every operator over every type, nested four deep, with operands of the wrong type too; order as PostgreSQL's."""
    declared = strategies.SCHEMA.tables[table]
    twins.load(table, data.draw(strategies.rows_of(declared, 8), label="rows"))
    either = strategies.filters_of(declared) | strategies.filters_of(declared, faults=True)
    for tree in data.draw(st.lists(either, min_size=1, max_size=8), label="filters"):
        order = data.draw(strategies.orders_of(declared), label="order")
        check_against_postgresql(twins, table, tree, order)


# --- values -----------------------------------------------------------------------------------------------------------

TYPES = [
    *strategies.VALUES,
    "smallint",
    "double precision",
    "numeric(5,1)",
    "character varying(3)",
    "integer[]",
    "numeric[]",
]
ONE_COLUMN = {
    name: Schema({"t": Table({"id": Column("bigint", default=Generated.IDENTITY), "c": Column(name)})})
    for name in TYPES
}
anything = st.one_of(*strategies.VALUES.values(), strategies.wrong, st.text("0123456789-+.:TZ eE_xX", max_size=20))


@given(name=st.sampled_from(TYPES), values=st.lists(anything, min_size=1, max_size=10), fitting=st.data())
@examples(50)
def test_a_value_is_stored_as_postgresql_stores_it(
    twins: Twins, name: str, values: list[Any], fitting: st.DataObject
) -> None:
    """`json_to_record` reads a record as PostgREST has it read; what it prints is what the twin hands out."""
    twins.tally.most = 0.1
    if name in strategies.VALUES:
        values = [*values, *fitting.draw(st.lists(strategies.VALUES[name], max_size=5))]
    for value in values:
        memory = InMemoryAdapter(schema=ONE_COLUMN[name])
        ours = twins.outcome(memory, write_of("t", {"c": value}))
        if not ours.refused:
            theirs = read_by_postgresql(twins, name, value)
            mine = ours.code or canonical(json.loads(ours.value or "")["c"])
            assert mine == theirs, (value, mine, theirs)


@pytest.mark.parametrize("name", ["date", "timestamptz", "boolean", "uuid", "numeric", "integer", "jsonb", "text[]"])
def test_a_text_is_read_as_postgresql_reads_it(twins: Twins, name: str) -> None:
    """As an operand: any text that the suite knows, compared with a column of the type."""
    twins.tally.most = 0.12 if name in ("date", "timestamptz") else 0.0
    twins.server.execute(f"create temporary table probe (id bigint, c {name})")
    try:
        for text in [*strategies.NASTY, *(value for value in strategies.WRONG if isinstance(value, str))]:
            memory = InMemoryAdapter(schema=ONE_COLUMN[name])
            ours = twins.outcome(memory, query_of("t", {"c": text}))
            if not ours.refused:
                theirs = judged(twins.server, "probe", _equal(text), {"c": name})
                assert (ours.code or []) == theirs, text
    finally:
        twins.server.execute("drop table probe")


def _equal(text: str) -> Filter:
    return strategies.bound("c", eq(text))


TEXT = ONE_COLUMN["text"]


@given(
    pattern=strategies.any_expressions,
    texts=st.lists(strategies.texts | st.text("abAÜü.-\n", max_size=5), min_size=1, max_size=6),
    ignore_case=st.booleans(),
)
@examples(40)
def test_a_regular_expression_matches_as_in_postgresql(
    twins: Twins, pattern: str, texts: list[str], ignore_case: bool
) -> None:
    """The one that is not valid is 2201B there and here; what means something else in Python is refused."""
    twins.tally.most = 0.5
    memory = InMemoryAdapter({"t": [{"c": text} for text in texts]}, schema=TEXT)
    condition = (imatch if ignore_case else match)(pattern)
    ours = twins.outcome(memory, lambda memory: memory.query("t", {"c": condition}, select=["c"]))
    if ours.refused:
        return
    assert (ours.code or ours.value) == matched_by_postgresql(twins, pattern, texts, "~*" if ignore_case else "~")


def matched_by_postgresql(twins: Twins, pattern: str, texts: list[str], operator: str) -> str | None:
    """The texts that match, in their order, or the SQLSTATE."""
    rows = "unnest(%s::text[]) with ordinality as r(c, n)"
    try:
        return canonical(twins.server.execute(f"select c from {rows} where c {operator} %s order by n", texts, pattern))
    except psycopg.Error as error:
        return error.sqlstate
