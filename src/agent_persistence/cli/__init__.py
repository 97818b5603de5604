"""The command `agent-persistence`, which the extra `cli` brings."""

from __future__ import annotations

import sys

from agent_persistence._extras import command_for


def main() -> None:
    """Run the command with the arguments of the process; the process ends with its status."""
    try:
        from agent_persistence.cli.app import app
    except ModuleNotFoundError as missing:
        if missing.name not in ("rich", "typer"):
            raise
        sys.stderr.write(f"agent-persistence: {missing.name} is missing; {command_for('cli')}\n")
        sys.exit(3)
    app(prog_name="agent-persistence")
