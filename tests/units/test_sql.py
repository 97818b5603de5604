"""The function in the database by itself: what it lets whom do, and what it makes of hostile bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from agent_persistence import ConfigurationError
from agent_persistence.backends.installation import unit_of_work_sql
from tests.server import LocalServer
from tests.units.conftest import install

ADA, BEN = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"

_TABLES = """
drop schema if exists private cascade;
drop table if exists notes, secrets, hidden_columns cascade;
drop role if exists units_reader, units_writer;
create table notes (id bigint generated always as identity primary key,
  owner uuid not null default auth.uid(), body text);
alter table notes enable row level security;
create policy own on notes using (owner = auth.uid()) with check (owner = auth.uid());
create table secrets (id bigint generated always as identity primary key, word text);
revoke all on secrets from anon, authenticated;
create table hidden_columns (id bigint generated always as identity primary key, shown text, hidden text default 'h');
revoke all on hidden_columns from authenticated;
grant select (id, shown), insert (shown), update (shown) on hidden_columns to authenticated;
create schema private;
create table private.vault (word text);
grant usage on schema private to authenticated, service_role;
grant all on private.vault to authenticated, service_role;
"""


@pytest.fixture(scope="module")
def tables(local_server: LocalServer) -> Iterator[LocalServer]:
    """Tables of which users may not see everything."""
    local_server.execute(_TABLES)
    install(local_server)
    local_server.execute("insert into secrets (word) values ('open sesame')")
    local_server.execute("insert into private.vault (word) values ('abracadabra')")
    yield local_server
    local_server.execute("drop schema private cascade; drop table notes, secrets, hidden_columns cascade")
    local_server.reload_schema()


@contextmanager
def _as(server: LocalServer, role: str, sub: str | None = None) -> Iterator[psycopg.Cursor[Any]]:
    """A transaction as PostgREST has it for a request: the role, and the claims of the token."""
    with psycopg.connect(server.database_url) as connection, connection.cursor() as cursor:
        claims = json.dumps({"role": role, **({} if sub is None else {"sub": sub})})
        settings = {"request.jwt.claims": claims, "request.jwt.claim.sub": sub or "", "role": role}
        for name, value in settings.items():  # the test server's auth.uid() reads the second
            cursor.execute("select set_config(%s, %s, true)", (name, value))
        yield cursor


def _applied(cursor: psycopg.Cursor[Any], *operations: dict[str, Any], **unit: Any) -> Any:
    cursor.execute("select agent_persistence_apply(%s::json)", (json.dumps({"operations": operations, **unit}),))
    (answer,) = cursor.fetchone() or (None,)
    return answer


def _insert(table: str, *records: dict[str, Any], **about: Any) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return {"verb": "insert", "table": table, "records": records, "columns": columns, **about}


def _eq(column: str, value: str) -> dict[str, Any]:
    return {"column": column, "is": "eq", "value": value}


ALL: dict[str, Any] = {"all": []}


def _computing(table: str, column: str, operator: Any, value: Any) -> dict[str, Any]:
    given = {"records": [{column: value}], "columns": [column], "compute": {column: operator}}
    return {"verb": "compute", "table": table, "where": ALL, **given}


def _refusal(server: LocalServer, role: str, *operations: dict[str, Any], sub: str | None = ADA, **unit: Any) -> str:
    with pytest.raises(psycopg.Error) as refused, _as(server, role, sub) as cursor:
        _applied(cursor, *operations, **unit)
    return str(refused.value.sqlstate)


def test_it_is_for_the_roles_that_were_named_alone(tables: LocalServer) -> None:
    """Whatever the default privileges give to others."""
    assert _refusal(tables, "anon") == "42501"
    for role in ("authenticated", "service_role"):
        with _as(tables, role, ADA) as cursor:
            assert _applied(cursor) == {"key": None, "results": [], "counts": []}


def test_row_level_security_of_the_caller_holds(tables: LocalServer) -> None:
    """Users write and change their own rows, and no others."""
    for user in (ADA, BEN):
        with _as(tables, "authenticated", user) as cursor:
            _applied(cursor, _insert("notes", {"body": f"of {user}"}))
    with _as(tables, "authenticated", ADA) as cursor:
        answer = _applied(
            cursor,
            {"verb": "update", "table": "notes", "records": [{"body": "x"}], "columns": ["body"], "where": ALL},
            {"verb": "require", "table": "notes", "where": ALL, "lock": False, "expect": 1},
            {"verb": "delete", "table": "notes", "where": ALL},
        )
    assert answer["counts"] == [1, 1, 1]
    assert tables.execute("select owner::text, body from notes") == [{"owner": BEN, "body": f"of {BEN}"}]
    assert _refusal(tables, "authenticated", _insert("notes", {"owner": BEN, "body": "forged"})) == "42501"


@pytest.mark.parametrize("table", ["secrets", "hidden_columns"])
def test_grants_of_the_caller_hold(tables: LocalServer, table: str) -> None:
    """A table that may not be touched, and columns that may not be read or written, have PostgreSQL's own code."""
    column = "word" if table == "secrets" else "hidden"
    refused = [
        _insert(table, {column: "x"}),
        {"verb": "update", "table": table, "records": [{column: "x"}], "columns": [column], "where": ALL},
        {
            "verb": "update",
            "table": table,
            "records": [{"shown": "x"}],
            "columns": ["shown"],
            "where": _eq(column, "h"),
        },
        _computing(table, column, "||", {"a": 1}),
        _computing(table, column, "+", 1),
        {"verb": "delete", "table": table, "where": ALL},
        {"verb": "require", "table": table, "where": {"column": column, "is": "like", "value": "o%"}, "lock": False},
        _insert(table, {"shown": "x"}, returning=[column]),
    ]
    for operation in refused:
        # that a type has no such operator PostgreSQL says first, as of a filter of PostgREST's
        assert _refusal(tables, "authenticated", operation) in ("42501", "42703", "42883"), operation


