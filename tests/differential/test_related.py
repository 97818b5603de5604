"""Filters on related rows through both adapters: the same rows, whatever the filters within them ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent_persistence import SupabaseAdapter, all_of, exists, not_
from agent_persistence.query.predicates import Filter, existence, fold
from agent_persistence.schema.links import linked
from tests.differential import strategies
from tests.differential.examples import examples
from tests.differential.test_queries import agree
from tests.differential.twins import Twins, query_of

pytestmark = pytest.mark.parametrize("twins", ["supabase", "postgres"], indirect=True)
TABLES = ("clients", "leads", "conversations", "messages")
NEXT = {
    "clients": ("leads",),
    "leads": ("clients", "conversations"),
    "conversations": ("leads", "messages"),
    "messages": ("conversations",),
}


def conditions(table: str, depth: int, *, anywhere: bool) -> st.SearchStrategy[Filter]:
    """Filters of the table that ask for related rows, themselves or negated, and beside these of its own columns."""
    own = strategies.filters_of(strategies.SCHEMA.tables[table])
    if not depth:
        return own
    about = st.sampled_from(NEXT[table]).flatmap(
        lambda other: conditions(other, depth - 1, anywhere=anywhere).map(lambda inner: exists(other, inner))
    )
    terms = st.lists(about | about.map(not_) | own, min_size=1, max_size=3)
    joined = terms.map(lambda drawn: all_of(*drawn))
    return joined | terms.map(lambda drawn: not_(all_of(*drawn))) if anywhere else joined


def filters_within(table: str, predicate: Filter) -> Iterator[tuple[str, Filter]]:
    yield table, predicate
    for each in existence(predicate):
        yield from filters_within(each.table, each.term)


@given(data=st.data(), table=st.sampled_from(TABLES))
@examples(40)
def test_the_same_rows_are_found_by_what_is_related_to_them(twins: Twins, data: st.DataObject, table: str) -> None:
    """To parents and children, up to two tables away, negated; over SQL below any_of and not_ too; and the same count.

    PostgREST has no such conditions among alternatives: both refuse, or neither.
    """
    schema = strategies.SCHEMA
    twins.tally.most = 0.1  # filters of up to three tables have more values that the twin does not follow
    twins.load_all({name: data.draw(strategies.rows_of(schema.tables[name], 4), label=name) for name in TABLES})
    over_rest = isinstance(twins.real, SupabaseAdapter)
    drawn: Any = data.draw(conditions(table, data.draw(st.integers(1, 2)), anywhere=not over_rest), label="filters")
    filters = fold(linked(schema, table, drawn))
    if any(twins.excuses(schema.tables[name], one) for name, one in filters_within(table, filters)):
        return
    for call in (query_of(table, filters, order_by=["id"]), lambda adapter: adapter.count(table, filters)):
        ours, theirs = twins.both(call)
        if not (ours.refused or theirs.refused):
            agree(ours, theirs, 2)
