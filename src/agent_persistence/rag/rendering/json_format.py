"""A page as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from agent_persistence.rag.rendering.shown import ABOUT, PromptContent, Shown, boundary, grouped
from agent_persistence.rag.rendering.visible import visible, visible_value
from agent_persistence.schema.contexts.shape import ContextShape

_MEMBERS: Final = frozenset({"begin", "end", "notes", "without_parent", "ref", "at"})
_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Json:
    """One object, a record a line. `<`, `>` and `&` in texts are `\\u003c`, `\\u003e` and `\\u0026`."""

    def __init__(self, shape: ContextShape) -> None:
        self._name = shape.name
        self._tables = shape.order
        self._ours = frozenset({"ref", "at", *map(_member, self._tables)})

    def document(self, page: PromptContent) -> str:
        parts = [self._groups(page.attached(), 0)]
        if orphans := page.orphans():
            parts.append(f'"without_parent": {{\n{self._groups(orphans, 1)}\n}}')
        payload = ",\n".join(part for part in parts if part)
        name = boundary(payload, self._name)
        return "\n".join(
            [
                f"{{{_json(self._name)}: {{",
                f'"begin": {_json(f"records {name}: {ABOUT}")},',
                *([f"{payload},"] if payload else []),
                f'"end": "records {name}",',
                f'"notes": {_json(list(page.notes))}',
                "}}",
            ]
        )

    def _groups(self, shown: Sequence[Shown], depth: int) -> str:
        """The records by table, each table a member of the object that is open."""
        indent = " " * depth
        return ",\n".join(
            f"{indent}{_json(_member(table))}: [\n{self._list(found, depth + 1)}\n{indent}]"
            for table, found in grouped(shown, self._tables)
        )

    def _list(self, shown: Sequence[Shown], depth: int) -> str:
        return ",\n".join("\n".join(self.lines(one, depth)) for one in shown)

    def lines(self, shown: Shown, depth: int) -> Iterator[str]:
        record, indent = shown.record, " " * depth
        members = {"ref": record.ref, **record.heading()}
        members |= {self._free(column, members): value for column, value in _values(shown).items()}
        text = _json(members)
        if not shown.children:
            yield indent + text
            return
        yield f"{indent}{text[:-1]},"
        yield self._groups(shown.children, depth)
        yield f"{indent}}}"

    def text_lines(self, column: str, text: str, depth: int) -> Iterator[str]:
        yield f"{_json(column)}: {_json(text)}, "

    def _free(self, column: str, members: Mapping[str, Any]) -> str:
        while column in members or column in self._ours:
            column += "_"
        return column


def _member(table: str) -> str:
    """The table's name, unless one of our own members has it."""
    return f"{table}_" if table in _MEMBERS else table


def _values(shown: Shown) -> dict[str, Any]:
    """The values as JSON; of one that is cut, the text that is left."""
    row = {visible(str(column)): value for column, value in shown.record.row.items()}
    return {
        column: text if column in shown.cut or isinstance(row[column], str) else visible_value(row[column])
        for column, text in shown.texts.items()
    }


def _json(value: Any) -> str:
    """With sorted keys inside; the members of a record keep the order of its columns."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_plain(key)}: {_plain(item)}" for key, item in value.items()) + "}"
    return _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_digits).translate(_ESCAPES)


def _digits(value: Any) -> str:
    """A number that no float holds, as the text of its digits."""
    return str(value) if isinstance(value, Decimal) else repr(value)
