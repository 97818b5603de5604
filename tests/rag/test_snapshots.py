"""Prompts for the example CRM as files that a person can read: a change of what a model is given is seen in review.

`python -m tests.rag.test_snapshots` writes them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from agent_persistence import build_rag_context
from agent_persistence.rag_context import PromptFormat
from agent_persistence.redaction import Redaction
from tests.rag.crm import crm_service

pytestmark = pytest.mark.anyio
SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
SUFFIXES: Final[Mapping[PromptFormat, str]] = {"xml": "xml", "markdown": "md", "json": "json", "compact": "txt"}
CONTEXTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "one_conversation": {
        "lead_filters": {"email": "bob.null@null-and-sons.example"},
        "conversation_filters": {"channel": "chat"},
    },
    "question_in_900_tokens": {
        "lead_filters": {"email": "maya.okafor@brightwater.example"},
        "query": "What is Maya's budget, and when does the board decide?",
        "redaction": Redaction.default(),
        "max_tokens": 900,
    },
    "several_languages": {
        "client_filters": {"name": "株式会社サクラバ・ロボティクス"},
        "limits": {"leads": 3, "messages": 8},
        "redaction": Redaction.default(),
    },
    "nobody": {"lead_filters": {"email": "nobody@x.example"}},
}


async def prompt(name: str, form: PromptFormat) -> str:
    context = await build_rag_context(crm_service(), **CONTEXTS[name])
    return context.to_prompt(form)


def path(name: str, form: PromptFormat) -> Path:
    return SNAPSHOTS / f"{name}.{SUFFIXES[form]}"


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("name", CONTEXTS)
async def test_the_prompt_is_the_one_in_the_file(name: str, form: PromptFormat) -> None:
    """Byte for byte."""
    assert path(name, form).read_bytes() == (await prompt(name, form)).encode() + b"\n"


def test_every_file_belongs_to_a_test() -> None:
    """No snapshot is left behind."""
    assert {file.name for file in SNAPSHOTS.iterdir()} == {path(n, f).name for n in CONTEXTS for f in SUFFIXES}


async def write() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for name in CONTEXTS:
        for form in SUFFIXES:
            path(name, form).write_text(await prompt(name, form) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    anyio.run(write)
