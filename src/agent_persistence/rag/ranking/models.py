"""What may be asked about the meaning of texts: an embedder, a reranker. Protocols, and the scores of both. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from operator import mul
from typing import Any, Protocol

from agent_persistence.exceptions import AdapterError


class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how close their meanings are."""

    @property
    def name(self) -> str:
        """The model: vectors under different names do not compare."""
        ...

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in the order given; [] gives []. AdapterError where there is no answer."""
        ...


class Reranker(Protocol):
    """Reads a question together with each text that may answer it, such as a cross-encoder does."""

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """How well each text answers the question, in the order given: finite numbers, the greater the better."""
        ...


def similarities(embedder: Embedder, vectors: Sequence[Sequence[float]], texts: int) -> list[float]:
    """How close the meanings of so many texts are to that of the last one, from 0, the least, to 1, the closest.

    Cosines of a model fill a small part of their range, a different one for each model; so they are stretched.
    """
    if len(vectors) != texts + 1:
        raise AdapterError(f"{embedder.name} was given {texts + 1} texts and answered with {len(vectors)} vectors")
    for vector in vectors:
        if len(vector) != embedder.dimensions:
            raise AdapterError(
                f"{embedder.name} answered with a vector of {len(vector)} dimensions,"
                f" and says that its vectors have {embedder.dimensions}"
            )
    *others, question = vectors
    return stretched([_projected(other, question) for other in others])


def checked_scores(given: Sequence[Any], texts: int) -> list[float]:
    """The scores of a reranker; AdapterError unless there is one finite number for each text."""
    found = list(given)
    if len(found) != texts:
        raise AdapterError(f"the reranker was given {texts} texts and answered with {len(found)} scores")
    if not all(isinstance(score, (int, float)) and isfinite(score) for score in found):
        raise AdapterError("the reranker answered with a score that is no finite number")
    return found


def stretched(scores: Sequence[float]) -> list[float]:
    """The scores on a scale from 0, the least of them, to 1, the greatest; all 1 where they are equal."""
    least, most = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - least) / (most - least) if most > least else 1.0 for score in scores]


def _projected(vector: Sequence[float], question: Sequence[float]) -> float:
    """The cosine times the length of the question's vector, which is the same for all of them."""
    length = sqrt(sum(map(mul, vector, vector)))
    return sum(map(mul, vector, question)) / length if length else 0.0
