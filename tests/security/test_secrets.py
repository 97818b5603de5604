"""No key, token, value of a filter or content of a row is said by anything, on any way to an error."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeAlias

import anyio
import httpx
import pytest
from pydantic import BaseModel

from agent_persistence import (
    AuditEvent,
    InMemoryAdapter,
    PersistenceAgent,
    PersistenceConfig,
    PersistenceError,
    RefreshingToken,
    RetryPolicy,
    SupabaseAdapter,
    TablePolicy,
    any_of,
    build_rag_context,
    eq,
    gt,
    in_,
    match,
    metrics,
    text_search,
)
from agent_persistence.operations import Query, Read, Upsert, Write
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.schema_registry import default_schema
from agent_persistence.service import AsyncPersistenceService
from agent_persistence.sync import PersistenceService
from tests.backends.doubles import self_signed_context
from tests.backends.stub_server import answer, stub_server
from tests.security.said import (
    FILTERED,
    KEY,
    STORED,
    TENANT,
    TOKEN,
    WRITTEN,
    for_developers_in,
    said_by,
    said_by_error,
    secrets_in,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[Any]]
Answer: TypeAlias = Callable[[httpx.Request], httpx.Response]

LEAD = "00000000-0000-4000-8000-000000000001"
POLICY = TablePolicy(read={"leads"}, write={"leads"}, delete={"leads"}, call={"search"}, call_write={"purge"})
FILTER = any_of({"email": FILTERED}, {"notes": in_([FILTERED])}, {"phone": text_search(FILTERED)})


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: int
    score: float | None = None


CALLS: dict[str, Call] = {
    "query": lambda made: made.query("leads", FILTER),
    "read": lambda made: made.read("leads", FILTERED, "email"),
    "count": lambda made: made.count("leads", FILTER),
    "iterate": lambda made: anext(aiter(made.iterate("leads", {"email": FILTERED}))),
    "write": lambda made: made.write("leads", {"email": WRITTEN, "custom": {WRITTEN: [WRITTEN]}}),
    "write without key": lambda made: made.write("messages", {"role": WRITTEN, "content": WRITTEN}),
    "batch_write": lambda made: made.batch_write("leads", [{"email": WRITTEN}, {"email": WRITTEN, "notes": WRITTEN}]),
    "upsert": lambda made: made.upsert("leads", {"email": WRITTEN}, ["email"]),
    "update": lambda made: made.update("leads", {"notes": WRITTEN}, {"email": FILTERED}),
    "delete": lambda made: made.delete("leads", {"email": FILTERED}),
    "call": lambda made: made.call("search", {"word": FILTERED}),
    "writing call": lambda made: made.call("purge", {"word": FILTERED}),
    "get_columns": lambda made: made.get_columns("leads"),
    "façade": lambda made: made.readonly().query("leads", FILTER),
    "options": lambda made: made.with_options(deadline_s=5).query("leads", FILTER),
    "typed": lambda made: made.table(Lead).query({"email": FILTERED}),
    "typed write": lambda made: made.table(Lead).write({"email": WRITTEN}),
    "rag": lambda made: build_rag_context(made.readonly(), lead_filters={"email": FILTERED}),
}


def problem(status: int, **body: str) -> Answer:
    """What PostgREST answers, with rows in every text where a server could put one."""
    return lambda request: httpx.Response(status, json=body)


def raising(kind: type[Exception]) -> Answer:
    """A client that fails; its exception holds the request, as those of httpx do."""

    def fail(request: httpx.Request) -> httpx.Response:
        error: Any = kind(f"failed at {request.url}")
        error.request = request
        raise error

    return fail


ROW = {"id": STORED, "email": STORED, "score": STORED, "custom": {"a": STORED}, "tenant_id": STORED}
_JSON = {"content-type": "application/json"}
DETAIL = {"details": f"Key (email)=({STORED}) already exists. {FILTERED}", "hint": f"Perhaps you meant {STORED}?"}
ANSWERS: dict[str, Answer] = {
    "unique": problem(409, code="23505", message=f'duplicate key violates unique constraint "u" {STORED}', **DETAIL),
    "check": problem(400, code="23514", message=f"Failing row contains ({STORED})", **DETAIL),
    "not null": problem(400, code="23502", message=f"null value; Failing row contains ({STORED})", **DETAIL),
    "bad value": problem(400, code="22P02", message=f'invalid input syntax for type uuid: "{FILTERED}"', **DETAIL),
    "trigger": problem(400, code="P0001", message=f"no {STORED} for {WRITTEN}", **DETAIL),
    "privilege": problem(403, code="42501", message=f"permission denied: {STORED}", **DETAIL),
    "no column": problem(404, code="PGRST204", message=f"Could not find {STORED}", **DETAIL),
    "token": problem(401, code="PGRST301", message=f"JWT {TOKEN} {KEY}", **DETAIL),
    "gateway": problem(401, message=f"No API key {KEY}", error=KEY),
    "throttled": problem(429, message=STORED),
    "down": problem(503, code="PGRST001", message=STORED, **DETAIL),
    "HTML": lambda request: httpx.Response(502, html=f"<h1>{STORED} {request.url} {KEY}</h1>"),
    "portal": lambda request: httpx.Response(200, html=f"<h1>{STORED}</h1>"),
    "redirect": lambda request: httpx.Response(307, headers={"location": f"https://evil.example/{STORED}?k={KEY}"}),
    "no JSON": lambda request: httpx.Response(200, content=f'[{{"id": "{STORED}', headers=_JSON),
    "no rows": lambda request: httpx.Response(200, json={"id": STORED}),
    "no dicts": lambda request: httpx.Response(200, json=[STORED]),
    "too many rows": lambda request: httpx.Response(200, json=[ROW, ROW, ROW], headers={"content-range": STORED}),
    "broken gzip": lambda request: httpx.Response(
        200, stream=_Bytes(gzip.compress(STORED.encode())[:-4]), headers={**_JSON, "content-encoding": "gzip"}
    ),
    **{
        kind.__name__: raising(kind)
        for kind in (
            *(httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError, httpx.ProxyError),
            *(httpx.PoolTimeout, httpx.TooManyRedirects),
        )
    },
}


class _Bytes(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> Any:
        yield self._content


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every line of every logger, at every level."""
    names = [name for name, found in logging.root.manager.loggerDict.items() if isinstance(found, logging.Logger)]
    for name in (None, *names):
        caplog.set_level(1, logger=name)
    return caplog


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


