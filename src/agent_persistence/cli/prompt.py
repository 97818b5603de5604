"""A prompt in colours, and the report of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from agent_persistence.cli.screen import Screen, display, plain
from agent_persistence.rag_context import Prompt, RAGContext, TokenUse

if TYPE_CHECKING:
    from rich.console import Console

_BAR: Final = 32
_COLUMNS: Final = ("fetched", "kept", "dropped_by_budget", "dropped_by_limit", "clipped", "redacted")
_COLOURS: Final = (
    (r"</?[a-z_]+|(?<=[\w\"])>", "cyan"),
    (r"^\s*- [a-z_]+(?=:)|^#+ .*$|\"[a-z_]+\"(?=:)", "cyan"),
    (r"\b(?:ref|at|role|campaign)=", "blue"),
    (r"\b[a-z]\d+\b(?=\"|,)|(?<=ref=)\"[^\"]*\"", "bold"),
    (r"\[[A-Z]+_\d+\]", "magenta"),
    (r"^.*\[?records [0-9a-f]{16} (?:begin|end).*$|\[…\]", "dim"),
)
"""What is coloured, later ones over earlier ones: tags, headings, attributes, references, labels, boundaries."""


def shown_prompt(screen: Screen, prompt: Prompt) -> None:
    """The prompt on stdout: coloured in a terminal, else as it is."""
    if not screen.out.is_terminal:
        screen.text(prompt.text)
        return
    text = Text(plain(prompt.text))
    for pattern, style in _COLOURS:
        text.highlight_regex(f"(?m){pattern}", style)
    screen.show(text)


def shown_tokens(console: Console, context: RAGContext, prompt: Prompt) -> None:
    """How many tokens the prompt has of those it may have, what became of each table's rows, and what is missing."""
    display(console, Text.assemble("\n", _use(prompt.tokens)))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("table", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for name, counts in prompt.report.items():
        table.add_row(name, *(_number(counts[column], column) for column in _COLUMNS))
    display(console, table)
    for warning in context.warnings:
        display(console, Text(f"warning: {plain(warning)}", style="yellow"))


def _use(use: TokenUse) -> Text:
    if use.budget is None:
        return Text.assemble((f"{use.used:,} tokens", "bold"), f" ({use.counter}), no limit")
    available = use.budget - use.reserve
    filled = min(_BAR, round(_BAR * use.used / available))
    reserved = f", {use.reserve:,} more in reserve" if use.reserve else ""
    return Text.assemble(
        ("━" * filled, "green"),
        ("━" * (_BAR - filled), "dim"),
        (f"  {use.used:,} of {available:,} tokens", "bold"),
        f" ({use.counter}){reserved}",
    )


def _number(number: int, column: str) -> Text:
    if not number:
        return Text("0", style="dim")
    return Text(f"{number:,}", style="yellow" if column.startswith(("dropped", "clipped")) else "")
