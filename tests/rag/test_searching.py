"""What a question finds in a context: among all that belongs, not among the newest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from agent_persistence import AdapterError, AsyncPersistenceService, InMemoryAdapter, RAGContext, build_rag_context
from agent_persistence.backends.backend import Capabilities
from agent_persistence.context import CallContext
from agent_persistence.operations import Operation, Query, Result
from agent_persistence.query.records import Row
from agent_persistence.rag import reading
from agent_persistence.rag_context import Relevance
from agent_persistence.schema_registry import default_schema
from tests.rag.worlds import CLIENT, LEAD, TALK, message

pytestmark = pytest.mark.anyio
OTHERS = {**LEAD, "id": "10000000-0000-4000-8000-000000000002", "email": "other@x.io"}


def _talk(number: int, lead: Row = LEAD) -> Row:
    key = f"20000000-0000-4000-8000-0000000{number:05}"
    return {"id": key, "lead_id": lead["id"], "created_at": "2026-01-03T00:00:00+00:00"}


def _messages(count: int, **told: str) -> list[Row]:
    """Small talk in talks of ten turns, but for the messages with these numbers."""
    return [
        message(
            number,
            told.get(f"m{number}", f"The weather is fine on day {number}"),
            conversation_id=_talk(number // 10)["id"],
            created_at=f"2026-01-{3 + number // 1000:02}T{number % 1000 // 60:02}:{number % 60:02}:00+00:00",
        )
        for number in range(count)
    ]


class Counting(InMemoryAdapter):
    """Reads no more than `scan_rows` rows of a table for a search, and counts queries by table."""

    def __init__(self, rows: Mapping[str, Sequence[Row]], scan_rows: float | None = None) -> None:
        super().__init__(rows, schema=default_schema())
        self._scan_rows = scan_rows
        self.queries: list[str] = []

    @property
    def capabilities(self) -> Capabilities:
        told = super().capabilities
        return told if self._scan_rows is None else replace(told, scan_rows=self._scan_rows)

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        if isinstance(operation, Query):
            self.queries.append(operation.table)
        return await super().execute(operation, context)


def _adapter(messages: Sequence[Row], scan_rows: float | None = None, further: Sequence[Row] = ()) -> Counting:
    talks = [_talk(number) for number in range(len(messages) // 10 + 1)]
    rows = {
        "clients": [CLIENT],
        "leads": [LEAD, OTHERS],
        "conversations": [*talks, *further],
        "messages": messages,
    }
    return Counting(rows, scan_rows)


async def _asked(adapter: InMemoryAdapter, query: str | None, **options: Any) -> RAGContext:
    options = {"lead_filters": {"email": LEAD["email"]}, **options}
    return await build_rag_context(AsyncPersistenceService(adapter, retry=False), query=query, **options)


ASKED = ("campaigns", "clients", "conversations", "leads", "messages")


def _keys(context: RAGContext) -> list[Any]:
    return [row["id"] for row in context.messages]


async def test_an_old_message_is_found_among_thousands() -> None:
    """The newest fifty of 3,000 do not have it; the prompt has, with what it belongs to."""
    adapter = _adapter(_messages(3_000, m7="Our penetration test is in August"))
    context = await _asked(adapter, "When is the penetration test?", max_tokens=500)
    assert "Our penetration test is in August" in context.to_prompt()
    assert {"messages", "conversations", "leads", "clients"} == {
        table for ref in context.prompt().refs for table, _ in [context.sources[ref]]
    }
    assert context.warnings == []


async def test_a_question_costs_no_request_more_where_all_rows_are_at_hand() -> None:
    """Five queries; without one as many, and one more where the limit cuts the talks of the lead that a filter names,
    so that their messages are asked for by keys.
    """
    for talks, again in ((100, []), (300, ["messages"])):
        with_question, without = _adapter(_messages(talks)), _adapter(_messages(talks))
        await _asked(with_question, "What about the penetration test?")
        await _asked(without, None)
        assert sorted(with_question.queries) == sorted(ASKED)
        assert sorted(without.queries) == sorted([*ASKED, *again])


async def test_the_lists_hold_as_many_rows_as_without_a_question_and_a_budget_chooses_from_more() -> None:
    """Default limits are limits of what is listed; what a budget may show besides is in sources as well."""
    context = await _asked(_adapter(_messages(400)), "Was the weather fine?")
    assert len(context.messages) == 50
    assert context.prompt("xml").refs.count("m1") <= 1
    assert len([ref for ref in context.prompt("xml").refs if ref.startswith("m")]) == 50
    assert len([ref for ref in context.prompt(max_tokens=6_000).refs if ref.startswith("m")]) > 50
    assert context.report["messages"]["fetched"] == 400
    assert context.report["messages"]["dropped_by_limit"] == 350


async def test_a_limit_of_the_callers_is_a_limit() -> None:
    """The best are within it, and a budget sees no others."""
    adapter = _adapter(_messages(400, m7="Our penetration test is in August"))
    context = await _asked(adapter, "When is the penetration test?", limits={"messages": 3})
    assert 7 in _keys(context)
    assert len(context.messages) == 3
    assert len([ref for ref in context.prompt(max_tokens=6_000).refs if ref.startswith("m")]) == 3


async def test_nobody_elses_rows_are_found() -> None:
    """A filter holds for what a question finds."""
    theirs = _talk(99_999, OTHERS)
    messages = [*_messages(100), message(900, "Our penetration test is secret", conversation_id=theirs["id"])]
    context = await _asked(_adapter(messages, further=[theirs]), "When is the penetration test?", max_tokens=2_000)
    assert "secret" not in context.to_prompt()
    assert 900 not in _keys(context)
    everybody = await _asked(_adapter(messages, further=[theirs]), "When is the penetration test?", lead_filters=None)
    assert 900 in _keys(everybody)


async def test_without_filters_a_match_comes_with_what_it_belongs_to_and_without_strangers() -> None:
    """Of a hundred leads only the one whose message answers is told."""
    leads = [{**LEAD, "id": f"10000000-0000-4000-8000-1{n:011}", "email": f"{n}@x.io"} for n in range(100)]
    talks = [{**TALK, "id": f"20000000-0000-4000-8000-1{n:011}", "lead_id": leads[n]["id"]} for n in range(100)]
    messages = [message(n, f"hello {n}", conversation_id=talks[n]["id"]) for n in range(100)]
    messages[3]["content"] = "The dock scheduler is broken"
    adapter = Counting({"clients": [CLIENT], "leads": leads, "conversations": talks, "messages": messages})
    context = await _asked(adapter, "Who said the dock scheduler is broken?", lead_filters=None, limits={"messages": 1})
    assert [lead["email"] for lead in context.leads] == ["3@x.io"]
    assert _keys(context) == [3]


async def test_a_question_that_nothing_answers_shows_the_newest() -> None:
    """As without one."""
    adapter = _adapter(_messages(200))
    assert _keys(await _asked(adapter, "zebra?")) == _keys(await _asked(adapter, None))


@pytest.mark.parametrize("question", ["", "   ", "?!", "🦓🦓", "what did they do", "と"], ids=repr)
async def test_a_question_without_words_is_none(question: str) -> None:
    """Empty, signs, emoji and words without meaning: the newest rows, as without a question."""
    adapter = _adapter(_messages(200))
    context, plain = await _asked(adapter, question, max_tokens=800), await _asked(adapter, None, max_tokens=800)
    assert _keys(context) == _keys(plain)
    assert context.to_prompt() == plain.to_prompt()


async def test_a_question_of_a_megabyte_is_answered() -> None:
    """By the words of its beginning that tell most."""
    adapter = _adapter(_messages(200, m7="Our penetration test is in August"))
    context = await _asked(adapter, "penetration test " + "and some more words " * 50_000, max_tokens=500)
    assert "m8" in context.prompt().refs


async def test_texts_that_are_missing_or_huge_are_no_error() -> None:
    """NULL, and five megabytes with the answer at the end, of which the part that answers is shown."""
    messages = [
        message(1, "x " * 2_500_000 + "The pallet code is 4711."),
        {**message(2, ""), "content": None},
        message(3, "Nothing here"),
    ]
    adapter = Counting({"clients": [CLIENT], "leads": [LEAD], "conversations": [TALK], "messages": messages})
    context = await _asked(adapter, "Which pallet code?", max_tokens=400)
    assert "The pallet code is 4711." in context.to_prompt()


async def test_a_retrievers_records_are_in_the_context_with_those_of_the_words() -> None:
    """And both scores count."""
    adapter = _adapter(_messages(400, m7="Our penetration test is in August"))
    context = await _asked(
        adapter,
        "When is the penetration test?",
        retriever=_Naming(Relevance("messages", 11, 1.0), Relevance("messages", 7, 0.5)),
        limits={"messages": 5},
    )
    assert {7, 11} <= set(_keys(context))
    relevance = {score.key: score.relevance for score in context.explain() if score.table == "messages"}
    assert relevance[7] > relevance[11] > 0


class _Naming:
    def __init__(self, *named: Relevance, waits_s: float = 0) -> None:
        self.named = named
        self.waits_s = waits_s

    async def retrieve(self, source: Any, query: str, *, tables: Sequence[str], limit: int) -> list[Relevance]:
        await anyio.sleep(self.waits_s)
        return list(self.named)


async def test_records_that_a_retriever_names_and_that_do_not_belong_are_told() -> None:
    """Those of others and those that do not exist are left out, with a warning."""
    theirs = _talk(99_999, OTHERS)
    messages = [*_messages(20), message(900, "secret", conversation_id=theirs["id"])]
    named = [Relevance("messages", 900, 1.0), Relevance("messages", 4_711, 1.0), Relevance("messages", 7, 0.5)]
    context = await _asked(_adapter(messages, further=[theirs]), "Which day?", retriever=_Naming(*named))
    assert context.warnings == ["retriever: 2 of the records it named do not belong here, and were left out"]
    assert 900 not in _keys(context)


async def test_a_retriever_that_hangs_costs_only_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and the words of the question take its place; or it fails the context."""
    monkeypatch.setattr(reading, "RETRIEVER_DEADLINE_S", 0.01)
    adapter = _adapter(_messages(100, m7="Our penetration test is in August"))
    hanging = _Naming(waits_s=3_600)
    context = await _asked(
        adapter, "When is the penetration test?", retriever=hanging, on_error="partial", max_tokens=400
    )
    assert context.warnings == ["retriever: could not be read (the retriever has not answered within 0.01 s)"]
    assert "Our penetration test is in August" in context.to_prompt()
    with pytest.raises(AdapterError, match="not answered"):
        await _asked(adapter, "When is the penetration test?", retriever=hanging)


