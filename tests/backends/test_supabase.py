"""The Supabase adapter: credentials, URL, tokens and roles."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import anyio
import httpx
import psycopg
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, SecretStr

from agent_persistence import AsyncPersistenceService, PersistenceAgent, RefreshingToken, SupabaseAdapter
from agent_persistence.backends.transport.over_httpx import base_url
from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    FailureState,
    UnsupportedOperationError,
    ValidationError,
)
from agent_persistence.filters import all_of, any_of, contains, gt, in_, not_, not_in
from agent_persistence.schema_registry import Column, Schema, Table
from tests.backends.doubles import (
    LEGACY,
    PUBLISHABLE,
    SECRET,
    URL,
    USER_TOKEN,
    Recorder,
    everything_said_by,
    rows,
)
from tests.backends.stub_server import Exchange, answer, stub_server
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio
SENTINEL = "s3ntinel"


async def one_request(**options: Any) -> httpx.Request:
    """The request of a read with these options."""
    recorder = Recorder()
    await recorder.adapter(**options).read("leads", 1)
    [request] = recorder.requests
    return request


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [PUBLISHABLE, SECRET])
async def test_a_new_key_is_sent_as_apikey_alone(key: str) -> None:
    """It is no JWT: as a bearer token the gateway would refuse it."""
    headers = (await one_request(key=key)).headers
    assert headers.get_list("apikey") == [key]
    assert "authorization" not in headers


async def test_a_legacy_key_is_its_own_bearer_token() -> None:
    """The old anon and service_role keys are JWTs, sent twice."""
    headers = (await one_request(key=LEGACY)).headers
    assert headers.get_list("apikey") == [LEGACY]
    assert headers.get_list("authorization") == [f"Bearer {LEGACY}"]


@pytest.mark.parametrize("key", [PUBLISHABLE, SECRET, LEGACY])
async def test_a_users_token_stands_beside_the_key(key: str) -> None:
    """The key says which project, the token who asks; nobody's token is sent twice."""
    headers = (await one_request(key=key, access_token=USER_TOKEN)).headers
    assert headers.get_list("apikey") == [key]
    assert headers.get_list("authorization") == [f"Bearer {USER_TOKEN}"]


async def test_a_secret_str_is_a_key() -> None:
    """As PersistenceConfig holds it."""
    recorder = Recorder()
    await SupabaseAdapter(URL, SecretStr(SECRET), client=recorder.client()).read("leads", 1)
    assert recorder.requests[0].headers["apikey"] == SECRET


async def test_the_clients_own_credentials_do_not_replace_ours() -> None:
    """An injected client with default headers, as supabase-py leaves it, cannot change who asks."""
    recorder = Recorder()
    client = recorder.client(headers={"apikey": "theirs", "Authorization": "Bearer theirs", "Accept": "text/csv"})
    await SupabaseAdapter(URL, LEGACY, client=client).read("leads", 1)
    headers = recorder.requests[0].headers
    assert (headers.get_list("apikey"), headers.get_list("authorization")) == ([LEGACY], [f"Bearer {LEGACY}"])
    assert headers.get_list("accept") == ["application/json"]


BAD_VALUES = [f"{SENTINEL}\nX-Evil: 1", f"{SENTINEL}\r\n{SENTINEL}", f"{SENTINEL} {SENTINEL}", f"{SENTINEL}\t1"]
BAD_VALUES += [f"{SENTINEL}é", f"{SENTINEL}\u200b", f"{SENTINEL}\0", f"{SENTINEL}\x7f", "", "   ", "\n"]


@pytest.mark.parametrize("value", [*BAD_VALUES, None, 5, SENTINEL.encode()])
@pytest.mark.parametrize("option", ["key", "access_token", "db_schema"])
async def test_a_credential_that_is_none_is_refused_at_the_door(option: str, value: Any) -> None:
    """Line ends would forge headers; the message names the option and does not repeat the value."""
    if option == "access_token" and value is None:
        return
    with pytest.raises(ConfigurationError, match=option) as caught:
        SupabaseAdapter(**{"url": URL, "key": SECRET, option: value})
    assert SENTINEL not in everything_said_by(caught.value)


