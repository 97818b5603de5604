"""`import` writes the rows of a file, and tells how it goes."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agent_persistence.bulk import Progress
from agent_persistence.cli.progress import done_share, duration, figures, size
from tests.cli.program import in_terminal, ran
from tests.server import LocalServer

GOOD = "email,score,status\nada@example.org,0.9,new\nbob@example.org,0.5,won\n"
BAD = GOOD + "cy@example.net,high,new\n"


def _written(tmp_path: Path, text: str, name: str = "leads.csv") -> str:
    (tmp_path / name).write_text(text)
    return name


def test_rows_go_into_the_table(project: LocalServer, tmp_path: Path) -> None:
    """All of them, with their types; the report is on stdout."""
    ended = ran("import", "leads", _written(tmp_path, GOOD))
    assert (ended.status, ended.out.startswith("leads: 2 rows are in")) == (0, True)
    assert project.execute("select email, score::text, status from leads order by email") == [
        {"email": "ada@example.org", "score": "0.9", "status": "new"},
        {"email": "bob@example.org", "score": "0.5", "status": "won"},
    ]


def test_stdin_needs_its_format(project: LocalServer) -> None:
    """Which no ending tells."""
    assert ran("import", "leads", "-", stdin=GOOD).status == 2
    assert ran("import", "leads", "-", "--format", "csv", stdin=GOOD).status == 0
    assert project.execute("select count(*) as n from leads") == [{"n": 2}]


def test_rows_that_exist_are_merged_if_asked(project: LocalServer, tmp_path: Path) -> None:
    """By the columns that are told; without, they are refused."""
    path = _written(tmp_path, GOOD)
    assert ran("import", "leads", path).status == 0
    assert ran("import", "leads", path).status == 1
    assert ran("import", "leads", path, "--on-conflict", "email").status == 0
    assert project.execute("select count(*) as n from leads") == [{"n": 2}]


def test_a_refused_row_stops_the_import_with_its_line(project: LocalServer, tmp_path: Path) -> None:
    """And the document says what is in."""
    ended = ran("import", "leads", _written(tmp_path, BAD), "--json")
    assert ended.status == 1
    assert ended.document["error"]["type"] == "ImportStoppedError"
    assert (ended.document["first_reject"]["line"], ended.document["first_reject"]["column"]) == (4, "score")
    assert ended.document["rows"] == project.execute("select count(*) as n from leads")[0]["n"]


def test_refused_rows_are_put_aside_if_asked(project: LocalServer, tmp_path: Path) -> None:
    """The rest goes in, and the status says that something was found."""
    ended = ran("import", "leads", _written(tmp_path, BAD), "--rejects", "bad.csv", "--json")
    assert (ended.status, ended.document["rows"], ended.document["rejected"]) == (1, 2, 1)
    assert "cy@example.net" in (tmp_path / "bad.csv").read_text()
    assert "cy@example.net" not in ended.said


def test_the_same_command_after_the_end_writes_nothing_twice(project: LocalServer, tmp_path: Path) -> None:
    """By the journal."""
    arguments = ("import", "leads", _written(tmp_path, GOOD), "--resume", "leads.journal", "--json")
    assert ran(*arguments).document["resumed_rows"] == 0
    ended = ran(*arguments)
    assert (ended.status, ended.document["rows"], ended.document["resumed_rows"]) == (0, 2, 2)
    assert project.execute("select count(*) as n from leads") == [{"n": 2}]


def test_parts_of_a_file_are_imported_by_commands_that_share_a_key(project: LocalServer, tmp_path: Path) -> None:
    """As cron runs them, one of them twice."""
    path = _written(tmp_path, GOOD)
    for part in ("0/2", "1/2", "0/2"):
        assert ran("import", "leads", path, "--key", "2026-11-29", "--shard", part).status == 0
    assert project.execute("select count(*) as n from leads") == [{"n": 2}]
    for wrong in ("2/2", "1", "a/b"):
        assert ran("import", "leads", path, "--shard", wrong).status == 2


def test_a_dry_run_sends_nothing(project: LocalServer, tmp_path: Path) -> None:
    """And finds what would be refused here."""
    ended = ran("import", "leads", _written(tmp_path, BAD), "--dry-run", "--rejects", "bad.csv", "--json")
    assert (ended.status, ended.document["rejected"], ended.document["dry_run"]) == (1, 1, True)
    assert project.execute("select count(*) as n from leads") == [{"n": 0}]


def test_columns_are_named_or_renamed(project: LocalServer, tmp_path: Path) -> None:
    """In their order for a file without header, by heading else."""
    named = ("--columns", "email,score", "--delimiter", ";")
    assert ran("import", "leads", _written(tmp_path, "a@x.org;7\n"), *named).status == 0
    renamed = ("--columns", "E-mail=email,Points=score")
    assert ran("import", "leads", _written(tmp_path, "E-mail,Points\nb@x.org,8\n"), *renamed).status == 0
    assert ran("import", "leads", "leads.csv", "--columns", "E-mail=email,Points").status == 2
    assert project.execute("select score::text from leads order by email") == [{"score": "7"}, {"score": "8"}]


def test_a_table_that_may_not_be_written_is_refused(project: LocalServer, tmp_path: Path) -> None:
    """By the policy, before the file is read."""
    ended = ran("import", "clients", _written(tmp_path, "name\nAcme\n"))
    assert (ended.status, "clients" in ended.err) == (5, True)


@pytest.mark.parametrize(
    ("source", "status"), [("missing.csv", 3), ("leads.xlsx", 3)], ids=["no such file", "no such format"]
)
def test_a_source_that_cannot_be_read_is_told(source: str, status: int, tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "leads.xlsx").write_text("")
    ended = ran("import", "leads", source, "--kind", "memory")
    assert (ended.status, "Traceback" in ended.err) == (status, False)


def test_a_backend_that_is_not_there_has_its_own_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4, whatever wraps the failure."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    ended = ran("import", "leads", _written(tmp_path, GOOD), "--json")
    assert (ended.status, ended.document["rows"]) == (4, 0)


def test_a_pipe_gets_lines_and_a_terminal_a_bar(project: LocalServer, tmp_path: Path) -> None:
    """Both on stderr: stdout holds the report."""
    path = _written(tmp_path, GOOD)
    ended = ran("import", "leads", path, "--dry-run")
    assert ended.err.startswith("leads ← leads.csv: 2 rows, 67 of 67 B, ")
    shown = in_terminal("import", "leads", path, "--dry-run", columns=120)
    assert "━━━━" in shown
    assert "2 rows" in shown


def test_a_terminal_marks_an_import_that_was_stopped(tmp_path: Path) -> None:
    """With a cross instead of a tick, and with no bar where nothing was read."""
    memory = ("--kind", "memory")
    assert "✓" in in_terminal("import", "leads", tmp_path / _written(tmp_path, GOOD), *memory)
    stopped = in_terminal("import", "leads", tmp_path / _written(tmp_path, BAD), *memory)
    assert ("✗" in stopped, "✓" in stopped) == (True, False)
    missing = in_terminal("import", "leads", "missing.csv", *memory)
    assert "missing.csv cannot be opened" in missing.rpartition("\x1b[2K")[2]
    assert "━" not in missing.rpartition("\x1b[2K")[2]


def test_an_interrupted_import_says_how_to_go_on(
    project: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is in."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    ended = ran("import", "leads", _written(tmp_path, GOOD))
    assert (ended.status, "with --resume FILE" in ended.err) == (130, True)
    assert "by leads.journal" in ran("import", "leads", "leads.csv", "--resume", "leads.journal").err


def _progress(**told: object) -> Progress:
    given = {"rows_read": 0, "rows_written": 0, "rejected": 0, "bytes_read": 0, "bytes_total": 1000, "seconds": 10.0}
    return Progress(**given | told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ({}, 0.0),
        ({"rows_read": 100, "rows_written": 50, "bytes_read": 1000}, 0.5),
        ({"rows_read": 100, "rows_written": 40, "rejected": 10, "bytes_read": 500}, 0.25),
        ({"rows_read": 100, "rows_written": 100, "bytes_read": 1000, "bytes_total": None}, None),
        ({"bytes_total": 0}, None),
        ({"is_final": True, "bytes_total": None}, 1.0),
    ],
)
def test_what_is_read_and_not_yet_written_is_not_done(told: dict[str, object], share: float | None) -> None:
    """A small file is read as a whole before its first chunk is in."""
    assert done_share(_progress(**told)) == share


def test_the_figures_of_an_import() -> None:
    """Rows, bytes, rejects if there are some, rate, and the time left while there is some."""
    told = _progress(rows_read=2000, rows_written=990, rejected=10, bytes_read=2_500_000, bytes_total=2_500_000)
    assert figures(told) == ["990 rows", "2.5 of 2.5 MB", "10 rejected", "99 rows/s", "10 s left"]
    ended = _progress(is_final=True, rows_written=50, bytes_total=None, bytes_read=30)
    assert figures(ended) == ["50 rows", "30 B", "5 rows/s"]
    assert figures(_progress(is_final=True, rows_written=1))[0] == "1 row"


@pytest.mark.parametrize(
    ("read", "total", "shown"),
    [
        (0, None, "0 B"),
        (999, 999, "999 of 999 B"),
        (1_500, None, "1.5 kB"),
        (300_000_000, 2_000_000_000, "0.3 of 2.0 GB"),
        (5 * 10**15, None, "5,000.0 TB"),
    ],
)
def test_sizes_have_the_unit_of_the_larger_number(read: int, total: int | None, shown: str) -> None:
    """Decimal, as disks have them."""
    assert size(read, total) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3_599.9, "1 h 00 min"), (9_000, "2 h 30 min")],
)
def test_durations_are_told_as_people_do(seconds: float, shown: str) -> None:
    """In two units at most."""
    assert duration(seconds) == shown
