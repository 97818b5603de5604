"""`sql install`, and what `doctor` says of units of work and of the tables of frameworks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_persistence.backends.installation import unit_of_work_sql
from agent_persistence.ext._tables.frameworks import FRAMEWORKS
from agent_persistence.ext.langgraph import Checkpointer, OwnerColumn, Store
from agent_persistence.ext.openai_agents import AgentSession
from agent_persistence.ext.pydantic_ai import TABLES
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
    return _told("Units of work", *options)


def _told(area: str, *options: str) -> list[tuple[str, str, str]]:
    checks = json.loads(ran("doctor", "--json", *options).out)["checks"]
    return [(one["subject"], one["level"], one["message"]) for one in checks if one["area"] == area]


@pytest.fixture
def no_tables(project: LocalServer) -> Iterator[LocalServer]:
    """The project, for a test to make tables of frameworks; afterwards they are gone."""
    yield project
    project.execute("".join(f"drop table if exists {name};" for own in FRAMEWORKS.values() for name in own.tables))
    project.reload_schema()


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


def test_the_tables_of_a_framework_are_what_its_classes_declare() -> None:
    """Each set by the name of its extra, and granted to the roles."""
    owner = OwnerColumn("user_id", default="auth.uid()")
    asked = ("--for", "langgraph,units,openai-agents", "--owner", "user_id", "--db-schema", "agents", "--roles", "crm")
    told = ran("sql", "install", *asked).out
    for made in (Checkpointer.sql, Store.sql, AgentSession.sql):
        lines = made(owner, db_schema="agents").splitlines()
        assert [line for line in lines if line not in told.splitlines()] == []
    assert len(re.findall('grant select, insert, update, delete on "agents".* to "crm";', told)) == 3
    assert unit_of_work_sql(db_schema="agents", roles=["crm"]) in told
    declared = {**Checkpointer.tables(), **Store.tables(), **AgentSession.tables(), **TABLES}
    assert {name: table for own in FRAMEWORKS.values() for name, table in own.tables.items()} == declared


def test_each_set_of_tables_is_a_migration_of_its_own(tmp_path: Path) -> None:
    """Beside that of units; the same twice is refused."""
    langgraph = ("sql", "install", "--for", "langgraph", "--owner", "user_id", "--migration", str(tmp_path))
    for _ in range(2):
        ran(*langgraph)
        ran("sql", "install", "--for", "openai-agents, pydantic-ai", "--migration", str(tmp_path))
        ran("sql", "install", "--migration", str(tmp_path))
    names = ["langgraph", "openai_agents_pydantic_ai", "units"]
    paths = sorted(tmp_path.iterdir(), key=lambda path: path.name[15:])
    assert [path.name[14:] for path in paths] == [f"_agent_persistence_{name}.sql" for name in names]
    assert paths[0].read_text().count("enable row level security") == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--for", "langchain"], "'langchain' is none of units, langgraph, openai-agents, pydantic-ai"),
        (["--for", ","], "--for names what to install"),
        (["--owner", "user_id"], "are for tables of frameworks"),
        (["--for", "langgraph", "--owner", "a", "--tenant", "b"], "not both"),
        (["--for", "langgraph", "--owner", 'a"'], "is no plain name"),
        (["--for", "langgraph", "--db-schema", 'a"'], "is no plain name"),
        (["--for", "langgraph", "--roles", 'a"'], "roles is a list of plain names"),
    ],
)
def test_what_cannot_be_installed_is_refused(options: list[str], told: str) -> None:
    """Before anything is printed."""
    ended = ran("sql", "install", *options)
    assert (ended.status != 0, ended.out) == (True, "")
    assert told in ended.err


@pytest.mark.parametrize("catalogues", [False, True])
def test_doctor_has_a_row_for_each_framework(
    no_tables: LocalServer, catalogues: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not installed, whole, lacking a column, or there in part: over REST, and by the catalogues."""
    if catalogues:
        monkeypatch.setenv("DATABASE_URL", no_tables.database_url)
    absent = "not installed: it can keep no rows here"
    assert _told("Frameworks") == [(name, "note", absent) for name in FRAMEWORKS]
    no_tables.execute(ran("sql", "install", "--for", "langgraph,openai-agents").out)
    no_tables.execute("alter table agent_session_items drop column popped_by, drop column item")
    no_tables.execute("drop table langgraph_store_items")
    no_tables.reload_schema()
    assert _told("Frameworks") == [
        ("langgraph_checkpoint_parts", "ok", "all 14 columns, for langgraph"),
        ("langgraph_store_items", "note", "not there, while other tables of langgraph are"),
        ("agent_session_items", "problem", "lacks item, popped_by: openai-agents can keep no rows in it"),
        ("pydantic-ai", "note", absent),
    ]
    assert ran("doctor").status == 1
    no_tables.execute("drop table agent_session_items")
    no_tables.execute(ran("sql", "install", "--for", ",".join(FRAMEWORKS)).out)
    no_tables.reload_schema()
    assert {level for _, level, _ in _told("Frameworks")} == {"ok"}


def test_doctor_says_that_a_role_may_not_use_a_table(no_tables: LocalServer) -> None:
    """A table that was made without a grant."""
    no_tables.execute(AgentSession.sql() + "revoke all on agent_session_items from service_role")
    no_tables.reload_schema()
    told = "there, and not for this role: openai-agents can keep no rows in it as this role"
    assert ("agent_session_items", "note", told) in _told("Frameworks")
    no_tables.execute(ran("sql", "install", "--for", "openai-agents").out)
    assert ("agent_session_items", "ok", "all 7 columns, for openai-agents") in _told("Frameworks")
