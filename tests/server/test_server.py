"""What the local server does, judged by SQL: the ground other tests stand on."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from . import LocalServer

REPRESENTATION = {"Prefer": "return=representation"}
NOBODY = "00000000-0000-0000-0000-000000000000"
USER = "00000000-0000-0000-0000-00000000000a"
OTHER_USER = "00000000-0000-0000-0000-00000000000b"
TEXTS = ["true", "null", " x ", '"q"', "1.50", "9007199254740993", "a,b", "(p)", "a.b", "{x}", '{"a":1}']
TEXTS += ['c"d\\e', "é%20+&=#?", "*", "not_null", "eq.1", "日本"]


@pytest.fixture
def server(local_server: LocalServer) -> LocalServer:
    """The server with empty tables."""
    local_server.reset()
    return local_server


@pytest.fixture
def rest(server: LocalServer) -> Iterator[httpx.Client]:
    """A client with the service key."""
    with client(server, server.service_key) as found:
        yield found


def client(server: LocalServer, key: str, token: str | None = None) -> httpx.Client:
    """A client of the tables with this key, and with a user's token if one is given."""
    headers = {"apikey": key} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(base_url=f"{server.url}/rest/v1", headers=headers, trust_env=False)


def quoted(text: str) -> str:
    """The text as an element of `in.(…)` or a value below `or=(…)`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def names(rest: httpx.Client, *filters: tuple[str, str]) -> list[str]:
    """The first names of the leads that the filters let through."""
    answer = rest.get("/leads", params=[*filters, ("select", "first_name"), ("order", "first_name")])
    assert answer.status_code == httpx.codes.OK, answer.text
    return [row["first_name"] for row in answer.json()]


def with_digits(text: str) -> Any:
    """The parsed JSON with numbers as the texts that stand there."""
    return json.loads(text, parse_float=str, parse_int=str)


def ddl(server: LocalServer, sql: str) -> None:
    """The statement is in effect and the REST interface knows it."""
    server.execute(sql)
    server.reload_schema()


def test_a_written_row_is_in_the_database(server: LocalServer, rest: httpx.Client) -> None:
    """What is posted is what SQL finds, defaults included."""
    record = {"email": "a@example.com", "tags": ["x", 'y,"z"']}
    answer = rest.post("/leads", json=record, headers=REPRESENTATION)
    assert answer.status_code == httpx.codes.CREATED
    [row] = server.execute("select id::text, status, tags from leads where email = %s", "a@example.com")
    assert row == {"id": answer.json()[0]["id"], "status": "new", "tags": ["x", 'y,"z"']}


def test_values_are_printed_as_to_json_prints_them(server: LocalServer, rest: httpx.Client) -> None:
    """Times are ISO 8601 with an offset, numbers keep their digits, also within documents."""
    body = '{"name": "n", "budget": 1200.50, "metadata": {"n": [1.0, 12345678901234567890]}}'
    rest.post("/clients", content=body, headers={"Content-Type": "application/json"})
    times = "created_at = '2026-01-02 03:04:05Z', updated_at = '2026-01-02 03:04:05.06Z'"
    server.execute(f"update clients set {times}")
    [row] = server.execute("select to_jsonb(clients)::text as row from clients")
    answer = rest.get("/clients")
    assert with_digits(answer.text) == [with_digits(row["row"])]
    for printed in ('"2026-01-02T03:04:05+00:00"', '"2026-01-02T03:04:05.06+00:00"', "1200.50"):
        assert printed in answer.text


def test_a_bigint_beyond_2_to_the_53_survives(server: LocalServer, rest: httpx.Client) -> None:
    """No number passes through a float, neither in a body nor in a filter nor in an answer."""
    rest.post("/sequences", json={"id": 9007199254740993, "step": 1})
    assert server.execute("select id from sequences") == [{"id": 9007199254740993}]
    assert rest.get("/sequences?id=eq.9007199254740993&select=id").json() == [{"id": 9007199254740993}]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_filter_finds_exactly_the_text(server: LocalServer, rest: httpx.Client, text: str) -> None:
    """A value is the text that was sent, whatever it looks like, in every place where a value may stand."""
    for number, note in enumerate(TEXTS):
        insert = "insert into leads (email, first_name, notes) values (%s, %s, %s)"
        server.execute(insert, str(number), note, note)
    value = quoted(text)
    for key, condition in [
        ("notes", f"eq.{text}"),
        ("notes", f"not.neq.{text}"),
        ("notes", f"in.({value})"),
        ("notes", f"in.({quoted('nothing')},{value})"),
        ("or", f"(notes.eq.{value},notes.is.null)"),
        ("and", f"(or(notes.in.({value}),notes.eq.nothing),not.and(notes.is.null,notes.is.null))"),
    ]:
        assert names(rest, (key, condition)) == [text], condition


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("score", "gte.2"), ("score", "lt.4"), ("score", "gte.3")], ["3"]),
        ([("or", "(score.eq.1,score.eq.2)"), ("or", "(score.eq.2,score.eq.3)")], ["2"]),
        ([("is_qualified", "eq.t")], ["2", "4"]),
        ([("score", "in.()")], []),
        ([("first_name", 'in.("")')], []),
        ([("notes", "is.null")], ["2", "4"]),
        ([("notes", "like.*d"), ("score", "not.eq.1")], ["3"]),
        ([("tags", 'cs.{"a,b"}')], ["1", "2", "3", "4"]),
        ([("tags", "ov.{1,9}")], ["1"]),
        ([("tags", 'cd.{2,"a,b",z}')], ["2"]),
        ([("custom", 'cs.{"n":3}')], ["3"]),
        ([("custom->>n", "eq.4")], ["4"]),
        ([("custom->n", "in.(1,3)")], ["1", "3"]),
        ([("custom", 'eq.{"n": 2}')], ["2"]),
    ],
)
def test_filters_hold_together(
    server: LocalServer, rest: httpx.Client, filters: list[tuple[str, str]], expected: list[str]
) -> None:
    """Several filters hold together; arrays, documents and patterns are compared as PostgreSQL does."""
    server.execute("""
        insert into leads (email, first_name, score, is_qualified, notes, tags, custom)
        select n, n, n, n % 2 = 0, case when n % 2 = 1 then 'odd' end,
            array['a,b', n::text], jsonb_build_object('n', n)
        from generate_series(1, 4) n""")
    assert names(rest, *filters) == expected


@pytest.mark.parametrize(
    ("table", "column", "value", "stored"),
    [
        ("staging_leads", "raw", "5", '"5"'),
        ("staging_leads", "raw", '{"a": 1}', r'"{\"a\": 1}"'),
        ("staging_leads", "raw", True, "true"),
        ("staging_leads", "raw", None, None),
        ("inquiries", "email", 5, "5"),
        ("inquiries", "email", {"a": 1}, '{"a":1}'),
        ("inquiries", "handled", "t", "true"),
        ("clients", "tags", "{a,b}", "{a,b}"),
        ("clients", "tags", ["", None, "null", 'a,"b\\'], r'{"",NULL,"null","a,\"b\\"}'),
        ("clients", "budget", "12.3", "12.30"),
        ("campaigns", "starts_on", "2026-02-03", "2026-02-03"),
    ],
)
def test_a_value_is_read_by_the_columns_type(
    server: LocalServer, rest: httpx.Client, table: str, column: str, value: object, stored: str | None
) -> None:
    """A string in a document stays a string; elsewhere a value is what PostgreSQL reads from its text."""
    required = {"name": "n"} if table in {"clients", "campaigns"} else {}
    answer = rest.post(f"/{table}", json={**required, column: value}, headers=REPRESENTATION)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert server.execute(f"select {column}::text as text from {table}") == [{"text": stored}]


def test_pages_and_counts(server: LocalServer, rest: httpx.Client) -> None:
    """Content-Range tells the rows of the page and, when asked, of the whole; HEAD too."""
    server.execute("insert into inquiries (email) values ('b'), (null), ('a'), ('c')")
    page = {"select": "email", "order": "email.desc.nullslast", "limit": "2", "offset": "1"}
    answer = rest.get("/inquiries", params=page, headers={"Prefer": "count=exact"})
    assert [row["email"] for row in answer.json()] == ["b", "a"]
    assert (answer.status_code, answer.headers["Content-Range"]) == (httpx.codes.PARTIAL_CONTENT, "1-2/4")
    head = rest.head("/inquiries", headers={"Prefer": "count=exact"})
    assert (head.status_code, head.headers["Content-Range"], head.content) == (httpx.codes.OK, "0-3/4", b"")


def test_filters_of_an_embedded_table_hold_together(server: LocalServer, rest: httpx.Client) -> None:
    """Filters may go into a related table that `select` embeds."""
    server.execute("""
        with client as (insert into clients (name) values ('a') returning id)
        insert into campaigns (client_id, name, daily_limit)
        select id, n, n from client, generate_series(1, 5) n""")
    filters = [("campaigns.daily_limit", "gte.2"), ("campaigns.daily_limit", "gte.3"), ("name", "eq.a")]
    filters += [("campaigns.or", "(name.eq.1,name.eq.3)"), ("campaigns.or", "(name.eq.3,name.eq.4)")]
    answer = rest.get("/clients", params=[("select", "name,campaigns(name)"), *filters])
    assert answer.json() == [{"name": "a", "campaigns": [{"name": "3"}]}]


def test_missing_keys(server: LocalServer, rest: httpx.Client) -> None:
    """What `columns` names and a record lacks is NULL, or the default if the request prefers that."""
    records = [{"email": "a"}, {"email": "b", "handled": None}]
    for prefer, expected in [("missing=null", [None, None]), ("missing=default", [False, None])]:
        server.reset()
        headers = {"Prefer": f"return=representation, {prefer}"}
        answer = rest.post("/inquiries?columns=email,handled", json=records, headers=headers)
        assert [row["handled"] for row in answer.json()] == expected
        assert [row["handled"] for row in server.execute("select * from inquiries order by id")] == expected
        assert prefer in answer.headers["Preference-Applied"]


def test_no_records_tell_what_would_be_applied(server: LocalServer, rest: httpx.Client) -> None:
    """An empty list inserts nothing, and is answered with the preferences as any other."""
    headers = {"Prefer": "return=minimal, missing=default"}
    answer = rest.post("/inquiries?columns=email,handled", json=[], headers=headers)
    assert answer.status_code == httpx.codes.CREATED
    assert "missing=default" in answer.headers["Preference-Applied"]
    assert server.execute("select id from inquiries") == []


def test_an_empty_record_is_all_defaults(server: LocalServer, rest: httpx.Client) -> None:
    """`{}` is a row, and `[{}, {}]` are two."""
    assert rest.post("/inquiries", json={}).status_code == httpx.codes.CREATED
    assert rest.post("/inquiries", json=[{}, {}]).status_code == httpx.codes.CREATED
    rows = server.execute("select id, handled from inquiries order by id")
    assert rows == [{"id": number, "handled": False} for number in (1, 2, 3)]


def test_upsert_merges_or_ignores(server: LocalServer, rest: httpx.Client) -> None:
    """Merging changes the columns that were sent, ignoring none; 200 tells that nothing was inserted."""
    server.execute("insert into clients (name, email, plan) values ('old', 'a', 'paid')")
    for resolution, status in [("ignore", httpx.codes.CREATED), ("merge", httpx.codes.OK)]:
        headers = {"Prefer": f"resolution={resolution}-duplicates"}
        record = {"email": "a", "name": resolution}
        answer = rest.post("/clients?on_conflict=email", json=record, headers=headers)
        assert answer.status_code == status
    assert server.execute("select name, plan from clients") == [{"name": "merge", "plan": "paid"}]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Prefer": "handling=strict, max-affected=1"}, httpx.codes.BAD_REQUEST, "PGRST124"),
        (
            {"Accept": "application/vnd.pgrst.object+json", **REPRESENTATION},
            httpx.codes.NOT_ACCEPTABLE,
            "PGRST116",
        ),
    ],
)
def test_a_refused_change_changes_nothing(
    server: LocalServer, rest: httpx.Client, headers: dict[str, str], status: int, code: str
) -> None:
    """Too many rows for the request: the error comes back and the change is rolled back."""
    server.execute("insert into inquiries (email) values ('a'), ('b')")
    answer = rest.patch("/inquiries?id=gt.0", json={"body": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert server.execute("select id from inquiries where body is not null") == []


def test_a_change_without_filter_is_refused(server: LocalServer, rest: httpx.Client) -> None:
    """As on hosted projects, no request empties a table by accident."""
    for answer in (rest.delete("/inquiries"), rest.patch("/inquiries", json={"body": "x"})):
        assert (answer.status_code, answer.json()["code"]) == (httpx.codes.BAD_REQUEST, "21000")


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        *[("23502", 400), ("23503", 409), ("23505", 409), ("23514", 400), ("22P02", 400), ("22001", 400)],
        *[("42501", 403), ("42P01", 404), ("42703", 400), ("42883", 404), ("40001", 500), ("40P01", 500)],
        *[("53100", 503), ("53300", 503), ("53400", 500), ("57014", 500), ("57P01", 503), ("08006", 503)],
        *[("P0001", 400), ("P0002", 500), ("54000", 500), ("55P03", 500), ("XX000", 500), ("21000", 500)],
        *[("25006", 405), ("28000", 403), ("0L000", 403), ("22023", 400), ("PT402", 402)],
    ],
)
def test_every_sqlstate_keeps_its_code_and_has_postgrests_status(
    server: LocalServer, rest: httpx.Client, sqlstate: str, status: int
) -> None:
    """The body is `{code, message, details, hint}` and the status that of PostgREST's mapSQLtoHTTP."""
    ddl(server, RAISING_FUNCTION)
    answer = rest.post("/rpc/raising", json={"state": sqlstate})
    assert answer.status_code == status
    assert answer.json() == {"code": sqlstate, "message": "told", "details": "why", "hint": "how"}
    assert answer.headers["Proxy-Status"] == f"PostgREST; error={sqlstate}"


