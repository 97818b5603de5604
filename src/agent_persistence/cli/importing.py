"""`import`: rows of a file into a table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_persistence.bulk.import_rows import (
    CHUNK_ROWS,
    FileLook,
    ImportReport,
    ImportStoppedError,
    bulk_import,
    look_at,
)
from agent_persistence.cli.columns_option import read_columns
from agent_persistence.cli.help import add
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.looking import READING, command_line, in_words_of_the_command, show
from agent_persistence.cli.options import AsJson, Kind, PolicyFile, SchemaFile
from agent_persistence.cli.progress import shown_progress
from agent_persistence.cli.reports import report_document
from agent_persistence.cli.running import run, running
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status, status_of
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import PersistenceError

FILE = "The file"
SAFETY = "When something goes wrong"


class SourceFormat(StrEnum):
    """The form of the source."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    EXCEL = "excel"


class DuplicateChoice(StrEnum):
    """What becomes of a row whose key is taken."""

    ERROR = "error"
    IGNORE = "ignore"


def register(app: typer.Typer) -> None:
    add(
        app,
        "import",
        import_,
        "import leads leads.csv --on-conflict email",
        "import leads leads.csv --on-duplicate ignore",
        "import leads leads.csv.gz --rejects bad.csv --resume leads.journal",
        "import leads export.xlsx",
        "import leads export.csv --delimiter ';' --columns 'E-mail=email,\"Name, first\"=first_name'",
        "import messages messages.jsonl --dry-run",
        "import leads leads.csv --key 2026-11-29 --shard 0/4",
        "zcat leads.csv.gz | agent-persistence import leads - --format csv",
    )


