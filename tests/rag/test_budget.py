"""Prompts under a budget: what is kept, what is cut, and that the limit holds."""

from __future__ import annotations

from typing import Any, get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import ConfigurationError, RAGContext, build_rag_context
from agent_persistence.rag_context import BpeTokens, EstimatedTokens, PromptFormat, Scoring, TokenBudget
from tests.rag.crm import CRM_TABLES, crm_service
from tests.rag.worlds import CLIENT, CONTEXTS, LEAD, TALK, message, talk_of

pytestmark = pytest.mark.anyio
FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
LONG = "The lorry waits at the dock and nobody knows why. " * 40


def _shown(prompt: str) -> list[str | None]:
    return [element.get("ref") for element in ElementTree.fromstring(prompt).iter() if element.get("ref")]


@given(CONTEXTS, st.integers(1, 400), st.sampled_from(FORMATS))
@settings(deadline=None)
def test_no_prompt_has_more_tokens_than_its_budget(context: RAGContext, budget: int, format: PromptFormat) -> None:
    """Rows of any content, any budget: the text itself is counted, not the sum of its parts."""
    prompt = context.prompt(format, max_tokens=budget)
    assert EstimatedTokens().count(prompt.text) == prompt.tokens.used <= budget
    assert prompt.text == context.to_prompt(format, max_tokens=budget)


@given(CONTEXTS, st.integers(120, 400))
@settings(deadline=None)
def test_what_a_budget_leaves_is_well_formed_and_told_under_its_parents(context: RAGContext, budget: int) -> None:
    """A child never appears without the header of its parent, unless it has none in the context."""
    everything, kept = context.prompt("xml"), context.prompt("xml", max_tokens=budget)
    assert set(_shown(kept.text)) == set(kept.refs) <= set(everything.refs)
    above = _parents(everything.text)
    assert _parents(kept.text).items() <= above.items()


def _parents(prompt: str) -> dict[str | None, str | None]:
    root = ElementTree.fromstring(prompt)
    return {child.get("ref"): parent.get("ref") for parent in root.iter() for child in parent if child.get("ref")}


@pytest.mark.parametrize("format", FORMATS)
async def test_a_real_vocabulary_agrees_that_conservative_budgets_hold(format: PromptFormat) -> None:
    """Prompts of the example CRM, in eleven languages, counted again with o200k_base."""
    context = await build_rag_context(crm_service(), limits=dict.fromkeys(CRM_TABLES, 400))
    exact = BpeTokens("o200k_base")
    for budget in (150, 300, 700, 1_500, 4_000, 12_000):
        used = exact.count(context.to_prompt(format, max_tokens=budget))
        assert budget / 2 < used <= budget


@pytest.mark.parametrize("format", FORMATS)
async def test_an_exact_counter_fills_the_budget(format: PromptFormat) -> None:
    """Nine tenths at least where there is more than enough to tell."""
    context = await build_rag_context(
        crm_service(), limits=dict.fromkeys(CRM_TABLES, 400), token_counter=BpeTokens(), max_tokens=2_000
    )
    prompt = context.prompt(format)
    assert 1_800 <= prompt.tokens.used <= 2_000
    assert (prompt.tokens.counter, prompt.tokens.exact, prompt.tokens.budget) == ("o200k_base", True, 2_000)


def test_a_budget_of_enough_changes_nothing() -> None:
    """The same bytes as without a budget."""
    context = talk_of("hello", LONG, "bye")
    for form in FORMATS:
        assert context.to_prompt(form, max_tokens=100_000) == context.to_prompt(form)


def test_long_texts_are_cut_before_records_are_dropped() -> None:
    """All five messages are there, the long one in part, and the mark is explained."""
    context = talk_of("one", "two", LONG, "four", "five")
    prompt = context.prompt("xml", max_tokens=480)
    assert [ref for ref in prompt.refs if ref.startswith("m")] == ["m1", "m2", "m3", "m4", "m5"]
    assert "nobody knows why. […]</message>" in prompt.text
    assert "<note>[…] stands where a text was cut.</note>" in prompt.text
    assert prompt.report["messages"]["clipped"] == 1
    assert prompt.report["messages"]["dropped_by_budget"] == 0


async def test_the_part_that_answers_the_question_is_the_part_that_stays() -> None:
    """The sentence with the words of the query, wherever in the text it stands."""
    service = crm_service(messages=[message(0, LONG + "The pallet code is 4711. " + LONG)])
    context = await build_rag_context(service, query="Which pallet code?", max_tokens=400)
    assert "[…] The pallet code is 4711." in context.to_prompt()


def test_columns_are_left_out_before_a_record_is() -> None:
    """A lead with forty columns still lets its messages be seen."""
    lead = {**LEAD, **{f"column_{number}": f"some value {number}" for number in range(40)}}
    context = RAGContext(clients=[CLIENT], leads=[lead], conversations=[TALK], messages=[message(0, "hello")])
    prompt = context.prompt("xml", max_tokens=300)
    assert {"c1", "l1", "v1", "m1"} == set(prompt.refs)
    assert "<email>" in prompt.text
    assert "column_39" not in prompt.text
    assert "Of some records not all columns are shown." in prompt.text


