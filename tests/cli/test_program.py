"""The program as a whole: help, exit statuses, and the two streams."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_persistence import cli
from agent_persistence._version import __version__
from agent_persistence.cli import hiding
from agent_persistence.cli.options import KINDS
from agent_persistence.cli.status import Status, status_of
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    OutcomeUnknownError,
    OverloadedError,
    PersistenceError,
    ReadOnlyError,
    TableNotAllowedError,
    ValidationError,
)
from agent_persistence.factory import KINDS as FACTORY_KINDS
from agent_persistence.persistence_config import KEY_VARIABLES
from tests.backends.stub_server import Exchange, answer, stub_server
from tests.cli.program import ran, started

COMMANDS = [
    ("doctor",),
    ("schema", "pull"),
    ("policy", "show"),
    ("policy", "sql"),
    ("policy", "check"),
    ("query",),
    ("context", "draft"),
    ("rag", "preview"),
    ("import",),
    ("metrics",),
    ("audit", "verify"),
    ("guard",),
]
REFUSED = b'{"code": "PGRST100", "message": "no"}'


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples_and_json(command: tuple[str, ...], monkeypatch: Any) -> None:
    """What it does, how it is called, and that machines can read it."""
    monkeypatch.setenv("COLUMNS", "100")
    ended = ran(*command, "--help")
    assert ended.status == 0
    assert "Examples" in ended.out
    assert f"agent-persistence {' '.join(command)}" in ended.out
    assert "--json" in ended.out


def test_the_program_tells_its_commands_and_exit_statuses() -> None:
    """Without arguments as well, though that is a wrong call."""
    ended = ran("--help")
    assert all(name in ended.out for name in {command[0] for command in COMMANDS})
    assert all(status.meaning in ended.out for status in Status)
    assert ran().status == Status.USAGE


def test_the_version_is_told() -> None:
    """For bug reports."""
    assert ran("--version").out == f"agent-persistence {__version__}\n"


def test_a_command_brings_in_no_more_than_it_needs() -> None:
    """The guard runs before every commit, and completion at every tab: neither waits for the library."""
    script = "import sys; from agent_persistence.cli.app import app; app(['guard', 'clean.py'], standalone_mode=False)"
    Path("clean.py").write_text("x = 1\n")
    told = f"{script}; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True)
    modules = set(ended.stdout.split())
    assert "agent_persistence.cli.guard" in modules
    assert not modules & {"httpx", "anyio", "agent_persistence.service", "agent_persistence.rag_context"}


def test_the_variables_that_hold_keys_are_those_of_the_configuration() -> None:
    """The commands keep a list of their own, to start faster."""
    assert hiding.KEY_VARIABLES == KEY_VARIABLES


def test_the_page_tells_the_exit_statuses() -> None:
    """docs/cli.md and the program say the same."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [f"| {status.value} | {status.meaning} |" in page for status in Status] == [True] * len(Status)


def test_the_kinds_are_those_of_the_factory() -> None:
    """What the factory makes, the commands offer."""
    assert set(KINDS) == set(FACTORY_KINDS)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("no"), Status.CONFIGURATION),
        (TableNotAllowedError("secrets", "query"), Status.NOT_ALLOWED),
        (ReadOnlyError("write"), Status.NOT_ALLOWED),
        (ValidationError("leads", "no"), Status.NOT_ALLOWED),
        (ConflictError("no", status=409), Status.REFUSED),
        (AdapterError("no", status=400), Status.REFUSED),
        (AdapterError("no", state="ambiguous"), Status.UNREACHABLE),
        (AdapterError("no", state="not_sent"), Status.UNREACHABLE),
        (AdapterError("no", status=503, state="retryable"), Status.UNREACHABLE),
        (BackendUnavailableError("no"), Status.UNREACHABLE),
        (OverloadedError("no"), Status.UNREACHABLE),
        (OutcomeUnknownError("no"), Status.UNKNOWN),
        (PersistenceError("no"), Status.BUG),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_the_status_tells_why_a_command_stopped(error: PersistenceError, status: Status) -> None:
    """By the error's class, and by what it says of the backend."""
    assert status_of(error) is status


