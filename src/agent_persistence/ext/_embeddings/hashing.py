"""Vectors without a model: the same text has the same vector everywhere, and only shared spelling brings texts near."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from math import sqrt

import anyio.lowlevel

from agent_persistence.ext._embeddings.embedder import check_positive, checked_texts

_WORD = re.compile(r"[^\W_]+")


class NonSemanticEmbedder:
    """For tests and demos: it knows no meaning, a synonym is as far as any other word.

    A vector is the signed hash of the words and of their runs of three characters (feature hashing, Weinberger et
    al., 2009), of length 1; a text without a word has the vector of zeros, which is near to nothing. No network, no
    randomness, the same in every process.
    """

    def __init__(self, dimensions: int = 256) -> None:
        check_positive("dimensions", dimensions)
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        """`non-semantic-hashing`."""
        return "non-semantic-hashing"

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in the order given."""
        await anyio.lowlevel.checkpoint()
        return [self._vector(text) for text in checked_texts(texts)]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._dimensions
        for feature, weight in Counter(_features(text)).items():
            hashed = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
            vector[(hashed >> 1) % self._dimensions] += weight if hashed & 1 else -weight
        length = sqrt(sum(number * number for number in vector))
        return [number / length for number in vector] if length else vector

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._dimensions})"


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(unicodedata.normalize("NFC", text).casefold()):
        yield f" {word} "
        padded = f" {word} "
        yield from (padded[start : start + 3] for start in range(len(padded) - 2))
