"""`spool`: what waits in a file until the database can be reached, and what is done about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from rich.text import Text

from agent_persistence.cli.help import add, group
from agent_persistence.cli.options import CONNECTION, AsJson, Kind, PolicyFile, SchemaFile
from agent_persistence.cli.running import run, running
from agent_persistence.cli.screen import Screen, plain
from agent_persistence.cli.status import Status
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.persistence_config import SPOOL_VARIABLE
from agent_persistence.spool.file import SpooledWrite, SpoolStatus
from agent_persistence.spool.spool import DAY_S, Spool

File: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help=f"The spool; without it, ${SPOOL_VARIABLE}.", rich_help_panel=CONNECTION
    ),
]
Ids: TypeAlias = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="As `spool show` numbers them.")]


def register(app: typer.Typer) -> None:
    commands = group(app, "spool", "Look at the writes that wait for the database, and apply them.")
    add(commands, "status", status, "spool status", "spool status --file agent.spool --json")
    add(commands, "show", show, "spool show", "spool show --refused", "spool show 17 --values")
    add(commands, "flush", flush, "spool flush", "spool flush --kind postgres --policy policy.toml")
    add(commands, "retry", retry, "spool retry", "spool retry 17 18")
    add(commands, "drop", drop, "spool drop 17", "spool drop --refused")


def status(file: File = None, as_json: AsJson = False) -> None:
    """Say how many writes wait, for which tables and for how long, and how many were set aside."""
    with running("spool status", as_json=as_json) as screen:
        spool = _named(file)
        found = run(spool.status) if spool.path.exists() else SpoolStatus()
        screen.document = {**_fields(found), "tables": dict(found.tables)}
        screen.show(Text("\n").join(_status_lines(found)))
        screen.status = Status.FINDINGS if found.refused else Status.FINE


def show(
    ids: Ids = None,
    refused: Annotated[bool, typer.Option("--refused", help="Those that were set aside, with the reason.")] = False,
    values: Annotated[bool, typer.Option("--values", help="With the values of the rows.")] = False,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """List the writes that wait, in the order in which they will be applied, or those that were set aside."""
    with running("spool show", as_json=as_json) as screen:
        found = run(_listed, _existing(file), refused, ids)
        screen.document = {"writes": [_document(each, values=values) for each in found]}
        screen.show(*(Text(line) for each in found for line in _lines(each, values=values)))


def flush(
    file: File = None,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Apply what waits, as far as the database can be reached.

    Give the policy and the schema of the service that kept the writes: what they refuse is set aside. An agent that
    runs does the same by itself; only one process does at a time.
    """
    with running("spool flush", as_json=as_json) as screen:
        report = run(_flushed, Target(kind, policy, schema), _existing(file))
        screen.document = _fields(report)
        parts = [f"{report.applied} applied", f"{report.refused} set aside", f"{report.waiting} waiting"]
        screen.show(Text(", ".join(parts)))
        if report.stopped_by:
            screen.note(f"stopped: {report.stopped_by}")
        screen.status = Status.FINDINGS if report.refused or report.waiting else Status.FINE


def retry(ids: Ids = None, file: File = None, as_json: AsJson = False) -> None:
    """Have writes that were set aside wait again: those named, or all."""
    with running("spool retry", as_json=as_json) as screen:
        changed = run(_existing(file).retry, ids or None)
        screen.document = {"retried": changed}
        screen.show(Text(f"{changed} wait again"))
        _check_all(screen, ids, changed, "set aside")


def drop(
    ids: Ids = None,
    refused: Annotated[bool, typer.Option("--refused", help="All that were set aside.")] = False,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Forget writes: those named, or all that were set aside. They are lost."""
    with running("spool drop", as_json=as_json) as screen:
        if bool(ids) == refused:
            raise ConfigurationError("name the writes to drop, or say --refused for all that were set aside")
        dropped = run(_existing(file).drop, ids or None)
        screen.document = {"dropped": dropped}
        screen.show(Text(f"{dropped} dropped"))
        _check_all(screen, ids, dropped, "kept")


def spool_of(file: Path | None) -> Spool | None:
    """The spool that the option or the environment names."""
    named = file or os.environ.get(SPOOL_VARIABLE, "").strip()
    return Spool(named) if named else None


def _check_all(screen: Screen, ids: list[int] | None, changed: int, state: str) -> None:
    """Say so where some of the writes that were named are not there."""
    if ids and changed < len(set(ids)):
        screen.note(f"{len(set(ids)) - changed} of the writes named are not {state}; see 'spool show'", style="yellow")
        screen.status = Status.FINDINGS


def _named(file: Path | None) -> Spool:
    spool = spool_of(file)
    if spool is None:
        raise ConfigurationError(f"no spool is named; set {SPOOL_VARIABLE}, or pass --file")
    return spool


def _existing(file: Path | None) -> Spool:
    spool = _named(file)
    if not spool.path.exists():
        raise ConfigurationError(f"there is no spool {spool.path}; it is made when a write is first kept")
    return spool


async def _listed(spool: Spool, refused: bool, ids: list[int] | None) -> list[SpooledWrite]:
    if not ids:
        return await spool.writes(refused=refused)
    found = [*await spool.writes(), *await spool.writes(refused=True)]
    return [each for each in found if each.id in ids]


async def _flushed(target: Target, spool: Spool) -> Any:
    async with target.agent(spool=spool) as agent:
        return await agent.service.flush_spool()


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _status_lines(found: SpoolStatus) -> Iterator[Text]:
    since = "" if found.oldest_s is None else f", the first for {_duration(found.oldest_s)}"
    yield Text.assemble((f"{found.waiting} waiting", "bold"), since)
    yield from (Text(f"  {table}: {count}") for table, count in found.tables)
    yield Text(f"{found.refused} set aside", style="yellow" if found.refused else "")
    yield Text(f"{found.rows} {'row' if found.rows == 1 else 'rows'}, {found.bytes} bytes")


def _duration(seconds: float) -> str:
    return f"{seconds / DAY_S:.1f} days" if seconds >= DAY_S else f"{seconds:.0f} s"


def _document(write: SpooledWrite, *, values: bool) -> dict[str, Any]:
    fields = {**_fields(write), "at": _time(write)}
    body = fields.pop("body")
    return {**fields, "verbs": _verbs(write), **({"body": json.loads(body)} if values else {})}


def _lines(write: SpooledWrite, *, values: bool) -> Iterator[str]:
    tried = ", may be applied already" if write.tried else ""
    tables = ", ".join(write.tables)
    yield f"{write.id}  {_time(write)}  {', '.join(_verbs(write))} on {tables}: {write.rows} rows{tried}"
    if write.reason:
        yield f"    {plain(write.reason)}"
    if values:
        yield f"    {plain(write.body)}"


def _time(write: SpooledWrite) -> str:
    return datetime.fromtimestamp(write.at, UTC).isoformat(timespec="seconds")


def _verbs(write: SpooledWrite) -> list[str]:
    return [part.verb for part in write.entry.parts]
