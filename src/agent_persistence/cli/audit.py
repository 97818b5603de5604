"""`audit verify`: whether an audit log is what its writer wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from agent_persistence.cli.help import add, group
from agent_persistence.cli.hiding import AUDIT_KEY_VARIABLE
from agent_persistence.cli.inputs import read_text
from agent_persistence.cli.options import AsJson
from agent_persistence.cli.running import running
from agent_persistence.cli.status import Status
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.audit.log import AuditReport, verify_audit_log


def register(app: typer.Typer) -> None:
    add(
        group(app, "audit", "Verify an audit log."),
        "verify",
        verify,
        "audit verify audit.jsonl",
        "audit verify audit.jsonl --key-file /run/secrets/audit_key",
        "audit verify audit.jsonl --checkpoint last.checkpoint --json",
    )


def verify(
    log: Annotated[Path, typer.Argument(metavar="FILE", help="The log.", show_default=False)],
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="FILE", help=f"The key; without it, ${AUDIT_KEY_VARIABLE}.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="What AuditLog.checkpoint() returned once.")
    ] = None,
    archives: Annotated[bool, typer.Option(help="Verify the files that were set aside, too.")] = True,
    as_json: AsJson = False,
) -> None:
    """Verify that no line of an audit log was changed, removed, inserted, reordered or cut off.

    The key is read from a file or the environment, never from the command line, where other users could see it.
    """
    with running("audit verify", as_json=as_json) as screen:
        kept = None if checkpoint is None else read_text(checkpoint).strip()
        report = verify_audit_log(log, _key(key_file), checkpoint=kept, archives=archives)
        screen.document = _document(report)
        screen.status = Status.FINE if report.ok else Status.FINDINGS
        screen.show(_shown(log, report))


def _key(path: Path | None) -> str:
    key = os.environ.get(AUDIT_KEY_VARIABLE, "") if path is None else read_text(path).strip("\r\n")
    if not key:
        raise ConfigurationError(f"the log's key is missing; set {AUDIT_KEY_VARIABLE}, or pass --key-file")
    return key


def _document(report: AuditReport) -> dict[str, object]:
    problem = report.problem
    found = None if problem is None else {"kind": problem.kind, "file": problem.file, "line": problem.line}
    return {
        "ok": report.ok,
        "entries": report.entries,
        "lost": report.lost,
        "torn": report.torn,
        "problem": None if problem is None or found is None else {**found, "detail": problem.detail},
    }


def _shown(log: Path, report: AuditReport) -> Text:
    if report.problem is not None:
        return Text.assemble(
            ("broken ", "bold red"), f"{report.problem}\n{report.entries:,} events before it are genuine"
        )
    more = [f"{report.lost:,} that could not be written"] if report.lost else []
    more += [f"{report.torn:,} torn lines, stepped over"] if report.torn else []
    return Text.assemble(("genuine ", "bold green"), f"{log}: {'; '.join([f'{report.entries:,} events', *more])}")