def test_columns_that_may_be_read_come_back_and_no_others(tables: LocalServer) -> None:
    """Where nothing may be read, nothing comes back, and no right to SELECT is needed."""
    with _as(tables, "authenticated", ADA) as cursor:
        answer = _applied(
            cursor,
            _insert("hidden_columns", {"shown": "a"}, returning=["shown"]),
            _insert("hidden_columns", {"shown": "b"}, returning=[]),
        )
    assert (answer["results"], answer["counts"]) == ([[{"shown": "a"}], []], [1, 1])


_ELSEWHERE = [
    "private.vault",
    '"private"."vault"',
    "vault",
    "pg_class",
    "pg_catalog.pg_authid",
    "information_schema.tables",
    "agent_persistence.ledger",
    "ledger",
    "leads; drop table leads",
    "leads,clients",
    "(select 1)",
    "notes_id_seq",
    "notes_pkey",
    "LEADS",
    " leads",
    "",
]


def test_what_is_computed_tells_and_changes_no_more_than_an_update(tables: LocalServer) -> None:
    """A column that may be written and not read takes no sum, not even one that shows nothing; rows of others stay."""
    tables.execute("revoke select (shown) on hidden_columns from authenticated")
    try:
        for operator, value in (("+", 1), ("||", {"a": 1})):
            operation = {**_computing("hidden_columns", "shown", operator, value), "returning": []}
            assert _refusal(tables, "authenticated", operation) in ("42501", "42883")
    finally:
        tables.execute("grant select (shown) on hidden_columns to authenticated")
    tables.execute("drop table if exists counted; create table counted (owner uuid, n int, doc jsonb)")
    tables.execute("alter table counted enable row level security; grant all on counted to authenticated")
    tables.execute("create policy own on counted using (owner = auth.uid()) with check (n < 10)")
    tables.execute("insert into counted select unnest(%s::uuid[]), 1, '{}'", [ADA, BEN])
    try:
        with _as(tables, "authenticated", ADA) as cursor:
            counted = _applied(cursor, _computing("counted", "n", "+", 2), _computing("counted", "doc", "||", {"a": 1}))
        assert counted["counts"] == [1, 1]
        assert tables.execute("select n from counted order by owner") == [{"n": 3}, {"n": 1}]
        assert _refusal(tables, "authenticated", _computing("counted", "n", "+", 8)) == "42501"
    finally:
        tables.execute("drop table counted")


