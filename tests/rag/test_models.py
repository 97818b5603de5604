"""An embedder and a reranker of the caller's: what they see, what it changes, and what their failures cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agent_persistence import AdapterError, InMemoryAdapter, RAGContext, ValidationError, create_persistence_agent
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext._embeddings import local
from agent_persistence.ext.embeddings import LocalEmbedder
from agent_persistence.rag import consulting, reading
from agent_persistence.rag_context import Relevance, build_rag_context
from agent_persistence.redaction import Redaction
from tests.rag.worlds import CLIENT, LEAD, message

pytestmark = pytest.mark.anyio
TALK = "20000000-0000-4000-8000-000000000001"
OTHERS_TALK = "20000000-0000-4000-8000-000000000002"
OTHER = {**LEAD, "id": "10000000-0000-4000-8000-0000000000ff", "email": "bo@elsewhere.example"}
SAID = (
    "The meeting is on Monday",
    "My daughter turned nine last week",
    "Parking costs four euros",
    "The lease runs until June",
    "Write to maya@mail.example about the meeting",
)
QUESTION = "How old is the child of the meeting's host?"


class Keyword:
    """Knows two meanings: whether a text is about a child, and whether it is not."""

    name = "keyword"
    dimensions = 2

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.seen += texts
        return [[1.0, 0.0] if "child" in text or "daughter" in text else [0.1, 1.0] for text in texts]


class Parking:
    """Prefers what is about parking."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def rerank(self, question: str, texts: Sequence[str]) -> list[float]:
        self.seen += [question, *texts]
        return [float("Parking" in text) for text in texts]


class Broken:
    """Raises, or hangs."""

    name = "broken"
    dimensions = 2

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure

    async def _fail(self) -> Any:
        if self.failure is None:
            await anyio.sleep_forever()
        raise self.failure or AssertionError

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._fail()  # type: ignore[no-any-return]

    async def rerank(self, question: str, texts: Sequence[str]) -> list[float]:
        return await self._fail()  # type: ignore[no-any-return]

    async def retrieve(self, source: object, query: str, *, tables: Sequence[str], limit: int) -> list[Relevance]:
        return await self._fail()  # type: ignore[no-any-return]


async def asked(question: str = QUESTION, **options: Any) -> RAGContext:
    rows = {
        "clients": [CLIENT],
        "leads": [LEAD, OTHER],
        "conversations": [{"id": TALK, "lead_id": LEAD["id"]}, {"id": OTHERS_TALK, "lead_id": OTHER["id"]}],
        "messages": [
            *(message(number, text, conversation_id=TALK) for number, text in enumerate(SAID, 1)),
            message(99, "The other lead's child is two", conversation_id=OTHERS_TALK),
        ],
    }
    agent = create_persistence_agent(adapter=InMemoryAdapter(rows))
    return await build_rag_context(agent, lead_filters={"email": LEAD["email"]}, query=question, **options)


def _best(context: RAGContext) -> int:
    return int(next(score.key for score in context.explain() if score.table == "messages"))


async def test_an_embedder_finds_what_has_no_word_of_the_question() -> None:
    """It is compared with the texts of this context and with no others; `explain` tells its share."""
    embedder = Keyword()
    assert (await asked()).explain()[0].match is not None
    assert not next(one for one in (await asked()).explain() if one.key == 2).match.meaning  # type: ignore[union-attr]
    context = await asked(embedder=embedder)
    score = next(one for one in context.explain() if one.key == 2)
    assert score.match is not None
    assert score.match.meaning > 0
    assert sorted(embedder.seen) == sorted([*SAID, QUESTION])


async def test_the_terms_of_a_match_come_to_its_score_whoever_is_asked() -> None:
    context = await asked(embedder=Keyword(), reranker=Parking())
    told = [score for score in context.explain() if score.match is not None]
    best = max(score.match.score for score in told if score.match)
    for score in told:
        assert score.match is not None
        assert score.relevance == pytest.approx(2 * score.match.score / best)


async def test_a_reranker_puts_the_records_in_its_order() -> None:
    assert _best(await asked()) != 3  # control
    context = await asked(reranker=Parking())
    assert _best(context) == 3
    assert any(score.match and score.match.moved < 0 for score in context.explain())