def service(adapter: Any, events: list[AuditEvent], **options: Any) -> AsyncPersistenceService:
    async def at_once(pause_s: float) -> None:
        pass

    retry = RetryPolicy(attempts=2, last_write_wins=True)
    return AsyncPersistenceService(
        adapter, **{"policy": POLICY, "audit": events.append, "retry": retry, "sleep": at_once, "log": True, **options}
    )


def adapter_over(answer: Answer, **options: Any) -> SupabaseAdapter:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False)
    return SupabaseAdapter("https://project.supabase.example", KEY, client=client, **options)


async def nothing_is_said(call: Awaitable[Any], made: Any, events: list[AuditEvent], capsys: Any, logged: Any) -> bool:
    """Whether the call failed; and that neither its error, nor anything that watched it, says a secret."""
    error: BaseException | None = None
    try:
        await call
    except (PersistenceError, RuntimeError, StopAsyncIteration) as raised:
        error = raised
    printed = capsys.readouterr()
    texts = {
        "error": "" if error is None else said_by_error(error),
        "service": said_by(made),
        "logs": "\n".join(f"{record.getMessage()} {record.__dict__!r}" for record in logged.records) + logged.text,
        "printed": printed.out + printed.err,
        "metrics": repr(metrics.snapshot()),
        "audit": "\n".join(
            repr([getattr(event, name) for name in event.__slots__ if name != "keys"]) for event in events
        ),
    }
    assert {where: found for where, text in texts.items() if (found := secrets_in(text))} == {}
    if isinstance(error, PersistenceError):
        assert for_developers_in(error.for_model()) == []
    return error is not None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("answered", ANSWERS.values(), ids=ANSWERS)