_SHADOWS = """
create schema shadows;
create function shadows.added(a int, b int) returns int language sql as 'select 666';
create operator shadows.+ (leftarg = int, rightarg = int, function = shadows.added);
create function shadows.sign(n float8) returns float8 language sql as 'select null::float8';
create function shadows.jsonb_typeof(a jsonb) returns text language sql as 'select 666::text';
grant usage on schema shadows to authenticated;
"""


def test_whoever_calls_it_brings_no_path_along(tables: LocalServer) -> None:
    """Operators and functions are found where PostgREST finds them, whatever the session's own path is."""
    tables.execute("drop schema if exists shadows cascade")
    tables.execute(_SHADOWS)
    tables.execute("drop table if exists counted; create table counted (n int, doc jsonb)")
    tables.execute("grant all on counted to authenticated; insert into counted values (1, '{}')")
    try:
        with _as(tables, "authenticated", ADA) as cursor:
            cursor.execute("set local search_path = shadows, pg_catalog, public")
            cursor.execute("select 1 + 1")
            assert cursor.fetchone() == (666,)
            both = (_computing("counted", "n", "+", 2), _computing("counted", "doc", "||", {"a": 1}))
            cursor.execute("select public.agent_persistence_apply(%s::json)", (json.dumps({"operations": both}),))
        assert tables.execute("select n, doc from counted") == [{"n": 3, "doc": {"a": 1}}]
    finally:
        tables.execute("drop schema shadows cascade; drop table counted")


def test_functions_are_called_as_the_caller(tables: LocalServer) -> None:
    """One that the role may not execute is refused, also between writes; none of another schema is found, nor what is
    no plain function, and no argument becomes SQL."""
    tables.execute(
        "drop function if exists guarded, echoed;"
        " create function guarded() returns int language sql as 'select 1';"
        " revoke all on function guarded from public, authenticated;"
        " create function echoed(a text) returns text language sql volatile as 'select $1'"
    )
    tables.execute("create function private.hidden() returns int language sql as 'select 1'")

    def called(name: str, **arguments: Any) -> dict[str, Any]:
        return {"verb": "call", "table": name, "arguments": arguments}

    try:
        assert _refusal(tables, "authenticated", _insert("notes", {"body": "a"}), called("guarded")) == "42501"
        for name in ("hidden", "private.hidden", "pg_sleep", "set_config", "pg_read_file", "agent_persistence.prune"):
            assert _refusal(tables, "authenticated", called(name)) == "42883"
        for hostile in ("a => 'x'); drop table notes; --", 'a"', "a,b", "1", ""):
            assert _refusal(tables, "authenticated", called("echoed", **{hostile: "x"})) == "42883"
        with _as(tables, "authenticated", ADA) as cursor:
            for text in ("'; drop table notes; --", "$1", "\\'"):
                assert _applied(cursor, called("echoed", a=text))["results"] == [[text]]
            note = _insert("notes", {"body": "said"})
            referring = {**called("echoed"), "refer": [[0, "a", [0, 0, "body"]]]}
            assert _applied(cursor, note, referring)["results"][1] == ["said"]
    finally:
        tables.execute("drop function guarded; drop function echoed; drop function private.hidden")


@pytest.mark.parametrize("table", _ELSEWHERE)
def test_no_name_leads_out_of_the_schema_of_the_tables(tables: LocalServer, table: str) -> None:
    """Not even for a role that may read what is there."""
    for operation in (
        {"verb": "require", "table": table, "where": ALL, "lock": False},
        {"verb": "delete", "table": table, "where": ALL},
        _insert(table, {"word": "x"}),
    ):
        assert _refusal(tables, "service_role", operation) == "42P01"
    assert tables.execute("select word from private.vault") == [{"word": "abracadabra"}]


_HOSTILE = [
    "word'; drop table secrets; --",
    'word"',
    "word) or (true",
    "(select rolpassword from pg_authid limit 1)",
    "word::text",
    "1=1 --",
    "*",
    "secrets.*",
    "ctid\u0000",
]


