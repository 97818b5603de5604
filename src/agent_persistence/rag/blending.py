"""What the words of a question and a retriever say of the records, as one relevance from 0 to 1. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent_persistence.rag.ranking.matching import Match
from agent_persistence.rag.ranking.relevance import Relevance
from agent_persistence.rag.scoring import RecordId, record_id

RETRIEVED: Final = 1.0
"""What a retriever's score counts beside that of the words."""


def retrieved(told: Sequence[Relevance] | None) -> dict[RecordId, float]:
    """The retriever's scores by record; of one that is named twice the better."""
    found: dict[RecordId, float] = {}
    for one in told or ():
        record = record_id(one.table, one.key)
        found[record] = max(one.score, found.get(record, 0.0))
    return found


def blended(matches: Mapping[RecordId, Match], named: Mapping[RecordId, float]) -> dict[RecordId, float]:
    """The best match of the words is 1; where there is a retriever too, the best sum of both is.

    Where the words find nothing, the retriever's scores stay as they are.
    """
    best = max((match.score for match in matches.values()), default=0.0)
    if not best:
        return dict(named)
    sums = {record: match.score / best for record, match in matches.items()}
    if not named:
        return sums
    for record, score in named.items():
        sums[record] = sums.get(record, 0.0) + RETRIEVED * score
    most = max(sums.values())
    return {record: score / most for record, score in sums.items()}
