"""A page as XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_persistence.query.identifiers import is_identifier
from agent_persistence.rag.rendering.shown import ABOUT, PromptContent, Shown, boundary
from agent_persistence.schema.contexts.shape import ContextShape

_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


class Xml:
    """One element of the context's name. Each text stands in the element of its column, so that no content closes a
    tag."""

    def __init__(self, shape: ContextShape) -> None:
        self._name = shape.name
        tags = (entity.tag for entity in shape.tables.values())
        self._tags = frozenset({shape.name, "without_parent", "note", "field", *tags})

    def document(self, page: PromptContent) -> str:
        payload = "\n".join(self._payload(page))
        name = boundary(payload, self._name)
        return "\n".join(
            [
                f"<{self._name}>",
                f"[records {name} begin: {ABOUT}]",
                *([payload] if payload else []),
                f"[records {name} end]",
                *(f"  <note>{escape(note)}</note>" for note in page.notes),
                f"</{self._name}>",
            ]
        )

    def _payload(self, page: PromptContent) -> Iterator[str]:
        for root in page.attached():
            yield from self.lines(root, 1)
        if orphans := page.orphans():
            yield "  <without_parent>"
            for root in orphans:
                yield from self.lines(root, 2)
            yield "  </without_parent>"

    def lines(self, shown: Shown, depth: int) -> Iterator[str]:
        record, indent = shown.record, "  " * depth
        heading = {"ref": record.ref, **record.heading()}
        tag = record.entity.tag
        opening = tag + "".join(f' {name}="{escape(value)}"' for name, value in heading.items())
        body = record.entity.body
        if body is not None and not shown.children:
            yield f"{indent}<{opening}>{escape(shown.texts[body])}</{tag}>"
            return
        yield f"{indent}<{opening}>"
        for column, text in shown.texts.items():
            yield from self.text_lines(column, text, depth)
        for child in shown.children:
            yield from self.lines(child, depth + 1)
        yield f"{indent}</{tag}>"

    def text_lines(self, column: str, text: str, depth: int) -> Iterator[str]:
        yield f"{'  ' * (depth + 1)}{self._element(column, text)}"

    def _element(self, column: str, text: str) -> str:
        if is_identifier(column) and column not in self._tags:
            return f"<{column}>{escape(text)}</{column}>"
        return f'<field name="{escape(column)}">{escape(text)}</field>'


def escape(text: str) -> str:
    """The visible text as character data or a value of an attribute."""
    return text.translate(_ENTITIES)