@pytest.mark.parametrize("option", ["access_token", "db_schema"])
async def test_the_remedy_fits_the_option(option: str) -> None:
    """An empty token is not mended by setting a key."""
    options: dict[str, Any] = {option: ""}
    with pytest.raises(ConfigurationError) as caught:
        await Recorder().adapter(**options).read("leads", 1)
    assert "SUPABASE_KEY" not in str(caught.value)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("value", BAD_VALUES)
async def test_a_token_from_a_callable_is_checked_before_it_is_sent(value: str, wrapped: bool) -> None:
    """No request leaves with it, whether it was asked for one call or fetched for many."""
    recorder = Recorder()
    token = RefreshingToken(lambda: value) if wrapped else lambda: value
    with pytest.raises(AdapterError, match="cannot be used: the") as caught:
        await recorder.adapter(access_token=token).read("leads", 1)
    assert caught.value.state is FailureState.NOT_SENT
    assert recorder.requests == []
    assert SENTINEL not in everything_said_by(caught.value)


@pytest.mark.parametrize("key", [f" {SECRET}", f"{SECRET}\n"])
async def test_blanks_around_a_key_do_not_count(key: str) -> None:
    """A key read from a file ends with a line end."""
    assert (await one_request(key=key)).headers["apikey"] == SECRET


async def test_the_database_schema_is_named_in_the_profile_headers() -> None:
    """`Accept-Profile` for reading, `Content-Profile` for writing; the default schema needs none."""
    headers = (await one_request(db_schema="crm")).headers
    assert (headers["accept-profile"], headers["content-profile"]) == ("crm", "crm")
    assert not [name for name in (await one_request()).headers if "profile" in name]


# --- tokens that expire -----------------------------------------------------------------------------------------------

EXPIRED = httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"})


def provider(tokens: Iterator[str], *, is_async: bool) -> Callable[[], str | Awaitable[str]]:
    async def told() -> str:
        await anyio.lowlevel.checkpoint()
        return next(tokens)

    return told if is_async else lambda: next(tokens)


def refreshing(tokens: Iterator[str], *, is_async: bool) -> RefreshingToken:
    return RefreshingToken(provider(tokens, is_async=is_async))


def accepting(*tokens: str) -> Callable[[httpx.Request], httpx.Response]:
    accepted = {f"Bearer {token}" for token in tokens}
    return lambda request: rows({"id": 1}) if request.headers.get("authorization") in accepted else EXPIRED


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_callable_is_asked_for_every_call(is_async: bool) -> None:
    """Whoever asks then is whom the call is for."""
    recorder = Recorder()
    adapter = recorder.adapter(access_token=provider(iter(["ada", "bob"]), is_async=is_async))
    await adapter.read("leads", 1)
    await adapter.read("leads", 1)
    assert [request.headers["authorization"] for request in recorder.requests] == ["Bearer ada", "Bearer bob"]


async def test_a_401_to_the_token_of_a_callable_is_a_rejection() -> None:
    """It was asked for this call: another answer might be another user's."""
    recorder = Recorder(accepting("new"))
    with pytest.raises(AdapterError) as caught:
        await recorder.adapter(access_token=provider(iter(["old", "new"]), is_async=False)).read("leads", 1)
    assert (caught.value.status, caught.value.state) == (401, FailureState.REJECTED)
    assert len(recorder.requests) == 1


