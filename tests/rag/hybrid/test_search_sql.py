"""The shipped SQL on the real server: who may call it, what it can do, and that filters do not starve it."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ConfigurationError,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
)
from agent_persistence.ext.embeddings import search_sql
from agent_persistence.rag.ranking.fusion import Ranking, fuse
from agent_persistence.rag.ranking.vectors import written
from tests.rag.hybrid.conftest import DIMENSIONS, as_owner
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

ONE, OTHER = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
FUNCTIONS = ["match_notes", "hybrid_search_notes", "match_owned", "hybrid_search_owned"]


def vector(*head: float) -> str:
    """A vector of the tables' size that begins with these numbers."""
    return written([*head, *[0.0] * (DIMENSIONS - len(head))])


def add_notes(server: LocalServer, *told: tuple[str, str | None]) -> None:
    """Rows with the keys 1, 2, …"""
    for content, embedding in told:
        server.execute("insert into notes (content, embedding) values (%s, %s)", content, embedding)


@contextmanager
def session(server: LocalServer, role: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A new session in which nothing has loaded pgvector yet, as this role, in a read-only transaction."""
    with psycopg.Connection[DictRow].connect(server.database_url, row_factory=dict_row) as connection:
        connection.execute("set transaction read only")
        connection.execute(f"set local role {role}".encode())
        yield connection


def service(server: LocalServer, *callable_functions: str) -> AsyncPersistenceService:
    """A service that may call these functions, and closes its adapter."""
    policy = TablePolicy(read={"notes", "owned"}, call=callable_functions)
    return AsyncPersistenceService(SupabaseAdapter(server.url, server.service_key), policy=policy, owns_adapter=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_functions_are_stable_run_as_their_caller_and_pin_the_search_path(
    searchable: LocalServer, name: str
) -> None:
    """STABLE is what makes PostgREST run a POST read-only, and PostgreSQL refuse a write."""
    (found,) = searchable.execute("select provolatile, prosecdef, proconfig from pg_proc where proname = %s", name)
    assert (found["provolatile"], found["prosecdef"]) == ("s", False)
    assert found["proconfig"] == ['search_path=""', "hnsw.iterative_scan=relaxed_order"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_the_roles_named_may_execute_them(searchable: LocalServer, name: str) -> None:
    """Although the defaults here, as on Supabase, let everybody execute every new function."""
    held = searchable.execute(
        "select r.rolname from pg_proc p, pg_roles r"
        " where proname = %s and has_function_privilege(r.oid, p.oid, 'execute') and not rolsuper"
        " and rolname in ('anon', 'authenticated', 'service_role', 'owner')",
        name,
    )
    assert {row["rolname"] for row in held} == {"authenticated", "service_role", "owner"}


def test_running_it_again_changes_nothing(searchable: LocalServer) -> None:
    """Vectors stay, and there is still one function of each name."""
    add_notes(searchable, ("a", vector(1)))
    as_owner(searchable, search_sql("notes", dimensions=DIMENSIONS, key_type="bigint"))
    assert searchable.execute("select id from notes where embedding is not null") == [{"id": 1}]
    assert searchable.execute("select count(*) from pg_proc where proname = 'match_notes'") == [{"count": 1}]


@pytest.mark.parametrize("function", ["match_notes", "hybrid_search_notes"])
def test_each_function_can_be_made_in_a_session_of_its_own(searchable: LocalServer, function: str) -> None:
    """By an owner who is no superuser: pgvector must be loaded before its setting is named."""
    sql = search_sql("notes", dimensions=DIMENSIONS, key_type="bigint")
    start = sql.index(f"-- {function}:")
    as_owner(searchable, sql[start : sql.index("end;", start) + 4])


def test_the_first_call_of_a_session_works_in_a_read_only_transaction(searchable: LocalServer) -> None:
    """Although the setting belongs to a library that is not loaded yet."""
    add_notes(searchable, ("a", vector(1)), ("b", vector(0, 1)))
    for function in ("match_notes(%s)", "hybrid_search_notes('a', %s)"):
        with session(searchable, "authenticated") as connection:
            found = connection.execute(f"select id from public.{function}".encode(), [vector(1)]).fetchall()
            assert [row["id"] for row in found] == [1, 2]
            (setting,) = connection.execute("show hnsw.iterative_scan").fetchall()
            assert setting == {"hnsw.iterative_scan": "off"}  # outside of the function it is as before


def test_a_table_that_the_caller_may_not_read_is_not_searched(searchable: LocalServer) -> None:
    """The functions lend no rights."""
    searchable.execute("revoke select on notes from authenticated")
    try:
        with session(searchable, "authenticated") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.match_notes(%s)", [vector(1)])
    finally:
        searchable.execute("grant select on notes to authenticated")


def test_row_level_security_holds_inside(searchable: LocalServer) -> None:
    """A row that the caller may not see is not found."""
    add_notes(searchable, ("a", vector(1)), ("a", vector(1)))
    searchable.execute("alter table notes enable row level security")
    searchable.execute("create policy own on notes for select to authenticated using (id = 2)")
    try:
        for function in ("match_notes(%s)", "hybrid_search_notes('a', %s)"):
            with session(searchable, "authenticated") as connection:
                found = connection.execute(f"select id from public.{function}".encode(), [vector(1)]).fetchall()
            assert [row["id"] for row in found] == [2]
    finally:
        searchable.execute("drop policy own on notes; alter table notes disable row level security")


async def test_a_short_call_goes_by_get_and_a_long_one_by_post(searchable: LocalServer) -> None:
    """And both find the same."""
    add_notes(searchable, ("a", vector(1)), ("b", vector(0.5, 0.5)), ("c", vector(-1)))
    long = "[" + ",".join(f"{number:.300f}" for number in [1.0] + [0.0] * (DIMENSIONS - 1)) + "]"
    async with service(searchable, "match_notes") as reading:
        short = await reading.call("match_notes", {"query_embedding": vector(1), "match_count": 2})
        assert short == [{"id": 1, "similarity": 1}, {"id": 2, "similarity": pytest.approx(0.5**0.5)}]
        assert len(long) > 2048
        assert await reading.call("match_notes", {"query_embedding": long, "match_count": 2}) == short


async def test_a_stable_function_that_is_posted_to_cannot_write(searchable: LocalServer) -> None:
    """PostgreSQL itself refuses it, whatever transaction the server opened; a volatile one would write."""
    body = "begin insert into public.notes (content) values ('smuggled'); return 1; end"
    for kind in ("stable", "volatile"):
        searchable.execute(
            f"create or replace function sneaky_{kind}(query_embedding text) returns int"
            f" language plpgsql {kind} as $$ {body} $$"
        )
    searchable.reload_schema()
    argument = {"query_embedding": "1" * 3000}
    async with service(searchable, "sneaky_stable", "sneaky_volatile") as reading:
        with pytest.raises(AdapterError) as caught:
            await reading.call("sneaky_stable", argument)
        assert caught.value.code == "0A000"
        assert searchable.execute("select count(*) from notes") == [{"count": 0}]
        await reading.call("sneaky_volatile", argument)  # control: the check can fail
        assert searchable.execute("select count(*) from notes") == [{"count": 1}]


async def test_a_function_that_the_policy_does_not_name_is_not_called(searchable: LocalServer) -> None:
    """Nor does a façade get round it."""
    async with service(searchable) as reading:
        with pytest.raises(TableNotAllowedError, match="match_notes"):
            await reading.readonly().call("match_notes", {"query_embedding": vector(1)})


async def test_there_is_no_threshold_unless_one_is_given(searchable: LocalServer) -> None:
    """Even the opposite direction is found, last."""
    add_notes(searchable, ("a", vector(-1)), ("b", vector(0, 1)), ("c", vector(1)))
    async with service(searchable, "match_notes") as reading:
        told = {"query_embedding": vector(1)}
        assert [row["similarity"] for row in await reading.call("match_notes", told)] == [1, 0, -1]
        above = await reading.call("match_notes", {**told, "match_threshold": 0})
        assert [row["id"] for row in above] == [3]


def test_a_row_without_a_direction_is_not_found(searchable: LocalServer) -> None:
    """Neither one without a vector nor one of zeros; and a question of zeros finds nothing by meaning."""
    add_notes(searchable, ("a", None), ("a", vector(0)), ("a", vector(1)))
    assert searchable.execute("select id from match_notes(%s)", vector(1)) == [{"id": 3}]
    assert searchable.execute("select id from match_notes(%s)", vector(0)) == []


@pytest.mark.parametrize("count", [0, -1, None])
def test_no_rows_are_no_rows(searchable: LocalServer, count: int | None) -> None:
    """A missing or senseless number is not read as "all of them"."""
    add_notes(searchable, ("a", vector(1)))
    assert searchable.execute("select id from match_notes(%s, match_count => %s)", vector(1), count) == []
    assert searchable.execute("select id from hybrid_search_notes('a', %s, %s)", vector(1), count) == []


def test_a_tenants_search_finds_its_own_rows_alone(searchable: LocalServer) -> None:
    """And without the tenant there is no such function."""
    for tenant in (ONE, OTHER):
        searchable.execute(
            "insert into owned (id, tenant_id, content, embedding) values (%s, %s, 'budget', %s)",
            tenant,
            tenant,
            vector(1),
        )
    for tenant in (ONE, OTHER):
        for function in ("match_owned(%s, tenant => %s)", "hybrid_search_owned('budget', %s, tenant => %s)"):
            found = searchable.execute(f"select id::text from {function}", vector(1), tenant)
            assert found == [{"id": tenant}]
    with pytest.raises(psycopg.errors.UndefinedFunction):
        searchable.execute("select * from match_owned(%s)", vector(1))


def test_a_filter_does_not_starve_the_search(searchable: LocalServer) -> None:
    """The tenant's ten rows lie behind a thousand nearer ones of another; the index is scanned on until they are found.

    The index gives forty rows at a time: without the setting, none of the tenant's is among them.
    """
    searchable.execute(
        "insert into owned (tenant_id, content, embedding) select %s, 'x', array[1, n * 1e-6, 0, 0, 0, 0, 0, 0]::real[]"
        " from generate_series(1, 1000) n",
        OTHER,
    )
    searchable.execute(
        "insert into owned (tenant_id, content, embedding) select %s, 'x', array[0, 1, n * 1e-3, 0, 0, 0, 0, 0]::real[]"
        " from generate_series(1, 10) n",
        ONE,
    )
    searchable.execute("analyze owned")
    query = vector(1)
    with psycopg.Connection[DictRow].connect(searchable.database_url, row_factory=dict_row) as connection:
        connection.execute("set local search_path = public, extensions")
        connection.execute("set local enable_seqscan = off")
        connection.execute("set local enable_sort = off")
        nearest = f"select id from owned where tenant_id = '{ONE}' order by embedding <=> '{query}' limit 10"
        plan = connection.execute(f"explain {nearest}".encode()).fetchall()
        assert "owned_embedding_hnsw" in str(plan)
        assert len(connection.execute(nearest.encode()).fetchall()) < 10  # control: it does starve without
        found = connection.execute("select id from match_owned(%s, tenant => %s)", [query, ONE]).fetchall()
        assert len(found) == 10


def test_the_index_is_used_inside_of_the_function(searchable: LocalServer) -> None:
    """A parameter does not keep the planner from it."""
    searchable.execute(
        "insert into notes (content, embedding)"
        " select 'x', array(select random() from generate_series(1, 8 + n * 0))::real[] from generate_series(1, 2000) n"
    )
    searchable.execute("analyze notes")
    scans = "select idx_scan from pg_stat_user_indexes where indexrelname = 'notes_embedding_hnsw'"
    flush = "select pg_stat_force_next_flush()"
    searchable.execute(flush)
    (before,) = searchable.execute(scans)
    assert len(searchable.execute("select id from match_notes(%s)", vector(1))) == 10
    searchable.execute(flush)
    (after,) = searchable.execute(scans)
    assert after["idx_scan"] == before["idx_scan"] + 1


def test_hybrid_search_is_the_weighted_fusion_of_both_sides(searchable: LocalServer) -> None:
    """With the formula and the ties of `fuse`."""
    add_notes(
        searchable,
        ("budget plan", vector(0, 1)),
        ("budget budget budget", None),
        ("the roof", vector(1)),
        ("a budget for the roof", vector(1, 0.5)),
        ("nothing", vector(0.9, 0.9)),
    )
    query = vector(1)
    words = searchable.execute(
        "select id, ts_rank_cd(to_tsvector('simple', content), websearch_to_tsquery('simple', 'budget')) as rank"
        " from notes where to_tsvector('simple', content) @@ websearch_to_tsquery('simple', 'budget')"
        " order by 2 desc, 1"
    )
    near = searchable.execute("select id from match_notes(%s)", query)
    full_text, semantic = [("notes", row["id"]) for row in words], [("notes", row["id"]) for row in near]
    for weights, k in (((1.0, 1.0), 50), ((2.0, 0.5), 60), ((0.0, 1.0), 1), ((1.0, 0.0), 1)):
        found = searchable.execute(
            "select id, score from hybrid_search_notes('budget', %s, 10, %s, %s, %s)", query, *weights, k
        )
        expected = fuse([Ranking(full_text, weights[0]), Ranking(semantic, weights[1])], k=k)
        assert [(row["id"], row["score"]) for row in found] == [
            (key, pytest.approx(score, rel=1e-12)) for (_, key), score in expected
        ]


def test_a_text_that_changes_empties_its_vector(searchable: LocalServer) -> None:
    """A vector of another text would be found for what is no longer said."""
    add_notes(searchable, ("old", vector(1)), ("same", vector(1)), ("both", vector(1)))
    searchable.execute("update notes set content = 'new' where id = 1")
    searchable.execute("update notes set content = 'same' where id = 2")
    searchable.execute("update notes set content = 'new', embedding = %s where id = 3", vector(0, 1))
    rows = searchable.execute("select id, embedding is null as empty from notes order by id")
    assert [row["empty"] for row in rows] == [True, False, False]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("table", "notes; drop table notes"),
        ("table", "Notes"),
        ("text", 'content"'),
        ("vector", ""),
        ("key", "a.b"),
        ("key_type", "uuid) as x; --"),
        ("tenant", "tenant id"),
        ("tenant_type", "uuid;"),
        ("config", "simple'"),
        ("db_schema", "public."),
        ("dimensions", 0),
        ("dimensions", "3"),
        ("dimensions", 2001),
        ("roles", ["anon; --"]),
        ("roles", "anon"),
        ("roles", []),
        ("table", "a" * 60),
    ],
)
def test_what_is_no_plain_name_makes_no_sql(option: str, value: Any) -> None:
    """The SQL is run by an owner: nothing but names gets into it."""
    with pytest.raises(ConfigurationError):
        search_sql(**{"table": "notes", "dimensions": 3, option: value})


def test_names_that_sql_reserves_are_quoted(searchable: LocalServer) -> None:
    """A column may be called "order"."""
    made: Callable[..., str] = search_sql
    as_owner(searchable, 'create table "user" ("order" uuid primary key, "end" text, "group" uuid)')
    as_owner(searchable, made("user", dimensions=3, text="end", key="order", tenant="group", vector="select"))
    assert searchable.execute("select * from match_user('[1,0,0]', tenant => gen_random_uuid())") == []
    searchable.execute('drop table "user" cascade')


def test_the_sql_is_in_the_package() -> None:
    """As files that can be read before they are run."""
    names = {file.name for file in files("agent_persistence").joinpath("sql").iterdir()}
    assert {"vector_column.sql", "match.sql", "hybrid_search.sql", "execute_right.sql"} <= names