RAISING_FUNCTION = """
create or replace function raising(state text) returns void language plpgsql as $$
begin raise exception 'told' using errcode = state, detail = 'why', hint = 'how'; end $$"""


@pytest.mark.parametrize(
    ("table", "record", "status", "code"),
    [
        ("clients", {"email": "x"}, 400, "23502"),
        ("campaigns", {"name": "x", "client_id": NOBODY}, 409, "23503"),
        ("campaigns", {"name": "x", "status": "unheard of"}, 400, "23514"),
        ("clients", [{"name": "x", "email": "same"}, {"name": "y", "email": "same"}], 409, "23505"),
        ("messages", {"conversation_id": "no uuid", "role": "user"}, 400, "22P02"),
        ("clients", {"unheard_of": 1}, 400, "PGRST204"),
        ("unheard_of", {"a": 1}, 404, "PGRST205"),
        ("inquiries", [{"email": "a"}, {"body": "b"}], 400, "PGRST102"),
    ],
)
def test_a_bad_record_is_refused(
    rest: httpx.Client, table: str, record: dict[str, Any] | list[Any], status: int, code: str
) -> None:
    """The constraint that refuses a record is told by its code."""
    answer = rest.post(f"/{table}", json=record)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_error_after_head_is_told_by_a_header(rest: httpx.Client) -> None:
    """HEAD has no body, so the code is in Proxy-Status."""
    answer = rest.head("/inquiries?unheard_of=eq.1")
    assert (answer.status_code, answer.headers["Proxy-Status"]) == (400, "PostgREST; error=42703")


