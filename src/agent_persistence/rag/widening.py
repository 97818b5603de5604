"""A plan for a question: everything that the filters let through is looked at, not the newest rows only. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_persistence.rag.candidates import sought
from agent_persistence.rag.plan import ReadPlan
from agent_persistence.rag.ranking.words import Word
from agent_persistence.schema.contexts.shape import ContextShape


def widened(
    plan: ReadPlan,
    shape: ContextShape,
    words: Sequence[Word],
    *,
    most: int,
    reads_all: bool,
    can: Mapping[str, bool],
) -> ReadPlan:
    """The plan with up to `most` rows of each table, and where these may not be all, those that hold the words.

    Where no filter chooses, every row belongs, so that no table waits for another one.
    """
    steps = [
        replace(
            step,
            limit=max(most, step.limit),
            links=step.links if step.table in plan.chosen else (),
            sought=() if reads_all else sought(shape.tables[step.table], words, can),
        )
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps), words=tuple(words))
