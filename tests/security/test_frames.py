"""Error trackers collect the variables of every frame that an exception passes through: none of ours has a secret."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from agent_persistence import AuditLog, PersistenceConfig, SupabaseAdapter, verify_audit_log
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.adapters.supabase import Transport
from agent_persistence.exceptions import PersistenceError
from agent_persistence.ext.embeddings import HttpEmbedder
from agent_persistence.factory import create_persistence_agent
from agent_persistence.policy.identity import Identity, RefreshingToken
from agent_persistence.service import AsyncPersistenceService
from tests.backends.stub_server import Exchange, answer, stub_server

pytestmark = pytest.mark.asyncio

MARK = "s3cr3tMark"
"""Part of every secret in these tests."""
KEY = f"sb_secret_{MARK}"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.{MARK}.c2ln"
BAD = f"{MARK}\nX-Evil: 1"
DSN = f"postgresql://ada:{MARK}@127.0.0.1:1/db?sslmode=disable"


def our_frames(error: BaseException | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and variables of each frame of this package in the tracebacks of the error and of its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if "/agent_persistence/" in code.co_filename:
                yield f"{code.co_filename}:{trace.tb_lineno} {code.co_name}", dict(trace.tb_frame.f_locals)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def told_of(value: object, depth: int = 4) -> str:
    """What an error tracker stores of a variable: its repr, and that of what it contains."""
    parts = [shown(value)]
    if depth and isinstance(value, dict):
        parts += [told_of(part, depth - 1) for entry in value.items() for part in entry]
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        parts += [told_of(part, depth - 1) for part in value]
    return "\n".join(parts)


def shown(value: object) -> str:
    """Trackers take the class where a repr fails, as that of an object does which is not made yet."""
    try:
        return repr(value)
    except AttributeError:
        return type(value).__name__


def assert_hidden(error: BaseException) -> None:
    frames = list(our_frames(error))
    assert frames, "the error passed through no frame of ours"
    for place, variables in frames:
        for name, value in variables.items():
            assert MARK not in told_of(value), f"{place} holds a secret in {name}"
    assert MARK not in "".join(traceback.format_exception(error))


REFUSED: dict[str, Callable[[], object]] = {
    "a key with a line end": lambda: SupabaseAdapter("https://p.supabase.co", BAD),
    "a bad URL beside a key": lambda: SupabaseAdapter("ftp://p.supabase.co", KEY),
    "an unknown transport": lambda: SupabaseAdapter("https://p.supabase.co", KEY, transport="h3"),  # type: ignore[arg-type]
    "a schema with a blank": lambda: SupabaseAdapter("https://p.supabase.co", KEY, db_schema="a b"),
    "a token with a line end": lambda: SupabaseAdapter("https://p.supabase.co", KEY, access_token=BAD),
    "a user's bad token": lambda: service().as_user(access_token=BAD),
    "a token and claims": lambda: service().as_user(access_token=TOKEN, claims={"role": "anon"}),
    "nobody over a secret key": lambda: service().as_user(),
    "a token over PostgreSQL": lambda: AsyncPersistenceService(PostgresAdapter(DSN)).as_user(access_token=TOKEN),
    "a DSN with no host": lambda: PostgresAdapter(f"postgresql://ada:{MARK}@/db"),
    "a DSN that is none": lambda: PostgresAdapter(f"mysql://ada:{MARK}@h/db"),
    "a DSN without TLS": lambda: PostgresAdapter(f"postgresql://ada:{MARK}@db.example/db?sslmode=disable"),
    "too many connections": lambda: PostgresAdapter(DSN, max_connections=0),
    "an unknown setting": lambda: PersistenceConfig(supabase_key=KEY, supabase_ulr="x"),
    "a bad setting": lambda: PersistenceConfig(supabase_key=SecretStr(KEY), transport="h3"),
    "a misspelt variable": lambda: PersistenceConfig.from_env({"SUPABASE_KEY": KEY, "PERSIST_REED_TABLES": "leads"}),
    "a bad table in the environment": lambda: PersistenceConfig.from_env(
        {"SUPABASE_KEY": KEY, "DATABASE_URL": DSN, "PERSIST_READ_TABLES": "Leads;"}
    ),
    "an agent without a URL": lambda: create_persistence_agent(config=PersistenceConfig(supabase_key=SecretStr(KEY))),
    "an audit key that is too short": lambda: AuditLog("/nowhere/audit.jsonl", MARK),
    "an audit log that is not there": lambda: verify_audit_log("/nowhere/audit.jsonl", MARK * 8),
    "an audit log in no folder": lambda: AuditLog("/nowhere/audit.jsonl", (MARK * 8).encode()),
    "an embedder's key": lambda: HttpEmbedder("https://e.example", "m", dimensions=3, key=BAD),
}


def service() -> AsyncPersistenceService:
    return AsyncPersistenceService(SupabaseAdapter("https://p.supabase.co", KEY))


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
async def test_no_frame_holds_a_secret_where_something_is_refused(make: Callable[[], object]) -> None:
    """Whatever is wrong with the secret, or with what stands beside it."""
    with pytest.raises(PersistenceError) as caught:
        make()
    assert_hidden(caught.value)


CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "write": lambda agent: agent.write("leads", {"email": "a@x.io"}),
    "query": lambda agent: agent.query("leads"),
    "a filter that is too long": lambda agent: agent.query("leads", {"email": "x" * 60_000}),
    "count": lambda agent: agent.count("leads"),
    "get_columns": lambda agent: agent.get_columns("leads"),
}
REACTIONS = ["closed", "garbage", "html", "401", "500"]


async def reply(exchange: Exchange, reaction: str) -> None:
    if reaction == "closed":
        await exchange.close()
    elif reaction == "garbage":
        await exchange.send(b"\x00\x01\x02 garbage\r\n\r\n")
    elif reaction == "html":
        await exchange.send(answer(b"<html>", headers={"Content-Type": "text/html"}))
    else:
        await exchange.send(answer(b'{"code":"PGRST301","message":"m"}', status=int(reaction)))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("reaction", REACTIONS)
@pytest.mark.parametrize("transport", ["httpx", "httptools", "injected"])
async def test_no_frame_holds_a_secret_where_a_call_over_rest_fails(
    transport: str, reaction: str, call: Callable[[Any], Awaitable[object]]
) -> None:
    """Over each transport, under the key and as a user."""

    async def script(exchange: Exchange) -> None:
        await reply(exchange, reaction)

    async with httpx.AsyncClient(trust_env=False) as client:
        with stub_server(script) as server:
            chosen: dict[str, Any] = {"client": client} if transport == "injected" else {"transport": transport}
            adapter = SupabaseAdapter(server.url, KEY, **chosen)
            async with AsyncPersistenceService(adapter, retry=False, owns_adapter=True) as target:
                for whoever in (target, target.as_user(access_token=TOKEN)):
                    try:
                        await call(whoever)
                    except PersistenceError as error:
                        assert_hidden(error)
                    else:
                        assert reaction == "500" or call is CALLS["get_columns"], "the call was meant to fail"


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
async def test_no_frame_holds_a_secret_where_nobody_listens(transport: Transport) -> None:
    """The connection is refused before anything is sent."""
    adapter = SupabaseAdapter("http://127.0.0.1:1", KEY, access_token=TOKEN, transport=transport)
    async with AsyncPersistenceService(adapter, retry=False, owns_adapter=True) as target:
        with pytest.raises(PersistenceError) as caught:
            await target.query("leads")
    assert_hidden(caught.value)


async def test_no_frame_holds_a_password_where_the_database_is_not_there() -> None:
    """Nor where a callable of the user's fails with a token in its own words."""

    def told() -> dict[str, Any]:
        raise ValueError(TOKEN)

    for adapter in (PostgresAdapter(DSN), PostgresAdapter(DSN, claims=told)):
        async with AsyncPersistenceService(adapter, retry=False, owns_adapter=True) as target:
            with pytest.raises(PersistenceError) as caught:
                await target.query("leads")
        assert_hidden(caught.value)