def import_(
    table: Annotated[str, typer.Argument(help="The table.", show_default=False)],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV, a spreadsheet, JSON or Parquet, also .gz; - is stdin.", show_default=False
        ),
    ],
    form: Annotated[
        SourceFormat | None, typer.Option("--format", help="Without it, by the file's ending.", rich_help_panel=FILE)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAMES",
            help="The columns of a file without a header, or HEADING=column,… of one with other headings, which are"
            " left out unless * is among them; a heading with a comma in quotes: '\"Name, first\"=first_name'.",
            rich_help_panel=FILE,
        ),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="Between the fields of CSV.", rich_help_panel=FILE)
    ] = None,
    null: Annotated[
        list[str] | None,
        typer.Option(
            "--null", metavar="TEXT", help="What stands for NULL, several times; '' by itself.", rich_help_panel=FILE
        ),
    ] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of the text.", rich_help_panel=FILE)] = None,
    skip_lines: Annotated[
        int | None, typer.Option("--skip-lines", min=0, help="Lines above the header.", rich_help_panel=FILE)
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="NAME", help="Of a spreadsheet.", rich_help_panel=FILE)
    ] = None,
    decimal: Annotated[
        str | None, typer.Option("--decimal", metavar="MARK", help="In numbers: , or .", rich_help_panel=FILE)
    ] = None,
    date_format: Annotated[
        list[str] | None,
        typer.Option("--date-format", metavar="FORMAT", help="Such as %d.%m.%Y, several times.", rich_help_panel=FILE),
    ] = None,
    list_separator: Annotated[
        str | None,
        typer.Option("--list-separator", metavar="TEXT", help="Between the items of a list.", rich_help_panel=FILE),
    ] = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Blanks around a text are no part of it.", rich_help_panel=FILE)
    ] = False,
    quoted_null: Annotated[
        bool, typer.Option("--quoted-null", help="Texts in quotes may be NULL too.", rich_help_panel=FILE)
    ] = False,
    fill_defaults: Annotated[
        bool,
        typer.Option(
            "--fill-defaults",
            help="A NULL where none may be is the column's declared default.",
            rich_help_panel=FILE,
        ),
    ] = False,
    guess: Annotated[
        bool,
        typer.Option("--guess", help="Import with what a look at the file finds.", rich_help_panel=FILE),
    ] = False,
    on_conflict: Annotated[
        str | None,
        typer.Option("--on-conflict", metavar="COLUMNS", help="Merge rows that exist, by these unique columns."),
    ] = None,
    on_duplicate: Annotated[
        DuplicateChoice,
        typer.Option(
            "--on-duplicate", help="ignore leaves rows that exist as they are, by --on-conflict or a known key."
        ),
    ] = DuplicateChoice.ERROR,
    chunk_rows: Annotated[int, typer.Option("--chunk-rows", min=1, help="Rows in one request.")] = CHUNK_ROWS,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Requests at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but send.")] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="FILE",
            help="Put refused rows there and go on; without it, the first one stops the import.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    max_rejects: Annotated[
        int, typer.Option("--max-rejects", min=1, help="Stop after more than these.", rich_help_panel=SAFETY)
    ] = 1_000,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="A journal: the same command after a crash goes on where it ended, without loss or doubling.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="TEXT",
            help="Names the import: the same command, run again on any machine, stores each row once.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", help="Import the I-th of N parts, counted from 0.", rich_help_panel=SAFETY
        ),
    ] = None,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows of a file into a table, many at a time, with a live account of how it goes.

    The file is looked at first. Where it fits only with options that are not given, nothing is imported: they are
    shown, with the first rows as they would be stored and the whole command; --guess takes them as they are.

    Every row goes the way of a single write: through the policy, with the retries, and with keys that make a lost
    answer harmless. The exit status is 1 where rows were rejected, or options are needed.
    """
    if str(source) == "-" and form is None:
        raise typer.BadParameter(
            f"stdin has no name that says its format: {', '.join(SourceFormat)}", param_hint="--format"
        )
    reading = {
        "format": None if form is None else form.value,
        "columns": read_columns(columns),
        "delimiter": delimiter,
        "null": null or None,
        "encoding": encoding,
        "skip_lines": skip_lines,
        "sheet": sheet,
        "decimal": decimal,
        "date_format": date_format or None,
        "list_separator": list_separator,
        "trim": trim or None,
        "quoted_null": quoted_null or None,
        "fill_defaults": fill_defaults or None,
    }
    options = {
        "on_conflict": separated(on_conflict),
        "on_duplicate": on_duplicate.value,
        "chunk_rows": chunk_rows,
        "concurrency": concurrency,
        "rejects": rejects,
        "max_rejects": max_rejects,
        "resume": resume,
        "key": key,
        "shard": None if shard is None else _shard(shard),
        "dry_run": dry_run,
    }
    others = _others(
        {
            "--on-conflict": on_conflict,
            "--on-duplicate": None if on_duplicate is DuplicateChoice.ERROR else on_duplicate.value,
            "--rejects": rejects,
            "--resume": resume,
            "--key": key,
            "--shard": shard,
            "--policy": policy,
            "--schema": schema,
        },
        kind,
    )
    with running("import", as_json=as_json) as screen:
        order = _Order(table, source, {k: v for k, v in reading.items() if v is not None}, options, others, guess)
        try:
            report = run(_imported, Target(kind, policy, schema), order, screen)
        except ImportStoppedError as stopped:
            _fail(screen, stopped)
        except KeyboardInterrupt:
            screen.note(_resumable(resume, key), style="yellow")
            raise
        else:
            if report is not None:
                screen.document |= report_document(report)
                screen.text(str(report))
                screen.status = max(screen.status, Status.FINDINGS if report.rejected else Status.FINE)


@dataclass(frozen=True)
class _Order:
    """What is to be imported: how the file is read, how its rows are written, and the rest of the command line."""

    table: str
    source: Path
    reading: dict[str, Any]
    options: dict[str, Any]
    others: list[str]
    takes_what_is_found: bool

    @property
    def is_stdin(self) -> bool:
        return str(self.source) == "-"


async def _imported(target: Target, order: _Order, screen: Screen) -> ImportReport | None:
    """The report; None where options are needed first."""
    async with target.agent() as agent:
        reading = order.reading
        if order.source.is_file() and order.table in agent.service.policy.write:  # a pipe can be read only once
            given = {**reading, "on_conflict": order.options["on_conflict"]}
            look = await look_at(agent, order.table, order.source, **given)
            found = {name: value for name, value in look.options.items() if name in READING}
            if not look.fits and not _is_taken(screen, order, look, found):
                return None
            reading = found
        with shown_progress(screen, f"{order.table} ← {'stdin' if order.is_stdin else order.source.name}") as progress:
            source = sys.stdin.buffer if order.is_stdin else order.source
            return await bulk_import(agent, order.table, source, progress=progress, **reading, **order.options)


def _is_taken(screen: Screen, order: _Order, look: FileLook, found: dict[str, Any]) -> bool:
    """Whether the import goes on with what was found; the look is shown where it does not, or nothing is sent."""
    if look.problems:
        problems = [in_words_of_the_command(problem) for problem in look.problems]
        show(screen, look, "")
        document = screen.document
        screen.fail(
            "\n".join([f"{order.source} does not fit {order.table}:", *problems]), Status.CONFIGURATION, "FileLook"
        )
        screen.document |= document
        return False
    if order.takes_what_is_found:
        return True
    command = command_line(order.table, str(order.source), found, order.others)
    show(screen, look, command)
    screen.note(f"nothing is imported; the file fits with these options:\n{command}", style="bold")
    screen.status = Status.FINDINGS
    is_asked_to_try = bool(order.options["dry_run"]) or screen.out.is_terminal
    order.options["dry_run"] = True
    return is_asked_to_try


def _others(given: dict[str, object], kind: str) -> list[str]:
    """The rest of the command line, as words."""
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    return words if kind == "supabase" else [*words, "--kind", kind]


def _shard(text: str) -> tuple[int, int]:
    part, _, count = text.partition("/")
    if not (part.isdecimal() and count.isdecimal() and int(part) < int(count)):
        raise typer.BadParameter(f"{text!r}: write I/N, such as 0/4 for the first of four parts", param_hint="--shard")
    return int(part), int(count)


def _resumable(journal: Path | None, key: str | None) -> str:
    """What is to be known when somebody interrupts an import."""
    if journal is None and key is None:
        return "what was sent before stays in the table; with --resume FILE the same command could go on from there"
    return f"what was sent before stays in the table; the same command goes on from there, by {journal or key}"


def _fail(screen: Screen, stopped: ImportStoppedError) -> None:
    """Tell what stopped the import, and what is in."""
    cause = stopped.__cause__
    status = status_of(cause) if isinstance(cause, PersistenceError) else Status.CONFIGURATION
    screen.fail(
        str(stopped), Status.FINDINGS if stopped.reject is not None else status, type(cause or stopped).__name__
    )
    screen.document |= report_document(stopped.report)
