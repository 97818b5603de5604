"""Values as the texts that PostgreSQL reads. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import to_json


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
