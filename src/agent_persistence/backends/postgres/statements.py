"""SQL as values: text of names that are quoted here, and parameters that stay apart from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_persistence.backends.texts import json_text
from agent_persistence.exceptions import AdapterError
from agent_persistence.query.records import Record
from agent_persistence.query.references import Reference


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


def document(value: Record | Sequence[Record], parameters: Parameters) -> str:
    """The record or records as JSON: one parameter, or as many as it takes around values that the server knows."""
    records: Sequence[Record] = (value,) if isinstance(value, Mapping) else value
    if not any(isinstance(one, Reference) for record in records for one in record.values()):
        return f"{parameters.add(json_text(value if isinstance(value, Mapping) else list(value)))}::json"
    whole = "json_build_array({})" if not isinstance(value, Mapping) else "{}"
    return whole.format(", ".join(_object(record, parameters) for record in records))


def _object(record: Record, parameters: Parameters) -> str:
    """The record as a JSON object that is built of texts, which keeps numbers and documents as they are written."""
    parts, text = [], "{"
    for number, (column, value) in enumerate(record.items()):
        text += f"{',' if number else ''}{json_text(column)}:"
        if isinstance(value, Reference):
            parts += [f"{parameters.add(text)}::text", f"{earlier_value(value, parameters)}::text"]
            text = ""
        else:
            text += json_text(value)
    parts.append(f"{parameters.add(text + '}')}::text")
    return f"({' || '.join(parts)})::json"


SETTING: Final = "agent_persistence.part_"
"""Where a transaction keeps the rows that a part of a unit of work returned, until it ends."""


def earlier_value(reference: Reference, parameters: Parameters, *, as_text: bool = False) -> str:
    """The value that an earlier part of the transaction returned, as JSON or as its text."""
    arrow = "->>" if as_text else "->"
    rows = f"current_setting('{SETTING}{reference.part}')::json"
    return f"({rows}->{reference.row}{arrow}{parameters.add(reference.column)}::text)"
