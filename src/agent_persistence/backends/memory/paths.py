"""Parts of JSON documents, as `->` and `->>` give them (jsonb_object_field and its kin in jsonfuncs.c)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from agent_persistence.backends.memory.documents import JSON_NULL, document, key_order
from agent_persistence.query.identifiers import is_path

_ARROW: Final = re.compile(r"->>?")
_NUMBER: Final = re.compile(r"-?[0-9]+")


def reader(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """What the path reads of a row: a document, or its text for `->>`; None, which is SQL NULL, where nothing is.

    JSON's null is JSON_NULL as a document, and no text.
    """
    column, *keys = _ARROW.split(path)
    steps = [int(key) if _NUMBER.fullmatch(key) else key for key in keys]
    finish = _text if "->>" in path else _itself

    def read(row: Mapping[str, Any]) -> Any:
        value = row.get(column)
        for step in steps:
            value = _part(value, step)
        return finish(document(value))

    return read


def with_paths(names: Iterable[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The row, with what the paths among the names read of it under their names."""
    readers = {name: reader(name) for name in names if is_path(name)}
    return lambda row: {**row, **{name: read(row) for name, read in readers.items()}}


def _part(value: Any, step: str | int) -> Any:
    """The member of an object, or the element of a list, counted from its end where negative; None for anything else.

    A lone scalar is a list of one element to PostgreSQL (JB_ROOT_IS_ARRAY in jsonb.h).
    """
    match value, step:
        case dict(), str():
            found = value.get(step, _NOTHING)
        case list(), int() if -len(value) <= step < len(value):
            found = value[step]
        case _, 0 | -1 if not isinstance(value, (dict, list)):
            return value
        case _:
            return None
    return None if found is _NOTHING else JSON_NULL if found is None else found


_NOTHING: Final = object()


def _itself(value: Any) -> Any:
    return value


def _text(value: Any) -> str | None:
    return None if value is None or value is JSON_NULL else value if isinstance(value, str) else document_text(value)


def document_text(value: Any) -> str:
    """jsonb_out: blanks behind `,` and `:`, keys by length and then by bytes, numbers with the digits they have."""
    match value:
        case dict():
            members = (f"{document_text(key)}: {document_text(value[key])}" for key in sorted(value, key=key_order))
            return f"{{{', '.join(members)}}}"
        case list():
            return f"[{', '.join(map(document_text, value))}]"
        case Decimal():
            return format(value, "f")
        case _:
            return json.dumps(value, ensure_ascii=False)
