"""Which rows belong by what they hold, as filters of a size that a query can have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent_persistence.query.filters import Filters, any_of, in_
from agent_persistence.query.records import Row
from agent_persistence.rag.reach import Link
from agent_persistence.rag.scope import Values, values

KEYS_A_QUERY: Final = 500
"""The most keys of parents in one query; more of them make several queries, at once."""
COMPARISONS_A_QUERY: Final = 200
"""The most comparisons in one query where a key has several columns."""


def alternatives(link: Link, rows: Mapping[str, Sequence[Row]]) -> Iterator[Filters]:
    """Conditions of which a row that the link takes meets one; none where no row can meet any."""
    by_columns: dict[tuple[str, ...], dict[Values, None]] = {}
    for choice in link.choices:
        held = by_columns.setdefault(choice.columns, {})
        held.update(dict.fromkeys(values(row, choice.values_from) for row in rows[choice.table]))
        held.pop((), None)
    parts = [
        among(columns, batch) for columns, held in by_columns.items() for batch in batches_of([*held], size_of(columns))
    ]
    if len(by_columns) > 1 and sum(map(len, by_columns.values())) <= KEYS_A_QUERY and all(map(_is_one, by_columns)):
        yield any_of(*parts)
    else:
        yield from parts


def among(columns: tuple[str, ...], held: Sequence[Values]) -> Filters:
    """The columns hold one of the combinations of values."""
    if len(columns) == 1:
        return {columns[0]: in_([value for (value,) in held])}
    return any_of(*(dict(zip(columns, combination, strict=True)) for combination in held))


def size_of(columns: tuple[str, ...]) -> int:
    return KEYS_A_QUERY if _is_one(columns) else max(COMPARISONS_A_QUERY // len(columns), 1)


def batches_of(held: Sequence[Values], size: int) -> Iterator[Sequence[Values]]:
    for start in range(0, len(held), size):
        yield held[start : start + size]


def _is_one(columns: tuple[str, ...]) -> bool:
    return len(columns) == 1