def test_a_lost_backend_is_an_error_and_no_more(server: LocalServer, rest: httpx.Client) -> None:
    """A request whose backend is terminated is answered with 503; the server goes on serving."""
    ddl(server, "create or replace function leave() returns bool language sql security definer as "
        "'select pg_terminate_backend(pg_backend_pid())'")  # fmt: skip
    for _ in range(3):
        assert rest.post("/rpc/leave").status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert rest.get("/inquiries").status_code == httpx.codes.OK


def test_calls(server: LocalServer, rest: httpx.Client) -> None:
    """Arguments arrive as they were sent; a function's rows can be filtered and ordered."""
    ddl(server, """
        create or replace function echo(t text, j jsonb default null) returns jsonb language sql stable
            as $$ select jsonb_build_array(t, j) $$;
        create or replace function numbers(n int) returns table (i int) language sql stable
            as $$ select generate_series(1, n) $$""")  # fmt: skip
    assert rest.get("/rpc/echo", params={"t": "1.50"}).json() == ["1.50", None]
    assert rest.post("/rpc/echo", json={"t": "true", "j": {"a": [1]}}).json() == ["true", {"a": [1]}]
    assert rest.get("/rpc/numbers?n=5&i=gt.2&order=i.desc&limit=2").json() == [{"i": 5}, {"i": 4}]
    assert rest.post("/rpc/numbers", json={"m": 1}).json()["code"] == "PGRST202"


