"""Whether prompts hold what answers: the labelled questions over the example CRM."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import anyio

from agent_persistence import build_rag_context
from agent_persistence.rag_context import BpeTokens, Scoring
from examples import crm_data
from examples.rag_questions import WORLDS, Question, questions
from tests.rag.crm import CRM_TABLES, crm_service

EVERYTHING = dict.fromkeys(CRM_TABLES, 1_000)


async def _share_answered(asked: Sequence[Question], max_tokens: int | None, scoring: Scoring) -> float:
    """The share of questions of which a message that answers is in the prompt."""
    service, counter = crm_service(), BpeTokens()
    hits = []
    for question in asked:
        context = await build_rag_context(
            service,
            **question.filters(),
            limits=EVERYTHING,
            query=question.question,
            token_counter=counter,
            scoring=scoring,
        )
        prompt = context.prompt("markdown", max_tokens=max_tokens)
        sources = context.sources
        shown = {key for table, key in map(sources.__getitem__, prompt.refs) if table == "messages"}
        hits.append(bool(shown & question.messages))
    return mean(hits)


def test_there_are_enough_questions_and_each_is_answered_by_its_messages() -> None:
    """At least forty, in every kind of world; the words of the answer stand in one of the messages."""
    asked = questions()
    contents = [row["content"] or "" for row in crm_data.rows("messages")]
    assert len(asked) >= 40
    assert {question.world for question in asked} == set(WORLDS.values())
    for question in asked:
        assert any(question.answer in contents[key - 1] for key in question.messages), question.question


def test_the_messages_that_answer_are_in_the_world_of_the_question() -> None:
    """A question whose answer the filters exclude would measure nothing."""
    assert anyio.run(_share_answered, questions(), None, Scoring()) == 1.0


def test_scoring_finds_far_more_than_recency_alone() -> None:
    """In 1,000 tokens seven of ten questions, where the newest messages answer two."""
    asked = questions()
    scored = anyio.run(_share_answered, asked, 1_000, Scoring())
    newest = anyio.run(_share_answered, asked, 1_000, Scoring(relevance_weight=0))
    assert scored >= 0.65
    assert newest <= 0.35
