"""LangGraph's store over each back end: its own rules, and random histories beside LangGraph's store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import anyio
import pytest
from hypothesis import Phase, given, settings, strategies as st
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Op, PutOp, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore

from agent_persistence import InMemoryAdapter, Schema, ValidationError, create_persistence_agent
from agent_persistence.ext.embeddings import NonSemanticEmbedder
from agent_persistence.ext.langgraph import Store
from tests.ext.backends import BackEnd, allowing

TABLES = Store.tables()


@asynccontextmanager
async def opened(back_end: BackEnd, **options: Any) -> AsyncIterator[Store]:
    async with back_end.agent(TABLES) as agent:
        yield Store(agent, **options)


def keys(found: Sequence[Item]) -> list[str]:
    return [item.key for item in found]


@pytest.mark.asyncio
async def test_a_value_comes_back_exactly(back_end: BackEnd) -> None:
    """With the order of its keys, NUL, great numbers, and keys and labels that other stores take for patterns."""
    value = {"z": "a\0b", "a": 1e22, "big": 2**70, "nested": {"y": [1, None, True], "x": "\ud800"}, "é": ""}
    async with opened(back_end) as store:
        await store.aput(("a_b%", "ü*,\"'\\"), "", value)
        await store.aput(("a_b%", "ü*"), "k", {"other": 1})
        found = await store.aget(("a_b%", "ü*,\"'\\"), "")
        below = await store.asearch(("a_b%", "ü*"))
        others = await store.asearch(("a_b",))
    assert found is not None
    assert [*found.value.items()] == [*value.items()]
    assert [*found.value["nested"]] == ["y", "x"]
    assert keys(below) == ["k"]
    assert others == []


@pytest.mark.asyncio
async def test_times_are_aware_and_a_creation_stays(back_end: BackEnd) -> None:
    """Putting a key again changes when it was updated."""
    async with opened(back_end) as store:
        await store.aput(("n",), "k", {"a": 1})
        first = await store.aget(("n",), "k")
        await store.aput(("n",), "k", {"a": 2})
        second = await store.aget(("n",), "k")
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at >= first.created_at
    assert second.created_at.utcoffset() == timedelta(0)


@pytest.mark.asyncio
async def test_reads_of_a_batch_see_what_was_there_before_it(back_end: BackEnd) -> None:
    """And of several puts of a key the last counts, also when it deletes."""
    async with opened(back_end) as store:
        await store.aput(("n",), "k", {"a": 0})
        results = await store.abatch(
            [
                PutOp(("n",), "k", {"a": 1}),
                GetOp(("n",), "k"),
                PutOp(("n",), "k", {"a": 2}),
                SearchOp(("n",)),
                PutOp(("n",), "gone", {"a": 1}),
                PutOp(("n",), "gone", None),
                GetOp(("n",), "none"),
            ]
        )
        assert results[0] is None
        assert isinstance(results[1], Item)
        assert results[1].value == {"a": 0}
        assert isinstance(results[3], list)
        assert [item.value for item in results[3] if isinstance(item, SearchItem)] == [{"a": 0}]
        assert results[6] is None
        assert keys(await store.asearch(("n",))) == ["k"]
        found = await store.aget(("n",), "k")
    assert found is not None
    assert found.value == {"a": 2}


@pytest.mark.asyncio
async def test_two_batches_that_meet_lose_nothing(back_end: BackEnd) -> None:
    """Each put of a key that only one of them writes is there, in whatever order they come."""
    async with opened(back_end) as store:
        first = [PutOp(("n",), f"{number}", {"by": 1}) for number in (*range(20), 100)]
        second = [PutOp(("n",), f"{number}", {"by": 2}) for number in (100, *range(39, 19, -1))]
        async with anyio.create_task_group() as group:
            group.start_soon(store.abatch, first)
            group.start_soon(store.abatch, second)
        found = await store.asearch(("n",), limit=100)
    assert sorted(keys(found), key=int) == [*map(str, (*range(40), 100))]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"v": {"$gt": 1}}, {"two", "float"}),
        ({"v": {"$gte": "a", "$lt": "c"}}, {"text"}),
        ({"v": {"$lte": 2}}, {"one", "two", "float"}),
        ({"v": {"$eq": True}}, {"true"}),
        ({"v": 1}, {"one"}),
        ({"v": None}, {"null", "missing"}),
        ({"v": {"$ne": 1}}, {"two", "float", "text", "true", "null", "missing", "nested"}),
        ({"v": {"a": 1}}, {"nested"}),
        ({"v": {"a": 2}}, set()),
        ({"v": [1, 2]}, set()),
        ({"v": {"$gt": 1}, "w": 1}, set()),
    ],
)
@pytest.mark.asyncio
async def test_a_filter_compares_what_has_an_order_and_raises_for_nothing(
    back_end: BackEnd, wanted: dict[str, Any], found: set[str]
) -> None:
    """Numbers with numbers, texts with texts; the rest does not match."""
    several: dict[str, dict[str, Any]] = {
        "one": {"v": 1},
        "two": {"v": 2},
        "float": {"v": 1.5},
        "text": {"v": "b"},
        "true": {"v": True},
        "null": {"v": None},
        "missing": {},
        "nested": {"v": {"a": 1, "b": 2}},
    }
    async with opened(back_end) as store:
        await store.abatch([PutOp(("n",), key, value) for key, value in several.items()])
        assert {*keys(await store.asearch(("n",), filter=wanted))} == found


@pytest.mark.asyncio
async def test_what_cannot_be_stored_or_is_not_known_is_refused(back_end: BackEnd) -> None:
    """Before anything is written."""
    async with opened(back_end) as store:
        wrong: list[Op] = [
            PutOp(("n",), "k", {"a": {1: "x"}}),
            PutOp(("n",), "k", {"a": float("nan")}),
            PutOp(("n",), "k", {"a": object()}),
            SearchOp(("n",), {"a": {"$regex": "x"}}),
            SearchOp(("n",), limit=-1),
        ]
        for op in wrong:
            with pytest.raises(ValidationError):
                await store.abatch([PutOp(("n",), "good", {}), op])
        assert await store.asearch(("n",)) == []


@pytest.mark.asyncio
async def test_namespaces_are_listed_by_whole_labels(back_end: BackEnd) -> None:
    """Cut to a depth, without repetition, then counted."""
    async with opened(back_end) as store:
        names = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("ab", "b"), ("z",)]
        await store.abatch([PutOp(name, f"{number}", {}) for name in names for number in range(3)])
        assert await store.alist_namespaces() == sorted(names)
        assert await store.alist_namespaces(prefix=("a",)) == names[:3]
        assert await store.alist_namespaces(suffix=("b",)) == [("ab", "b")]
        assert await store.alist_namespaces(prefix=("*", "b")) == [*names[:2], names[3]]
        assert await store.alist_namespaces(max_depth=2, limit=2, offset=1) == [("a", "x"), ("ab", "b")]


@pytest.mark.asyncio
async def test_a_search_is_not_cut_by_the_servers_cap(back_end: BackEnd) -> None:
    """1,100 items are more than one answer of a hosted project holds."""
    async with opened(back_end) as store:
        await store.abatch([PutOp(("n",), f"{number:04}", {"odd": number % 2 == 1}) for number in range(1100)])
        assert len(await store.asearch(("n",), limit=2000)) == 1100
        assert len(await store.asearch(("n",), limit=2000, filter={"odd": True})) == 550
        odd = await store.asearch(("n",), limit=3, offset=2, filter={"odd": True})
        assert keys(odd) == ["0005", "0007", "0009"]
        assert await store.alist_namespaces() == [("n",)]


@pytest.mark.asyncio
async def test_what_has_expired_is_not_shown_and_is_swept(back_end: BackEnd) -> None:
    """Reading gives it its time again, unless it is told not to."""
    now = datetime.now(UTC)
    async with opened(back_end, clock=lambda: now, ttl={"default_ttl": 10.0}) as store:
        await store.aput(("n",), "short", {})
        await store.aput(("n",), "long", {}, ttl=None)
        now += timedelta(minutes=9)
        assert await store.aget(("n",), "short") is not None
        now += timedelta(minutes=9)
        assert await store.aget(("n",), "short", refresh_ttl=False) is not None
        now += timedelta(minutes=2)
        assert await store.aget(("n",), "short") is None
        assert keys(await store.asearch(("n",))) == ["long"]
        assert await store.asweep() == 1
        assert await store.asweep() == 0


@pytest.mark.asyncio
async def test_a_question_finds_the_nearest_first(back_end: BackEnd) -> None:
    """What has no vector stands behind; a path of one's own is embedded in place of the store's."""
    embedder = NonSemanticEmbedder()
    async with opened(back_end, embedder=embedder, fields=["text"]) as store:
        await store.aput(("n",), "cats", {"text": "cats and dogs"})
        await store.aput(("n",), "money", {"text": "interest rates"})
        await store.aput(("n",), "none", {"text": "cats and dogs"}, index=False)
        await store.aput(("n",), "other", {"body": "cats and dogs", "text": "interest"}, index=["body"])
        found = await store.asearch(("n",), query="cats and dogs")
        some = await store.asearch(("n",), query="cats and dogs", limit=1, offset=1, filter={"text": "interest"})
    assert keys(found) == ["cats", "other", "money", "none"]
    assert [item.score is None for item in found] == [False, False, False, True]
    assert found[0].score == pytest.approx(1, abs=1e-6)
    assert some == []


def test_the_blocking_methods_do_the_same(back_end: BackEnd) -> None:
    """Without a loop."""

    async def agent_of() -> None:
        async with opened(back_end) as store:
            await anyio.to_thread.run_sync(used, store)

    def used(store: Store) -> None:
        store.put(("n",), "k", {"a": 1})
        assert store.search(("n",))[0].value == {"a": 1}
        store.delete(("n",), "k")
        assert store.get(("n",), "k") is None
        assert store.sweep() == 0

    anyio.run(agent_of)


NAMESPACES = st.lists(st.sampled_from(["a", "b", "ab", "a,", '"']), min_size=1, max_size=3).map(tuple)
VALUES = st.dictionaries(
    st.sampled_from(["x", "y"]), st.sampled_from([1, 2, "1", "b", True, None, [1], {"x": 1}]), max_size=2
)
KEYS = st.sampled_from(["1", "2", "é"])
EQUALITIES = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "b", 2, [1]]), max_size=1)
KINDS: st.SearchStrategy[Literal["prefix", "suffix"]] = st.sampled_from(["prefix", "suffix"])
OPS = st.one_of(
    st.tuples(NAMESPACES, KEYS, VALUES | st.none()).map(lambda given: PutOp(*given)),
    st.tuples(NAMESPACES, KEYS).map(lambda given: GetOp(*given)),
    st.tuples(NAMESPACES.map(lambda labels: labels[:2]) | st.just(()), EQUALITIES, st.just(1000)).map(
        lambda given: SearchOp(*given)
    ),
    st.tuples(
        st.lists(
            st.tuples(
                KINDS,
                st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2).map(tuple),
            ).map(lambda given: MatchCondition(*given)),
            max_size=2,
        ).map(tuple),
        st.sampled_from([None, 1, 2]),
        st.integers(1, 4),
        st.integers(0, 2),
    ).map(lambda given: ListNamespacesOp(*given)),
)


def plain(result: Any) -> Any:
    """A result without its times; of what was found, the order is not compared: LangGraph's is that of insertion."""
    if isinstance(result, Item):
        return result.namespace, result.key, result.value
    if isinstance(result, list) and result and isinstance(result[0], SearchItem):
        return sorted(map(plain, result), key=repr)
    return result