def test_the_best_records_are_kept() -> None:
    """Of equal messages the newest, unless one is pinned."""
    context = talk_of(*(f"message {number} " + "word " * 20 for number in range(30)))
    assert "message 29" in context.to_prompt(max_tokens=320)
    assert "message 0" not in context.to_prompt(max_tokens=320)


async def test_a_pinned_record_is_kept_before_better_ones() -> None:
    """With the records it belongs to."""
    service = crm_service(messages=[message(number, f"message {number} " + "word " * 20) for number in range(30)])
    context = await build_rag_context(service, scoring=Scoring(pins=[("messages", 0)]), max_tokens=320)
    assert "message 0" in context.to_prompt()


def test_the_reserve_is_not_the_prompts() -> None:
    """What is kept for the answer is taken from the total."""
    context = talk_of(*["word " * 30] * 30)
    reserved = context.prompt(max_tokens=TokenBudget(1_000, reserve=600)).tokens
    assert reserved.used <= 400
    assert (reserved.budget, reserved.reserve) == (1_000, 600)


def test_a_floor_keeps_tokens_for_a_table_and_a_cap_takes_them() -> None:
    """Leads that would lose against newer messages keep their share."""
    leads = [{**LEAD, "id": str(n), "created_at": "2020-01-01T00:00:00+00:00", "notes": "n " * 30} for n in range(9)]
    context = RAGContext(
        leads=[*leads, LEAD], conversations=[TALK], messages=[message(n, "word " * 20) for n in range(40)]
    )

    def kept(budget: TokenBudget) -> dict[str, int]:
        return {table: told["kept"] for table, told in context.prompt(max_tokens=budget).report.items()}

    plain, floored = kept(TokenBudget(700)), kept(TokenBudget(700, floors={"leads": 300}))
    assert floored["leads"] > plain["leads"]
    assert floored["messages"] < plain["messages"]
    assert kept(TokenBudget(700, caps={"messages": 100}))["messages"] <= 3


def test_the_report_tells_what_became_of_every_row() -> None:
    """Kept and dropped come to what was found, by table."""
    context = talk_of(*["word " * 30] * 30)
    told = context.prompt(max_tokens=400).report["messages"]
    assert told["kept"] + told["dropped_by_budget"] == told["fetched"] == 30
    assert "More messages exist than are shown." in context.to_prompt(max_tokens=400)
    assert context.report["messages"]["dropped_by_budget"] == 0


@pytest.mark.parametrize("format", FORMATS)
def test_a_budget_that_fits_nothing_gives_the_page_without_records_or_nothing_at_all(format: PromptFormat) -> None:
    """No error: it degrades and reports."""
    context = talk_of("hello")
    assert context.to_prompt(format, max_tokens=1) == ""
    prompt = context.prompt(format, max_tokens=68 if format == "compact" else 85)
    assert prompt.refs == ()
    assert "exist than are shown" in prompt.text
    assert prompt.report["messages"]["dropped_by_budget"] == 1


def test_references_are_the_same_under_every_budget() -> None:
    """What a model cited once can be looked up for ever."""
    context = talk_of(*(f"message {number} " + "word " * 20 for number in range(30)))
    for ref in context.prompt(max_tokens=400).refs:
        assert ref in context.sources
    assert 'ref="m30"' in context.to_prompt("xml", max_tokens=320)


@pytest.mark.parametrize(
    "wrong",
    [
        {"total": 0},
        {"total": True},
        {"total": 100, "reserve": 100},
        {"total": 100, "reserve": -1},
        {"total": 100, "part": 2},
        {"total": 100, "floors": {1: 1}},
        {"total": 100, "floors": {"leads": 60, "messages": 60}},
        {"total": 100, "floors": {"leads": 60}, "caps": {"leads": 50}},
        {"total": 100, "caps": {"leads": 1.5}},
        {"total": 100, "caps": ["leads"]},
    ],
    ids=str,
)
def test_nonsense_budgets_are_refused(wrong: dict[str, Any]) -> None:
    """When the budget is made."""
    with pytest.raises(ConfigurationError):
        TokenBudget(**wrong)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "100"])
def test_a_nonsense_number_of_tokens_is_refused(wrong: Any) -> None:
    """Also where it is given to to_prompt."""
    with pytest.raises(ConfigurationError):
        talk_of("hello").to_prompt(max_tokens=wrong)


async def test_a_budget_of_tables_that_the_context_does_not_have_is_refused() -> None:
    """Where the context is built, and where a prompt is made of it."""
    budget = TokenBudget(100, floors={"lead": 1})
    with pytest.raises(ConfigurationError, match="did you mean 'leads'"):
        await build_rag_context(crm_service(), max_tokens=budget)
    with pytest.raises(ConfigurationError, match="did you mean 'leads'"):
        talk_of("hello").to_prompt(max_tokens=budget)
