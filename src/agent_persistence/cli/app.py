"""The program: its commands, and what it says about itself."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agent_persistence._version import __version__
from agent_persistence.cli.commands import Commands
from agent_persistence.cli.help import statuses, unwrapped


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"agent-persistence {__version__}\n")
        raise typer.Exit


_TOLD = """Look at, check and fill what agents keep in Supabase or PostgreSQL.

Settings come from the environment: SUPABASE_URL and SUPABASE_SERVICE_KEY (or SUPABASE_KEY), DATABASE_URL, and the
PERSIST_ variables. No command prints a key.
"""

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=statuses(),
)


@app.callback(help=unwrapped(_TOLD))
def program(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Nothing of its own: the commands do the work."""