async def test_models_read_what_the_redaction_leaves() -> None:
    """The question included."""
    embedder, reranker = Keyword(), Parking()
    question = "Did maya@mail.example ask about the meeting?"
    await asked(question, embedder=embedder, reranker=reranker, redaction=Redaction.default())
    for seen in (embedder.seen, reranker.seen):
        assert any("[EMAIL" in text for text in seen)
        assert not any("maya@mail.example" in text for text in seen)


@pytest.mark.parametrize("role", ["embedder", "reranker", "retriever"])
@pytest.mark.parametrize("failure", [AdapterError("no model today"), RuntimeError("secret 4711"), None])
async def test_a_model_that_raises_or_hangs_is_a_warning_where_that_is_wanted(
    role: str, failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its error is raised as itself. A foreign error's text is in no warning."""
    monkeypatch.setattr(consulting, "DEADLINE_S", 0.05)
    monkeypatch.setattr(reading, "RETRIEVER_DEADLINE_S", 0.05)
    model: Any = {role: Broken(failure)}
    with pytest.raises(type(failure) if failure else AdapterError):
        await asked(**model)
    context = await asked(**model, on_error="partial")
    assert not context.complete
    (warning,) = [warning for warning in context.warnings if warning.startswith(role)]
    assert "4711" not in warning
    assert [score.key for score in context.explain()] == [score.key for score in (await asked()).explain()]


async def test_vectors_of_another_size_are_refused_with_both_sizes() -> None:
    class Longer(Keyword):
        dimensions = 3

    with pytest.raises(AdapterError, match=r"vector of 2 dimensions, and says that its vectors have 3"):
        await asked(embedder=Longer())


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 5, ["a"] * 5])
async def test_scores_that_are_none_are_refused(scores: list[Any]) -> None:
    class Wrong:
        async def rerank(self, question: str, texts: Sequence[str]) -> list[Any]:
            return scores

    with pytest.raises(AdapterError, match="the reranker"):
        await asked(reranker=Wrong())


@pytest.mark.parametrize("name", ["embedder", "reranker", "retriever"])
async def test_a_model_needs_a_question(name: str) -> None:
    model: Any = {name: Broken(None)}
    with pytest.raises(ValidationError, match=f"a {name} needs the question"):
        await asked(None, **model)  # type: ignore[arg-type]


QUESTIONS = {"empty": "", "blank": " ", "emoji": "🎉🎉", "stop words": "what did they do", "1 MB": "word " * 200_000}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_any_question_gives_a_context(question: str) -> None:
    """Also where no word of it has a meaning, or where it is a megabyte."""
    context = await asked(question, embedder=Keyword(), reranker=Parking(), max_tokens=500)
    assert context.complete
    assert SAID[0] in context.to_prompt()


async def test_a_text_of_five_megabytes_is_searched_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SAID", (*SAID, "lorem ipsum " * 420_000 + "the walrus"))
    embedder = Keyword()
    context = await asked("Where is the walrus?", embedder=embedder, max_tokens=500)
    assert "walrus" in context.to_prompt()
    assert max(map(len, embedder.seen)) <= 20_000


async def test_records_outside_the_scope_are_dropped_and_told() -> None:
    class Naming:
        async def retrieve(self, source: object, query: str, *, tables: Sequence[str], limit: int) -> list[Relevance]:
            return [Relevance("messages", 99, 1.0), Relevance("messages", 2, 0.5)]

    context = await asked(retriever=Naming())
    assert 99 not in [row["id"] for row in context.messages]
    assert any("1 of the records it named do not belong here" in warning for warning in context.warnings)


async def test_the_local_model_knows_that_a_daughter_is_a_child() -> None:
    """From its wheel alone; vectors have length 1, a text without a token zeros."""
    embedder = LocalEmbedder()
    *vectors, empty = await embedder.embed(["my daughter", "a child", "the invoice", ""])
    near, far = (sum(map(float.__mul__, vectors[0], other)) for other in vectors[1:])
    assert near > far + 0.2
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-5)
    assert set(empty) == {0.0}
    assert {len(vector) for vector in vectors} == {embedder.dimensions}
    assert await embedder.embed([]) == []


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="embeddings-local"):
        LocalEmbedder()
