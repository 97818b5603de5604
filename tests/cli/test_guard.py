"""`guard` is the script by another name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import ROOT, ran

SCRIPT = ROOT / "scripts" / "ci_guard_persistence.py"
CALL = "from agent_persistence import SupabaseAdapter\nSupabaseAdapter(url, key)\n"


@pytest.fixture(autouse=True)
def _sources(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CALL)
    (tmp_path / "clean.py").write_text("x = 1\n")
    (tmp_path / "empty").mkdir()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("clean.py",), 0),
        ((), 1),
        (("app.py", "--format", "github"), 1),
        (("app.py", "--factory", "app.py"), 0),
        (("empty",), 2),
    ],
)
def test_it_finds_what_the_script_finds(arguments: tuple[str, ...], status: int) -> None:
    """The same lines on stdout, and the same exit status."""
    script = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    ended = ran("guard", *arguments)
    assert (ended.status, ended.out) == (script.returncode, script.stdout)
    assert ended.status == status


def test_findings_are_a_document() -> None:
    """With line and column from 1."""
    document = ran("guard", "--json").document
    assert document["files"] == 2
    assert [(f["path"], f["line"], f["column"], f["rule"]) for f in document["findings"]] == [("app.py", 2, 1, "AP001")]


def test_a_path_that_does_not_exist_is_a_wrong_call() -> None:
    """A misspelt path never looks like a clean run."""
    assert ran("guard", "missing.py").status == 2
