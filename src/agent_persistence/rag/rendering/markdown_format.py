"""A page as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent_persistence.rag.outline import Record
from agent_persistence.rag.rendering.shown import PromptContent, Shown, bounded, payload
from agent_persistence.schema.contexts.shape import ContextShape

_BACKTICKS: Final = re.compile("`+")


class Markdown:
    """Headings for records, code for texts: fences and code spans are longer than any run of backticks inside."""

    def __init__(self, shape: ContextShape) -> None:
        self._name = shape.name

    def document(self, page: PromptContent) -> str:
        records = payload(page, self.lines, "## without parent")
        return "\n".join([f"# {self._name}", *bounded(page, self._name, records)])

    def lines(self, shown: Shown, depth: int) -> Iterator[str]:
        record = shown.record
        fields = _above(record) | record.heading()
        heading = "".join(f", {name} {_code(value)}" for name, value in fields.items())
        body = record.entity.body
        if body is not None and _is_item(shown):
            yield from _labelled(f"- {record.ref}{heading}:", shown.texts[body])
        else:
            yield f"{'#' * min(depth + 1, 6)} {record.entity.tag} {record.ref}{heading}"
            for column, text in shown.texts.items():
                yield from self.text_lines(column, text, depth)
        for child in shown.children:
            yield from self.lines(child, depth + 1)

    def text_lines(self, column: str, text: str, depth: int) -> Iterator[str]:
        return _labelled(f"- {column if column.isidentifier() else _code(column)}:", text)


def _is_item(shown: Shown) -> bool:
    """Whether the record is an item of the list below its parent, and holds nothing but others of the same list."""
    record = shown.record
    stands_alone = record.parent is None and not record.entity.needs_parent
    return not stands_alone and all(child.record.table == record.table for child in shown.children)


def _above(record: Record) -> dict[str, str]:
    """What a row of a thread replies to: items of a list stand one below the other, however deep they belong."""
    if record.parent is None or record.parent.table != record.table:
        return {}
    return {record.entity.threads[0].shown_as: record.parent.ref}


def _labelled(name: str, text: str) -> Iterator[str]:
    """The text as a code span beside its name, or below it in a fence where it has several lines."""
    if "\n" not in text:
        yield f"{name} {_code(text)}"
        return
    fence = _longer_than_inside(text, at_least=3)
    yield name
    yield fence
    yield text
    yield fence


def _code(text: str) -> str:
    """The text, which then is one line, as a code span."""
    text = " ".join(text.split("\n"))
    if not text.strip():
        return "` `"
    fence = _longer_than_inside(text, at_least=1)
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}"


def _longer_than_inside(text: str, *, at_least: int) -> str:
    return "`" * max(at_least, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
