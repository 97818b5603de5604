"""The SQL of a policy: on PostgreSQL the role can do what the policy allows, and nothing else."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent_persistence import ConfigurationError, SupabaseAdapter, TablePolicy, exists, gte
from agent_persistence.exceptions import AdapterError
from agent_persistence.policy import Columns
from agent_persistence.policy.grants import grants
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import shown
from tests.server import LocalServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

ROLE = "policy_agent"
LEAD = "00000000-0000-4000-8000-000000000001"
POLICY = TablePolicy(
    read={"leads", "messages", "clients", "sequences"},
    write={"leads", "inquiries", "sequences"},
    delete={"sequences"},
    call={"newest_lead"},
    call_write={"purge_leads"},
    columns={
        "leads": {"read": ["id", "email", "status"], "write": ["id", "email", "phone"]},
        "clients": {"read": ["id", "name"]},
    },
)
FUNCTIONS = """
create function newest_lead() returns text stable language sql as 'select max(email) from leads';
create function purge_leads() returns void volatile language sql as 'select';
revoke execute on function newest_lead(), purge_leads() from public;
"""
OTHERS = """
do $$ declare other regprocedure; begin
  for other in
    select p.oid from pg_proc p where pronamespace = 'public'::regnamespace
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop execute format('revoke execute on function %s from public', other); end loop; end $$
"""
"""The functions that other tests have left behind are nobody's, as the script demands; those of extensions stay."""
DROP = f"""
drop function if exists newest_lead, purge_leads, harmful;
drop table if exists counted;
revoke all on leads from public;
do $$ begin if exists (select from pg_roles where rolname = '{ROLE}') then
  drop owned by {ROLE}; drop role {ROLE}; end if; end $$;
"""


@pytest.fixture
def database(server: LocalServer) -> Iterator[LocalServer]:
    """The real server with two functions and one lead; the role is gone afterwards."""
    server.execute(DROP)
    server.execute(OTHERS)
    server.execute(FUNCTIONS)
    server.execute("insert into leads (id, email, phone) values (%s, 'a@example.com', '+1')", LEAD)
    server.reload_schema()
    yield server
    server.execute("rollback")  # of a script that failed
    server.execute(DROP)
    server.reload_schema()


@contextmanager
def acting(server: LocalServer) -> Iterator[psycopg.Connection[Any]]:
    """A connection that has become the role."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute(f"set role {ROLE}")
        yield connection


def allowed(server: LocalServer, sql: str) -> bool:
    """Whether the role may run the statement, which is taken back."""
    with acting(server) as connection, connection.transaction(force_rollback=True):
        try:
            connection.execute(sql)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True


@asynccontextmanager
async def service(
    server: LocalServer, policy: TablePolicy = POLICY, **options: Any
) -> AsyncIterator[AsyncPersistenceService]:
    """A service whose requests run as the role."""
    adapter = SupabaseAdapter(server.url, server.anon_key, access_token=server.token(role=ROLE))
    async with AsyncPersistenceService(adapter, policy=policy, retry=False, owns_adapter=True, **options) as made:
        yield made


STATEMENTS = {
    "select id, email, status from leads": True,
    "select phone from leads": False,
    "select * from leads": False,
    "select id from leads where phone = 'x'": False,
    "select id from leads order by phone": False,
    "select count(*) from leads": True,
    "insert into leads (email, phone) values ('b@example.com', '+2')": True,
    "insert into leads (email, status) values ('b@example.com', 'won')": False,
    "insert into leads (email) values ('b@example.com') returning phone": False,
    "update leads set phone = '+3' where id is not null": True,
    "update leads set status = 'won'": False,
    "update leads set email = 'c@example.com' where phone = '+1'": False,
    "delete from leads": False,
    "truncate leads": False,
    "select * from messages": True,
    "insert into messages (role) values ('x')": False,
    "select name from clients": True,
    "select budget from clients": False,
    "update clients set name = 'x'": False,
    "insert into inquiries (email) values ('x')": True,
    "select email from inquiries": False,
    "insert into inquiries (email) values ('x') returning id": False,
    "delete from sequences where step = 1": True,
    "select * from staging_leads": False,
    "select newest_lead()": True,
    "select purge_leads()": True,
    "create table mine (a int)": False,
    "alter table leads add column mine int": False,
    "create function mine() returns int language sql as 'select 1'": False,
}


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS.items(), ids=shown)
async def test_the_role_may_do_what_the_policy_allows_and_nothing_else(
    statement: str, expected: bool, database: LocalServer
) -> None:
    """By table, by column, by function; and nothing that is no policy's to give."""
    database.execute(grants(POLICY, ROLE))
    assert allowed(database, statement) is expected