def test_another_schema_is_named_by_a_profile(server: LocalServer, rest: httpx.Client) -> None:
    """A schema that is not exposed is refused with PGRST106."""
    answer = rest.get("/inquiries", headers={"Accept-Profile": "auth"})
    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.NOT_ACCEPTABLE, "PGRST106")


def test_a_bad_key_is_refused(server: LocalServer) -> None:
    """Without a key that the server knows there is 401, and no code: the gateway answers, not PostgREST."""
    for key in ("", "sb_secret_unheard_of", server.token("service_role")[:-4] + "AAAA"):
        with client(server, key) as stranger:
            answer = stranger.get("/inquiries")
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "code" not in answer.json()


def test_an_expired_token_is_refused(server: LocalServer) -> None:
    """The code says that the token is expired, so that a client may fetch another."""
    with client(server, server.anon_key, server.token(sub=USER, exp=1)) as late:
        answer = late.get("/inquiries")
    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.UNAUTHORIZED, "PGRST303")


@pytest.fixture
def guarded(server: LocalServer) -> Iterator[LocalServer]:
    """Tables `notes`, where a user sees and writes his own, and `inbox`, which all may fill and none read."""
    ddl(server, """
        create table notes (owner uuid default auth.uid(), body text);
        alter table notes enable row level security;
        create policy own on notes to authenticated
            using (owner = auth.uid()) with check (owner = auth.uid());
        create table inbox (body text);
        revoke all on inbox from anon, authenticated;
        grant insert on inbox to anon, authenticated""")  # fmt: skip
    yield server
    ddl(server, "drop table notes, inbox")


