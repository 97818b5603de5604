"""The examples of the frameworks run as they stand."""

from __future__ import annotations

import anyio
import pytest

from examples import langgraph_support, openai_agents_chat


def test_the_support_desk_asks_rests_and_remembers(capsys: pytest.CaptureFixture[str]) -> None:
    """What one conversation learnt, the next one knows."""
    anyio.run(langgraph_support.main)
    assert capsys.readouterr().out.splitlines() == [
        "Refund ada?",
        "My parcel is broken.",
        "known: nothing",
        "refund: granted",
        "known: a refund was granted",
    ]


def test_the_chat_goes_on_where_it_was_left(capsys: pytest.CaptureFixture[str]) -> None:
    """The second turn's model sees the first one."""
    anyio.run(openai_agents_chat.main)
    assert capsys.readouterr().out.splitlines() == [
        "I am Ada. -> Noted, Ada.",
        "Who am I? -> Your name is Ada.",
        "the model saw 3 items, 4 are kept",
    ]
