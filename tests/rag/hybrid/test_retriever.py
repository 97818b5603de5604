"""Retrieval through a façade: what is asked, what comes back, and that both adapters tell the same."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    ReadOnlyPersistenceFacade,
    RetryPolicy,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    UnsupportedOperationError,
)
from agent_persistence.exceptions import BackendUnavailableError
from agent_persistence.ext.embeddings import HybridRetriever, MemorySearch, NonSemanticEmbedder, Searched
from agent_persistence.query.records import Record, Row
from agent_persistence.rag.ranking.relevance import Relevance, Retriever
from agent_persistence.rag.ranking.vectors import written
from agent_persistence.redaction import Redaction, pseudonymize, scan
from tests.doubles import shown
from tests.rag.hybrid.conftest import DIMENSIONS
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

TEXTS = (
    "The budget for the roof is fixed",
    "We talked about the weather",
    "A new roof before winter",
    "Budget approved",
    "Nothing",
)
BOTH = Searched(match="match_notes", text="content")
ALLOWED = TablePolicy(read={"notes", "owned"}, call={"match_notes", "hybrid_search_notes"})
PATIENT = RetryPolicy(attempts=1, attempt_s=1000, read_deadline_s=1000)
Opened: TypeAlias = Callable[[Sequence[tuple[str, str | None]]], AbstractAsyncContextManager[ReadOnlyPersistenceFacade]]


class Embedding:
    """An embedder that tells what it was asked, and answers with one vector."""

    name = "scripted"
    dimensions = DIMENSIONS

    def __init__(self, *head: float) -> None:
        self.asked: list[str] = []
        self._vector = [*head, *[0.0] * (DIMENSIONS - len(head))]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [self._vector for _ in texts]


def vector(*head: float) -> str:
    return written([*head, *[0.0] * (DIMENSIONS - len(head))])


async def embedded(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """The texts with the vectors of the embedder for tests."""
    vectors = await NonSemanticEmbedder(DIMENSIONS).embed(texts)
    return [(text, written(numbers)) for text, numbers in zip(texts, vectors, strict=True)]


@asynccontextmanager
async def in_memory(notes: Sequence[tuple[str, str | None]]) -> AsyncIterator[ReadOnlyPersistenceFacade]:
    rows = [{"id": key, "content": text, "embedding": vector} for key, (text, vector) in enumerate(notes, 1)]
    adapter = InMemoryAdapter({"notes": rows}, functions=MemorySearch(lambda: adapter, "notes").functions())
    async with AsyncPersistenceService(adapter, policy=ALLOWED) as service:
        yield service.readonly()


def on(server: LocalServer) -> Opened:
    @asynccontextmanager
    async def opened(notes: Sequence[tuple[str, str | None]]) -> AsyncIterator[ReadOnlyPersistenceFacade]:
        for text, numbers in notes:
            server.execute("insert into notes (content, embedding) values (%s, %s)", text, numbers)
        adapter = SupabaseAdapter(server.url, server.service_key)
        async with AsyncPersistenceService(adapter, policy=ALLOWED, owns_adapter=True) as service:
            yield service.readonly()

    return opened


@pytest.fixture(params=["memory", "supabase"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """A read-only façade over notes with the keys 1, 2, …"""
    return in_memory if request.param == "memory" else on(request.getfixturevalue("searchable"))


class Functions(InMemoryAdapter):
    """Notes what is asked of it; the functions answer with the rows given."""

    def __init__(self, answers: Mapping[str, Any], rows: Mapping[str, list[Record]] | None = None) -> None:
        def answering(name: str) -> Callable[..., Any]:
            def function(**arguments: Any) -> Any:
                self.asked.append((name, arguments))
                return answers[name]

            return function

        self.asked: list[tuple[str, dict[str, Any]]] = []
        super().__init__(rows, functions={name: answering(name) for name in answers})

    async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
        self.asked.append((table, {}))
        return await super().query(table, *args, **options)


def facade(adapter: InMemoryAdapter, **policy: Any) -> ReadOnlyPersistenceFacade:
    policy = {"read": {"notes", "owned"}, "call": {"match_notes", "match_owned"}, **policy}
    return AsyncPersistenceService(adapter, policy=TablePolicy(**policy), retry=False).readonly()


def keys(found: Sequence[Relevance]) -> list[str | int]:
    return [one.key for one in found]


async def test_words_and_meaning_are_fused_alike_on_both_adapters(opened: Opened) -> None:
    """The record that is first in both rankings has the score 1."""
    retriever: Retriever = HybridRetriever({"notes": BOTH}, NonSemanticEmbedder(DIMENSIONS))
    async with opened(await embedded(TEXTS)) as source:
        found = await retriever.retrieve(source, "The budget for the roof?", tables=["notes"], limit=3)
    assert found[0] == Relevance("notes", 1, 1.0)
    assert len(found) == 3
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(0 < one.score <= 1 for one in found)


async def test_both_adapters_tell_the_same(searchable: LocalServer) -> None:
    """Keys, order and scores, whatever the limit."""
    retriever = HybridRetriever({"notes": BOTH}, NonSemanticEmbedder(DIMENSIONS))
    notes = await embedded(TEXTS)
    async with in_memory(notes) as here, on(searchable)(notes) as there:
        for query in ("budget", "the new roof", "weather or winter", "nothing of this", "-", "approved -budget"):
            for limit in (1, 2, 50):
                told = [
                    await retriever.retrieve(source, query, tables=["notes"], limit=limit) for source in (here, there)
                ]
                assert told[0] == told[1]


async def test_hybrid_functions_are_called_as_supabase_names_their_arguments(opened: Opened) -> None:
    """And find by words and by meaning in one request; of the scores of a database, only the order counts."""
    retriever = HybridRetriever({"notes": Searched(hybrid="hybrid_search_notes")}, Embedding(0, 1))
    async with opened([("a budget", vector(1)), ("a roof", vector(0, 1)), ("else", vector(-1, -1))]) as source:
        found = await retriever.retrieve(source, "roof", tables=["notes"], limit=2)
    assert [(one.key, one.score) for one in found] == [(2, 1.0), (1, pytest.approx(61 / 62))]


async def test_the_arguments_are_those_of_the_conventions() -> None:
    """What the question says besides words does not reach the query language."""
    adapter = Functions({"match_notes": [], "hybrid_search_owned": []})
    retriever = HybridRetriever(
        {
            "notes": Searched(match="match_notes", threshold=0.5, arguments={"lang": "en"}),
            "owned": Searched(hybrid="hybrid_search_owned"),
        },
        Embedding(1),
        semantic_weight=2,
        full_text_weight=0.5,
        candidates=7,
    )
    source = facade(adapter, call={"match_notes", "hybrid_search_owned"})
    assert await retriever.retrieve(source, 'A "roof" -now', tables=["notes", "owned"], limit=3) == []
    common = {"query_embedding": vector(1), "match_count": 7}
    assert sorted(adapter.asked, key=lambda call: call[0]) == [
        (
            "hybrid_search_owned",
            {
                **common,
                "query_text": '"a" or "roof" or "now"',
                "rrf_k": 60,
                "semantic_weight": 2,
                "full_text_weight": 0.5,
            },
        ),
        ("match_notes", {**common, "match_threshold": 0.5, "lang": "en"}),
    ]


async def test_similarities_compare_across_tables() -> None:
    """Two tables make one ranking, not two first places."""
    adapter = Functions(
        {
            "match_notes": [{"id": 1, "similarity": 0.9}, {"id": 2, "similarity": 0.2}],
            "match_owned": [{"id": 1, "similarity": 0.8}, {"id": "x", "similarity": 0.2}],
        }
    )
    retriever = HybridRetriever(
        {"notes": Searched(match="match_notes"), "owned": Searched(match="match_owned")}, Embedding(1)
    )
    found = await retriever.retrieve(facade(adapter), "?", tables=["owned", "notes"], limit=9)
    assert [(one.table, one.key) for one in found] == [("notes", 1), ("owned", 1), ("notes", 2), ("owned", "x")]
    assert [one.score for one in found] == [pytest.approx(61 / (60 + rank)) for rank in (1, 2, 3, 4)]


async def test_ties_are_in_the_order_of_table_and_key() -> None:
    """Whatever order a function told them in."""
    adapter = Functions({"match_notes": [{"id": key, "similarity": 0.5} for key in ("b", 2, "a", 1)]})
    retriever = HybridRetriever({"notes": Searched(match="match_notes")}, Embedding(1))
    assert keys(await retriever.retrieve(facade(adapter), "?", tables=["notes"], limit=9)) == [1, 2, "a", "b"]


async def test_words_alone_need_no_embedder() -> None:
    """Nor a function in the database."""
    rows: list[Record] = [{"id": key, "content": text} for key, text in enumerate(TEXTS, 1)]
    retriever = HybridRetriever({"notes": Searched(text="content")})
    found = await retriever.retrieve(facade(InMemoryAdapter({"notes": rows})), "budget?", tables=["notes"], limit=9)
    assert keys(found) == [4, 1]
    assert found[0].score == 1


async def test_a_weight_decides_which_side_is_heard() -> None:
    """Each alone gives its own order."""
    adapter = Functions(
        {"match_notes": [{"id": 2, "similarity": 0.9}, {"id": 1, "similarity": 0.1}]},
        {"notes": [{"id": 1, "content": "roof roof"}, {"id": 2, "content": "a roof and much else"}]},
    )
    for weights, order in (((1.0, 0.0), [2, 1]), ((0.0, 1.0), [1, 2])):
        retriever = HybridRetriever(
            {"notes": BOTH}, Embedding(1), semantic_weight=weights[0], full_text_weight=weights[1]
        )
        found = await retriever.retrieve(facade(adapter), "roof", tables=["notes"], limit=9)
        assert (keys(found), found[0].score) == (order, 1)


async def test_only_tables_that_are_asked_for_known_and_readable_are_searched() -> None:
    """The others have no results, and nobody is asked about them."""
    adapter = Functions({"match_notes": [{"id": 1, "similarity": 1}], "match_owned": [{"id": 1, "similarity": 1}]})
    embedder = Embedding(1)
    retriever = HybridRetriever(
        {"notes": Searched(match="match_notes"), "owned": Searched(match="match_owned")}, embedder
    )
    for tables, readable in ((["notes"], {"notes", "owned"}), (["notes", "owned", "leads"], {"notes"})):
        adapter.asked.clear()
        found = await retriever.retrieve(facade(adapter, read=readable), "?", tables=tables, limit=5)
        assert [one.table for one in found] == ["notes"]
        assert [name for name, _ in adapter.asked] == ["match_notes"]
    embedder.asked.clear()
    assert await retriever.retrieve(facade(adapter, read=set()), "?", tables=["notes"], limit=5) == []
    assert embedder.asked == []


@pytest.mark.parametrize(("query", "limit"), [("", 5), (" \n", 5), ("roof", 0)])
async def test_an_empty_question_asks_nobody(query: str, limit: int) -> None:
    """And finds nothing."""
    adapter, embedder = Functions({"match_notes": []}), Embedding(1)
    retriever = HybridRetriever({"notes": BOTH}, embedder)
    assert await retriever.retrieve(facade(adapter), query, tables=["notes"], limit=limit) == []
    assert (adapter.asked, embedder.asked) == ([], [])


async def test_a_question_without_words_is_asked_by_meaning_alone() -> None:
    """A full-text query of no words would be no query."""
    adapter = Functions({"match_notes": [{"id": 1, "similarity": 1}]})
    retriever = HybridRetriever({"notes": BOTH}, Embedding(1))
    assert keys(await retriever.retrieve(facade(adapter), "?!", tables=["notes"], limit=5)) == [1]
    assert [name for name, _ in adapter.asked] == ["match_notes"]


async def test_a_function_that_the_policy_does_not_name_is_refused() -> None:
    """It was set up, so that silence would hide a mistake."""
    retriever = HybridRetriever({"notes": Searched(match="match_notes")}, Embedding(1))
    with pytest.raises(TableNotAllowedError, match="call on function 'match_notes' is not allowed"):
        await retriever.retrieve(facade(Functions({"match_notes": []}), call=()), "?", tables=["notes"], limit=5)


async def test_an_adapter_that_cannot_call_is_refused() -> None:
    """By the capability that is missing."""
    retriever = HybridRetriever({"notes": Searched(match="match_notes")}, Embedding(1))
    with pytest.raises(UnsupportedOperationError):
        await retriever.retrieve(facade(InMemoryAdapter()), "?", tables=["notes"], limit=5)


async def test_the_failure_of_one_search_is_raised_as_itself_and_ends_the_others() -> None:
    """No group of exceptions, and nothing goes on behind the caller's back."""
    ended: list[str] = []
    under_way = anyio.Event()
    failure = BackendUnavailableError("no embeddings today", state="retryable")

    class Hanging(Functions):
        async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
            under_way.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(table)
            return []

    class Failing(Embedding):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            await under_way.wait()
            raise failure

    retriever = HybridRetriever({"notes": BOTH}, Failing())
    source = facade(Hanging({"match_notes": []})).with_options(retry=PATIENT)
    with anyio.fail_after(30), pytest.raises(BackendUnavailableError) as caught:
        await retriever.retrieve(source, "roof", tables=["notes"], limit=5)
    assert caught.value is failure
    assert ended == ["notes"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"id": 1},
        [1],
        [{"similarity": 1}],
        [{"id": None, "similarity": 1}],
        [{"id": True, "similarity": 1}],
        [{"id": 1}],
        [{"id": 1, "similarity": "NaN"}],
    ],
    ids=shown,
)
async def test_a_function_with_another_answer_is_an_error(answer: Any) -> None:
    """Instead of records that nobody found."""
    retriever = HybridRetriever({"notes": Searched(match="match_notes")}, Embedding(1))
    with pytest.raises(AdapterError, match="match_notes returned something else than rows"):
        await retriever.retrieve(facade(Functions({"match_notes": answer})), "?", tables=["notes"], limit=5)