async def test_all_requests_of_a_call_bear_the_token_that_was_asked_for_it() -> None:
    """Its pages and its attempts: the callable is asked once."""
    answers = iter([httpx.Response(503), *[rows({"id": n}, {"id": n + 1}) for n in (1, 3)], rows()])
    recorder = Recorder(lambda request: next(answers))
    adapter = recorder.adapter(access_token=provider(iter(["ada"]), is_async=True))
    service = AsyncPersistenceService(adapter, sleep=lambda pause_s: anyio.lowlevel.checkpoint())
    assert await service.query("leads") == [{"id": n} for n in (1, 2, 3, 4)]
    assert [request.headers["authorization"] for request in recorder.requests] == ["Bearer ada"] * 4


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_refreshing_token_is_fetched_again_after_a_401(is_async: bool) -> None:
    """The same request is sent once more with the new token, which then serves the next calls too."""
    recorder = Recorder(accepting("new"))
    adapter = recorder.adapter(access_token=refreshing(iter(["old", "new"]), is_async=is_async))
    assert await adapter.read("leads", 1) == {"id": 1}
    assert await adapter.read("leads", 1) == {"id": 1}
    sent = [(request.url.raw_path, request.headers["authorization"]) for request in recorder.requests]
    assert [token for _, token in sent] == ["Bearer old", "Bearer new", "Bearer new"]
    assert len({path for path, _ in sent}) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_refreshing_token_is_fetched_again_once(is_async: bool) -> None:
    """A second 401 is the answer."""
    recorder = Recorder(accepting())
    adapter = recorder.adapter(access_token=refreshing(iter(["a", "b", "c"]), is_async=is_async))
    with pytest.raises(AdapterError) as caught:
        await adapter.write("leads", {"email": "a"})
    assert (caught.value.status, caught.value.code, caught.value.state) == (401, "PGRST303", FailureState.REJECTED)
    assert len(recorder.requests) == 2


async def test_the_second_request_has_the_same_body() -> None:
    """What was refused for its token is sent again, not something else."""
    recorder = Recorder(accepting("new"))
    await recorder.adapter(access_token=refreshing(iter(["old", "new"]), is_async=False)).write("leads", {"email": "a"})
    first, second = recorder.requests
    assert first.content == second.content == b'{"email":"a"}'


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_only_a_401_asks_for_a_new_token(status: int) -> None:
    """Control: another refusal is not mended by a token."""
    recorder = Recorder(lambda request: httpx.Response(status, json={"code": "XX000", "message": "m"}))
    with pytest.raises(AdapterError):
        await recorder.adapter(access_token=refreshing(iter(["only"]), is_async=False)).read("leads", 1)
    assert len(recorder.requests) == 1


async def test_a_fixed_token_is_not_sent_again() -> None:
    """There is nothing new to ask for."""
    recorder = Recorder(accepting())
    with pytest.raises(AdapterError):
        await recorder.adapter(access_token="old").read("leads", 1)
    assert len(recorder.requests) == 1


async def test_calls_that_fail_together_ask_for_one_new_token() -> None:
    """A token that expired under twenty calls is replaced once, not twenty times."""
    asked: list[str] = []

    async def told() -> str:
        asked.append(f"token {len(asked)}".replace(" ", "-"))
        mine = asked[-1]
        await anyio.lowlevel.checkpoint()
        return mine

    recorder = Recorder(
        lambda request: rows({"id": 1}) if "token-0" not in request.headers["authorization"] else EXPIRED
    )
    adapter = recorder.adapter(access_token=RefreshingToken(told))
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(adapter.read, "leads", 1)
    assert asked == ["token-0", "token-1"]


