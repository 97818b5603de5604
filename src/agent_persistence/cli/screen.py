"""Where output goes: what was asked for to stdout, for people or as one JSON document; all else to stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.text import Text

from agent_persistence.cli.hiding import hidden
from agent_persistence.cli.status import Status

UNBOUNDED: Final = 10_000
"""Columns of a file or a pipe, in which no line is broken."""


class Screen:
    """The two streams of a command. With `as_json`, `show` shows nothing and `document` is what stdout gets.

    What a stream cannot encode is written as an escape.
    """

    def __init__(self, command: str, *, as_json: bool) -> None:
        self.command = command
        self.as_json = as_json
        self.status = Status.FINE
        self.document: dict[str, Any] = {}
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.out = console(sys.stdout)
        self.err = console(sys.stderr)

    def show(self, *shown: RenderableType) -> None:
        """Show it on stdout, unless that is for JSON."""
        if not self.as_json:
            for one in shown:
                display(self.out, one)

    def text(self, text: str) -> None:
        """Write the text to stdout as it is, unless that is for JSON."""
        if not self.as_json:
            sys.stdout.write(text if not text or text.endswith("\n") else f"{text}\n")

    def note(self, text: str, style: str = "") -> None:
        """A line on stderr, without the secrets of the environment."""
        self.err.print(Text(hidden(plain(text)), style=style), soft_wrap=True)

    def fail(self, message: str, status: Status, kind: str) -> None:
        """Tell why the command stops; that is its document then."""
        self.status = status
        self.document = {"error": {"type": kind, "message": hidden(message)}}
        self.note(f"agent-persistence {self.command}: {message}", style="red")

    def finish(self) -> None:
        """Write the document, if it is wanted."""
        if self.as_json:
            sys.stdout.write(as_json({"command": self.command, "status": int(self.status), **self.document}) + "\n")
        sys.stdout.flush()


def console(file: Any) -> Console:
    """A console that neither breaks lines nor colours where nobody looks at it."""
    made = Console(file=file, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = UNBOUNDED
    return made


def display(on: Console, shown: RenderableType) -> None:
    """Print it; without the blanks that fill up lines where nobody looks at them."""
    if on.is_terminal:
        on.print(shown)
        return
    with on.capture() as captured:
        on.print(shown)
    on.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))


def as_json(document: Mapping[str, Any]) -> str:
    """The document, indented; what JSON has no form for is text."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)


def plain(text: str) -> str:
    """The text without characters that a terminal would obey; line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