WRITING = [
    "insert into leads (email) values ('b@example.com')",
    "insert into inquiries (email) values ('x')",
    "update leads set phone = '+3'",
    "delete from sequences",
    "delete from leads",
    "truncate messages",
    "select purge_leads()",
    "select nextval('messages_id_seq')",
    "select id from leads for update",
    "create table mine (a int)",
    "drop table leads",
]


@pytest.mark.parametrize("statement", WRITING)
async def test_a_read_only_role_changes_nothing(statement: str, database: LocalServer) -> None:
    """Whatever the policy lets an agent write."""
    database.execute(grants(POLICY, ROLE, read_only=True))
    assert not allowed(database, statement)
    assert allowed(database, "select id, email from leads")
    assert allowed(database, "select newest_lead()")


async def test_the_script_may_be_run_again(database: LocalServer) -> None:
    """It changes nothing the second time."""
    script = grants(POLICY, ROLE)
    for _ in range(2):
        database.execute(script)
        assert [allowed(database, statement) for statement in STATEMENTS] == [*STATEMENTS.values()]


async def test_a_narrower_policy_takes_rights_away(database: LocalServer) -> None:
    """Of tables, columns and functions alike."""
    database.execute(grants(POLICY, ROLE))
    narrow = TablePolicy(read={"leads"}, columns={"leads": ["id"]})
    database.execute(grants(narrow, ROLE))
    kept = [statement for statement in STATEMENTS if allowed(database, statement)]
    assert kept == ["select count(*) from leads"]
    assert allowed(database, "select id from leads")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("create function harmful() returns void language sql as 'select'", r"may execute harmful\(\)"),
        ("alter function newest_lead() volatile", r"newest_lead\(\) is in call and VOLATILE"),
        ("grant select on leads to public", "may select on leads"),
        ("grant update (content) on messages to public", "may update on messages"),
        ("grant select (phone) on leads to public", "may select on leads"),
        ("grant update (status) on leads to public", "may update on leads"),
        ("grant truncate on leads to public", "may truncate on leads"),
        (f"create role {ROLE} bypassrls", "bypasses row-level security"),
        (f"create role {ROLE} inherit; grant service_role to {ROLE}", "may"),
    ],
    ids=shown,
)
async def test_a_role_that_would_have_more_is_not_made(given: str, told: str, database: LocalServer) -> None:
    """The script fails as a whole and leaves nothing behind."""
    database.execute(given)
    try:
        with pytest.raises(psycopg.errors.RaiseException, match=told):
            database.execute(grants(POLICY, ROLE))
        database.execute("rollback")  # as whoever runs the script would
        assert not database.execute(
            "select 1 from information_schema.role_table_grants where grantee = %s and table_schema = 'public'", ROLE
        )
    finally:
        database.execute("revoke all on leads, messages from public")


async def test_serial_columns_get_their_numbers(database: LocalServer) -> None:
    """The role may use the sequence behind a column that it inserts, and not set it."""
    database.execute("create table counted (id serial primary key, word text)")
    database.execute(grants(TablePolicy(read=(), write={"counted"}), ROLE))
    assert allowed(database, "insert into counted (word) values ('x')")
    assert not allowed(database, "select setval('counted_id_seq', 7)")


def is_member(server: LocalServer, role: str) -> bool:
    [row] = server.execute(f"select pg_has_role('{role}', '{ROLE}', 'member') as is_member")
    return bool(row["is_member"])


async def test_authenticator_may_become_the_role(database: LocalServer) -> None:
    """Where there is one, as on Supabase."""
    database.execute(grants(POLICY, ROLE))
    assert is_member(database, "authenticator")


