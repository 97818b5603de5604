"""The module of each command, imported when its command is asked for: most of the package is not."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

MODULES: Final = {
    "doctor": "doctor.command",
    "schema": "schema",
    "sql": "sql",
    "policy": "policy",
    "query": "query",
    "context": "context",
    "rag": "rag",
    "mcp": "mcp",
    "import": "importing",
    "local": "local",
    "spool": "spool",
    "metrics": "metrics",
    "audit": "audit",
    "guard": "guard",
}


class Commands(TyperGroup):
    """The program's commands, in the order of MODULES."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; for one that there is not, all are imported, for the guess at what was meant."""
        for name in (cmd_name,) if cmd_name in MODULES else MODULES:
            if name not in self.commands:
                self.commands[name] = _imported(name)
        return self.commands.get(cmd_name)


def _imported(name: str) -> Any:
    group = typer.Typer()
    group.callback()(lambda: None)  # without one, a group of one command would be that command
    import_module(f"agent_persistence.cli.{MODULES[name]}").register(group)
    return typer.main.get_group(group).commands[name]