# --- the project's URL ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a.example", "/rest/v1/leads"),
        ("https://a.example/", "/rest/v1/leads"),
        ("https://a.example//", "/rest/v1/leads"),
        (" https://a.example\n", "/rest/v1/leads"),
        ("https://a.example/rest/v1", "/rest/v1/leads"),
        ("https://a.example/rest/v1/", "/rest/v1/leads"),
        ("https://a.example:8443/gateway/", "/gateway/rest/v1/leads"),
        ("https://a.example/gateway/rest/v1", "/gateway/rest/v1/leads"),
        ("HTTPS://A.example", "/rest/v1/leads"),
        ("http://localhost:54321", "/rest/v1/leads"),
    ],
)
async def test_the_rest_path_is_added_once(url: str, path: str) -> None:
    """With or without a trailing slash, with or without /rest/v1."""
    recorder = Recorder()
    await recorder.adapter(url=url).read("leads", 1)
    request = recorder.requests[0]
    assert request.url.raw_path == f"{path}?select=*&id=eq.1&limit=2".encode()
    assert request.url.host in ("a.example", "localhost")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "  ",
        None,
        5,
        b"https://a.example",
        "a.example",
        "//a.example",
        "https://",
        "https:///path",
        "ftp://a.example",
        "file:///etc/passwd",
        "postgresql://a.example/db",
        "javascript:alert(1)",
        f"https://user:{SENTINEL}@a.example",
        f"https://{SENTINEL}@a.example",
        f"https://a.example?apikey={SENTINEL}",
        f"https://a.example/#{SENTINEL}",
        "https://[::1",
        "https://a.example:port",
        "https://a.example:99999",
        "https://a b.example",
        "https://a.example\\@evil.example",
        "https://a.exa\nmple",
        "https://xn--a.co",
        "https://" + "a" * 70_000,
    ],
)
async def test_what_is_no_url_of_a_project_is_refused_at_construction(url: Any) -> None:
    """The message says what a URL looks like, and repeats no credential that stood in it."""
    with pytest.raises(ConfigurationError, match=r"URL") as caught:
        SupabaseAdapter(url, SECRET)
    assert SENTINEL not in everything_said_by(caught.value)


@given(url=st.text() | st.text().map("https://{}".format) | st.from_regex(r"https?://[^\s]*", fullmatch=True))
async def test_any_text_is_a_url_or_a_configuration_error(url: str) -> None:
    """Nothing else comes out of the check."""
    try:
        checked = base_url(url, allow_http=False)
    except ConfigurationError:
        return
    assert checked.scheme in ("http", "https")
    assert checked.host
    assert not checked.userinfo


async def test_plain_http_needs_to_be_asked_for() -> None:
    """`allow_http=True` is the caller's word."""
    with pytest.raises(ConfigurationError, match="allow_http"):
        SupabaseAdapter("http://intranet.example", SECRET)
    SupabaseAdapter("http://intranet.example", SECRET, allow_http=True)


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_an_empty_batch_and_an_empty_list_send_nothing() -> None:
    """What selects or writes no row needs no server."""
    recorder = Recorder()
    adapter = recorder.adapter()
    assert await adapter.batch_write("leads", []) == []
    assert await adapter.query("leads", {"id": in_([])}) == []
    assert recorder.requests == []


@pytest.mark.parametrize("table", ["", ".", ".."])
@pytest.mark.parametrize("verb", ["query", "write", "delete", "call"])
async def test_a_name_that_is_no_segment_of_a_path_is_refused(table: str, verb: str) -> None:
    """URL libraries resolve dot segments: `..` would ask for /rest/, and the empty name dumps the schema."""
    recorder = Recorder()
    arguments = () if verb == "query" else ({"id": 1},)
    with pytest.raises((ValidationError, AdapterError)):
        await getattr(recorder.adapter(), verb)(table, *arguments)
    assert recorder.requests == []


@pytest.mark.parametrize("value", [None, gt(5), {"a": 1}, [1]])
async def test_reading_by_what_is_no_value_is_refused(value: Any) -> None:
    """No request leaves."""
    recorder = Recorder()
    with pytest.raises(ValidationError):
        await recorder.adapter().read("leads", value)
    assert recorder.requests == []


async def test_a_filter_that_fits_into_no_url_is_an_error_of_ours() -> None:
    """httpx's own InvalidURL does not get through."""
    recorder = Recorder()
    with pytest.raises(ValidationError, match="fewer values"):
        await recorder.adapter().query("leads", {"id": in_([str(uuid4()) for _ in range(3000)])})
    assert recorder.requests == []


def _text_of(length: int) -> dict[str, str]:
    return {"notes": "x" * length}