@pytest.mark.parametrize("text", _HOSTILE[:-1])
def test_no_text_becomes_sql(tables: LocalServer, text: str) -> None:
    """In the place of a name it is a column that there is not, in that of a value a value."""
    places: list[dict[str, Any]] = [
        {"verb": "require", "table": "secrets", "where": _eq(text, "x"), "lock": False},
        {"verb": "require", "table": "secrets", "where": _eq(f"word->{text}", "x"), "lock": False},
        _insert("secrets", {text: "x"}),
        _insert("secrets", {"word": "x"}, returning=[text]),
        _insert("secrets", {"word": "x"}, on_conflict=[text]),
        {"verb": "update", "table": "secrets", "records": [{text: "x"}], "columns": [text], "where": ALL},
        _computing("secrets", text, "+", 1),
        _computing("secrets", text, "||", {}),
    ]
    for operation in places:
        assert _refusal(tables, "service_role", operation) in ("42703", "42P10"), operation
    value = {"verb": "require", "table": "secrets", "where": _eq("word", text), "lock": False, "expect": 0}
    path = {**_eq("metadata", "x"), "steps": [["->>", text]]}
    with _as(tables, "service_role") as cursor:
        _applied(cursor, value, {"verb": "require", "table": "clients", "where": path, "lock": False, "expect": 0})
    assert tables.execute("select count(*) as n from secrets")[0]["n"] == 1


@pytest.mark.parametrize(
    "operation",
    [
        {"verb": "select", "table": "secrets"},
        {"verb": "truncate", "table": "secrets"},
        {"verb": "delete", "table": "secrets"},
        {"verb": "delete", "table": "secrets", "where": None},
        {"verb": "delete", "table": "secrets", "where": {}},
        {"verb": "delete", "table": "secrets", "where": {"column": "word", "is": "= 'x' or true --", "value": "x"}},
        {
            "verb": "delete",
            "table": "secrets",
            "where": {"column": "word", "is": "text_search", "value": "a", "kind": "x"},
        },
        {"verb": "delete", "table": "secrets", "where": {"column": "word", "is": "eq", "from": [0, 0, "word"]}},
        {
            "verb": "delete",
            "table": "secrets",
            "where": {"column": "word", "steps": [["||", "x"]], "is": "eq", "value": "x"},
        },
        *(
            _computing("secrets", "word", operator, "x")
            for operator in ("-", "+ 1, word =", "'||'", "", None, 1, ["+"], {"+": 1})
        ),
        {"table": "secrets"},
        {},
        [],
        None,
        "text",
        7,
    ],
)
def test_what_is_not_understood_changes_nothing(tables: LocalServer, operation: Any) -> None:
    """Whatever it looks like."""
    assert _refusal(tables, "service_role", operation) in ("AP003", "42P01", "22023")
    assert tables.execute("select count(*) as n from secrets")[0]["n"] == 1


def test_a_user_sees_and_uses_own_entries_of_the_ledger_alone(tables: LocalServer) -> None:
    """The key of another user is refused, and tells nothing of what it was for."""
    key = str(uuid4())
    unit = {"key": key, "digest": "same"}
    with _as(tables, "authenticated", ADA) as cursor:
        _applied(cursor, _insert("notes", {"body": "for ada alone"}), **unit)
    assert _refusal(tables, "authenticated", _insert("notes", {"body": "mine"}), sub=BEN, **unit) == "AP002"
    with _as(tables, "authenticated", BEN) as cursor:
        cursor.execute("select count(*) from agent_persistence.ledger")
        assert cursor.fetchone() == (0,)
    with _as(tables, "authenticated", ADA) as cursor:
        assert _applied(cursor, _insert("notes", {"body": "again"}), **unit)["results"][0][0]["body"] == "for ada alone"
    with _as(tables, "service_role") as cursor, pytest.raises(psycopg.Error) as refused:
        _applied(cursor, **unit)
    assert refused.value.sqlstate == "AP002"