async def test_nothing_is_said_whatever_the_server_does(
    answered: Answer, call: Call, events: list[AuditEvent], capsys: Any, logged: Any
) -> None:
    """Rejected, throttled, lost, malformed, redirected; by every verb, retried and read back."""
    adapter = adapter_over(answered, access_token=TOKEN)
    made = service(adapter, events)
    await nothing_is_said(call(made), made, events, capsys, logged)
    assert secrets_in(said_by(adapter)) == []
    assert events
    assert metrics.snapshot()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nothing_is_said_at_a_deadline(call: Call, events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """Of a request that is never answered."""

    async def never(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    made = service(adapter_over(never), events).with_options(deadline_s=0.01)  # type: ignore[arg-type]
    await nothing_is_said(call(made), made, events, capsys, logged)


def _fails() -> str:
    raise RuntimeError(f"could not renew {TOKEN}")


async def _fails_later() -> str:
    raise RuntimeError(f"could not renew {TOKEN}")


@pytest.mark.parametrize(
    "given", [_fails, _fails_later, lambda: TOKEN + "\n\u00e9", lambda: None, lambda: TOKEN.encode()],
    ids=["raises", "raises later", "no header", "None", "bytes"],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("verb", ["query", "write", "get_columns"])
async def test_nothing_is_said_by_a_token_that_cannot_be_had(
    given: Any, wrapped: bool, verb: str, events: list[AuditEvent], capsys: Any, logged: Any
) -> None:
    """Also where the callable's own exception says it."""
    token = RefreshingToken(given) if wrapped else given
    made = service(adapter_over(problem(401), access_token=token), events)
    assert await nothing_is_said(CALLS[verb](made), made, events, capsys, logged)


REFUSED: dict[str, Call] = {
    "table": lambda made: made.query("unlisted", FILTER),
    "column": lambda made: made.query("leads", {"clients(*)": FILTERED}),
    "written column": lambda made: made.write("leads", {"clients(*)": WRITTEN}),
    "type": lambda made: made.query("leads", {"email": object(), "notes": FILTERED}),
    "written type": lambda made: made.write("leads", {"email": WRITTEN, "notes": object()}),
    "lone surrogate": lambda made: made.write("leads", {"email": WRITTEN + "\ud800"}),
    "NUL": lambda made: made.query("leads", {"email": FILTERED + "\0"}),
    "list": lambda made: made.query("leads", {"email": [FILTERED]}),
    "misspelt value": lambda made: made.query("leads", {"score": FILTERED, "created_at": gt(FILTERED)}),
    "misspelt key": lambda made: made.read("leads", WRITTEN),
    "misspelt record": lambda made: made.write("leads", {"score": WRITTEN, "tags": WRITTEN, "custom": WRITTEN}),
    "one_of": lambda made: made.write("campaigns", {"status": WRITTEN}),
    "large": lambda made: made.write("leads", {"email": WRITTEN * 100_000}),
    "long": lambda made: made.query("leads", {"email": in_([FILTERED + str(n) for n in range(6000)])}),
    "very long": lambda made: made.query("leads", any_of({"email": FILTERED * 9000})),
    "tenant": lambda made: made.write("leads", {"email": WRITTEN, "tenant_id": FILTERED}),
    "function": lambda made: made.call("drop_all", {"word": FILTERED}),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
async def test_nothing_is_said_by_a_refusal(call: Call, events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """By the policy, by the schema, by a bound, by the tenant."""
    policy = TablePolicy(
        read={"leads"},
        write={"leads"},
        columns={"leads": ["id", "email", "notes", "score", "tags", "custom", "created_at"]},
        max_value_bytes=500_000,
    )
    options = {"policy": policy, "schema": default_schema(), "tenant": TenantScope(TENANT)}
    made = service(adapter_over(problem(500)), events, **options)
    assert await nothing_is_said(call(made), made, events, capsys, logged)


async def test_a_row_that_is_withheld_is_not_shown(events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """Neither whose it is nor what is in it."""
    made = service(adapter_over(lambda request: httpx.Response(200, json=[ROW])), events, tenant=TenantScope(TENANT))
    assert await nothing_is_said(made.query("leads", FILTER), made, events, capsys, logged)


async def test_nothing_is_said_where_nobody_listens(events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """Over connections of our own: refused, and answered with a certificate that nobody signed."""
    with stub_server(answer(), tls=self_signed_context()) as server:
        for url in (server.url, "http://127.0.0.1:9"):
            adapter = SupabaseAdapter(url, KEY, access_token=TOKEN)
            made = service(adapter, events)
            for call in CALLS.values():
                assert await nothing_is_said(call(made), made, events, capsys, logged)
            assert secrets_in(said_by(adapter)) == []
            await adapter.aclose()


async def test_the_sync_verbs_say_no_more(events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """An error crosses a thread with all that is behind it."""
    made = service(adapter_over(ANSWERS["ReadError"]), events)

    async def call() -> None:
        PersistenceService(made).query("leads", FILTER)

    assert await nothing_is_said(call(), made, events, capsys, logged)


async def test_the_store_in_memory_says_no_more(events: list[AuditEvent], capsys: Any, logged: Any) -> None:
    """Conflicts, values of the wrong type, foreign keys."""
    made = service(InMemoryAdapter({"leads": [{"id": LEAD, "email": WRITTEN}]}, schema=default_schema()), events)
    for call in (
        made.write("leads", {"email": WRITTEN}),
        made.write("leads", {"email": "a", "client_id": LEAD, "notes": WRITTEN}),
        made.write("leads", {"email": "a", "created_at": WRITTEN}),
        made.query("leads", {"created_at": gt(FILTERED)}),
        *(made.query("leads", {name: FILTERED}) for name in ("custom", "score", "client_id", "is_qualified", "tags")),
        made.query("campaigns", {"starts_on": FILTERED}),
        made.query("campaigns", {"daily_limit": FILTERED}),
        made.query("leads", {"email": match(f"({FILTERED}")}),
    ):
        assert await nothing_is_said(call, made, events, capsys, logged)


def test_values_hide_what_they_hold(anyio_backend: str) -> None:
    """Operations, filters, scopes, settings: what a debugger shows of them are names."""
    config = PersistenceConfig.from_env({"SUPABASE_URL": "https://x.example", "SUPABASE_SERVICE_KEY": KEY})
    made = AsyncPersistenceService(adapter_over(problem(500), access_token=TOKEN), tenant=TenantScope(TENANT))
    policy = TablePolicy(
        read={"leads"}, write={"leads"}, rows={"leads": {"status": FILTERED, "email": in_([FILTERED])}}
    )
    things: list[Any] = [
        config, made, made.readonly(), PersistenceAgent(made), made._adapter, TenantScope(TENANT), policy,
        policy.explain("leads"), FILTER, eq(FILTERED), Write("leads", {"email": WRITTEN}), Read("leads", FILTERED),
        Upsert("leads", {"email": WRITTEN}), Query("leads", eq(FILTERED)), made.table(Lead), *made.layers,
    ]  # fmt: skip
    assert {type(thing).__name__: secrets_in(said_by(thing)) for thing in things if secrets_in(said_by(thing))} == {}


def test_what_is_said_is_looked_for_everywhere(anyio_backend: str) -> None:
    """Control: a secret in a message, an attribute, a cause's request, or a note is found."""
    request = httpx.Request("GET", f"https://x.example/leads?email=eq.{FILTERED}")
    cause = httpx.ReadError("", request=request)
    plain, noted, behind = RuntimeError(KEY), RuntimeError(), RuntimeError()
    noted.add_note(TOKEN)
    behind.__cause__ = cause
    for error in (plain, noted, behind):
        assert secrets_in(said_by_error(error))
    assert not secrets_in(said_by_error(RuntimeError("x")))
