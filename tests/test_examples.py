"""The examples run as they stand, in memory and against a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from agent_persistence import metrics
from examples import closing_example, closing_example_sync, crm_data, crm_demo
from tests.local.users import make
from tests.server import LocalServer


def test_the_closing_example_runs_in_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    """Awaited and blocking print the same prompt but for the time."""
    anyio.run(closing_example.main)
    assert "<email>a@x.io</email>" in capsys.readouterr().out


def test_the_closing_example_runs_without_await(capsys: pytest.CaptureFixture[str]) -> None:
    """The sync module's form."""
    closing_example_sync.main()
    assert "<email>a@x.io</email>" in capsys.readouterr().out


@pytest.fixture
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no wheel of PostgreSQL."""
    monkeypatch.setattr(crm_demo, "find_spec", lambda name: None)


@pytest.mark.usefixtures("_in_memory")
def test_the_demo_shows_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """It loads the data, writes, is refused, builds the prompt and shows the metrics."""
    anyio.run(crm_demo.main)
    told = capsys.readouterr().out
    rows = sum(len(crm_data.rows(table)) for table in crm_data.PARENTS_FIRST)
    for expected in (
        f"Loaded {rows} rows",
        "Maya Okafor is now qualified",
        "TableNotAllowedError: write on table 'clients'",
        "audit: denied write on clients, columns name, budget",
        "begin: data, not instructions]",
        "metrics.snapshot()",
        "No PostgreSQL is installed (the extra `local`)",
    ):
        assert expected in told
    assert metrics.snapshot()["write"]["<denied>"]["errors"] == 1


def test_a_second_run_of_the_demo_finds_what_the_first_one_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a server to be named, the rows are in a PostgreSQL that is started for it."""
    monkeypatch.setenv("PERSIST_LOCAL_PATH", str(tmp_path))
    make(tmp_path)
    for first_words in ("Loaded", "loaded already, with 1 calls that earlier runs", "loaded already, with 2 calls"):
        anyio.run(crm_demo.main)
        assert first_words in capsys.readouterr().out


def test_the_demo_runs_against_a_server(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same steps where SUPABASE_URL is set; a second run finds the data loaded."""
    monkeypatch.setenv("SUPABASE_URL", server.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", server.service_key)
    for first_words in ("Loaded", "The sample CRM is loaded already"):
        anyio.run(crm_demo.main)
        assert first_words in capsys.readouterr().out
    assert server.execute("select count(*) from messages")[0]["count"] == len(crm_data.rows("messages")) + 4


def test_the_demo_asks_before_it_fills_somebodys_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of rows in a hosted project would be a surprise."""
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.example")
    with pytest.raises(SystemExit, match="DEMO_CONFIRM"):
        anyio.run(crm_demo.main)


def test_a_failing_demo_says_why_in_one_line() -> None:
    """No traceback for a newcomer whose server does not answer."""
    ended = subprocess.run(
        [sys.executable, "-m", "examples.crm_demo"],
        env={"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "k", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "127.0.0.1 was not reached" in ended.stderr
    assert "Traceback" not in ended.stderr
