"""What a look at a file found, for people: in the words of the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from agent_persistence.bulk.import_rows import FileLook, Reject
from agent_persistence.cli.columns_option import written_columns
from agent_persistence.cli.help import PROGRAM
from agent_persistence.cli.rows import shown_rows
from agent_persistence.query.records import NULL

if TYPE_CHECKING:
    from agent_persistence.cli.screen import Screen

READING: Final = (
    *("format", "columns", "delimiter", "null", "encoding", "skip_lines", "sheet", "decimal", "date_format"),
    *("list_separator", "trim", "quoted_null", "fill_defaults"),
)
"""The options that say how a file is read, in the order in which a command line has them."""


def flags(options: Mapping[str, Any]) -> list[str]:
    """The options of `bulk_import` about reading as words of a command line."""
    return [word for name in READING if name in options for word in _flag(name, options[name])]


def _flag(name: str, value: Any) -> Iterator[str]:
    flag = f"--{name.replace('_', '-')}"
    if name == "columns":
        yield from (flag, written_columns(value))
    elif isinstance(value, bool):
        yield from [flag] if value else []
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from (flag, str(each))
    elif value is not None:
        yield from (flag, str(value))


def show(screen: Screen, look: FileLook, command: str) -> None:
    """What the file is, what was found, what is wrong, the first rows as they would be stored, and the command."""
    screen.document["look"] = document(look, command)
    if look.kind:
        screen.show(Text.assemble(("the file is ", "dim"), look.kind))
    for name in look.found:
        words = shlex.join(flags({name: look.options[name]}))
        screen.show(Text.assemble("  ", (words, "bold"), (f"  {look.found[name]}", "dim")))
    if look.left_out:
        screen.show(Text(f"  left out: {', '.join(map(repr, look.left_out))}", style="dim"))
    if look.rows:
        screen.show(Text("the first rows as they would be stored:", style="dim"))
        rows = [_plain(row) for row in look.rows if not isinstance(row, Reject)]
        screen.show(*shown_rows(rows, screen.out))
        screen.show(*(Text(f"  rejected: {row}", style="yellow") for row in look.rows if isinstance(row, Reject)))


def document(look: FileLook, command: str) -> dict[str, Any]:
    """The look as JSON."""
    return {
        "kind": look.kind,
        "found": {name: {"value": look.options[name], "why": why} for name, why in look.found.items()},
        "problems": [in_words_of_the_command(problem) for problem in look.problems],
        "columns": dict(look.columns),
        "left_out": list(look.left_out),
        "rows": [str(row) if isinstance(row, Reject) else _plain(row) for row in look.rows],
        "command": command,
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is NULL else value for name, value in row.items()}


def command_line(table: str, source: str, options: Mapping[str, Any], others: Sequence[str]) -> str:
    """The command that imports the file with these options."""
    return shlex.join([PROGRAM, "import", table, source, *flags(options), *others])


_WORDS: Final = (
    (re.compile(r"columns=\{heading: '(\w+)', …\}"), r"--columns 'HEADING=\1,…'"),
    (re.compile(r"columns=\{heading: column\}"), "--columns 'HEADING=column,…'"),
    (re.compile(r"columns=\['email', …\]"), "--columns email,…"),
    (re.compile(r"\b(format|decimal|date_format|encoding|delimiter)=('[^']*')"), r"--\1 \2"),
    (re.compile(r"\b(columns|delimiter|skip_lines|sheet)="), r"--\1"),
)


def in_words_of_the_command(problem: str) -> str:
    """A problem that names options of Python as one that names those of the command line."""
    for pattern, words in _WORDS:
        problem = pattern.sub(words, problem)
    return re.sub(r"--[a-z_]+", lambda found: found[0].replace("_", "-"), problem)
