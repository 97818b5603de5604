"""SQL as values: text of names that are quoted here, and parameters that stay apart from it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from agent_persistence.exceptions import AdapterError


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `$1` in its text stands for the first parameter, a text that the server reads by its place."""

    text: str
    parameters: tuple[str | None, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse a NUL: libpq would take it for the end of the text."""
        if any("\0" in text for text in (self.text, *self.parameters) if text):
            raise AdapterError(
                "a name or a value holds the NUL character, which no text in PostgreSQL has", code="22021"
            )


class Parameters:
    """The parameters of a statement that is being written."""

    def __init__(self) -> None:
        self._values: list[str | None] = []

    def add(self, value: str | None) -> str:
        """What stands for the value in the text."""
        self._values.append(value)
        return f"${len(self._values)}"

    def in_order(self) -> tuple[str | None, ...]:
        return tuple(self._values)


def quoted(name: str) -> str:
    """The name of a table, column, function or role as SQL has it, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def names(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def json_text(value: Any) -> str:
    return to_json(value).decode()


def text_of(value: Any) -> str:
    """A JSON value as the text that PostgreSQL reads: a string is its own, everything else is JSON."""
    return value if isinstance(value, str) else json_text(value)


def array_text(items: Iterable[Any], text: Callable[[Any], str] = text_of) -> str:
    """An array as PostgreSQL writes it, `{"a","b,c",NULL}`, of elements in their own text.

    A list within is one more dimension, but for documents, where it is one.
    """
    return "{" + ",".join([_element(item, text) for item in items]) + "}"


def _element(item: Any, text: Callable[[Any], str]) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, (list, tuple)) and text is not json_text:
        return array_text(item, text)
    return '"' + text(item).replace("\\", "\\\\").replace('"', '\\"') + '"'
