"""Where the header of a table in a text is, and what parts its fields, by the columns that headings name. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final

from agent_persistence.bulk.columns import distinct_headings
from agent_persistence.bulk.csv_records import Dialect, Record, csv_records
from agent_persistence.bulk.headings import matches
from agent_persistence.bulk.spelling import trimmed

DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_WITHIN: Final = 40
"""The first records, among which a header is looked for."""
_SCORED: Final = 200
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_FIGURES: Final = re.compile(r"[-+]?[\d.,/:-]*\d[\d.,/:-]*")


def headings(record: Record) -> tuple[str, ...]:
    """The fields of a record as headings, no two of which are alike."""
    return distinct_headings([field or "" for field in record[2]])


def best_delimiter(lines: Sequence[str], begin: int, columns: Collection[str]) -> str | None:
    """What parts the lines best; None where nothing does: by the columns that a header names, then by how many records
    have the same number of fields, then by that number."""
    scores = {mark: _score(lines, mark, begin, columns) for mark in DELIMITERS}
    best = max(scores, key=lambda mark: scores[mark])
    return best if scores[best] > (0, 0, 0) else None


def _score(lines: Sequence[str], delimiter: str, begin: int, columns: Collection[str]) -> tuple[int, float, int]:
    parted = islice(csv_records(lines, Dialect(delimiter), begin), _SCORED)
    records = [record for record in parted if record[1].strip()]
    widths = Counter(len(record[2]) for record in records if len(record[2]) > 1)
    if not widths:
        return 0, 0, 0
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    return most_meant(records, columns), count / len(records), width


def most_meant(records: Sequence[Record], columns: Collection[str]) -> int:
    """How many columns the best header among the first records names."""
    return max((len(matches(headings(record), columns)) for record in records[:_WITHIN]), default=0)


def header_place(records: Sequence[Record], columns: Collection[str], named: Iterable[str] | None) -> int | None:
    """Which of the first records is the header; None for rows without one.

    It is the record with most of the headings that are `named`, else the one that names most columns, else the first
    one of the usual width that holds words alone.
    """
    first = records[:_WITHIN]
    if named is not None:
        wanted = set(named)
        counts = [len(wanted.intersection(headings(record))) for record in first]
    else:
        counts = [len(matches(headings(record), columns)) for record in first]
    most = max(counts, default=0)
    if most:
        place = counts.index(most)
        return place if _data(first[place]) <= most else None
    return _first_words(first)


def _first_words(first: Sequence[Record]) -> int | None:
    widths = Counter(len(record[2]) for record in first)
    width = widths.most_common(1)[0][0] if widths else 0
    for place, record in enumerate(first):
        if len(record[2]) == width and record[1].strip():
            return None if _data(record) else place
    return None


def _data(record: Record) -> int:
    """How many fields look like values; an address is one that no header has."""
    texts = [trimmed(field) for field in record[2] if field]
    figures = sum(_FIGURES.fullmatch(text) is not None for text in texts)
    return figures + (len(texts) if any(map(_EMAIL.fullmatch, texts)) else 0)
