"""Vectors as pgvector has them: their text, their cosine, and the nearest of many. Pure.

pgvector stores single precision and divides in double precision (`cosine_distance` in vector.c); so does this.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from operator import mul
from typing import Final, Self, TypeVar

from agent_persistence.exceptions import ValidationError

Key = TypeVar("Key", str, int)

MAX_DIMENSIONS: Final = 16_000
"""VECTOR_MAX_DIM in vector.h."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector in single precision, and its squared length."""

    values: array[float]
    square: float

    @classmethod
    def of(cls, given: Sequence[float]) -> Self:
        """The vector of these numbers; what pgvector would not store is a ValidationError."""
        if not 0 < len(given) <= MAX_DIMENSIONS:
            raise ValidationError("vector", f"a vector has 1 to {MAX_DIMENSIONS} dimensions, not {len(given)}")
        if not all(type(number) in (int, float) for number in given):
            raise ValidationError("vector", "a vector holds numbers only")
        try:
            values = array("f", given)
        except OverflowError:  # an int beyond double precision
            values = array("f", [inf])
        if not all(map(isfinite, values)):
            raise ValidationError("vector", "a vector holds finite numbers of single precision only")
        return cls(values, sum(map(mul, values, values)))

    @classmethod
    def read(cls, text: str) -> Self:
        """The vector that pgvector writes as `[1,0.5,0]`."""
        try:
            given = json.loads(text)
        except ValueError:
            given = None
        if not isinstance(given, list):
            raise ValidationError("vector", "a vector is written as [1,0.5,0]")
        return cls.of(given)


def written(vector: Sequence[float]) -> str:
    """The vector as an argument or a value for pgvector: `[1.0,0.5,0.0]`."""
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


def cosine_similarity(one: Vector, other: Vector) -> float | None:
    """The cosine of the angle between them, from -1 to 1; None where one is all zeros and so has no direction."""
    if len(one.values) != len(other.values):
        raise ValidationError("vector", f"different vector dimensions {len(one.values)} and {len(other.values)}")
    length = sqrt(one.square * other.square)
    if not length:
        return None
    cosine: float = sum(map(mul, one.values, other.values)) / length
    return 1 - (1 - max(-1.0, min(1.0, cosine)))  # what its users compute from the distance that pgvector gives


def nearest(
    query: Vector, candidates: Iterable[tuple[Key, Vector]], count: int, *, threshold: float | None = None
) -> list[tuple[Key, float]]:
    """The keys of the `count` most similar vectors and their similarities, the best first, ties by key.

    With a threshold only those above it. A vector of zeros is near to nothing, and nothing is near to it.
    """
    found = [
        (key, similarity)
        for key, vector in candidates
        if (similarity := cosine_similarity(query, vector)) is not None
        and (threshold is None or similarity > threshold)
    ]
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return found[: max(count, 0)]
