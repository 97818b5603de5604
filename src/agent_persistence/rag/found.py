"""What was read for a context, and what could not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_persistence.exceptions import AdapterError
from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.relevance import Relevance
from agent_persistence.rag.timeline import Timeline


@dataclass(slots=True)
class Found:
    """What was read: by table the newest rows within the limit and the number beyond it, and what failed, in order.

    Whether more rows exist is not known of the tables that are `full`: as many were found as may be asked for.
    `named` are further rows that the retriever named, and their parents; `relevance` is what it said of them, or None
    where there was none to ask or it failed; `unrelated` counts those it named that do not belong. `worded` are rows
    beyond the limit that hold words of the question, `unsought` says by table why they could not be asked for; `around`
    are what all of these belong to, and the turns around those with words.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    beyond_limit: dict[str, int] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    named: dict[str, list[Row]] = field(default_factory=dict)
    worded: dict[str, list[Row]] = field(default_factory=dict)
    around: dict[str, list[Row]] = field(default_factory=dict)
    relevance: Sequence[Relevance] | None = None
    unrelated: int = 0
    failures: dict[str, Exception] = field(default_factory=dict)
    unsought: dict[str, AdapterError] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