@pytest.mark.parametrize("fetched", [BAD, "", None, ValueError(TOKEN)], ids=["line end", "empty", "none", "raises"])
async def test_no_frame_holds_a_token_that_was_fetched(fetched: Any) -> None:
    """A refreshing token's, or a callable's for every call."""

    def fetch() -> Any:
        if isinstance(fetched, Exception):
            raise fetched
        return fetched

    for token in (RefreshingToken(fetch), fetch):
        adapter = SupabaseAdapter("http://127.0.0.1:1", KEY, access_token=token)
        async with AsyncPersistenceService(adapter, retry=False, owns_adapter=True) as target:
            with pytest.raises(PersistenceError) as caught:
                await target.query("leads")
        assert_hidden(caught.value)


HOLDERS: dict[str, Callable[[], object]] = {
    "configuration": lambda: PersistenceConfig(supabase_key=SecretStr(KEY)),
    "Supabase adapter": lambda: SupabaseAdapter("https://p.supabase.co", KEY),
    "PostgreSQL adapter": lambda: PostgresAdapter(DSN),
    "identity": lambda: Identity(access_token=SecretStr(TOKEN)),
    "token": lambda: RefreshingToken(lambda: TOKEN),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
async def test_what_holds_a_secret_is_not_pickled(make: Callable[[], object]) -> None:
    """SecretStr itself pickles its text: a task queue or a cache would store it."""
    holder = make()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"holds (a secret|secrets)"):
            pickle.dumps(holder, protocol)
    assert MARK not in repr(holder)


async def test_a_configuration_can_be_copied() -> None:
    """Within the process nothing is written down."""
    config = PersistenceConfig(supabase_key=SecretStr(KEY))
    assert copy.copy(config) == config == config.model_copy()


async def test_a_frame_that_holds_a_secret_is_found() -> None:
    """The check itself can fail."""

    def careless() -> None:
        key = {"headers": [("apikey", KEY)]}
        raise PersistenceError(f"refused, with {len(key)} header")

    code = careless.__code__.replace(co_filename="/site-packages/agent_persistence/careless.py")
    with pytest.raises(PersistenceError) as caught:
        exec(code)
    with pytest.raises(AssertionError, match="holds a secret in key"):
        assert_hidden(caught.value)