def expected(model: InMemoryStore, batch: Sequence[Op]) -> list[Any]:
    """What LangGraph's store gives, but for the namespaces without items, which it lists once they were asked for."""
    before = model.search((), limit=10_000)
    results = [*map(plain, model.batch(batch))]
    for place, op in enumerate(batch):
        if isinstance(op, ListNamespacesOp):
            fresh = InMemoryStore()
            fresh.batch([PutOp(item.namespace, item.key, item.value) for item in before])
            (results[place],) = fresh.batch([op])
    return results


@given(st.lists(st.lists(OPS, max_size=5), max_size=6))
@settings(max_examples=100)
def test_random_histories_give_what_langgraphs_own_store_gives(batches: list[list[Op]]) -> None:
    """In memory; what differs on purpose is listed in docs/langgraph.md and not among these operations."""

    async def compared() -> None:
        adapter = InMemoryAdapter(schema=Schema(TABLES))
        store, model = Store(create_persistence_agent(adapter=adapter, **allowing(TABLES))), InMemoryStore()
        for batch in batches:
            assert [*map(plain, await store.abatch(batch))] == expected(model, batch)

    anyio.run(compared)


def test_a_random_history_over_servers_gives_the_same(back_end: BackEnd) -> None:
    """A few longer ones, where each request costs time."""

    async def compared(batches: list[list[Op]]) -> None:
        async with opened(back_end) as store:
            model = InMemoryStore()
            for namespace in await store.alist_namespaces(limit=1000):
                await store.abatch([PutOp(namespace, key, None) for key in ("1", "2", "é")])
            for batch in batches:
                assert [*map(plain, await store.abatch(batch))] == expected(model, batch)

    @given(st.lists(st.lists(OPS, min_size=3, max_size=8), min_size=4, max_size=8))
    @settings(max_examples=10, phases=[Phase.generate])
    def histories(batches: list[list[Op]]) -> None:
        anyio.run(compared, batches)

    histories()