async def test_the_script_needs_no_authenticator(database: LocalServer) -> None:
    """On a plain PostgreSQL there is none, and nobody else may become the role."""
    database.execute("alter role authenticator rename to of_another_name")
    try:
        database.execute(grants(POLICY, ROLE))
        assert not is_member(database, "of_another_name")
    finally:
        database.execute("alter role of_another_name rename to authenticator")


@pytest.mark.parametrize("name", ["", "Agent", 'a"; drop table leads; --', "a'b", None, "a" * 64], ids=shown)
@pytest.mark.parametrize("option", ["role", "db_schema"])
async def test_a_name_that_is_no_identifier_is_refused(name: Any, option: str) -> None:
    """Of the role and of the schema: both stand in the SQL."""
    with pytest.raises(ConfigurationError, match="plain name"):
        grants(POLICY, **{"role": ROLE, option: name})


async def test_a_column_of_any_name_is_quoted(database: LocalServer) -> None:
    """A name with a quote in it ends no statement."""
    odd = 'odd"; drop table leads; --'
    database.execute('create table counted (id int, "odd""; drop table leads; --" text)')
    database.execute(grants(TablePolicy(read={"counted"}, columns={"counted": ["id", odd]}), ROLE))
    assert allowed(database, 'select id, "odd""; drop table leads; --" from counted')


# --- through the adapter ----------------------------------------------------------------------------------------------


async def test_every_allowed_call_works_as_the_role(database: LocalServer) -> None:
    """Rows come back with the columns that may be read and with those that were sent, and no right is missing."""
    database.execute(grants(POLICY, ROLE))
    async with service(database) as made:
        written = await made.write("leads", {"email": "b@example.com", "phone": "+2"})
        assert {name: written[name] for name in ("email", "status")} == {"email": "b@example.com", "status": "new"}
        assert written.keys() == {"id", "email", "status"}
        assert await made.read("leads", LEAD) == {"id": LEAD, "email": "a@example.com", "status": "new"}
        assert [row["email"] for row in await made.query("leads", order_by="email")] == [
            "a@example.com",
            "b@example.com",
        ]
        assert await made.count("leads", {"status": "new"}) == 2
        assert [row["email"] async for row in made.iterate("leads", order_by="email", page_size=1)] == [
            "a@example.com",
            "b@example.com",
        ]
        [changed] = await made.update("leads", {"phone": "+9"}, {"id": LEAD})
        assert changed == {"id": LEAD, "email": "a@example.com", "status": "new"}
        batch = await made.batch_write("leads", [{"email": "c@example.com"}, {"email": "d@example.com", "phone": "+4"}])
        assert [row["email"] for row in batch] == ["c@example.com", "d@example.com"]
        assert (await made.upsert("leads", {"email": "e@example.com"}))["email"] == "e@example.com"
        merged = await made.upsert("leads", {"id": LEAD, "email": "f@example.com"})
        assert merged == {"id": LEAD, "email": "f@example.com", "status": "new"}
        step = await made.write("sequences", {"step": 1})
        assert [row["id"] for row in await made.delete("sequences", {"id": step["id"]})] == [step["id"]]
        assert await made.query("clients", order_by="id") == []
        assert await made.call("newest_lead") == "f@example.com"
        await made.call("purge_leads")
    [row] = database.execute("select phone from leads where id = %s", LEAD)
    assert row == {"phone": "+9"}


async def test_a_table_that_may_only_be_written_is_written_as_the_role(database: LocalServer) -> None:
    """What comes back is what was sent: nothing of the table is asked for."""
    database.execute(grants(POLICY, ROLE))
    async with service(database) as made:
        assert await made.write("inquiries", {"email": "x"}) == {"email": "x"}
        assert await made.batch_write("inquiries", [{"email": "y"}, {"body": "z"}]) == [{"email": "y"}, {"body": "z"}]
    assert len(database.execute("select id from inquiries")) == 3


async def test_the_database_refuses_what_a_wider_service_asks_for(database: LocalServer) -> None:
    """The rights do not rest on this package: a service with every right in Python is refused by PostgreSQL."""
    database.execute(grants(POLICY, ROLE))
    wide = TablePolicy(read={"leads", "clients", "staging_leads"}, write={"leads", "clients"}, delete={"leads"})
    async with service(database, wide) as made:
        for call in (
            made.query("leads", select=["phone"]),
            made.query("staging_leads"),
            made.update("clients", {"name": "x"}, {"name": "y"}),
            made.delete("leads", {"id": LEAD}),
        ):
            with pytest.raises(AdapterError) as caught:
                await call
            assert caught.value.code == "42501"


