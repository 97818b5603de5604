"""docs/cli.md shows commands and options that there are, and pictures that are ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from agent_persistence.cli.app import app
from tests.cli.program import ROOT, ran
from tests.test_docs import blocks

PROGRAM = "agent-persistence"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = {"doctor": "enable row level security", "import": "rejected", "rag-preview": "[EMAIL_1]"}


def _commands(page: Path) -> list[list[str]]:
    """The program's command lines in the shell blocks of a page, as words."""
    lines = [
        line
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language in ("sh", "bash")
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    words = [shlex.split(line, comments=True) for line in lines if PROGRAM in line]
    return [line[line.index(PROGRAM) + 1 :] for line in words if PROGRAM in line]


def _unknown(words: list[str]) -> list[str]:
    """The options of a command line that the command does not have; the command itself if there is none."""
    command: Any = typer.main.get_command(app)
    rest = words[: words.index("--")] if "--" in words else list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        command = command.get_command(None, name)
        if command is None:
            return [name]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {"--help", "--install-completion"}
    return [word for word in rest if re.fullmatch(r"--[a-z-]+|-[a-z]", word) and word not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_lines_of_a_page_name_what_there_is(page: Path) -> None:
    """Commands, and the options of each."""
    assert [(words, wrong) for words in _commands(page) if (wrong := _unknown(words))] == []


def test_the_page_has_command_lines() -> None:
    """Control: they are found, and a wrong one is noticed."""
    assert len(_commands(ROOT / "docs" / "cli.md")) > 20
    assert _unknown(["doctor", "--sequel"]) == ["--sequel"]
    assert _unknown(["docter"]) == ["docter"]
    assert _unknown(["policy", "shw"]) == ["shw"]


@pytest.mark.parametrize(("name", "told"), PICTURES.items())
def test_a_picture_shows_the_command_and_fetches_nothing(name: str, told: str) -> None:
    """`python -m tests.cli.screenshots` makes them; a page that shows one asks no other server."""
    svg = (ROOT / "docs" / f"cli-{name}.svg").read_text(encoding="utf-8")
    text = "".join(re.findall(r"<text[^>]*>(.*?)</text>", svg)).replace("&#160;", " ")
    assert f"$ agent-persistence {name.replace('-', ' ')}" in text
    assert told in text
    assert set(re.findall(r"https?://[^\"' <)]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in svg
    assert "sb_secret_" not in svg


@pytest.mark.parametrize("command", [("doctor",), ("import",), ("query",), ("rag", "preview")], ids=" ".join)
def test_the_examples_of_a_help_text_name_what_there_is(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own options, and those of commands it mentions."""
    monkeypatch.setenv("COLUMNS", "200")
    told = ran(*command, "--help").out.partition("Examples")[2]
    lines = [line.partition(PROGRAM)[2] for line in told.splitlines() if PROGRAM in line]
    assert lines
    assert [wrong for line in lines for wrong in _unknown(shlex.split(line))] == []
