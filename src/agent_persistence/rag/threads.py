"""Rows that name rows of their own table, as threads: which stands under which, and how deep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from agent_persistence.query.records import Row
from agent_persistence.schema.contexts.shape import Relation

DEEPEST: Final = 6
"""How many rows stand one in the other; what lies deeper stands beside the row it names, and refers to it."""


@dataclass(frozen=True, slots=True)
class Threads:
    """By the places of the rows: what each stands under, an order in which that comes first, and what lay too deep."""

    above: Sequence[int | None]
    order: Sequence[int]
    flattened: frozenset[int] = frozenset()

    @classmethod
    def none(cls, count: int) -> Self:
        """Rows that stand under none of their own."""
        return cls([None] * count, range(count))


def threads(rows: Sequence[Row], relation: Relation) -> Threads:
    """Each row stands under the first row that holds what it names; where rows name each other in a circle, the first
    of them stands under none."""
    above = _named(rows, relation)
    depths: dict[int, int] = {}
    order: list[int] = []
    flattened = set()
    for start in range(len(rows)):
        for place in reversed(_chain(start, above, depths)):
            parent = above[place]
            depth = 0 if parent is None else 1 + depths[parent]
            if parent is not None and depth > DEEPEST:
                above[place] = above[parent]
                depth = depths[parent]
                flattened.add(place)
            depths[place] = depth
            order.append(place)
    return Threads(above, order, frozenset(flattened))


def _named(rows: Sequence[Row], relation: Relation) -> list[int | None]:
    places: dict[tuple[Any, ...], int] = {}
    for place, row in enumerate(rows):
        if all(row.get(column) is not None for column in relation.references):
            places.setdefault(_held(row, relation.references), place)
    named = [places.get(_held(row, relation.columns)) for row in rows]
    return [
        None if any(row.get(column) is None for column in relation.columns) or other == place else other
        for place, (row, other) in enumerate(zip(rows, named, strict=True))
    ]


def _chain(start: int, above: list[int | None], depths: dict[int, int]) -> list[int]:
    """The rows from this one upwards whose depth is not known; a circle among them is opened."""
    chain: dict[int, None] = {}
    at: int | None = start
    while at is not None and at not in depths:
        if at in chain:
            met = list(chain)
            above[min(met[met.index(at) :])] = None
            return _chain(start, above, depths)
        chain[at] = None
        at = above[at]
    return list(chain)


def _held(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    held = (row.get(column) for column in columns)
    return tuple(value if isinstance(value, (str, int)) else str(value) for value in held)
