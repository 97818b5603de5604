"""Questions in other languages than English find the turn that answers, where a word or a part of one is shared."""

from __future__ import annotations

import pytest

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, build_rag_context
from agent_persistence.schema_registry import default_schema
from tests.rag.memories import LANGUAGES, memory
from tests.rag.worlds import CLIENT, LEAD, TALK, message

pytestmark = pytest.mark.anyio


async def places(language: str) -> list[tuple[str, int]]:
    """By question the place of the turn that answers among the turns, 1 for the best."""
    told = memory(language)
    rows = {
        "clients": [CLIENT],
        "leads": [LEAD],
        "conversations": [TALK],
        "messages": [
            message(number, text, role="user" if number % 2 else "assistant")
            for number, text in enumerate(told.turns, 1)
        ],
    }
    service = AsyncPersistenceService(InMemoryAdapter(rows, schema=default_schema()), retry=False)
    found = []
    for question, answer in told.questions:
        context = await build_rag_context(service, query=question, lead_filters={"email": LEAD["email"]})
        ranked = [score.key for score in context.explain() if score.table == "messages"]
        found.append((question, ranked.index(answer) + 1 if answer in ranked else len(told.turns)))
    return found


def test_there_are_ten_questions_over_sixty_turns_in_each_language() -> None:
    """And the answers are turns that are there."""
    assert LANGUAGES == ("ar", "de", "es", "ja")
    for language in LANGUAGES:
        told = memory(language)
        assert (len(told.turns), len(told.questions)) == (60, 10)
        assert all(1 <= answer <= 60 for _, answer in told.questions)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_eight_of_ten_are_among_the_best_three(language: str) -> None:
    """Compounds, umlauts, endings, articles and scripts without blanks."""
    found = await places(language)
    assert sum(place <= 3 for _, place in found) >= 8, found
