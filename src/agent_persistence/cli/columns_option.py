"""The text --columns of `import`, in both directions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

import typer

from agent_persistence.bulk.import_rows import REST


def read_columns(text: str | None) -> list[str] | dict[str, str | None] | None:
    """The names in their order, or the column of each heading; headings that are not named are left out, unless `*` is
    among them."""
    if not text:
        return None
    entries = [entry.strip() for entry in next(csv.reader([text], skipinitialspace=True)) if entry.strip()]
    if not any("=" in entry for entry in entries):
        return entries
    named: dict[str, str | None] = {} if REST in entries else {REST: None}
    for entry in entries:
        heading, sign, column = entry.rpartition("=")
        if entry != REST and not (heading and sign and column):
            raise typer.BadParameter(f"{entry!r}: write HEADING=column for every column", param_hint="--columns")
        if entry != REST:
            named[heading.strip()] = column.strip()
    return named


def written_columns(columns: Mapping[str, str | None] | Sequence[str]) -> str:
    """The text from which `read_columns` makes these columns."""
    if not isinstance(columns, Mapping):
        return ",".join(columns)
    named = [f"{_quoted(heading)}={column}" for heading, column in columns.items() if column is not None]
    return ",".join(named if REST in columns else [*named, REST])


def _quoted(heading: str) -> str:
    if heading.strip() == heading and not set(heading) & set(',"'):
        return heading
    doubled = heading.replace('"', '""')
    return f'"{doubled}"'
