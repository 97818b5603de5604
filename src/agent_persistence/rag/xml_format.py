"""A page as XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_persistence.query.identifiers import is_identifier
from agent_persistence.rag.entities import ENTITIES
from agent_persistence.rag.shown import ABOUT, PromptContent, Shown, boundary

_TAGS: Final = frozenset({"crm_context", "without_parent", "note", "field", *(e.tag for e in ENTITIES.values())})
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


class Xml:
    """One `<crm_context>` element. Each text stands in the element of its column, so that no content closes a tag."""

    def document(self, page: PromptContent) -> str:
        payload = "\n".join(self._payload(page))
        name = boundary(payload)
        return "\n".join(
            [
                "<crm_context>",
                f"[records {name} begin: {ABOUT}]",
                *([payload] if payload else []),
                f"[records {name} end]",
                *(f"  <note>{escape(note)}</note>" for note in page.notes),
                "</crm_context>",
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
        if body is not None:
            yield f"{indent}<{opening}>{escape(shown.texts[body])}</{tag}>"
            return
        yield f"{indent}<{opening}>"
        for column, text in shown.texts.items():
            yield from self.text_lines(column, text, depth)
        for child in shown.children:
            yield from self.lines(child, depth + 1)
        yield f"{indent}</{tag}>"

    def text_lines(self, column: str, text: str, depth: int) -> Iterator[str]:
        yield f"{'  ' * (depth + 1)}{_element(column, text)}"


def _element(column: str, text: str) -> str:
    if is_identifier(column) and column not in _TAGS:
        return f"<{column}>{escape(text)}</{column}>"
    return f'<field name="{escape(column)}">{escape(text)}</field>'


def escape(text: str) -> str:
    """The visible text as character data or a value of an attribute."""
    return text.translate(_ENTITIES)
