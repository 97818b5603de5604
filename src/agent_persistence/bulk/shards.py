"""Parts of a source that processes import side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_persistence.exceptions import ConfigurationError

BLOCK_ROWS: Final = 5_000
"""Rows of one shard in a row: as many as a chunk has unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The blocks of `BLOCK_ROWS` records that fall to the part `index` of `count`, dealt out in turn.

    Which records these are depends on nothing but their numbers, so that no record is in two parts or in none.
    """

    index: int
    count: int

    @classmethod
    def of(cls, shard: object) -> Shard:
        """The shard that `(i, n)` means; ConfigurationError for all else."""
        match shard:
            case (int(index), int(count)) if 0 <= index < count and not (isinstance(index, bool)):
                return cls(index, count)
        raise ConfigurationError(f"shard is (i, n), the part i of n counted from 0, such as (0, 4); not {shard!r:.40}")

    def holds(self, number: int) -> bool:
        """Whether the record of this number, counted from 0, is in the shard."""
        return self.count == 1 or number // BLOCK_ROWS % self.count == self.index


WHOLE: Final = Shard(0, 1)
