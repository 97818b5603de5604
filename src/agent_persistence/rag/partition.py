"""A record in portions: what is shown of it first, and what more of it can be shown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_persistence.rag.clipping import parts
from agent_persistence.rag.outline import Record
from agent_persistence.rag.ranking.lexical import terms
from agent_persistence.rag.tokens import TokenCounter

_OF_THE_ONE_BEFORE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a column's text: its place among the pieces, and the share of the record's value that it adds."""

    column: str
    place: int
    text: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Portions:
    """The texts of a record in pieces, by column; the parts that are shown with it always, and those that may be."""

    pieces: Mapping[str, Sequence[str]]
    head: Sequence[Part]
    further: Sequence[Part]


def portions(record: Record, size: int, counter: TokenCounter, wanted: frozenset[str]) -> Portions:
    """The head is the piece of the body with most of the wanted words, or the first columns, up to `size` tokens.

    A further part is worth less than the one before, in their order; but as much as the whole record where it holds
    all wanted words that the record holds.
    """
    pieces = {column: parts(text, size, counter) for column, text in record.texts().items()}
    found = [Part(column, place, text) for column, texts in pieces.items() for place, text in enumerate(texts)]
    is_divided = wanted and len(found) > 1
    matches = [wanted.intersection(terms(part.text)) if is_divided else frozenset[str]() for part in found]
    heads = _best(matches) if record.entity.body is not None else _first(found, size // 2, counter)
    rest = [place for place in range(len(found)) if place not in heads]
    return Portions(
        pieces,
        [found[place] for place in sorted(heads)],
        [replace(found[place], share=share) for place, share in zip(rest, _shares(rest, matches), strict=True)],
    )


def _shares(rest: Sequence[int], matches: Sequence[frozenset[str]]) -> Iterator[float]:
    """What each of the further parts adds, by its number among them and by the wanted words it holds."""
    matched = len(frozenset[str]().union(*matches))
    for number, place in enumerate(rest, 1):
        yield max(_OF_THE_ONE_BEFORE**number, len(matches[place]) / matched if matched else 0.0)


def _best(matches: Sequence[frozenset[str]]) -> set[int]:
    return {max(range(len(matches)), key=lambda place: (len(matches[place]), -place))} if matches else set()


def _first(found: Sequence[Part], size: int, counter: TokenCounter) -> set[int]:
    """The places of the first parts that together have no more than `size` tokens, and of one at least."""
    used = 0
    heads: set[int] = set()
    for place, part in enumerate(found):
        used += counter.count(f"<{part.column}>{part.text}</{part.column}>")
        if heads and used > size:
            break
        heads.add(place)
    return heads
