"""The pictures of docs/cli.md, taken from the commands as they run in a terminal.

    python -m tests.cli.screenshots

starts the local server, fills it, breaks what doctor is to find, and writes docs/cli-*.svg.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from agent_persistence import create_persistence_agent
from examples import crm_data
from tests.cli.program import ROOT, in_terminal
from tests.server import LocalServer, running_server

COLUMNS = 104
_ERASED = re.compile(r"\x1b\[2K|\x1b\[\d*A|\x1b\[\?25[lh]|\r")
TEMPLATE = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; font-weight: bold }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own names fonts on a server of somebody else's."""


def screen(received: str) -> str:
    """What a terminal shows in the end: of a line that was written over and over, its last state."""
    return "\n".join(_ERASED.split(line)[-1] for line in received.rstrip().split("\n"))


def moments(received: str) -> list[str]:
    """The states of a live display, in order."""
    return [state for state in _ERASED.split(received) if "━" in state]


def picture(name: str, title: str, shown: str) -> Path:
    """An SVG of the terminal, in docs/."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, highlight=False)
        console.print(Text.from_ansi(shown))
        path = ROOT / "docs" / f"cli-{name}.svg"
        svg = console.export_svg(title=title, theme=SVG_EXPORT_THEME, code_format=TEMPLATE, unique_id=f"cli-{name}")
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
    return path


def typed(*arguments: str) -> str:
    """The command as somebody types it."""
    words = [f"'{word}'" if re.search(r"[^\w=@.,-]", word) else word for word in arguments]
    return f"\x1b[1m$ agent-persistence {' '.join(words)}\x1b[0m\n"


def doctor(server: LocalServer) -> None:
    """A project with a right, a column and a protection missing."""
    schema = (ROOT / "src" / "agent_persistence" / "presets" / "crm.toml").read_text(encoding="utf-8")
    marked = "[tables.leads.columns]\n"
    Path("schema.toml").write_text(schema.replace(marked, f'{marked}budget = "numeric"\n'), encoding="utf-8")
    for table in ("campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads"):
        server.execute(f"alter table {table} enable row level security")
    server.execute("revoke select on messages from service_role")
    arguments = ("doctor", "--schema", "schema.toml")
    shown = in_terminal(*arguments, columns=COLUMNS, variables={"SUPABASE_PUBLISHABLE_KEY": server.anon_key})
    picture("doctor", "agent-persistence doctor", typed(*arguments) + screen(shown))
    server.execute("grant select on messages to service_role")


def importing() -> None:
    """Sixty thousand rows, of which some are refused: on the way, and at the end."""
    with Path("leads.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["email", "first_name", "company", "score"])
        for number in range(60_000):
            score = "none" if number % 6_661 == 17 else f"{number % 997 / 1000}"
            rows.writerow([f"person{number}@example.org", f"Person {number}", f"Company {number % 811}", score])
    arguments = ("import", "leads", "leads.csv", "--rejects", "rejects.csv", "--on-conflict", "email")
    received = in_terminal(*arguments, columns=COLUMNS)
    states = moments(received)
    shown = f"{typed(*arguments)}\x1b[2m# on the way\x1b[0m\n{states[len(states) * 2 // 3].rstrip()}\n"
    picture("import", "agent-persistence import", f"{shown}\x1b[2m# at the end\x1b[0m\n{screen(received)}")


def preview() -> None:
    """A lead's world within some tokens, with labels for personal data."""
    question = "Does the board of Brightwater decide on 27 November?"
    lead = ("--lead", "email=maya.okafor@brightwater.example")
    arguments = ("rag", "preview", *lead, "--query", question, "--max-tokens", "700", "--reserve", "200", "--redact")
    shown = screen(in_terminal(*arguments, columns=COLUMNS))
    picture("rag-preview", "agent-persistence rag preview", typed(*arguments) + shown)


async def filled() -> None:
    async with create_persistence_agent(policy=crm_data.LOADER) as agent:
        await crm_data.load(agent)


def main() -> None:
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update(
            SUPABASE_URL=server.url, SUPABASE_SERVICE_KEY=server.service_key, PYTHONPATH=str(ROOT / "src")
        )
        asyncio.run(filled())
        doctor(server)
        preview()
        importing()
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
