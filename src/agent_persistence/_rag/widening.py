"""A plan for a question: everything that the filters let through is looked at, not the newest rows only. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_persistence._rag.candidates import sought
from agent_persistence._rag.entities import ENTITIES
from agent_persistence._rag.plan import ReadPlan
from agent_persistence._rag.words import Word


def widened(plan: ReadPlan, words: Sequence[Word], *, most: int, reads_all: bool, can: Mapping[str, bool]) -> ReadPlan:
    """The plan with up to `most` rows of each table, and where these may not be all, those that hold the words.

    Where no filter chooses, every row belongs, so that no table waits for another one.
    """
    is_of_all = plan.follows_relations and all(step.filters is None for step in plan.steps)
    steps = [
        replace(
            step,
            limit=max(most, step.limit),
            links=() if is_of_all else step.links,
            sought=() if reads_all else sought(ENTITIES[step.table], words, can),
        )
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps), words=tuple(words))
