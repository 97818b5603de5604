"""What is said about the rows that a prompt does not show: to the model in notes, to the caller in a report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_persistence.rag.rendering.shown import CUT, Shown

NOTHING_FOUND = "No matching records were found. Say so instead of guessing."
NOTHING_READ = "Nothing was looked for: records may exist."


@dataclass(frozen=True, slots=True)
class Known:
    """By table: the rows at hand, those read beyond the limit, the values redacted; and the tables that failed, those
    that are full, of which nobody knows whether they hold more, those that were not looked at, and the links, whose
    rows are no records."""

    rows: Mapping[str, int]
    beyond_limit: Mapping[str, int] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)
    failed: Sequence[str] = ()
    full: Collection[str] = ()
    unread: Collection[str] = ()
    links: Collection[str] = ()

    def notes(self, shown: Sequence[Shown]) -> list[str]:
        """What the model has to know about what it does not see; always in the same order."""
        kept = self._kept(shown)
        more = [table for table in self.rows if self._fetched(table) > kept[table]]
        found = [] if any(self.rows.values()) or self.failed else [self._nothing()]
        if more:
            found.append(f"More {self._listed(more)} exist than are shown.")
        if perhaps := [table for table in self.rows if table in self.full and table not in more]:
            found.append(f"More {self._listed(perhaps)} may exist than are shown.")
        if any(one.cut for one in walk(shown)):
            found.append(f"{CUT} stands where a text was cut.")
        if any(one.is_abridged for one in walk(shown)):
            found.append("Of some records not all columns are shown.")
        if self.failed:
            found.append(f"The {self._listed(self.failed)} could not be read: they may exist.")
        return found

    def report(self, shown: Sequence[Shown]) -> dict[str, dict[str, Any]]:
        """What became of the rows of each table."""
        kept = self._kept(shown)
        clipped = Counter(one.record.table for one in walk(shown) if one.cut or one.is_abridged)
        return {
            table: {
                "fetched": self._fetched(table),
                "kept": kept[table],
                "dropped_by_budget": rows - kept[table],
                "dropped_by_limit": self.beyond_limit.get(table, 0),
                "clipped": clipped[table],
                "redacted": self.redacted.get(table, 0),
                "more_exist": None if table in self.full else self.beyond_limit.get(table, 0) > 0,
            }
            for table, rows in self.rows.items()
        }

    def _fetched(self, table: str) -> int:
        return self.rows[table] + self.beyond_limit.get(table, 0)

    def _kept(self, shown: Sequence[Shown]) -> Counter[str]:
        """By table, how many rows are shown; those of links are counted as far as the records they connect are."""
        kept = Counter(one.record.table for one in walk(shown))
        kept.update({table: self.rows[table] for table in self.links})
        return kept

    def _nothing(self) -> str:
        """That nothing was found, of what was looked at and of nothing else."""
        looked_at = [table for table in self.rows if table not in self.unread]
        if len(looked_at) == len(self.rows):
            return NOTHING_FOUND
        if not looked_at:
            return NOTHING_READ
        return (
            f"No matching {self._listed(looked_at)} were found, and nothing else was looked for."
            " Say so instead of guessing."
        )

    def _listed(self, tables: Collection[str]) -> str:
        names = [table for table in self.rows if table in tables]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def walk(shown: Sequence[Shown]) -> Iterator[Shown]:
    """All that is shown, in the order of the prompt."""
    for one in shown:
        yield one
        yield from walk(one.children)
