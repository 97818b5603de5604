"""A page with one line a record: the form with the most content for its tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from agent_persistence.rag.outline import Record
from agent_persistence.rag.rendering.shown import PromptContent, Shown, bounded, payload
from agent_persistence.schema.contexts.shape import ContextShape

_MINUTE: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)Z")
_PLAIN: Final = re.compile(r"[^\W_][\w.@/+%{}-]*(?: [\w.@/+%-]+)*")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "<": "\\u003c", ">": "\\u003e"})
_ANGLES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e"})


class Compact:
    """`m3 user 13:58: Hello`: a reference, labels, the time, and the text, in which line ends are `\\n`.

    No content begins a line, since line ends, tabs and backslashes are escaped, and no tag can be read from it, since
    `<` and `>` are `\\u003c` and `\\u003e`. A record stands below the nearest line of what it belongs to. Times are in
    UTC; of a turn only the minute is shown where the day is that of its talk. A turn that replies to another one of its
    talk shows that.
    """

    def __init__(self, shape: ContextShape) -> None:
        self._name = shape.name

    def document(self, page: PromptContent) -> str:
        return "\n".join(bounded(page, self._name, payload(page, self.lines, "without parent:")))

    def lines(self, shown: Shown, depth: int) -> Iterator[str]:
        record, body = shown.record, shown.record.entity.body
        if body is not None:
            yield f"{_heading(record)}: {shown.texts[body].translate(_ESCAPES)}".rstrip(" ")
        else:
            fields = ", ".join(f"{_cell(column)}: {_cell(text)}" for column, text in shown.texts.items())
            yield f"{_heading(record)}: {fields}" if fields else _heading(record)
        for child in shown.children:
            yield from self.lines(child, depth + 1)

    def text_lines(self, column: str, text: str, depth: int) -> Iterator[str]:
        yield f", {_cell(column)}: {_cell(text)}"


def _heading(record: Record) -> str:
    entity, above = record.entity, record.parent
    parts = [record.ref] if entity.in_time_order else [record.ref, entity.tag]
    if above is not None and above.table == record.table:
        parts.append(f"{entity.threads[0].shown_as}={above.ref}")
    by_itself = (
        {entity.title_name, *(name for _, name in entity.labels)}
        if entity.title
        else {name for _, name in entity.labels}
    )
    for name, value in record.heading().items():
        if name == "at":
            parts.append(_time(record, value))
        else:
            parts.append(_cell(value) if name in by_itself else f"{name}={_cell(value)}")
    return " ".join(parts)


def _time(record: Record, at: str) -> str:
    """The day; of a turn the minute as well, and its day only where its talk does not show it."""
    time = _MINUTE.fullmatch(at)
    if time is None:
        return _cell(at)
    if record.entity.body is None:
        return time[1]
    talk = record.parent
    while talk is not None and talk.table == record.table:
        talk = talk.parent
    above = talk.heading().get("at", "") if talk is not None else ""
    return time[2] if above.startswith(f"{time[1]}T") and _MINUTE.fullmatch(above) else f"{time[1]} {time[2]}"


def _cell(text: str) -> str:
    """The text as it is where nothing in it could be taken for a sign of ours, else in quotes."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False).translate(_ANGLES)
