"""Rows for people: a table where it fits into the terminal, else one row below the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from agent_persistence.cli.screen import plain
from agent_persistence.query.records import Row, distinct

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDEST: Final = 48
"""Columns of the terminal that a cell of a table may have before the rows are shown one below the other."""


def shown_rows(rows: Sequence[Row], console: Console) -> Iterator[RenderableType]:
    """What shows the rows on the console; nothing for none."""
    columns = list(distinct(name for row in rows for name in row))
    cells = [[cell(row.get(name)) for name in columns] for row in rows]
    widths = [
        max(len(name), *(text.cell_len for text in column))
        for name, column in zip(columns, zip(*cells, strict=True), strict=True)
    ]
    if not console.is_terminal or (
        max(widths, default=0) <= _WIDEST and sum(widths) + 3 * len(widths) <= console.width
    ):
        yield from [_table(columns, cells)] if rows else []
    else:
        for number, row in enumerate(cells, 1):
            yield Text(f"row {number}", style="bold")
            yield _record(columns, row)


def cell(value: Any) -> Text:
    """One value: text as it is, without line ends or what a terminal would obey; all else as JSON."""
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, str):
        return Text(" ".join(plain(value).split("\n")))
    return Text(plain(json.dumps(value, ensure_ascii=False, default=str)), style="cyan")


def _table(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in cells:
        table.add_row(*row)
    return table


def _record(columns: Sequence[str], row: Sequence[Text]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in zip(columns, row, strict=True):
        table.add_row(f"  {name}", value)
    return table