@pytest.mark.parametrize(
    ("arguments", "environ", "status"),
    [
        (("query", "leads", "--kind", "memory"), {}, Status.FINE),
        (("policy", "check", "--policy", "wrong.toml"), {}, Status.FINDINGS),
        (("query",), {}, Status.USAGE),
        (("query", "leads", "--kind", "sqlite"), {}, Status.USAGE),
        (("query", "leads", "--where", "score"), {}, Status.USAGE),
        (("no-such-command",), {}, Status.USAGE),
        (("query", "leads"), {}, Status.CONFIGURATION),
        (("query", "leads", "--policy", "no.toml"), {}, Status.CONFIGURATION),
        (("query", "leads", "--rows", "rows.json"), {}, Status.CONFIGURATION),
        (("query", "leads"), {"PERSIST_READ_TABLE": "leads"}, Status.CONFIGURATION),
        (("query", "leads"), {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "sb_secret_x"}, Status.UNREACHABLE),
        (("query", "secrets", "--kind", "memory"), {}, Status.NOT_ALLOWED),
        (("query", "leads", "--kind", "memory", "--schema", "s.toml", "--where", "x=1"), {}, Status.NOT_ALLOWED),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_exit_status_of_a_command(
    arguments: tuple[str, ...],
    environ: dict[str, str],
    status: Status,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the table in docs/cli.md has it; no outcome ends in a traceback."""
    (tmp_path / "wrong.toml").write_text('read = ["leads"]\ndelete = ["messages"]\n')
    (tmp_path / "s.toml").write_text('[tables.leads.columns]\nid = "uuid"\n')
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ended = ran(*arguments)
    assert ended.status == status
    assert "Traceback" not in ended.said


def test_what_the_backend_refuses_has_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """6: it was reached, and said no."""
    with stub_server(answer(REFUSED, status=400)) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
        assert ran("query", "leads").status == Status.REFUSED


def test_an_error_is_a_document_too() -> None:
    """With --json stdout holds one document whatever happens, and stderr the message."""
    ended = ran("query", "secrets", "--kind", "memory", "--json")
    assert ended.document["command"] == "query"
    assert ended.document["status"] == Status.NOT_ALLOWED
    assert ended.document["error"]["type"] == "TableNotAllowedError"
    assert "'secrets' is not allowed" in ended.document["error"]["message"]
    assert "'secrets' is not allowed" in ended.err


def test_an_error_goes_to_stderr_alone() -> None:
    """Nothing that a pipe would take for rows."""
    ended = ran("query", "secrets", "--kind", "memory")
    assert ended.out == ""
    assert ended.err.startswith("agent-persistence query: ")


def test_a_log_that_the_environment_asks_for_does_not_get_into_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """PERSIST_LOGGING prints to stdout, which belongs to the document here."""
    monkeypatch.setenv("PERSIST_LOGGING", "1")
    assert ran("query", "leads", "--kind", "memory", "--json").document["rows"] == []


def test_a_failure_that_nobody_named_is_told_as_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 70, a traceback on stderr for the report, and still one document on stdout."""

    def broken(*_: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(anyio, "run", broken)
    ended = ran("query", "leads", "--kind", "memory", "--json")
    assert ended.status == Status.BUG
    assert "RuntimeError: unexpected" in ended.err
    assert ended.document["error"]["type"] == "RuntimeError"


def test_ctrl_c_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """130, as shells have it."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    ended = ran("query", "leads", "--kind", "memory")
    assert (ended.status, ended.out) == (Status.INTERRUPTED, "")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command is installed without typer, too."""
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.startswith("agent_persistence.cli"):
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == Status.CONFIGURATION
    assert "pip install '.[cli]'" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    """Where the scripts of an environment are not on the path."""
    ended = started("policy", "sql", "reader")
    assert ended.status == 0
    assert ended.out.startswith("begin;\n")


def test_a_reader_that_leaves_is_no_failure() -> None:
    """`… | head -1` ends without a traceback, with the status that shells know."""
    theirs, ours = os.pipe()
    os.close(theirs)
    command = [sys.executable, "-m", "agent_persistence.cli", "policy", "sql", "reader"]
    ended = subprocess.run(command, stdout=ours, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(ours)
    assert (ended.returncode, ended.stderr) == (Status.PIPE_CLOSED, "")


def test_a_terminal_without_unicode_gets_escapes() -> None:
    """Whatever LANG says, no UnicodeEncodeError."""
    ended = started("doctor", "--kind", "memory", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.status == 0
    assert "  ok agent-persistence" in ended.out


def test_rows_that_a_terminal_cannot_encode_are_shown_as_escapes(tmp_path: Path) -> None:
    """In the table as well."""
    (tmp_path / "rows.json").write_text(json.dumps({"leads": [{"email": "zoë@example.org"}]}))
    arguments = ("query", "leads", "--kind", "memory", "--rows", "rows.json", "--select", "email")
    ended = started(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ended.status, "zo\\xeb@example.org" in ended.out) == (0, True)


def test_an_interrupted_request_ends_at_once() -> None:
    """By the signal of Ctrl-C, while the server is still thinking."""

    async def silent(exchange: Exchange) -> None:
        await exchange.until_client_leaves()

    with stub_server(silent) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent_persistence.cli", "query", "leads"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SUPABASE_URL": server.url, "SUPABASE_KEY": "sb_secret_x"},
        )
        assert server.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (Status.INTERRUPTED, "", "agent-persistence query: interrupted\n")


def test_json_is_one_document_with_the_command_and_the_status(rows: Path) -> None:
    """The two keys that every document has."""
    document = json.loads(ran("query", "leads", "--kind", "memory", "--rows", rows, "--json").out)
    assert (document["command"], document["status"]) == ("query", 0)
