"""`doctor` finds what was broken on purpose, and its SQL repairs it, on the real server and its database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.backends.stub_server import Exchange, Script, answer, stub_server
from tests.cli.program import Outcome, in_terminal, ran
from tests.cli.test_schema_pull import OPENAPI
from tests.openapi import FORMS, Form, business
from tests.server import LocalServer

TABLES = ["campaigns", "clients", "conversations", "inquiries", "leads", "messages", "sequences", "staging_leads"]
RESTORE = """
grant all on all tables in schema public to anon, authenticated, service_role;
alter table leads disable row level security;
alter table messages disable row level security;
"""


@pytest.fixture
def broken(project: LocalServer) -> Iterator[LocalServer]:
    """The project, for a test to break; the rights and columns are back afterwards."""
    project.execute(RESTORE)
    yield project
    project.execute(RESTORE)
    project.reload_schema()


@pytest.fixture
def database(broken: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """The same with DATABASE_URL set."""
    monkeypatch.setenv("DATABASE_URL", broken.database_url)
    return broken


def _found(ended: Outcome, level: str = "problem") -> list[tuple[str, str | None, str]]:
    return [
        (check["area"], check["subject"], check["message"])
        for check in ended.document["checks"]
        if check["level"] == level
    ]


def _sql(ended: Outcome) -> list[str]:
    return [statement for check in ended.document["checks"] for statement in check["sql"]]


def test_a_project_in_order_is_fine(broken: LocalServer) -> None:
    """Status 0; what REST cannot show is unchecked, and says what would show it."""
    ended = ran("doctor", "--json")
    assert (ended.status, _found(ended)) == (0, [])
    unchecked = [check for check in ended.document["checks"] if check["level"] == "unchecked"]
    assert [check["area"] for check in unchecked] == ["Rights", "Row-level security"]
    assert all(check["remedy"] for check in unchecked)
    tables = [check["subject"] for check in ended.document["checks"] if check["area"] == "Tables"]
    assert tables == TABLES


def test_nothing_is_changed(broken: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither rows nor statistics of rows, with all probes on."""
    monkeypatch.setenv("DATABASE_URL", broken.database_url)
    broken.execute("insert into leads (email) values ('a@x.org')")
    before = broken.execute("select * from leads")
    assert ran("doctor", "--probe-writes").status == 1
    assert broken.execute("select * from leads") == before
    assert [broken.execute(f"select count(*) as n from {table}")[0]["n"] for table in TABLES] == [
        int(table == "leads") for table in TABLES
    ]


def test_a_missing_right_to_read_is_repaired_by_its_sql(broken: LocalServer) -> None:
    """42501 becomes a GRANT; after it, doctor is content."""
    broken.execute("revoke select on leads from service_role")
    ended = ran("doctor", "--json")
    assert ended.status == 1
    assert _found(ended) == [("Rights", "leads", "service_role may not read")]
    for statement in _sql(ended):
        broken.execute(statement)
    assert ran("doctor").status == 0


def test_rights_to_some_columns_are_told_by_column(broken: LocalServer) -> None:
    """The statement names what is missing."""
    broken.execute(
        "revoke select on leads from service_role; grant select (id, email, status) on leads to service_role"
    )
    ended = ran("doctor", "--json")
    (finding,) = _found(ended)
    assert finding[2].startswith("service_role may not read client_id, campaign_id, first_name")
    for statement in _sql(ended):
        broken.execute(statement)
    assert ran("doctor").status == 0


def test_a_policy_of_columns_asks_for_no_more_than_those(broken: LocalServer, tmp_path: Path) -> None:
    """A role with the rights of the policy is in order."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n[columns]\nleads = ["id", "email"]\n')
    broken.execute("revoke select on leads from service_role")
    ended = ran("doctor", "--policy", "policy.toml", "--json")
    assert _sql(ended) == ['grant select ("email", "id") on "public"."leads" to "service_role";']
    broken.execute(_sql(ended)[0])
    assert ran("doctor", "--policy", "policy.toml").status == 0


def test_a_schema_that_may_not_be_used_is_told_with_its_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own words for it; it looks like a missing right to every table."""
    denied = b'{"code": "42501", "message": "permission denied for schema public"}'
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(denied, status=403)) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert _sql(ran("doctor", "--json"))[0] == 'grant usage on schema "public" to "service_role";'


