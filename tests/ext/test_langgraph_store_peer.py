"""The store beside LangGraph's own over PostgreSQL: random histories give the same, but for what is listed here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, Literal

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.postgres import PostgresStore

from agent_persistence import InMemoryAdapter, Schema, create_persistence_agent
from agent_persistence.ext.langgraph import Store
from tests.ext.backends import allowing
from tests.ext.test_langgraph_store import TABLES, plain
from tests.server import LocalServer

EXAMPLES = 400 if os.environ.get("AGENT_PERSISTENCE_DEEP") else 25

NAMESPACES = st.lists(st.sampled_from(["a", "b", "ab", "a,", '"', "%", "_"]), min_size=1, max_size=3).map(tuple)
PLAIN = st.sampled_from([1, 2, 1.5, "1", "b", "é", True, None, [1]])
VALUES = st.dictionaries(st.sampled_from(["x", "y"]), PLAIN | st.just({"x": 1}), max_size=2)
KEYS = st.sampled_from(["1", "2", "é", ""])
SOUGHT = PLAIN.filter(lambda value: value is not None)
EQUALITIES = st.dictionaries(
    st.sampled_from(["x", "y"]), SOUGHT | (SOUGHT | st.just({"x": 1})).map(lambda value: {"$eq": value}), max_size=2
)
TTLS = st.sampled_from([None, 1, 1000])
KINDS: st.SearchStrategy[Literal["prefix", "suffix"]] = st.sampled_from(["prefix", "suffix"])
PATHS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2).map(tuple)
OPS = st.one_of(
    st.tuples(NAMESPACES, KEYS, VALUES | st.none(), TTLS).map(
        lambda given: PutOp(*given[:3], index=False, ttl=given[3])
    ),
    st.tuples(NAMESPACES, KEYS, st.booleans()).map(lambda given: GetOp(*given)),
    st.tuples(NAMESPACES.map(lambda labels: labels[:2]) | st.just(()), EQUALITIES, st.just(1000)).map(
        lambda given: SearchOp(*given)
    ),
    st.tuples(
        st.lists(st.tuples(KINDS, PATHS).map(lambda given: MatchCondition(*given)), max_size=2).map(tuple),
        st.sampled_from([None, 1, 2]),
        st.just(1000),
    ).map(lambda given: ListNamespacesOp(*given)),
)


@pytest.fixture(scope="module")
def theirs(local_server: LocalServer) -> Iterator[PostgresStore]:
    with PostgresStore.from_conn_string(local_server.database_url) as store:
        store.setup()
        yield store
    local_server.execute("drop table if exists store, store_migrations")


def fresh(local_server: LocalServer) -> Store:
    """A store of ours, and theirs without an item."""
    local_server.execute("delete from store")
    adapter = InMemoryAdapter(schema=Schema(TABLES))
    return Store(create_persistence_agent(adapter=adapter, log=False, **allowing(TABLES)))


def shown(result: Any) -> Any:
    """A result to be compared; namespaces are sorted there as one text, in the order of the database's language."""
    if isinstance(result, list) and result and isinstance(result[0], tuple):
        return sorted(result)
    return plain(result)


@settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(OPS, min_size=2, max_size=5), min_size=2, max_size=5))
def test_random_histories_give_what_langgraphs_store_over_postgresql_gives(
    theirs: PostgresStore, local_server: LocalServer, batches: list[list[Op]]
) -> None:
    """Puts, deletions, reads, searches and lists of namespaces, some with a time to live."""
    ours = fresh(local_server)

    async def found() -> list[Any]:
        return [[*map(shown, await ours.abatch(batch))] for batch in batches]

    assert anyio.run(found) == [[*map(shown, theirs.batch(batch))] for batch in batches]


@pytest.mark.parametrize(
    ("value", "condition", "here", "there"),
    [
        pytest.param({"x": "b"}, {"$gt": 1}, False, True, id="texts are not compared with numbers"),
        pytest.param({"x": [1]}, {"$gt": 1}, False, True, id="a list has no order"),
        pytest.param({"x": 10}, {"$lt": 9}, False, True, id="numbers are compared as numbers"),
        pytest.param({}, {"$ne": 1}, True, False, id="what is missing is unequal"),
        pytest.param({}, {"$eq": None}, True, False, id="what is missing equals None"),
        pytest.param({}, None, True, False, id="what is missing is None"),
        pytest.param({"x": {"x": 1, "y": 2}}, {"x": 1}, True, "Unsupported operator: x", id="a nested mapping"),
        pytest.param({"x": "\0"}, {"$eq": "\0"}, True, "cannot be converted to text", id="NUL"),
    ],
)
def test_what_differs_on_purpose(
    theirs: PostgresStore, local_server: LocalServer, value: dict[str, Any], condition: Any, here: bool, there: Any
) -> None:
    """Each is a line of docs/langgraph.md; where LangGraph's store changes, this fails."""
    ours = fresh(local_server)
    batch: list[Op] = [PutOp(("n",), "k", value), SearchOp(("n",), {"x": condition})]
    assert bool([ours.batch([op]) for op in batch][1][0]) is here
    if isinstance(there, str):
        with pytest.raises(Exception, match=there):
            [theirs.batch([op]) for op in batch]
    else:
        assert bool([theirs.batch([op]) for op in batch][1][0]) is there


def test_what_has_expired_is_shown_there_until_it_is_swept(theirs: PostgresStore, local_server: LocalServer) -> None:
    """Here it is not."""
    found = []
    for store in (fresh(local_server), theirs):
        store.put(("n",), "k", {}, ttl=0.001)
        time.sleep(0.1)
        found.append(store.get(("n",), "k", refresh_ttl=False) is not None)
    assert found == [False, True]


def test_the_order_of_keys_stays_here(theirs: PostgresStore, local_server: LocalServer) -> None:
    """The values there are jsonb."""
    found = []
    for store in (fresh(local_server), theirs):
        store.put(("n",), "k", {"bb": 1, "a": 2})
        item = store.get(("n",), "k")
        assert item is not None
        found.append([*item.value])
    assert found == [["bb", "a"], ["a", "bb"]]
