"""The objects of a JSON array, one after the other, as lines of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent_persistence.bulk.rows import SourceError

MAX_ITEM_CHARS: Final = 1 << 24
_BETWEEN: Final = re.compile(r"[\s,]*")
_scan: Final = json.JSONDecoder().raw_decode


def array_items(chunks: Iterable[str]) -> Iterator[str]:
    """The text of each item of the array, in one line; SourceError for what is no JSON array.

    No more than a chunk and one item, of at most 16 million characters, are in memory.
    """
    rest = iter(chunks)
    text = next((chunk for chunk in rest if chunk.strip()), "").lstrip("\ufeff \t\r\n")
    if not text.startswith("["):
        raise SourceError("the source is no JSON array: it does not begin with [")
    place = 1
    while True:
        place = _behind_gap(text, place)
        if text.startswith("]", place):
            return
        end = _end_of_item(text, place)
        if end is not None:
            yield text[place:end].replace("\r", " ").replace("\n", " ")
            place = end
            continue
        more = next(rest, None)
        if more is None:
            raise SourceError("the JSON array is cut off, or holds what is no JSON")
        text, place = text[place:] + more, 0
        if len(text) > MAX_ITEM_CHARS + len(more):
            raise SourceError(f"an item of the JSON array has more than {MAX_ITEM_CHARS:,} characters, or is no JSON")


def _behind_gap(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return place if found is None else found.end()


def _end_of_item(text: str, place: int) -> int | None:
    """Where the item ends that begins there; None where it goes on behind the text."""
    if place == len(text):
        return None
    try:
        _, end = _scan(text, place)
    except (ValueError, RecursionError):
        return None
    return None if end == len(text) and text[place] not in '{["' else end
