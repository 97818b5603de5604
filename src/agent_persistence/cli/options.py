"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

KINDS = ("supabase", "postgres", "local", "memory")
CONNECTION = "Where the rows are"
RULES = "What is allowed"


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}")
    return kind


AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for machines.")]
Kind: TypeAlias = Annotated[
    str,
    typer.Option(
        "--kind",
        callback=_known_kind,
        help=f"The backend: {', '.join(KINDS)}.",
        rich_help_panel=CONNECTION,
    ),
]
PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="A policy as .toml or .json; without it, what the PERSIST_ variables say.",
        rich_help_panel=RULES,
    ),
]
SchemaFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="Tables as .toml or .json, as 'schema pull' writes them; without it, the eight business tables.",
        rich_help_panel=RULES,
    ),
]
RowsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--rows",
        metavar="FILE",
        help='Rows for --kind memory, as JSON: {"leads": [{…}, …], …}.',
        rich_help_panel=CONNECTION,
    ),
]
Where: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Rows that are meant, such as status=new, score>=0.5, name.ilike=%ada% or phone.is_null; all must hold.",
    ),
]
