"""The same rows and the same query through both adapters: the same rows in the same order, or the same refusal."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from agent_persistence.adapters.supabase import SupabaseAdapter
from agent_persistence.query.predicates import comparisons
from tests.differential import strategies
from tests.differential.examples import examples
from tests.differential.twins import Outcome, Twins, query_of

pytestmark = pytest.mark.parametrize("twins", ["supabase", "postgres"], indirect=True)
TABLES = sorted(strategies.SCHEMA.tables)
pages = st.fixed_dictionaries({"limit": st.none() | st.integers(1, 6), "offset": st.integers(0, 3)}) | st.just(
    {"limit": 0}
)
"""No offset beside a limit of 0: the two real ones differ."""


@given(data=st.data(), table=st.sampled_from(TABLES))
@examples(60)
def test_a_query_gives_the_same_rows_in_the_same_order(twins: Twins, data: st.DataObject, table: str) -> None:
    """Filters, several order keys, limit, offset and projection; ties are broken by the key."""
    declared = strategies.SCHEMA.tables[table]
    twins.load(table, data.draw(strategies.rows_of(declared, 8), label="rows"))
    either = st.none() | strategies.filters_of(declared) | strategies.filters_of(declared, faults=True)
    for _ in range(data.draw(st.integers(1, 4), label="queries")):
        filters = data.draw(either, label="filters")
        order = data.draw(strategies.orders_of(declared), label="order")
        page = data.draw(pages, label="page")
        select = data.draw(st.none() | st.lists(st.sampled_from([*declared.columns]), min_size=1, unique=True))
        ours, theirs = twins.both(query_of(table, filters, order_by=order, select=select, **page))
        if not ours.refused and not twins.excuses(declared, filters):
            agree(ours, theirs, len(list(comparisons(filters))))


def test_a_limit_of_0_with_an_offset_is_refused_as_postgrest_refuses_it(twins: Twins) -> None:
    """PGRST103; over SQL there is no row."""
    ours, theirs = twins.both(query_of("clients", limit=0, offset=1))
    assert ours.code == "PGRST103"
    assert theirs == (ours if isinstance(twins.real, SupabaseAdapter) else Outcome("[]"))


@given(data=st.data(), table=st.sampled_from(TABLES))
@examples(10)
def test_a_count_is_the_same(twins: Twins, data: st.DataObject, table: str) -> None:
    """As is reading by any column."""
    declared = strategies.SCHEMA.tables[table]
    twins.load(table, data.draw(strategies.rows_of(declared, 5), label="rows"))
    filters = data.draw(strategies.filters_of(declared), label="filters")
    ours, theirs = twins.both(lambda adapter: adapter.count(table, filters))
    if not ours.refused and not twins.excuses(declared, filters):
        agree(ours, theirs, len(list(comparisons(filters))))


def agree(ours: Outcome, theirs: Outcome, comparisons: int) -> None:
    """The same value, or the same error; of several faulty comparisons, either may be the one that is told."""
    if ours.error and theirs.error and comparisons > 1:
        assert ours.error[0] == theirs.error[0]
    else:
        assert ours == theirs