async def test_the_columns_of_row_filters_and_of_the_tenant_are_granted(database: LocalServer) -> None:
    """The service sends them with every call, so that its role needs them, whatever the caller may name."""
    policy = TablePolicy(
        read={"leads"},
        write={"leads"},
        columns={"leads": ["id", "email"]},
        rows={"leads": {"status": "open", "score": gte(0.5)}},
    )
    scope = TenantScope("acme", column="company")
    database.execute(grants(policy, ROLE, tenant=scope))
    async with service(database, policy, tenant=scope) as made:
        written = await made.write("leads", {"email": "b@example.com"})
        assert written.keys() == {"id", "email"}
        database.execute("update leads set score = 0.7 where email = 'b@example.com'")
        assert await made.query("leads") == [written]
        assert await made.count("leads") == 1
        assert await made.update("leads", {"email": "c@example.com"}, {"id": written["id"]}) == [
            written | {"email": "c@example.com"}
        ]
    [row] = database.execute("select status, company from leads where id = %s", written["id"])
    assert row == {"status": "open", "company": "acme"}


async def test_a_key_that_the_database_makes_is_not_granted(database: LocalServer) -> None:
    """With client_keys=False the service makes none, and the role may not choose one."""
    columns = {"leads": Columns(frozenset({"id", "email"}), frozenset({"email"}))}
    policy = replace(POLICY, columns=columns)
    database.execute(grants(policy, ROLE, client_keys=False))
    assert not allowed(database, f"insert into leads (id, email) values ('{LEAD[:-1]}2', 'b@example.com')")
    async with service(database, policy, client_keys=False) as made:
        assert (await made.write("leads", {"email": "b@example.com"})).keys() == {"id", "email"}


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_the_row_level_security_of_the_documentation_keeps_tenants_apart(database: LocalServer) -> None:
    """Against a client without this package's policy: the token says whose rows there are."""
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    script = page.partition("<!-- run by tests/test_grants.py -->\n```sql\n")[2].partition("```")[0]
    policy = TablePolicy(read={"leads"}, write={"leads"})
    database.execute("alter table leads add column tenant_id text default 'b'")
    try:
        database.execute(grants(policy, ROLE))
        database.execute(script.replace("sales_agent", ROLE))
        database.reload_schema()
        token = database.token(role=ROLE, tenant="a")
        adapter = SupabaseAdapter(database.url, database.anon_key, access_token=token)
        async with AsyncPersistenceService(adapter, policy=policy, retry=False, owns_adapter=True) as made:
            assert await made.query("leads") == []
            assert await made.update("leads", {"tenant_id": "a"}, {"id": LEAD}) == []
            own = await made.write("leads", {"email": "b@example.com", "tenant_id": "a"})
            assert await made.count("leads") == 1
            for call in (
                made.write("leads", {"email": "c@example.com", "tenant_id": "b"}),
                made.update("leads", {"tenant_id": "b"}, {"id": own["id"]}),
            ):
                with pytest.raises(AdapterError) as caught:
                    await call
                assert caught.value.code == "42501"
    finally:
        database.execute("drop policy if exists sales_tenant on leads; alter table leads disable row level security")
        database.execute("alter table leads drop column tenant_id")


async def test_the_columns_of_a_filter_on_related_rows_are_granted(database: LocalServer) -> None:
    """Of both tables, also those by which rows are found, and no others."""
    policy = TablePolicy(
        read={"leads", "clients"},
        columns={"leads": ["id", "email"], "clients": ["name"]},
        rows={"leads": exists("clients", {"name": "Acme"})},
    )
    database.execute(grants(policy, ROLE))
    database.execute("insert into clients (id, name) values (%s, 'Acme')", LEAD)
    async with service(database, policy) as made:
        assert await made.query("leads") == []
        database.execute("update leads set client_id = %s", LEAD)
        assert await made.query("leads") == [{"id": LEAD, "email": "a@example.com"}]
    assert allowed(database, "select id, name from clients")
    assert not allowed(database, "select plan from clients")