def test_an_entry_of_another_user_cannot_be_made(tables: LocalServer) -> None:
    """Not by a write to the ledger itself either."""
    with pytest.raises(psycopg.Error) as refused, _as(tables, "authenticated", BEN) as cursor:
        cursor.execute(
            "insert into agent_persistence.ledger (key, owner, digest, result) values (%s, %s, 'd', '{}')",
            (uuid4(), f"authenticated {ADA}"),
        )
    assert refused.value.sqlstate == "42501"


def test_old_entries_go_in_small_steps(tables: LocalServer) -> None:
    """Some with one key in sixteen, the oldest first; and as many as are asked for by `prune`."""
    tables.execute("truncate agent_persistence.ledger")
    tables.execute(
        "insert into agent_persistence.ledger (key, owner, digest, result, created_at)"
        " select gen_random_uuid(), 'service_role', 'old', '{}', now() - interval '8 days' - n * interval '1 hour'"
        " from generate_series(1, 40) n"
    )
    keys = [str(uuid4()) for _ in range(200)]
    told = tables.execute("select k, hashtext(k) %% 16 = 0 as prunes from unnest(%s::text[]) k", keys)
    pruning = [row["k"] for row in told if row["prunes"]]
    others = [row["k"] for row in told if not row["prunes"]]
    with _as(tables, "service_role") as cursor:
        for key, left, oldest in ((others[0], 40, 40), (pruning[0], 8, 8)):
            _applied(cursor, key=key, digest="new")
            cursor.execute(
                "select count(*), round(extract(epoch from now() - interval '8 days' - min(created_at)) / 3600)::int"
                " from agent_persistence.ledger where digest = 'old'"
            )
            assert cursor.fetchone() == (left, oldest)
        cursor.execute("select agent_persistence.prune(interval '7 days', 3)")
        assert cursor.fetchone() == (3,)
        cursor.execute("select agent_persistence.prune()")
        assert cursor.fetchone() == (5,)


def test_triggers_run_as_they_do_for_any_other_request(tables: LocalServer) -> None:
    """They find what PostgREST's search path has, and what they raise keeps its code, message and detail."""
    tables.execute(
        """
        create or replace function fill_note() returns trigger language plpgsql as $$ begin
          if new.body = 'refuse' then raise exception 'no: %', new.body using errcode = 'PT402', detail = 'why'; end if;
          insert into inquiries (body) values ('seen ' || new.body);
          return new;
        end $$;
        create or replace trigger fill before insert on notes for each row execute function fill_note();
        """
    )
    try:
        with _as(tables, "service_role", ADA) as cursor:
            _applied(cursor, _insert("notes", {"body": "a"}))
            cursor.execute("select count(*) from inquiries where body = 'seen a'")
            assert cursor.fetchone() == (1,)
        with pytest.raises(psycopg.Error) as refused, _as(tables, "service_role", ADA) as cursor:
            _applied(cursor, _insert("inquiries", {"body": "b"}), _insert("notes", {"body": "refuse"}))
        diagnosis = refused.value.diag
        told = (diagnosis.sqlstate, diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint)
        assert told == ("PT402", "no: refuse", "why", "operation 1")
    finally:
        tables.execute("drop trigger fill on notes; drop function fill_note")


def test_installing_it_again_keeps_the_ledger(tables: LocalServer) -> None:
    """And changes nothing."""
    with _as(tables, "service_role") as cursor:
        _applied(cursor, key=str(uuid4()), digest="kept")
    install(tables)
    assert tables.execute("select count(*) as n from agent_persistence.ledger where digest = 'kept'")[0]["n"] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"schema": "public"},
        {"schema": 'x"; drop'},
        {"db_schema": "Public"},
        {"roles": ()},
        {"roles": "authenticated"},
        {"roles": ["a b"]},
        {"keep": "7 days'; drop table leads; --"},
        {"keep": "forever"},
        {"search_path": ["pg temp"]},
    ],
)
def test_no_option_becomes_sql(options: dict[str, Any]) -> None:
    """What is no plain name or time is refused."""
    with pytest.raises(ConfigurationError):
        unit_of_work_sql(**options)