def test_row_level_security_knows_the_user(guarded: LocalServer) -> None:
    """A user's token selects his rows; the service key and a legacy service JWT see all, anon none."""
    for name in (USER, OTHER_USER):
        with client(guarded, guarded.anon_key, guarded.token(sub=name)) as user:
            assert user.post("/notes", json={"body": "mine"}).status_code == httpx.codes.CREATED
            assert [row["owner"] for row in user.get("/notes").json()] == [name]
    for key, rows in [
        (guarded.service_key, 2),
        (guarded.token("service_role"), 2),
        (guarded.anon_key, 0),
        (guarded.token("anon"), 0),
    ]:
        with client(guarded, key) as reader:
            assert len(reader.get("/notes").json()) == rows


def test_row_level_security_refuses_another_users_row(guarded: LocalServer) -> None:
    """A check that fails is 42501: 403 for a user, 401 for anon; nothing is written."""
    for token, status in [(guarded.token(sub=USER), 403), (None, 401)]:
        with client(guarded, guarded.anon_key, token) as user:
            answer = user.post("/notes", json={"owner": OTHER_USER, "body": "theirs"})
            assert (answer.status_code, answer.json()["code"]) == (status, "42501")
    assert guarded.execute("select * from notes") == []


def test_a_table_may_be_written_and_not_read(guarded: LocalServer) -> None:
    """With INSERT rights alone a plain insert works; reading, and asking for the row, is 42501."""
    with client(guarded, guarded.anon_key) as sender:
        assert sender.post("/inbox", json={"body": "a"}).status_code == httpx.codes.CREATED
        assert sender.post("/inbox", json={"body": "b"}, headers=REPRESENTATION).json()["code"] == "42501"
        assert sender.get("/inbox").json()["code"] == "42501"
    assert guarded.execute("select body from inbox") == [{"body": "a"}]


def test_reset_empties_and_restarts(server: LocalServer, rest: httpx.Client) -> None:
    """After a reset there is no row, and identities begin at 1."""
    rest.post("/inquiries", json=[{"email": "a"}, {"email": "b"}])
    server.reset()
    assert rest.get("/inquiries").json() == []
    assert rest.post("/inquiries", json={"email": "c"}, headers=REPRESENTATION).json()[0]["id"] == 1


def test_a_new_column_is_known_after_a_reload(server: LocalServer, rest: httpx.Client) -> None:
    """As with PostgREST, writing a column that was added needs the schema to be read again."""
    server.execute("alter table inquiries add column added text")
    try:
        assert rest.post("/inquiries", json={"added": "a"}).json()["code"] == "PGRST204"
        server.reload_schema()
        assert rest.post("/inquiries", json={"added": "a"}).status_code == httpx.codes.CREATED
    finally:
        ddl(server, "alter table inquiries drop column added")


def test_the_database_is_reachable_directly(server: LocalServer) -> None:
    """`database_url` is good for any client of PostgreSQL, and it is version 18 with pgvector at hand."""
    with psycopg.connect(server.database_url) as connection:
        names = [name for (name,) in connection.execute("select name from pg_available_extensions")]
        assert connection.info.server_version // 10_000 == 18
    assert "vector" in names
