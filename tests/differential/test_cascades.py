"""Deletions below foreign keys of any shape: the twin and PostgreSQL refuse the same ones, and leave the same rows."""

from __future__ import annotations

from typing import Any

import psycopg
from hypothesis import example, given, strategies as st

from agent_persistence import InMemoryAdapter
from agent_persistence.filters import in_
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table
from tests.differential.examples import examples
from tests.differential.twins import Twins, canonical

NAMES = ["first", "second", "third", "fourth"]
links = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=2)
graphs = st.lists(links, min_size=2, max_size=4)
"""For each table the tables that it refers to, no later than itself, and whether a deletion cascades."""
rows = st.lists(st.tuples(st.integers(0, 3), st.lists(st.none() | st.integers(1, 4), max_size=2)), max_size=10)


def schema_of(graph: list[list[tuple[int, bool]]]) -> Schema:
    """Tables with an integer key and a column for each link."""
    tables = {}
    for place, targets in enumerate(graph):
        foreign_keys = [
            ForeignKey(f"link_{number}", NAMES[min(target, place)], on_delete_cascade=cascades)
            for number, (target, cascades) in enumerate(targets)
        ]
        columns = {"id": Column("integer", nullable=False)} | {
            key.columns[0]: Column("integer") for key in foreign_keys
        }
        tables[NAMES[place]] = Table(columns, foreign_keys=tuple(foreign_keys))
    return Schema(tables)


def ddl(schema: Schema) -> str:
    """The statements that make these tables."""
    statements = []
    for name, table in schema.tables.items():
        columns = ["id integer primary key"] + [
            f"{key.columns[0]} integer references {key.table}{' on delete cascade' if key.on_delete_cascade else ''}"
            for key in table.foreign_keys
        ]
        statements.append(f"create table cascades.{name} ({', '.join(columns)});")
    return f"create schema cascades; set search_path to cascades, public; {' '.join(statements)}"


def fitting(schema: Schema, drawn: list[tuple[int, list[int | None]]]) -> list[tuple[str, Row]]:
    """Rows with rising keys whose links lead to rows before them, or nowhere."""
    made: list[tuple[str, Row]] = []
    for place, targets in drawn:
        name = list(schema.tables)[place % len(schema.tables)]
        row: Row = {"id": sum(one == name for one, _ in made) + 1}
        for key, target in zip(schema.tables[name].foreign_keys, targets, strict=False):
            row[key.columns[0]] = target if (key.table, target) in [(one, told["id"]) for one, told in made] else None
        made.append((name, row))
    return made


DIAMOND = [(0, []), (1, [1]), (2, [1, 1])]


@example(graph=[[], [(0, True)], [(1, True), (0, False)]], drawn=DIAMOND, table=0, keys=[1])
@example(graph=[[], [(0, True)], [(1, True), (0, True)]], drawn=DIAMOND, table=0, keys=[1])
@given(graph=graphs, drawn=rows, table=st.integers(0, 3), keys=st.lists(st.integers(1, 3), min_size=1, max_size=3))
@examples(60)
def test_a_deletion_cascades_as_in_postgresql(
    twins: Twins, graph: list[list[tuple[int, bool]]], drawn: list[Any], table: int, keys: list[int]
) -> None:
    """Diamonds, chains and tables that refer to themselves; which constraint refuses is the same too."""
    schema = schema_of(graph)
    made, name = fitting(schema, drawn), NAMES[table % len(graph)]
    memory = InMemoryAdapter(schema=schema)
    twins.server.execute(ddl(schema))
    try:
        for one, row in made:
            twins.portal.call(memory.write, one, row)
            values = ", ".join(["%s"] * len(row))
            twins.server.execute(f"insert into {one} ({', '.join(row)}) values ({values})", *row.values())
        ours = twins.outcome(memory, lambda store: store.delete(name, {"id": in_(keys)}))
        constraint = ours.error[2] if ours.error else None
        assert constraint == refused_by_postgresql(twins, name, keys)
        for one in schema.tables:
            left = canonical(twins.server.execute(f"select * from {one} order by id"))
            assert canonical(twins.portal.call(memory.query, one, None, None, "id")) == left
    finally:
        twins.server.execute("drop schema cascades cascade; reset search_path")


def refused_by_postgresql(twins: Twins, table: str, keys: list[int]) -> str | None:
    """The name of the constraint that refuses the deletion."""
    try:
        twins.server.execute(f"delete from {table} where id = any(%s)", keys)
    except psycopg.errors.ForeignKeyViolation as error:
        return error.diag.constraint_name
    return None