async def test_the_embedder_sees_the_question_redacted_and_the_database_as_it_is() -> None:
    """The labels are those of redacted rows, without numbers."""
    embedder = Embedding(1)
    rows: list[Record] = [{"id": 1, "content": "ask maya"}, {"id": 2, "content": "nobody"}]
    redaction = Redaction({"notes": {"content": scan()}})
    retriever = HybridRetriever({"notes": BOTH}, embedder, redaction=redaction)
    source = facade(Functions({"match_notes": []}, {"notes": rows}))
    query = "What did maya@mail.example want?"
    assert keys(await retriever.retrieve(source, query, tables=["notes"], limit=5)) == [1]
    assert embedder.asked == ["What did [EMAIL] want?"]


async def test_the_question_has_the_pseudonyms_that_redacted_rows_have() -> None:
    """With the key of the redaction, equal addresses are equal texts."""
    embedder = Embedding(1)
    redaction = Redaction({"notes": {"content": scan(), "sender": pseudonymize("email")}}, key="sixteen bytes ok")
    retriever = HybridRetriever({"notes": Searched(match="match_notes")}, embedder, redaction=redaction)
    query = "What did maya@mail.example want?"
    await retriever.retrieve(facade(Functions({"match_notes": []})), query, tables=["notes"], limit=5)
    told = redaction.row("notes", {"content": query})["content"]
    assert embedder.asked == [told] == [f"What did {redaction.pseudonym('email', 'maya@mail.example')} want?"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hybrid": "h", "match": "m"},
        {"hybrid": "h", "text": "t"},
        {"match": "Match"},
        {"text": "a b"},
        {"text": "t", "key": "a.b"},
        {"text": "t", "config": "simple'"},
        {"match": "m", "threshold": "0.5"},
        {"text": "t", "threshold": 0.5},
        {"match": "m", "arguments": [1]},
    ],
    ids=shown,
)
def test_a_table_is_searched_in_one_of_the_ways(given: dict[str, Any]) -> None:
    """By plain names."""
    with pytest.raises(ConfigurationError):
        Searched(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"tables": {"notes": BOTH}},
        {"tables": {"notes": "match_notes"}, "embedder": Embedding()},
        {"tables": {}, "semantic_weight": -1},
        {"tables": {}, "full_text_weight": float("nan")},
        {"tables": {}, "k": -1},
        {"tables": {}, "candidates": 0},
    ],
    ids=shown,
)
def test_a_wrong_setting_is_refused_when_it_is_made(given: dict[str, Any]) -> None:
    """Searching by meaning without an embedder too."""
    with pytest.raises(ConfigurationError):
        HybridRetriever(**given)