@pytest.mark.parametrize(
    ("length", "token"), [(51_000, 0), (55_000, 0), (60_000, 0), (46_000, 6_000), (20_000, 31_000)]
)
@pytest.mark.parametrize("verb", ["query", "count", "update", "delete", "read"])
async def test_what_the_server_would_not_read_is_not_sent(verb: str, length: int, token: int) -> None:
    """PostgREST answers more than 50 KB of URL and headers with a 400 that says nothing; a long token counts."""
    recorder = Recorder()
    adapter = recorder.adapter(access_token="t" * token) if token else recorder.adapter()
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "query": lambda: adapter.query("leads", _text_of(length)),
        "count": lambda: adapter.count("leads", _text_of(length)),
        "update": lambda: adapter.update("leads", {"status": "x"}, _text_of(length)),
        "delete": lambda: adapter.delete("leads", _text_of(length)),
        "read": lambda: adapter.read("leads", "x" * length, "notes"),
    }
    with pytest.raises(ValidationError, match="fewer values"):
        await asked[verb]()
    assert recorder.requests == []


async def test_what_fits_is_sent() -> None:
    """Control: 45 KB of filter beside a token as they are."""
    recorder = Recorder(lambda request: rows())
    assert await recorder.adapter(access_token="t" * 1_000).query("leads", _text_of(45_000)) == []
    assert len(recorder.requests) == 1


@pytest.mark.parametrize("filters", [{}, all_of(), {"id": not_in([])}, not_(any_of()), any_of({}, {"id": 1})])
@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_a_filter_that_selects_everything_changes_nothing(verb: str, filters: Any) -> None:
    """An unfiltered PATCH or DELETE never leaves, however it was written."""
    recorder = Recorder()
    arguments = ({"status": "x"}, filters) if verb == "update" else (filters,)
    with pytest.raises(ValidationError):
        await getattr(recorder.adapter(), verb)("leads", *arguments)
    assert recorder.requests == []


@pytest.mark.parametrize("verb", ["update", "delete", "query", "count"])
async def test_a_filter_that_selects_nothing_needs_no_server(verb: str) -> None:
    """An empty list selects no row."""
    recorder = Recorder()
    arguments = ({"status": "x"}, {"id": in_([])}) if verb == "update" else ({"id": in_([])},)
    assert await getattr(recorder.adapter(), verb)("leads", *arguments) in ([], 0)
    assert recorder.requests == []


OPENAPI: dict[str, Any] = {"definitions": {"leads": {"properties": {"id": {}, "server_only": {}}}}}


async def test_columns_are_the_servers_where_it_tells_them() -> None:
    """The OpenAPI description is asked for as such, and beats the schema."""
    recorder = Recorder(lambda request: httpx.Response(200, json=OPENAPI))
    assert await recorder.adapter().get_columns("leads") == ["id", "server_only"]
    [request] = recorder.requests
    assert (request.method, request.url.raw_path) == ("GET", b"/rest/v1/")
    assert request.headers.get_list("accept") == ["application/openapi+json"]
    assert request.headers["apikey"] == SECRET


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(200, json={}),
        httpx.Response(401, json={"message": "Access to schema is forbidden"}),
        httpx.Response(403, text="<html>"),
        httpx.Response(404),
    ],
)
async def test_columns_are_the_schemas_where_the_server_does_not_tell(refusal: httpx.Response) -> None:
    """Since April 2026 the description needs a secret key on hosted Supabase."""
    recorder = Recorder(lambda request: refusal)
    schema = Schema({"notes": Table({"id": Column("uuid"), "body": Column("text")})})
    assert await recorder.adapter(schema=schema).get_columns("notes") == ["id", "body"]
    assert await recorder.adapter(schema=schema).get_columns("leads") is None
    assert (await recorder.adapter().get_columns("conversations") or [])[:2] == ["id", "lead_id"]


async def test_an_injected_client_stays_open_and_own_connections_do_not() -> None:
    """We close what we made."""
    client = Recorder().client()
    await SupabaseAdapter(URL, SECRET, client=client).aclose()
    assert not client.is_closed
    own = SupabaseAdapter("http://127.0.0.1:9", SECRET)
    await own.aclose()
    with pytest.raises(AdapterError, match="closed"):
        await own.read("leads", 1)
    await client.aclose()


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [USER_TOKEN, lambda: USER_TOKEN, RefreshingToken(lambda: USER_TOKEN)])
@pytest.mark.parametrize("key", [SECRET, LEGACY])
async def test_no_credential_is_in_what_an_adapter_shows(key: str, token: Any) -> None:
    """repr, str and vars, before and after a call."""
    adapter = Recorder().adapter(key, access_token=token)
    await adapter.read("leads", 1)
    for shown in (repr(adapter), str(adapter), repr(vars(adapter)), *(repr(value) for value in vars(adapter).values())):
        assert key not in shown
        assert USER_TOKEN not in shown


