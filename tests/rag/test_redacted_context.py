"""Redaction before anything else: no personal value of the rows is in a prompt, and the caller can put it back."""

from __future__ import annotations

import copy
import pickle
from typing import Any, get_args

import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import RAGContext, build_rag_context
from agent_persistence.rag_context import PromptFormat, Scoring
from agent_persistence.redaction import Redaction, allow, drop, redact, scan
from tests.rag.crm import crm_service
from tests.rag.worlds import message

pytestmark = pytest.mark.anyio
FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
MAYA = "maya.okafor@brightwater.example"


async def _maya(**options: Any) -> RAGContext:
    return await build_rag_context(crm_service(), lead_filters={"email": MAYA}, **options)


@pytest.mark.parametrize("format", FORMATS)
async def test_no_name_address_or_number_of_the_rows_is_in_the_prompt(format: PromptFormat) -> None:
    """Neither in their columns nor in the bodies of messages."""
    plain = (await _maya()).to_prompt(format)
    prompt = (await _maya(redaction=Redaction.default())).to_prompt(format)
    for value in (MAYA, "Okafor", "Maya", "+44 117 496 0138", "declan.roe@brightwater.example"):
        assert value in plain
        assert value not in prompt
    assert "[EMAIL_1]" in prompt


async def test_a_value_has_the_same_label_wherever_it_stands() -> None:
    """The lead's first name is the label of her messages, under every budget and in every format."""
    context = await _maya(redaction=Redaction.default())
    label = context.leads[0]["first_name"]
    for form in FORMATS:
        assert f"Hi {label}," in context.to_prompt(form)


async def test_an_answer_with_labels_is_restored_by_the_caller_alone() -> None:
    """The values are in no repr and in no copy."""
    context = await _maya(redaction=Redaction.default())
    label = context.leads[0]["email"]
    assert context.restore(f"Write to {label}.") == f"Write to {MAYA}."
    assert MAYA not in repr(context)
    with pytest.raises(TypeError):
        pickle.dumps(context)
    with pytest.raises(TypeError):
        copy.deepcopy(context)
    assert (await _maya()).restore("[EMAIL_1]") == "[EMAIL_1]"


async def test_the_report_counts_what_was_redacted() -> None:
    """By table; nothing where nothing was asked for."""
    assert (await _maya(redaction=Redaction.default())).report["leads"]["redacted"] == 4
    assert (await _maya()).report["leads"]["redacted"] == 0


async def test_a_column_that_no_rule_names_is_left_out() -> None:
    """Denied by default, while keys still tell which rows belong together and what a reference stands for."""
    redaction = Redaction({"leads": {"company": allow()}, "messages": {"content": scan(), "role": allow()}})
    context = await _maya(redaction=redaction)
    prompt = context.to_prompt()
    assert "<company>Brightwater Logistics</company>" in prompt
    assert "<status>" not in prompt
    assert "<subject>" not in prompt
    assert "without_parent" not in prompt
    assert context.sources["l1"] == ("leads", context.leads[0]["id"])


async def test_invisible_characters_hide_nothing_from_the_detectors() -> None:
    """They are removed first: what a prompt shows is what was searched."""
    hidden = "Write to ada\u200b.love\u2060lace@x\u00ad.example please"
    service = crm_service(messages=[message(1, hidden)])
    context = await build_rag_context(service, redaction=Redaction.default())
    assert "lovelace" not in context.to_prompt()
    assert "ada.lovelace@x.example" in (await build_rag_context(service)).to_prompt()


async def test_a_text_is_redacted_before_it_is_cut() -> None:
    """Cutting first could halve an address and hide it."""
    text = "word " * 40 + "ada.lovelace@analytical.example " + "word " * 400
    service = crm_service(messages=[message(1, text)])
    context = await build_rag_context(service, redaction=Redaction.default())
    for budget in range(250, 700, 25):
        prompt = context.to_prompt(max_tokens=budget)
        assert "lovelace" not in prompt
        assert "analytical" not in prompt


async def test_a_question_finds_what_it_names_although_it_is_redacted() -> None:
    """The query is redacted with the same labels before its words are looked for."""
    messages = [message(1, "Nothing to see"), message(2, "Ask bob@x.example about it"), message(3, "Nor here")]
    service = crm_service(messages=messages)
    context = await build_rag_context(service, query="What of bob@x.example?", redaction=Redaction.default())
    assert next(score.key for score in context.explain() if score.table == "messages") == 2


async def test_scoring_sees_the_redacted_rows() -> None:
    """A function of the caller is given no personal value either."""
    seen: list[Any] = []

    def importance(row: dict[str, Any]) -> float:
        seen.append(row["email"])
        return 0.0

    (await _maya(redaction=Redaction.default(), scoring=Scoring(importance={"leads": importance}))).explain()
    assert seen == ["[EMAIL_2]"]


SENTINELS = ("sentinel.person@secret.example", "+49 30 901820", "DE89 3704 0044 0532 0130 00")


@given(
    st.lists(st.tuples(st.text(max_size=20), st.sampled_from(SENTINELS), st.text(max_size=20)), min_size=1, max_size=4),
    st.sampled_from(FORMATS),
    st.none() | st.integers(150, 600),
)
@settings(deadline=None, max_examples=50)
async def test_no_sentinel_of_a_text_reaches_the_prompt(
    told: list[tuple[str, str, str]], format: PromptFormat, budget: int | None
) -> None:
    """Whatever stands around it, in any format, under any budget."""
    messages = [message(n, f"{before} {value} {after}") for n, (before, value, after) in enumerate(told)]
    service = crm_service(messages=[{**row, "content": _storable(row["content"])} for row in messages])
    context = await build_rag_context(service, redaction=Redaction.default())
    prompt = context.to_prompt(format, max_tokens=budget)
    assert not [value for value in SENTINELS if value in prompt]


def _storable(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()


async def test_the_sentinels_are_seen_without_redaction() -> None:
    """Control: the test above looks for what would be there."""
    service = crm_service(messages=[message(1, f"call {SENTINELS[1]} or {SENTINELS[0]} or {SENTINELS[2]}")])
    prompt = (await build_rag_context(service)).to_prompt()
    assert all(value in prompt for value in SENTINELS)


async def test_the_callers_own_rules_are_followed() -> None:
    """A time that is dropped is not told, and tells no age."""
    redaction = Redaction(
        {"leads": {"email": redact("email")}, "messages": {"content": scan(), "created_at": drop()}}, unknown=allow()
    )
    context = await _maya(redaction=redaction)
    assert 'ref="m1" role="assistant">' in context.to_prompt()
    assert {score.recency for score in context.explain() if score.table == "messages"} == {0.0}
