"""Help texts: what a docstring says, examples below the options, and the table of exit statuses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.markup import escape

from agent_persistence.cli.status import Status

PROGRAM = "agent-persistence"


def add(group: typer.Typer, name: str, command: Callable[..., Any], *examples: str) -> None:
    """Add the command to the group, with its docstring as help and the examples below its options."""
    group.command(name, help=unwrapped(command.__doc__ or ""), epilog=_listed("Examples", map(_example, examples)))(
        command
    )


def group(app: typer.Typer, name: str, description: str) -> typer.Typer:
    """A new group of commands in the program."""
    made = typer.Typer(no_args_is_help=True, help=description)
    made.callback()(lambda: None)  # without one, a group of one command would be that command
    app.add_typer(made, name=name)
    return made


def statuses() -> str:
    """The epilog of the program: each exit status and what it says."""
    return _listed("Exit status", [f"{status.value:>3}  {status.meaning}" for status in Status])


def unwrapped(docstring: str) -> str:
    """The docstring with each paragraph in one line, to be broken where the terminal ends."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(docstring).split("\n\n"))


def _listed(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([f"[bold]{heading}[/bold]", *(f"  {line}" for line in lines)])


def _example(line: str) -> str:
    if line.startswith("#"):
        return f"[dim]{escape(line)}[/dim]"
    return escape(line) if PROGRAM in line else f"{PROGRAM} {escape(line)}"
