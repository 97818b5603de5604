"""tsquery as a tree: whether a text's lexemes satisfy it, and for phrases where they do."""

from __future__ import annotations

from collections.abc import Iterable, Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from agent_persistence.backends.memory.lexemes import Vector
from agent_persistence.backends.memory.refusals import TwinCannotTellError

_MAX_POSITIONS: Final = 255
"""Of each lexeme; a tsvector forgets further ones (MAXNUMPOS in ts_type.h)."""


class Matches(NamedTuple):
    """Where a part of a phrase ends, and how far each match reaches back from there (ExecPhraseData in ts_utils.h)."""

    ends: AbstractSet[int]
    width: int = 0

    def as_wide(self, width: int) -> AbstractSet[int]:
        """The ends of matches that reach equally far back where the widths differ."""
        return {end + width - self.width for end in self.ends}


_NOWHERE: Final = Matches(frozenset())


@dataclass(frozen=True, slots=True)
class Lexeme:
    """The lexeme occurs; with `prefix`, one that begins with it."""

    text: str
    prefix: bool = False

    def holds(self, found: Vector) -> bool:
        return self.text in found if not self.prefix else any(True for _ in self._same(found))

    def matches(self, found: Vector) -> Matches:
        places = [found[lexeme] for lexeme in self._same(found)]
        if any(len(positions) > _MAX_POSITIONS for positions in places):
            raise TwinCannotTellError("phrases of words that stand more than 255 times in a text")
        return Matches(frozenset[int]().union(*places))

    def _same(self, found: Vector) -> Iterable[str]:
        if self.prefix:
            return (lexeme for lexeme in found if lexeme.startswith(self.text))
        return (self.text,) if self.text in found else ()


@dataclass(frozen=True, slots=True)
class Both:
    """Both hold; within a phrase, at one position."""

    left: Query
    right: Query

    def holds(self, found: Vector) -> bool:
        return self.left.holds(found) and self.right.holds(found)

    def matches(self, found: Vector) -> Matches:
        left, right = self.left.matches(found), self.right.matches(found)
        width = max(left.width, right.width)
        ends = left.as_wide(width) & right.as_wide(width)
        return Matches(ends, width) if ends else _NOWHERE


@dataclass(frozen=True, slots=True)
class Either:
    """At least one holds."""

    left: Query
    right: Query

    def holds(self, found: Vector) -> bool:
        return self.left.holds(found) or self.right.holds(found)

    def matches(self, found: Vector) -> Matches:
        """One without a match has no width: PostgreSQL then measures the distance from the other alone."""
        left, right = self.left.matches(found), self.right.matches(found)
        width = max(left.width, right.width)
        return Matches(left.as_wide(width) | right.as_wide(width), width)


@dataclass(frozen=True, slots=True)
class Neither:
    """The term does not hold."""

    term: Query

    def holds(self, found: Vector) -> bool:
        return not self.term.holds(found)

    def matches(self, found: Vector) -> Matches:
        raise TwinCannotTellError("tsqueries with a negation beside <->")


@dataclass(frozen=True, slots=True)
class Followed:
    """`right` begins `distance` behind the end of `left` (TS_phrase_execute in tsvector_op.c)."""

    left: Query
    right: Query
    distance: int = 1

    def holds(self, found: Vector) -> bool:
        return bool(self.matches(found).ends)

    def matches(self, found: Vector) -> Matches:
        left, right = self.left.matches(found), self.right.matches(found)
        reach = self.distance + right.width
        ends = right.ends & {end + reach for end in left.ends}
        return Matches(ends, reach + left.width) if ends else _NOWHERE


Query: TypeAlias = Lexeme | Both | Either | Neither | Followed