class TestBeyondWhatASearchReads:
    """A table with more rows than `scan_rows`: the database is asked for the words."""

    async def test_the_database_finds_what_is_old(self) -> None:
        """With the turns around it, and the warning says what was left out."""
        messages = _messages(400, m7="Our penetration test is in August", m8="And it costs twelve thousand")
        context = await _asked(_adapter(messages, 50), "When is the penetration test?", max_tokens=500)
        assert "Our penetration test is in August" in context.to_prompt()
        assert "And it costs twelve thousand" in context.to_prompt()
        [warning] = context.warnings
        assert "which are the newest 50 and 1 with its words" in warning
        assert context.complete

    async def test_a_common_word_does_not_hide_a_rare_one(self) -> None:
        """Each word has rows of its own."""
        told = {f"m{number}": "The test went well" for number in range(50, 390)}
        messages = _messages(400, m7="The penetration is deep", **told)
        context = await _asked(_adapter(messages, 50), "Which test was about penetration?", max_tokens=500)
        assert "The penetration is deep" in context.to_prompt()

    async def test_the_requests_are_bounded(self) -> None:
        """One for each of six words beside that for the newest rows, and one for the turns around."""
        adapter = _adapter(_messages(400, m7="Our penetration test is in August"), 50)
        await _asked(adapter, "When is the penetration test of Rotterdam, Hamburg, Leipzig, Lyon or Turin?")
        assert adapter.queries.count("messages") == 1 + 6 + 1
        assert adapter.queries.count("conversations") == 1

    async def test_a_database_that_cannot_search_costs_only_the_search(self) -> None:
        """The newest rows are looked through, and a warning says so."""

        class Refusing(Counting):
            async def execute(self, operation: Operation, context: CallContext) -> Result:
                if isinstance(operation, Query) and "text_search" in str(operation.filters):
                    raise AdapterError("canceling statement due to statement timeout")
                return await super().execute(operation, context)

        messages = _messages(400, m390="Our penetration test is in August")
        talks = [_talk(number) for number in range(41)]
        adapter = Refusing(
            {"clients": [CLIENT], "leads": [LEAD], "conversations": talks, "messages": messages}, scan_rows=50
        )
        context = await _asked(adapter, "When is the penetration test?", max_tokens=500)
        assert "Our penetration test is in August" in context.to_prompt()
        assert context.complete
        assert context.warnings[0].startswith("messages: rows with words of the question could not be asked for")

    async def test_what_the_newest_rows_belong_to_is_read_where_no_filter_chooses(self) -> None:
        """A message whose conversation is beyond the newest has it all the same."""
        messages = _messages(400, m7="Our penetration test is in August")
        context = await _asked(
            _adapter(messages, 20), "When is the penetration test?", lead_filters=None, max_tokens=400
        )
        assert "Our penetration test is in August" in context.to_prompt()
        assert "without parent" not in context.to_prompt()
