"""`sql install`, and what `doctor` says of units of work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_persistence.backends.installation import unit_of_work_sql
from tests.cli.program import ran
from tests.server import LocalServer
from tests.units.conftest import install


@pytest.fixture
def without(local_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The server without the function."""
    local_server.execute(
        "drop function if exists agent_persistence_apply; drop schema if exists agent_persistence cascade"
    )
    local_server.reload_schema()
    monkeypatch.setenv("SUPABASE_URL", local_server.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", local_server.service_key)
    yield local_server
    install(local_server)


def _told_of_units(*options: str) -> list[tuple[str, str, str]]:
    checks = json.loads(ran("doctor", "--json", *options).out)["checks"]
    return [(one["subject"], one["level"], one["message"]) for one in checks if one["area"] == "Units of work"]


def test_it_prints_what_the_library_makes() -> None:
    """With the options that were given."""
    assert ran("sql", "install").out == unit_of_work_sql()
    told = ran(
        "sql", "install", "--schema", "once", "--db-schema", "api", "--roles", "crm, crm2", "--keep", "12 hours"
    ).out
    assert told == unit_of_work_sql(schema="once", db_schema="api", roles=["crm", "crm2"], keep="12 hours")


def test_it_writes_a_migration_once(tmp_path: Path) -> None:
    """Named by the time, as the Supabase command line names them."""
    ended = ran("sql", "install", "--migration", str(tmp_path))
    (path,) = tmp_path.iterdir()
    assert (ended.status, path.name[14:], path.name[:14].isdigit()) == (0, "_agent_persistence_units.sql", True)
    assert path.read_text() == unit_of_work_sql()
    again = ran("sql", "install", "--migration", str(tmp_path))
    assert (again.status != 0, "says the same already" in again.err, len(list(tmp_path.iterdir()))) == (True, True, 1)


def test_what_is_no_name_is_refused() -> None:
    """Before anything is printed."""
    ended = ran("sql", "install", "--schema", 'x"; drop schema public cascade; --')
    assert (ended.status != 0, ended.out) == (True, "")


def test_doctor_says_whether_it_is_installed_and_what_it_would_change(without: LocalServer) -> None:
    """The tables whose keys the database makes are those that gain by it."""
    ((subject, level, told),) = _told_of_units()
    assert (subject, level) == ("agent_persistence_apply", "note")
    assert "is not installed" in told
    assert "no write to inquiries, messages, sequences, staging_leads would be left in doubt" in told
    without.execute(ran("sql", "install").out)
    without.reload_schema()
    assert _told_of_units() == [("agent_persistence_apply", "ok", "is installed, and the role may use it")]


def test_doctor_reads_it_in_the_catalogues(without: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a database to look into."""
    monkeypatch.setenv("DATABASE_URL", without.database_url)
    ((_, level, told),) = _told_of_units("--kind", "postgres", "--role", "service_role")
    assert (level, told.startswith("is not installed")) == ("note", True)
    install(without)
    told = "is installed, and service_role may use it"
    assert _told_of_units("--kind", "postgres", "--role", "service_role") == [("agent_persistence.ledger", "ok", told)]
    assert _told_of_units("--kind", "postgres", "--role", "anon")[0][1] == "note"
