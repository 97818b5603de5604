"""Where each command lives. A room is entered when its command is asked for: most of the package stays outside."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

ROOMS: Final = {
    "doctor": "doctor.command",
    "schema": "schema",
    "policy": "policy",
    "query": "query",
    "rag": "rag",
    "import": "importing",
    "metrics": "metrics",
    "audit": "audit",
    "guard": "guard",
}


class Commands(TyperGroup):
    """The program's commands, in the order of ROOMS."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; one that there is not makes all be entered, for the guess at what was meant."""
        for name in (cmd_name,) if cmd_name in ROOMS else ROOMS:
            if name not in self.commands:
                self.commands[name] = _entered(name)
        return self.commands.get(cmd_name)


def _entered(name: str) -> Any:
    room = typer.Typer()
    room.callback()(lambda: None)  # without one, a room of one command would be that command
    import_module(f"agent_persistence._cli.{ROOMS[name]}").register(room)
    return typer.main.get_group(room).commands[name]
