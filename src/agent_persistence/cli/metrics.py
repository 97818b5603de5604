"""`metrics`: the figures that an application wrote, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from agent_persistence.cli.help import add
from agent_persistence.cli.inputs import named, read_json
from agent_persistence.cli.options import AsJson
from agent_persistence.cli.running import running
from agent_persistence.cli.screen import plain
from agent_persistence.exceptions import ConfigurationError

Figures: TypeAlias = Mapping[str, float]
_COUNTS: Final = ("count", "errors")
_TIMES: Final = ("min_ms", "avg_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")


def register(app: typer.Typer) -> None:
    add(
        app,
        "metrics",
        metrics,
        "metrics metrics.json --sort p99_ms",
        "metrics - < metrics.json",
        "# the application writes the file:",
        "# Path('metrics.json').write_text(json.dumps(metrics.snapshot()))",
    )


def _known_sort(name: str) -> str:
    if name not in ("name", *_COUNTS, *_TIMES):
        raise typer.BadParameter(f"{name!r} is none of name, {', '.join((*_COUNTS, *_TIMES))}")
    return name


def metrics(
    snapshot: Annotated[
        Path, typer.Argument(metavar="FILE", help="What metrics.snapshot() returned, as JSON; - is stdin.")
    ] = Path("-"),
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="COLUMN", callback=_known_sort, help="name, or a figure, the largest first."),
    ] = "name",
    as_json: AsJson = False,
) -> None:
    """Show counts, errors and latencies by operation and table, in milliseconds.

    Metrics are kept in the process that makes the calls, so this shows what such a process wrote down. Percentiles are
    read from a histogram whose buckets are 4.4 % wide.
    """
    with running("metrics", as_json=as_json) as screen:
        figures = _figures(read_json(snapshot), named(snapshot))
        ordered = sorted(figures, key=lambda each: (0 if sort == "name" else -each[2][sort], each[0], each[1]))
        screen.document = {
            "metrics": [{"operation": verb, "table": name, **counted} for verb, name, counted in ordered]
        }
        if ordered:
            screen.show(_table(ordered))
        else:
            screen.note("no call was counted", style="dim")


def _figures(document: Any, source: str) -> list[tuple[str, str, dict[str, float]]]:
    """Operation, table and figures of each series; ConfigurationError where the document is no snapshot."""
    try:
        return [
            (verb, name, {figure: _number(counted[figure]) for figure in (*_COUNTS, *_TIMES)})
            for verb, by_table in document.items()
            for name, counted in by_table.items()
        ]
    except (AttributeError, KeyError, TypeError):
        raise ConfigurationError(
            f"{source} is no snapshot; write one with json.dumps(agent_persistence.metrics.snapshot())"
        ) from None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return value


def _table(series: list[tuple[str, str, dict[str, float]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("operation", no_wrap=True)
    table.add_column("table", no_wrap=True)
    for name in (*_COUNTS, *_TIMES):
        table.add_column(name.removesuffix("_ms"), justify="right", no_wrap=True)
    for verb, name, counted in series:
        counts = (
            Text(f"{counted['count']:,.0f}"),
            Text(f"{counted['errors']:,.0f}", style="red" if counted["errors"] else "dim"),
        )
        table.add_row(plain(verb), plain(name), *counts, *(Text(f"{counted[figure]:,.2f}") for figure in _TIMES))
    return table
