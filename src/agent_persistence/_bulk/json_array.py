"""The objects of a JSON array, one after the other, as lines of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from agent_persistence._bulk.lines import Unreadable
from agent_persistence._bulk.rows import SourceError

MAX_ITEM_CHARS: Final = 1 << 24
_BETWEEN: Final = re.compile(r"[\s,]*")
_scan: Final = json.JSONDecoder().raw_decode


def array_items(lines: Iterable[str]) -> Iterator[str]:
    """The text of each item of the array, in one line; SourceError for what is no JSON array.

    No more than one item, of at most 16 million characters, is in memory.
    """
    rest = iter(lines)
    text = next((line for line in rest if line.strip()), "").lstrip("\ufeff \t")
    if not text.startswith("["):
        raise SourceError("the source is no JSON array: it does not begin with [")
    text = text[1:]
    while True:
        text = text[_end_of_gap(text) :]
        if text.startswith("]"):
            return
        found = _item(text)
        if found is not None:
            yield text[:found].replace("\n", " ")
            text = text[found:]
            continue
        more = next(rest, None)
        if more is None:
            raise SourceError("the JSON array is cut off, or holds what is no JSON")
        if isinstance(more, Unreadable):
            raise SourceError(f"the JSON array {more.problem}")
        text += "\n" + more
        if len(text) > MAX_ITEM_CHARS:
            raise SourceError(f"an item of the JSON array has more than {MAX_ITEM_CHARS:,} characters, or is no JSON")


def _end_of_gap(text: str) -> int:
    found = _BETWEEN.match(text)
    return found.end() if found else 0


def _item(text: str) -> int | None:
    """Where the item ends with which the text begins, None where it goes on behind the text."""
    if not text:
        return None
    try:
        _, end = _scan(text)
    except (ValueError, RecursionError):
        return None
    return None if end == len(text) and text[0] not in '{["' else end