@pytest.mark.parametrize("injected", [False, True])
@pytest.mark.parametrize("status", [200, 302, 401, 409, 500, 0])
async def test_no_credential_or_value_is_in_errors_tracebacks_or_logs(
    injected: bool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, with every logger open, for calls that succeed, fail and break off (status 0)."""

    async def script(exchange: Exchange) -> None:
        if status == 0:
            await exchange.close()
            return
        body = (
            f'[{{"id": 1, "email": "{SENTINEL}"}}]'
            if status == 200
            else f'{{"code": "23505", "message": "m", "details": "{SENTINEL}"}}'
        )
        await exchange.send(answer(body.encode(), status=status, headers={"X-Gateway": "g"}))

    shown: list[str] = []
    with caplog.at_level(logging.DEBUG), stub_server(script) as server:
        for name in ("httpx", "httpcore", "agent_persistence", "anyio"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        async with httpx.AsyncClient(trust_env=False) as client:
            adapter = SupabaseAdapter(server.url, SECRET, access_token=USER_TOKEN, client=client if injected else None)
            for call in (adapter.query("leads", {"email": SENTINEL}), adapter.write("leads", {"email": SENTINEL})):
                try:
                    await call
                except AdapterError as error:
                    shown += [everything_said_by(error), "".join(traceback.format_exception(error))]
            await adapter.aclose()
        assert len(server.requests) == 2
    for name in ("httpx", "httpcore", "agent_persistence", "anyio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    assert bool(shown) is (status != 200)
    shown += [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    for secret in (SECRET, USER_TOKEN, SENTINEL):
        assert not [text for text in shown if secret in text]


# --- roles on the real server -----------------------------------------------------------------------------------------


@pytest.fixture
def without_rights(server: LocalServer) -> Iterator[LocalServer]:
    """The real server, where anon may do nothing with inquiries."""
    server.execute("revoke all on inquiries from anon")
    yield server
    server.execute("grant all on inquiries to anon")


@pytest.mark.parametrize(
    "call",
    [
        lambda adapter: adapter.query("inquiries"),
        lambda adapter: adapter.read("inquiries", 1),
        lambda adapter: adapter.write("inquiries", {"body": "b"}),
        lambda adapter: adapter.batch_write("inquiries", [{"body": "b"}, {"body": "c"}]),
        lambda adapter: adapter.upsert("inquiries", {"id": 1, "body": "b"}),
    ],
    ids=["query", "read", "write", "batch_write", "upsert"],
)
async def test_whoever_follows_the_grant_in_the_hint_may_do_it(
    without_rights: LocalServer, call: Callable[[SupabaseAdapter], Awaitable[object]]
) -> None:
    """The hint of a 42501 is a statement that, run for the role of the key, makes the same call work."""
    adapter = SupabaseAdapter(without_rights.url, without_rights.anon_key)
    with pytest.raises(AdapterError) as caught:
        await call(adapter)
    error = caught.value
    assert (error.code, error.state, error.status) == ("42501", FailureState.REJECTED, 401)
    grant = re.search(r"GRANT .*;", error.hint or "")
    assert grant
    without_rights.execute(grant[0].replace("<role>", "anon"))
    await call(adapter)
    await adapter.aclose()


@pytest.fixture
def diaries(server: LocalServer) -> Iterator[LocalServer]:
    """The real server, with a table of which every user sees and writes their own rows only."""
    server.execute("""
        create table diaries (id bigint generated by default as identity primary key, owner uuid not null, body text);
        alter table diaries enable row level security;
        create policy own on diaries to authenticated
            using (owner = (current_setting('request.jwt.claims', true)::json->>'sub')::uuid)
            with check (owner = (current_setting('request.jwt.claims', true)::json->>'sub')::uuid)""")
    server.reload_schema()
    yield server
    server.execute("drop table diaries")
    server.reload_schema()


async def test_a_user_sees_and_writes_their_own_rows_only(diaries: LocalServer) -> None:
    """The token beside a publishable key is what row-level security judges by."""
    ada, bob = str(uuid4()), str(uuid4())
    for owner in (ada, bob):
        diaries.execute("insert into diaries (owner, body) values (%s, 'secret')", owner)
    adapters = [
        SupabaseAdapter(diaries.url, diaries.anon_key, access_token=diaries.token(sub=ada)),
        SupabaseAdapter(diaries.url, diaries.anon_key, access_token=lambda: diaries.token(sub=bob)),
        SupabaseAdapter(diaries.url, diaries.anon_key),
        SupabaseAdapter(diaries.url, diaries.service_key),
    ]
    seen = [[row["owner"] for row in await adapter.query("diaries", order_by="id")] for adapter in adapters]
    assert seen == [[ada], [bob], [], [ada, bob]]
    assert (await adapters[0].write("diaries", {"owner": ada, "body": "more"}))["owner"] == ada
    with pytest.raises(AdapterError) as caught:
        await adapters[0].write("diaries", {"owner": bob, "body": "forged"})
    assert caught.value.code == "42501"
    assert "row-level security" in (caught.value.hint or "")
    for adapter in adapters:
        await adapter.aclose()


async def test_a_legacy_key_has_the_role_that_it_claims(diaries: LocalServer) -> None:
    """The old service_role key bypasses row-level security, the old anon key does not."""
    diaries.execute("insert into diaries (owner, body) values (%s, 'b')", str(uuid4()))
    for role, count in (("service_role", 1), ("anon", 0)):
        adapter = SupabaseAdapter(diaries.url, diaries.token(role))
        assert len(await adapter.query("diaries")) == count
        await adapter.aclose()


async def test_an_unknown_key_and_a_forged_token_are_refused(server: LocalServer) -> None:
    """401 is rejected, with a hint that says which of the two it was."""
    for adapter, remedy in (
        (SupabaseAdapter(server.url, "sb_secret_unknown"), "SUPABASE_KEY"),
        (SupabaseAdapter(server.url, server.anon_key, access_token=USER_TOKEN), "access token"),
    ):
        with pytest.raises(AdapterError) as caught:
            await adapter.query("leads")
        assert (caught.value.status, caught.value.state) == (401, FailureState.REJECTED)
        assert remedy in (caught.value.hint or "")
        await adapter.aclose()


# --- numbers ----------------------------------------------------------------------------------------------------------


class Scored(BaseModel):
    email: str
    score: Decimal


@pytest.mark.parametrize("digits", ["123456789012345678901234567890", "0.123456789012345678901234567890", "12.50"])
async def test_a_decimal_field_has_the_digits_that_were_written(server: LocalServer, digits: str) -> None:
    """Through a typed table, there and back, and once more as the row that was read."""
    adapter = SupabaseAdapter(server.url, server.service_key)
    leads = PersistenceAgent(AsyncPersistenceService(adapter)).table(Scored, "leads")
    written = await leads.write(Scored(email="a", score=Decimal(digits)))
    [row] = await adapter.query("leads", {"score": Decimal(digits)}, select=["email", "score"])
    again = await leads.upsert(row, ["email"])
    await adapter.aclose()
    assert written.score == again.score == Decimal(digits)
    assert server.execute("select score from leads") == [{"score": Decimal(digits)}]


# --- missing keys -----------------------------------------------------------------------------------------------------

UNEVEN = [{"email": "a"}, {"email": "b", "status": "won"}]


def answers(applied: str, **failures: Any) -> Callable[[httpx.Request], httpx.Response]:
    """A server that tells this of what it applied and sends the records back, or fails the question like this."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.content == b"[]" and failures:
            return httpx.Response(**failures)
        return httpx.Response(201, headers={"Preference-Applied": applied}, json=json.loads(request.content))

    return respond


@pytest.mark.parametrize("applied", ["", "return=minimal", "return=minimal, missing=null", "xmissing=default"])
@pytest.mark.parametrize("verb", ["batch_write", "bulk_write"])
async def test_records_of_different_keys_need_a_server_that_fills_in_defaults(verb: str, applied: str) -> None:
    """One that does not say so would write NULL in silence: it is sent no row, and the error says what to do."""
    recorder = Recorder(answers(applied))
    with pytest.raises(UnsupportedOperationError, match=r"give every record the same keys, NULL where"):
        await getattr(recorder.adapter(), verb)("leads", UNEVEN)
    assert [request.content for request in recorder.requests] == [b"[]"]


async def test_a_server_is_asked_once_whether_it_fills_in_defaults() -> None:
    """By the insertion of no row, in the form in which the rows will come."""
    recorder = Recorder(answers("return=minimal, missing=default, handling=strict"))
    adapter = recorder.adapter()
    assert await adapter.batch_write("leads", UNEVEN) == UNEVEN
    await adapter.batch_write("clients", UNEVEN)
    question, first, second = recorder.requests
    assert question.content == b"[]"
    assert question.headers["prefer"] == "return=minimal, count=exact, missing=default, handling=strict"
    assert str(question.url) == str(first.url)
    assert [json.loads(request.content) for request in (first, second)] == [UNEVEN, UNEVEN]


async def test_records_of_the_same_keys_need_no_question() -> None:
    """No default stands in for anything."""
    recorder = Recorder(answers(""))
    await recorder.adapter().batch_write("leads", [{"email": "a"}, {"email": "b"}])
    assert len(recorder.requests) == 1


async def test_a_preference_that_the_server_refuses_is_not_applied() -> None:
    """With handling=strict PostgREST answers PGRST122 to one that it does not know."""
    refusal = {"code": "PGRST122", "message": "Invalid preferences given with handling=strict"}
    recorder = Recorder(answers("", status_code=400, json=refusal))
    with pytest.raises(UnsupportedOperationError):
        await recorder.adapter().batch_write("leads", UNEVEN)


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        ({"status_code": 502, "text": "Bad Gateway"}, FailureState.NOT_SENT),
        ({"status_code": 404, "json": {"code": "PGRST205"}}, FailureState.REJECTED),
        ({"status_code": 503, "json": {"code": "PGRST000"}}, FailureState.RETRYABLE),
    ],
)
async def test_a_question_without_an_answer_leaves_nothing_written(failure: Any, state: FailureState) -> None:
    """So that the batch may be tried again, and the question is put again."""
    recorder = Recorder(answers("missing=default", **failure))
    adapter = recorder.adapter()
    with pytest.raises(AdapterError) as caught:
        await adapter.batch_write("leads", UNEVEN)
    assert (caught.value.state, len(recorder.requests)) == (state, 1)
    recorder.respond = answers("missing=default")
    assert await adapter.batch_write("leads", UNEVEN) == UNEVEN
    assert len(recorder.requests) == 3


async def test_missing_keys_take_their_defaults_on_the_server(server: LocalServer) -> None:
    """The real one confirms that it fills them in, and does."""
    adapter = SupabaseAdapter(server.url, server.service_key)
    written = await adapter.batch_write("leads", UNEVEN)
    await adapter.aclose()
    assert [row["status"] for row in written] == ["new", "won"]
    assert server.execute("select status from leads order by email") == [{"status": "new"}, {"status": "won"}]


async def test_a_list_compared_with_a_json_column_that_is_not_declared_is_refused_with_the_remedy(
    server: LocalServer,
) -> None:
    """It is sent as an array, as the request shows; these are PostgreSQL's words for it, which the server lacks."""
    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as refused:
        server.execute("select * from leads where custom @> '{1}'")
    told = {"code": refused.value.sqlstate, "message": refused.value.diag.message_primary}
    recorder = Recorder(lambda _: httpx.Response(400, json=told))
    with pytest.raises(AdapterError, match="declares the column as jsonb"):
        await recorder.adapter().query("things", {"custom": contains([1])})
    assert recorder.requests[0].url.params["custom"] == "cs.{1}"