def test_rights_to_write_are_seen_when_asked(broken: LocalServer, tmp_path: Path) -> None:
    """By statements that write no row."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\nwrite = ["leads"]\ndelete = ["leads"]\n')
    broken.execute("revoke update, delete on leads from service_role")
    assert ran("doctor", "--policy", "policy.toml").status == 0
    ended = ran("doctor", "--policy", "policy.toml", "--probe-writes", "--json")
    assert _sql(ended) == [f'grant {right} on "public"."leads" to "service_role";' for right in ("update", "delete")]
    for statement in _sql(ended):
        broken.execute(statement)
    assert ran("doctor", "--policy", "policy.toml", "--probe-writes").status == 0


def test_an_insertion_of_no_row_asks_for_the_right_to_insert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty list with the columns that the policy lets be written. The local server does not ask it the database."""
    (tmp_path / "policy.toml").write_text(
        'read = []\nwrite = ["messages"]\n[columns]\nmessages = { write = ["role", "content"] }\n'
    )

    async def answered(exchange: Exchange) -> None:
        denied = b'{"code": "42501", "message": "permission denied for table messages"}'
        is_insertion = exchange.request.method == "POST"
        await exchange.send(answer(denied, status=403) if is_insertion else answer())

    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answered) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("doctor", "--policy", "policy.toml", "--probe-writes", "--json")
        (insertion,) = [request for request in server.requests if request.method == "POST"]
    assert _sql(ended) == ['grant insert ("content", "role") on "public"."messages" to "service_role";']
    assert (insertion.body, "columns=role,content" in insertion.target) == (b"[]", True)
    assert "return=minimal" in insertion.headers["prefer"]


def test_missing_tables_and_columns_are_found(broken: LocalServer, tmp_path: Path) -> None:
    """Against the schema file, all of them in one run."""
    (tmp_path / "schema.toml").write_text(
        '[tables.leads.columns]\nid = "uuid"\nemail = "text"\nbudget = "numeric"\nowner = "text"\n'
        '[tables.notes.columns]\nid = "uuid"\n'
    )
    (tmp_path / "policy.toml").write_text('read = ["leads", "notes"]\nwrite = []\n')
    ended = ran("doctor", "--schema", "schema.toml", "--policy", "policy.toml", "--json")
    assert _found(ended) == [
        ("Tables", "leads", "no column budget (numeric)"),
        ("Tables", "leads", "no column owner (text)"),
        ("Tables", "notes", "not there, or the server does not know it yet"),
    ]


def test_types_are_compared_where_the_server_describes_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its OpenAPI description."""
    (tmp_path / "schema.toml").write_text('[tables.leads.columns]\nid = "uuid"\nemail = "jsonb"\n')
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n')
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(answer(json.dumps(OPENAPI).encode(), headers={"Date": "Mon, 23 Nov 2020 12:00:00 GMT"})) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("doctor", "--schema", "schema.toml", "--policy", "policy.toml", "--json")
    assert ("Tables", "leads", "email is text, and jsonb in the schema") in _found(ended)
    assert any(subject == "the clock" for _, subject, _ in _found(ended))


@pytest.mark.parametrize("form", FORMS)
def test_a_described_project_in_order_is_fine(monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    """Against the description of either version: all eight tables, with their types."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(_describing(business(form))) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("doctor", "--json")
    assert (ended.status, _found(ended)) == (0, [])
    told = {check["subject"]: check["message"] for check in ended.document["checks"] if check["area"] == "Tables"}
    assert sorted(told) == TABLES
    assert all(text.endswith("with their types") for text in told.values())


def _describing(document: object) -> Script:
    """A server of empty tables that describes itself so."""

    async def answered(exchange: Exchange) -> None:
        is_root = exchange.request.target.rstrip("/") == "/rest/v1"
        now = format_datetime(datetime.now(UTC), usegmt=True)
        await exchange.send(answer(json.dumps(document).encode() if is_root else b"[]", headers={"Date": now}))

    return answered


