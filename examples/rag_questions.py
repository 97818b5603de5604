"""Questions over the CRM data set, written by hand, each with the messages that answer it.

One JSON object a line in `rag_questions.jsonl`: the question; the world it is asked in, which is a lead by e-mail, a
client by name, or everything; the ids of the messages that answer it, any of which is enough; and words of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).with_suffix(".jsonl")
WORLDS: Final = {"lead": "one lead", "client": "one client", "": "whole CRM"}
_FILTERS: Final = {"lead": ("lead_filters", "email"), "client": ("client_filters", "name")}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its world, the ids of the messages that answer it, and words of the answer."""

    question: str
    scope: Mapping[str, str]
    messages: frozenset[int]
    answer: str

    @property
    def world(self) -> str:
        """The kind of world it is asked in."""
        return WORLDS[next(iter(self.scope), "")]

    def filters(self) -> dict[str, Any]:
        """The world as arguments of build_rag_context."""
        return {_FILTERS[kind][0]: {_FILTERS[kind][1]: value} for kind, value in self.scope.items()}


def questions() -> list[Question]:
    """All of them, in file order."""
    told = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
    return [Question(one["question"], one["scope"], frozenset(one["messages"]), one["answer"]) for one in told]
