"""The in-memory search against pgvector without an index: the same keys, the same similarities, the same order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import anyio
import psycopg
import pytest
from hypothesis import given, strategies as st

from agent_persistence import AdapterError, InMemoryAdapter
from agent_persistence.ext.embeddings import MemorySearch
from agent_persistence.rag.ranking.vectors import Vector, written
from tests.differential.examples import examples
from tests.rag.hybrid.conftest import DIMENSIONS
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

WHOLE = st.lists(st.integers(-9, 9), min_size=DIMENSIONS, max_size=DIMENSIONS)
SINGLE = st.lists(st.floats(-1, 1, width=32), min_size=DIMENSIONS, max_size=DIMENSIONS).filter(
    lambda vector: Vector.of(vector).square > 1e-15  # of a smaller one, pgvector's sum of squares may vanish
)
EXACT = """
select id, 1 - (embedding <=> %s) as similarity from notes
where embedding is not null and (embedding <=> %s) <> 'NaN' order by embedding <=> %s, id
"""


def memory(*vectors: Sequence[float] | None, **options: Any) -> InMemoryAdapter:
    """Notes with the keys 1, 2, … and these vectors."""
    rows = [
        {"id": number, "content": f"note {number}", "embedding": vector and written(vector)}
        for number, vector in enumerate(vectors, 1)
    ]
    search = MemorySearch(lambda: adapter, "notes", **options)
    adapter = InMemoryAdapter({"notes": rows}, functions=search.functions())
    return adapter


def found(adapter: InMemoryAdapter, query: Sequence[float], **arguments: Any) -> list[dict[str, Any]]:
    async def call() -> Any:
        return await called(adapter, "match_notes", {"query_embedding": written(query), "match_count": 99, **arguments})

    result: list[dict[str, Any]] = anyio.run(call)
    return result


def stored(server: LocalServer, vectors: Sequence[Sequence[float]]) -> None:
    server.reset()
    values = ", ".join("('x', %s)" for _ in vectors)
    server.execute(f"insert into notes (content, embedding) values {values}", *map(written, vectors))


@examples(60)
@given(vectors=st.lists(WHOLE, min_size=1, max_size=12), query=WHOLE)
def test_whole_numbers_give_the_same_to_the_last_bit(
    searchable: LocalServer, vectors: list[list[float]], query: list[float]
) -> None:
    """Single precision is exact there: keys, order, ties and similarities are pgvector's."""
    stored(searchable, vectors)
    exact = searchable.execute(EXACT, *[written(query)] * 3)
    assert found(memory(*vectors), query) == exact
    assert searchable.execute("select * from match_notes(%s, match_count => 99)", written(query)) == exact


@examples(60)
@given(vectors=st.lists(SINGLE, min_size=1, max_size=12), query=SINGLE)
def test_other_numbers_give_the_same_within_single_precision(
    searchable: LocalServer, vectors: list[list[float]], query: list[float]
) -> None:
    """pgvector adds up in single precision; this library in double."""
    stored(searchable, vectors)
    exact = {row["id"]: row["similarity"] for row in searchable.execute(EXACT, *[written(query)] * 3)}
    here = found(memory(*vectors), query)
    assert {row["id"]: row["similarity"] for row in here} == {
        key: pytest.approx(similarity, abs=1e-5) for key, similarity in exact.items()
    }
    ordered = [exact[row["id"]] for row in here]
    assert all(one >= other - 1e-5 for one, other in pairwise(ordered))


def test_the_threshold_is_pgvectors() -> None:
    """Above it, not at it."""
    adapter = memory([1] + [0] * 7, [0, 1] + [0] * 6, [1, 1] + [0] * 6)
    assert [row["id"] for row in found(adapter, [1] + [0] * 7, match_threshold=0)] == [1, 3]


async def called(adapter: InMemoryAdapter, function: str, arguments: dict[str, Any]) -> Any:
    """What the function returns."""
    return await adapter.call(function, arguments)


async def test_a_vector_that_was_updated_is_the_one_that_is_found() -> None:
    """Nothing is kept of what a row held before."""
    adapter = memory([1] + [0] * 7, [0, 1] + [0] * 6)
    query = {"query_embedding": written([1] + [0] * 7), "match_count": 1}
    assert await called(adapter, "match_notes", query) == [{"id": 1, "similarity": 1}]
    await adapter.update("notes", {"embedding": written([-1] + [0] * 7)}, {"id": 1})
    await adapter.update("notes", {"embedding": written([2] + [0] * 7)}, {"id": 2})
    assert await called(adapter, "match_notes", query) == [{"id": 2, "similarity": 1}]


async def test_a_row_without_a_vector_is_found_by_its_words_alone() -> None:
    """And fused as the database fuses."""
    adapter = memory([1] + [0] * 7, None)
    told = {"query_embedding": written([1] + [0] * 7), "query_text": '"2"'}
    assert await called(adapter, "hybrid_search_notes", told) == [
        {"id": 1, "score": pytest.approx(1 / 51)},
        {"id": 2, "score": pytest.approx(1 / 51)},
    ]
    weighted = await called(adapter, "hybrid_search_notes", {**told, "full_text_weight": 2, "rrf_k": 60})
    assert weighted[0] == {"id": 2, "score": pytest.approx(2 / 61)}
    assert await called(adapter, "hybrid_search_notes", {**told, "match_count": 0}) == []


async def test_a_tenants_search_finds_its_own_rows_alone() -> None:
    """And is not there without the tenant, nor with one where there are none."""
    rows = [{"id": key, "content": "x", "embedding": "[1]", "owner": owner} for key, owner in ((1, "a"), (2, "b"))]
    search = MemorySearch(lambda: adapter, "notes", tenant="owner")
    adapter = InMemoryAdapter({"notes": rows}, functions=search.functions())
    told = {"query_embedding": "[1]", "tenant": "b"}
    assert await called(adapter, "match_notes", told) == [{"id": 2, "similarity": 1}]
    assert [row["id"] for row in await called(adapter, "hybrid_search_notes", {**told, "query_text": "x"})] == [2]
    for refused, arguments in ((adapter, {"query_embedding": "[1]"}), (memory(), told)):
        with pytest.raises(AdapterError) as caught:
            await refused.call("match_notes", arguments)
        assert caught.value.code == "PGRST202"


@pytest.mark.parametrize("query", ["[1,0,0]", "[1,"])
async def test_a_question_of_another_size_or_form_is_refused_as_by_the_database(
    searchable: LocalServer, query: str
) -> None:
    """With its SQLSTATE."""
    stored(searchable, [[1] + [0] * 7])
    with pytest.raises(psycopg.Error) as there:
        searchable.execute("select * from match_notes(%s::text::vector)", query)
    with pytest.raises(AdapterError) as here:
        await called(memory([1] + [0] * 7), "match_notes", {"query_embedding": query})
    assert here.value.code == there.value.sqlstate


async def test_a_vector_that_was_written_as_a_list_is_found() -> None:
    """The database takes it too."""
    rows = [{"id": 1, "content": "x", "embedding": [1, 0]}]
    adapter = InMemoryAdapter({"notes": rows}, functions=MemorySearch(lambda: adapter, "notes").functions())
    assert await called(adapter, "match_notes", {"query_embedding": "[1,0]"}) == [{"id": 1, "similarity": 1}]