def test_what_everybody_may_read_is_found_with_a_public_key(
    broken: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With that of the environment beside the secret one, or in its place; row-level security ends it."""
    broken.execute("insert into leads (email) values ('a@x.org')")
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", broken.anon_key)
    ended = ran("doctor", "--json")
    assert [(area, subject) for area, subject, _ in _found(ended)] == [("Row-level security", "leads")]
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", broken.anon_key)
    ended = ran("doctor", "--json")
    assert [(area, subject) for area, subject, _ in _found(ended)] == [("Row-level security", "leads")]
    broken.execute(_sql(ended)[0])
    assert ran("doctor").status == 0


def test_an_empty_table_does_not_look_protected(broken: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets a row of it; where the secret key gets one and the public key none, something keeps rows back."""
    monkeypatch.setenv("SUPABASE_PUBLISHABLE_KEY", broken.anon_key)
    broken.execute("insert into leads (email) values ('a@x.org'); alter table leads enable row level security")
    checks = [check for check in ran("doctor", "--json").document["checks"] if check["area"] == "Row-level security"]
    assert {check["subject"]: check["level"] for check in checks} == {
        table: "ok" if table == "leads" else "unchecked" for table in TABLES
    }
    assert all("DATABASE_URL" in check["remedy"] for check in checks if check["level"] == "unchecked")


def test_with_a_public_key_alone_no_row_proves_nothing(broken: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table may be empty: row-level security was not seen."""
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", broken.anon_key)
    found = _found(ran("doctor", "--json"), "ok")
    assert not [check for check in found if check[0] == "Row-level security"]


def test_the_catalogues_show_row_level_security_of_every_table(database: LocalServer) -> None:
    """Off is a problem where anon or authenticated may use the table; the SQL turns it on."""
    database.execute("alter table leads enable row level security")
    ended = ran("doctor", "--json")
    found = [subject for area, subject, _ in _found(ended) if area.startswith("Row-level security")]
    assert found == [table for table in TABLES if table != "leads"]
    database.execute("revoke all on all tables in schema public from anon, authenticated")
    assert ran("doctor").status == 0


def test_a_role_that_no_policy_lets_see_a_row_is_told(database: LocalServer, tmp_path: Path) -> None:
    """It would get empty answers and no error."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n')
    database.execute("alter table leads enable row level security")
    ended = ran("doctor", "--policy", "policy.toml", "--role", "authenticated", "--json")
    assert [told for _, _, told in _found(ended)] == [
        "on, without a policy: authenticated sees no row and gets no error"
    ]
    database.execute("create policy everyone on leads for select to authenticated using (true)")
    try:
        assert ran("doctor", "--policy", "policy.toml", "--role", "authenticated").status == 0
    finally:
        database.execute("drop policy everyone on leads")


def test_the_catalogues_show_every_missing_right(database: LocalServer, tmp_path: Path) -> None:
    """Without a statement being tried; the SQL of --sql repairs all of it in one go."""
    (tmp_path / "policy.toml").write_text(
        'read = ["leads", "messages"]\nwrite = ["leads"]\ndelete = ["leads"]\n[columns]\nleads = ["id", "email"]\n'
    )
    database.execute("revoke all on all tables in schema public from anon, authenticated, service_role")
    arguments = ("doctor", "--policy", "policy.toml", "--kind", "postgres", "--role", "service_role")
    ended = ran(*arguments, "--json")
    assert [(subject, told) for area, subject, told in _found(ended) if area.startswith("Rights")] == [
        ("leads", "service_role may not delete"),
        ("leads", "service_role may not insert id, email"),
        ("leads", "service_role may not select id, email"),
        ("leads", "service_role may not update id, email"),
        ("messages", "service_role may not select"),
    ]
    script = ran(*arguments, "--sql").out
    assert script.splitlines() == _sql(ended)
    database.execute(script)
    assert ran(*arguments).status == 0


def test_functions_are_looked_at_by_the_catalogues(database: LocalServer, tmp_path: Path) -> None:
    """Whether they are there, may be called, and only read."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\ncall = ["reads", "writes", "gone"]\ncall_write = []\n')
    database.execute("""
        revoke all on all tables in schema public from anon, authenticated;
        create function reads() returns int language sql stable as 'select 1';
        create function writes() returns int language sql volatile as 'select 1';
        revoke execute on function reads() from public, service_role;
    """)
    try:
        ended = ran("doctor", "--policy", "policy.toml", "--json")
    finally:
        database.execute("drop function reads(); drop function writes()")
    assert [(subject, told) for _, subject, told in _found(ended)] == [
        ("gone", "not there"),
        ("reads", "service_role may not execute reads()"),
        ("writes", "writes() is VOLATILE, so that it could write"),
    ]
    assert _sql(ended) == ['grant execute on function reads() to "service_role";']


def test_a_role_that_does_not_exist_is_told(database: LocalServer) -> None:
    """With the command that makes it; the tables are looked at all the same."""
    ended = ran("doctor", "--role", "nobody_here", "--json")
    assert ("Rights, by the catalogues", "nobody_here", "does not exist") in _found(ended)
    assert ended.status == 1


def test_a_view_with_its_owners_rights_is_found(database: LocalServer, tmp_path: Path) -> None:
    """It shows rows that row-level security hides; the SQL makes it ask whoever reads."""
    (tmp_path / "policy.toml").write_text('read = ["some_leads"]\nwrite = []\n')
    (tmp_path / "schema.toml").write_text('[tables.some_leads]\nprimary_key = []\ncolumns = { id = "uuid" }\n')
    database.execute("create view some_leads as select id from leads; grant select on some_leads to anon, service_role")
    database.reload_schema()
    arguments = ("doctor", "--policy", "policy.toml", "--schema", "schema.toml", "--json")
    try:
        ended = ran(*arguments)
        assert _sql(ended) == ['alter view "public"."some_leads" set (security_invoker = on);']
        database.execute(_sql(ended)[0])
        assert ran(*arguments).status == 0
    finally:
        database.execute("drop view some_leads")


def test_a_sequence_that_may_not_be_used_is_found(database: LocalServer, tmp_path: Path) -> None:
    """A serial column takes its numbers from one; an identity does not need the right."""
    (tmp_path / "policy.toml").write_text('read = ["notes"]\nwrite = ["notes"]\n')
    database.execute("""
        create table notes (id serial primary key);
        revoke all on notes, notes_id_seq from anon, authenticated, service_role;
        grant select, insert, update on notes to service_role;
    """)
    database.reload_schema()
    try:
        ended = ran("doctor", "--policy", "policy.toml", "--json")
        assert _sql(ended) == ['grant usage on sequence "public"."notes_id_seq" to "service_role";']
        database.execute(_sql(ended)[0])
        assert ran("doctor", "--policy", "policy.toml").status == 0
    finally:
        database.execute("drop table notes")


@pytest.mark.parametrize(
    ("environ", "status", "told"),
    [
        ({}, 3, "SUPABASE_URL"),
        ({"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "sb_secret_x"}, 4, "was not reached"),
        ({"SUPABASE_URL": "http://example.org", "SUPABASE_KEY": "sb_secret_x"}, 3, "http"),
        ({"PERSIST_READ_TABLES": "Leads"}, 3, "PERSIST_READ_TABLES"),
        ({"PERSIST_REED_TABLES": "leads"}, 3, "did you mean PERSIST_READ_TABLES"),
    ],
)
def test_what_stops_the_examination_is_its_last_finding(
    environ: dict[str, str], status: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the status of its kind, and what was found until then."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ended = ran("doctor", "--json")
    assert ended.status == status
    assert any(told in said for _, _, said in _found(ended))
    assert ended.document["checks"][0]["level"] == "ok"


def test_a_server_that_is_not_reached_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable that leads there."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    assert "check SUPABASE_URL" in ran("doctor", "--json").document["checks"][-1]["remedy"]


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (answer(b'{"message": "Invalid API key"}', status=401), "refuses the key"),
        (answer(b"<html>", status=404, headers={"Content-Type": "text/html"}), "HTTP 404, and not as PostgREST does"),
        (answer(b"", status=302, headers={"Location": "https://x.org"}), "HTTP 302, and not as PostgREST does"),
    ],
)
def test_a_server_that_is_no_project_of_the_key_is_told(
    response: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not asked for eight tables."""
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(response) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("doctor", "--json")
        assert len(server.requests) == 4
    assert any(told in said for _, _, said in _found(ended))


def test_a_server_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """After --timeout, not after the patience of the network."""

    async def silent(exchange: Exchange) -> None:
        await exchange.until_client_leaves()

    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_x")
    with stub_server(silent) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        ended = ran("doctor", "--timeout", "0.2", "--json")
    assert ended.status == 4
    assert any("no answer within 0.2 s" in told for _, _, told in _found(ended))


def test_a_terminal_gets_signs_and_colours(broken: LocalServer) -> None:
    """Green for what is in order, red for what is not."""
    broken.execute("revoke select on leads from service_role")
    shown = in_terminal("doctor")
    assert "\x1b[32m  ✓\x1b[0m" in shown
    assert "\x1b[1;31m  ✗\x1b[0m" in shown
    assert 'grant select on "public"."leads" to "service_role";' in shown


def test_a_memory_store_needs_no_reaching() -> None:
    """The policy is looked at, and nothing else."""
    ended = ran("doctor", "--kind", "memory")
    assert (ended.status, "there is nothing to reach" in ended.out) == (0, True)
