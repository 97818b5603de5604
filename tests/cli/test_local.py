"""`local`: the database of kind "local" from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import ran, started
from tests.local.users import is_stopped, local_agent, user, wait_until


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the eight tables, and one lead."""
    path = tmp_path_factory.mktemp("cli") / "a database"
    assert ran("local", "init", "--path", path).status == 0
    with local_agent(path) as agent:
        agent.write("leads", {"email": "ada@a.example"})
    return path


def test_status_tells_of_a_database_that_is_not_there_and_makes_none(tmp_path: Path) -> None:
    outcome = ran("local", "status", "--path", tmp_path / "none", "--json")
    assert (outcome.document["exists"], outcome.document["running"]) == (False, False)
    assert not (tmp_path / "none").exists()


def test_status_tells_whether_it_runs_and_how_it_is_reached(database: Path) -> None:
    with user(database) as other:
        other.write("x")
        told = ran("local", "status", "--path", database, "--json").document
        assert (told["running"], told["in_use"], told["version"]) == (True, True, "18")
        assert told["url"].startswith("postgresql://postgres@/postgres?host=/")
        assert "in use" in ran("local", "status", "--path", database).out
    wait_until(lambda: is_stopped(database))
    assert "does not run" in ran("local", "status", "--path", database).out


def test_commands_that_take_a_kind_take_local(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSIST_LOCAL_PATH", str(database))
    assert "ada@a.example" in ran("query", "leads", "--kind", "local").out
    assert "tables.leads" in ran("schema", "pull", "--kind", "local").out


def test_psql_runs_with_its_own_arguments(database: Path) -> None:
    outcome = started("local", "psql", "--path", str(database), "--", "-Atc", "select email from leads")
    assert (outcome.status, outcome.out) == (0, "ada@a.example\n")
    assert started("local", "psql", "--path", str(database), "--", "-c", "select nothing").status == 1


def test_psql_and_export_make_no_database(tmp_path: Path) -> None:
    for command in (("psql",), ("export", "-")):
        outcome = ran("local", *command, "--path", tmp_path / "none")
        assert outcome.status == 3
        assert "local init" in outcome.err


def test_init_makes_declared_tables_and_runs_sql(tmp_path: Path) -> None:
    schema, sql = tmp_path / "schema.toml", tmp_path / "more.sql"
    schema.write_text('[tables.tickets.columns]\nid = "bigint"\ntitle = "text"\n')
    sql.write_text("insert into tickets (title) values ('first');")
    outcome = ran("local", "init", "--path", tmp_path / "db", "--schema", schema, "--sql", sql)
    assert outcome.status == 0
    told = started("local", "psql", "--path", str(tmp_path / "db"), "--", "-Atc", "select * from tickets")
    assert told.out == "1|first\n"


def test_sql_that_is_refused_is_told(database: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.sql").write_text("create table half (id int); select nothing;")
    outcome = ran("local", "init", "--path", database, "--sql", tmp_path / "bad.sql")
    assert outcome.status == 3
    assert 'column "nothing" does not exist' in outcome.err
    told = started("local", "psql", "--path", str(database), "--", "-Atc", "select to_regclass('half') is null")
    assert told.out == "t\n"


def test_what_is_exported_another_database_takes(database: Path, tmp_path: Path) -> None:
    assert ran("local", "export", tmp_path / "dump.sql", "--path", database).status == 0
    assert ran("local", "init", "--path", tmp_path / "other", "--schema", empty(tmp_path)).status == 0
    loaded = started(
        *("local", "psql", "--path", str(tmp_path / "other"), "--"),
        *("-v", "ON_ERROR_STOP=1", "-q", "-f", str(tmp_path / "dump.sql")),
    )
    assert loaded.status == 0, loaded.said
    told = started("local", "psql", "--path", str(tmp_path / "other"), "--", "-Atc", "select email from leads")
    assert told.out == "ada@a.example\n"


def empty(directory: Path) -> Path:
    """A schema file without a table."""
    path = directory / "empty.toml"
    path.write_text("[tables]\n")
    return path


def test_stop_leaves_a_database_in_use_alone_unless_it_is_forced(database: Path) -> None:
    with user(database) as other:
        before = other.write("x")
        refused = ran("local", "stop", "--path", database)
        assert (refused.status, "--force" in refused.err) == (3, True)
        assert ran("local", "stop", "--path", database, "--force").status == 0
        assert other.write("y") == before + 1


def test_stop_of_what_does_not_run_says_so(tmp_path: Path) -> None:
    assert "was not running" in ran("local", "stop", "--path", tmp_path / "none").out


def test_an_export_that_fails_leaves_no_file(database: Path, tmp_path: Path) -> None:
    outcome = ran("local", "export", tmp_path / "nowhere" / "dump.sql", "--path", database)
    assert outcome.status == 3
    assert not (tmp_path / "nowhere").exists()
