"""As whom a call runs: one user's token that is fetched anew, and what can be nobody's identity."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from types import SimpleNamespace
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import httpx
import pytest
from pydantic import BaseModel, SecretStr

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAgent,
    RetryPolicy,
    SupabaseAdapter,
    sync,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.exceptions import FailureState
from agent_persistence.policy.identity import EARLY_S, RefreshingToken
from tests.doubles import FakeTime, RecordingAdapter, shown
from tests.security.said import KEY, TOKEN, chain, said_by, said_by_error, secrets_in
from tests.server.tokens import sign

ASYNC = pytest.mark.anyio
URL, PUBLISHABLE = "https://project.supabase.co", "sb_publishable_x"
ONCE = RetryPolicy(attempts=1)


def token(number: int = 1, **claims: object) -> str:
    """A user's token; each number's is another."""
    return sign({"sub": "ada", "role": "authenticated", "number": number, **claims}, "secret")


class Fetching:
    """Counts how often it is asked, and gives one token after the other; an exception among them is raised."""

    def __init__(self, *tokens: object) -> None:
        self._tokens: Iterator[object] = iter(tokens)
        self.asked = 0
        self.released = anyio.Event()
        self.begun = anyio.Event()

    def _next(self) -> Any:
        self.asked += 1
        found = next(self._tokens)
        if isinstance(found, BaseException):
            raise found
        return found

    async def at_once(self) -> Any:
        return self._next()

    def plainly(self) -> Any:
        return self._next()

    async def when_released(self) -> Any:
        self.begun.set()
        await self.released.wait()
        return self._next()


async def waiting(calls: int) -> None:
    """So many tasks have come to where they wait."""
    for _ in range(3 * calls):
        await anyio.lowlevel.checkpoint()


@ASYNC
@pytest.mark.parametrize("form", ["at_once", "plainly"])
async def test_a_token_is_fetched_when_it_is_first_needed_and_kept(form: str) -> None:
    """By a plain or an async function; one without `exp` is kept until it is refused."""
    fetching = Fetching(token(1), token(2))
    refreshing = RefreshingToken(getattr(fetching, form))
    assert fetching.asked == 0
    found = [(await refreshing.current()).get_secret_value() for _ in range(3)]
    assert (found, fetching.asked) == ([token(1)] * 3, 1)


@ASYNC
async def test_all_who_wait_share_one_fetch() -> None:
    """In one event loop."""
    fetching, found = Fetching(token(1)), []
    refreshing = RefreshingToken(fetching.when_released)

    async def ask() -> None:
        found.append((await refreshing.current()).get_secret_value())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
        await fetching.begun.wait()
        await waiting(10)
        fetching.released.set()
    assert (found, fetching.asked) == ([token(1)] * 10, 1)


@ASYNC
async def test_another_token_is_fetched_shortly_before_one_expires() -> None:
    """By the seconds since 1970 that the clock tells, EARLY_S before `exp`."""
    clockwork = FakeTime()
    expiring_s = clockwork.now_s + 1_000
    first, second = token(1, exp=expiring_s), token(2, exp=expiring_s + 1_000)
    refreshing = RefreshingToken(Fetching(first, second).at_once, clock=clockwork.clock)
    for left_s, expected in ((1_000.0, first), (EARLY_S + 1, first), (EARLY_S, second), (0, second)):
        clockwork.now_s = expiring_s - left_s
        assert (await refreshing.current()).get_secret_value() == expected


@ASYNC
@pytest.mark.parametrize("claims", [{"exp": "soon"}, {"exp": None}], ids=shown)
async def test_a_token_whose_end_is_not_known_is_kept(claims: dict[str, Any]) -> None:
    """Until it is refused."""
    fetching = Fetching(token(1, **claims))
    refreshing = RefreshingToken(fetching.at_once)
    assert await refreshing.current() is await refreshing.current()


@ASYNC
async def test_a_failed_fetch_fails_all_who_wait_and_none_who_come_later() -> None:
    """Each has an error of his own; the next one asks again."""
    fetching, failures = Fetching(OSError("down"), token(2)), []
    refreshing = RefreshingToken(fetching.when_released)

    async def ask() -> None:
        with pytest.raises(AdapterError, match="fetch raised OSError") as caught:
            await refreshing.current()
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await fetching.begun.wait()
        await waiting(3)
        fetching.released.set()
    assert len({id(failure) for failure in failures}) == 3
    assert {failure.state for failure in failures} == {FailureState.NOT_SENT}
    assert fetching.asked == 1
    assert (await refreshing.current()).get_secret_value() == token(2)


@ASYNC
async def test_a_cancelled_fetch_is_another_ones_to_make() -> None:
    """Those who waited for it do not notice."""
    fetching, found = Fetching(token(1)), []
    refreshing = RefreshingToken(fetching.when_released)
    leading = anyio.CancelScope()

    async def lead() -> None:
        with leading:
            await refreshing.current()

    async def follow() -> None:
        found.append((await refreshing.current()).get_secret_value())

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await fetching.begun.wait()
        for _ in range(3):
            group.start_soon(follow)
        await waiting(4)
        leading.cancel()
        await waiting(4)
        fetching.released.set()
    assert (found, fetching.asked) == ([token(1)] * 3, 1)


@ASYNC
@pytest.mark.parametrize("other", [token(2, sub="bob"), "no_jwt_and_so_nobody_knows_whose"], ids=["bob", "unknown"])
async def test_the_token_of_another_user_is_refused(other: str) -> None:
    """What was read for the first one may be cached, and is the first one's for good."""
    clockwork = FakeTime()
    first, third = token(1, exp=clockwork.now_s + 100), token(3, exp=clockwork.now_s + 300)
    refreshing = RefreshingToken(Fetching(first, other, third).at_once, clock=clockwork.clock)
    await refreshing.current()
    clockwork.now_s += 100
    with pytest.raises(AdapterError, match="another user") as caught:
        await refreshing.current()
    assert caught.value.state is FailureState.NOT_SENT
    assert (await refreshing.current()).get_secret_value() == third


@pytest.mark.parametrize("backends", [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "trio")], ids=str)
def test_a_token_serves_several_event_loops(backends: tuple[str, str]) -> None:
    """At once: each asks once at most, and none waits for what another loop is to wake."""
    asked: list[str] = []
    both = Barrier(2)

    async def fetch() -> str:
        asked.append("")
        await anyio.to_thread.run_sync(both.wait, 10)
        await anyio.lowlevel.checkpoint()
        return token(1)

    refreshing = RefreshingToken(fetch)

    async def use() -> list[str]:
        found: list[str] = []

        async def ask() -> None:
            found.append((await refreshing.current()).get_secret_value())

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
        return found

    with ThreadPoolExecutor(2) as threads:
        told = [threads.submit(partial(anyio.run, use, backend=backend)) for backend in backends]
        assert [each.result(20) for each in told] == [[token(1)] * 5] * 2
    assert len(asked) == 2
    assert anyio.run(use, backend=backends[0]) == [token(1)] * 5
    assert len(asked) == 2


# --- over PostgREST ---------------------------------------------------------------------------------------------------


class Server:
    """Knows one token; every other one, and none, is refused."""

    def __init__(self, *, valid: str) -> None:
        self.valid = valid
        self.sent: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.headers.get("authorization"))
        if self.sent[-1] != f"Bearer {self.valid}":
            return httpx.Response(401, json={"code": "PGRST301", "message": f"JWT expired {self.sent[-1]}"})
        written = json.loads(request.content or "[]")
        return httpx.Response(200, json=written if isinstance(written, list) else [written])

    def adapter(self, key: str = PUBLISHABLE, **options: Any) -> SupabaseAdapter:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return SupabaseAdapter(URL, key, client=client, **options)

    def service(self, key: str = PUBLISHABLE, **options: Any) -> AsyncPersistenceService:
        return AsyncPersistenceService(self.adapter(key, **options), retry=ONCE)


WAYS: dict[str, Callable[[Server, RefreshingToken], AsyncPersistenceService]] = {
    "as_user": lambda server, refreshing: server.service().as_user(access_token=refreshing),
    "adapter": lambda server, refreshing: server.service(access_token=refreshing),
}
BY = pytest.mark.parametrize("way", WAYS)


@ASYNC
@BY
async def test_a_refused_token_is_fetched_once_for_all_and_the_calls_succeed(way: str) -> None:
    """A 401 says that nothing was done, and so writes are sent again, too."""
    server, fetching = Server(valid=token(2)), Fetching(token(1), token(2))
    service = WAYS[way](server, RefreshingToken(fetching.at_once))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(service.query, "leads")
            group.start_soon(service.write, "leads", {"email": "a@x.io"})
    assert fetching.asked == 2
    assert server.sent.count(f"Bearer {token(2)}") == 10


@ASYNC
@BY
async def test_a_new_token_that_is_refused_as_well_is_an_error(way: str) -> None:
    """The call is sent twice at most."""
    server, fetching = Server(valid="none"), Fetching(token(1), token(2))
    with pytest.raises(AdapterError, match="401"):
        await WAYS[way](server, RefreshingToken(fetching.at_once)).query("leads")
    assert (len(server.sent), fetching.asked) == (2, 2)


def is_said(error: BaseException) -> list[str]:
    """The secrets that an error shows, with the variables of our functions that it came through."""
    told = said_by_error(error)
    for link in chain(error):
        trace = link.__traceback__
        while trace is not None:
            if "agent_persistence/" in trace.tb_frame.f_code.co_filename.replace("\\", "/"):
                told += "\n".join(f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items())
            trace = trace.tb_next
    return secrets_in(told)


UNUSABLE: dict[str, Any] = {
    "raises": RuntimeError(f"cannot renew {TOKEN}"),
    "text with a blank": f"Bearer {TOKEN}",
    "line end": f"{TOKEN}\r\nprefer: {TOKEN}",
    "beyond ASCII": f"{TOKEN}é",
    "list": [TOKEN],
    "bytes": TOKEN.encode(),
    "empty": "",
    "blank": " \n",
    "None": None,
}


@ASYNC
@BY
@pytest.mark.parametrize("returned", UNUSABLE)
async def test_what_is_fetched_and_is_no_token_sends_nothing(returned: str, way: str) -> None:
    """And is shown nowhere: not in the error, what is behind it, or the variables of our functions."""
    server = Server(valid=TOKEN)
    with pytest.raises(AdapterError) as caught:
        await WAYS[way](server, RefreshingToken(Fetching(UNUSABLE[returned]).at_once)).query("leads")
    assert caught.value.state is FailureState.NOT_SENT
    assert server.sent == []
    assert is_said(caught.value) == []


@ASYNC
@BY
async def test_a_token_is_shown_by_nothing(way: str) -> None:
    """Neither by what holds it, nor by the error of a call that the server refused, which repeats it."""
    server = Server(valid="none")
    refreshing = RefreshingToken(Fetching(TOKEN, TOKEN).at_once)
    service = WAYS[way](server, refreshing)
    with pytest.raises(AdapterError) as caught:
        await service.query("leads")
    assert secrets_in(said_by_error(caught.value)) == []
    for holder in (refreshing, service, await service._identify(), service._adapter):
        assert secrets_in(said_by(holder)) == []


def test_the_variables_are_looked_at() -> None:
    """Control: a token in a variable of one of our functions is found."""
    ours: dict[str, Any] = {}
    exec(compile("def fail(token): raise ValueError", "agent_persistence/policy/identity.py", "exec"), ours)
    with pytest.raises(ValueError) as caught:
        ours["fail"](TOKEN)
    assert is_said(caught.value) == ["SENTINELTOKEN"]


# --- what can be nobody's identity ------------------------------------------------------------------------------------


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: str


FORMS: dict[str, Callable[[AsyncPersistenceService], Any]] = {
    "service": lambda service: service,
    "agent": PersistenceAgent,
    "façade": lambda service: service.readonly(),
    "typed": lambda service: service.table(Lead),
    "sync": lambda service: sync.PersistenceAgent(PersistenceAgent(service)),
    "sync typed": lambda service: sync.PersistenceAgent(PersistenceAgent(service)).table(Lead),
}
REST: dict[str, dict[str, Any]] = {
    "empty": {"access_token": ""},
    "blank": {"access_token": " "},
    "number": {"access_token": 5},
    "bytes": {"access_token": TOKEN.encode()},
    "hidden line end": {"access_token": SecretStr(f"{TOKEN}\nx: y")},
    "line end": {"access_token": f"{TOKEN}\r\nx: y"},
    "with its scheme": {"access_token": f"Bearer {TOKEN}"},
    "beyond ASCII": {"access_token": f"{TOKEN}é"},
    "bare callable": {"access_token": lambda: TOKEN},
    "claims": {"claims": {"sub": TOKEN, "role": "authenticated"}},
    "token and claims": {"access_token": TOKEN, "claims": {"sub": TOKEN, "role": "authenticated"}},
    "no actor": {"access_token": TOKEN, "actor": " "},
    "no tenant": {"access_token": TOKEN, "tenant": ""},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", REST)
def test_what_names_no_user_of_postgrest_is_refused(given: str, form: str) -> None:
    """When the view is made: nothing is sent, and the message does not repeat what was given."""
    server = Server(valid=TOKEN)
    with pytest.raises(ConfigurationError) as caught:
        FORMS[form](server.service()).as_user(**REST[given])
    assert secrets_in(said_by_error(caught.value)) == []
    assert server.sent == []


@pytest.mark.parametrize("key", [KEY, "sb_unknown", sign({"role": "service_role"}, "x"), sign({}, "x")], ids=shown)
def test_nobody_in_particular_is_not_whoever_holds_a_secret_key(key: str) -> None:
    """Without a token the key alone would be sent, which may do everything; the message names the remedy."""
    server = Server(valid=TOKEN)
    with pytest.raises(ConfigurationError, match="publishable key") as caught:
        server.service(key).as_user(tenant="a")
    assert secrets_in(said_by_error(caught.value)) == []
    assert key not in str(caught.value)


@ASYNC
@pytest.mark.parametrize("key", [PUBLISHABLE, sign({"role": "anon"}, "x")], ids=["publishable", "legacy"])
async def test_nobody_in_particular_is_whom_the_publishable_key_stands_for(key: str) -> None:
    """Even where the adapter has a token of its own, it is not sent."""
    server = Server(valid=TOKEN)
    service = server.service(key, access_token=TOKEN)
    await service.query("leads")
    with pytest.raises(AdapterError):
        await service.as_user().query("leads")
    assert server.sent == [f"Bearer {TOKEN}", None if key == PUBLISHABLE else f"Bearer {key}"]


@ASYNC
async def test_a_tenant_or_an_actor_alone_leaves_the_user_who_is_named() -> None:
    """By the view, or by the adapter's callable; only the whole `as_user()` asks for nobody."""
    server = Server(valid=TOKEN)
    fixed, asking = server.service(PUBLISHABLE), server.service(PUBLISHABLE, access_token=lambda: TOKEN)
    await fixed.as_user(access_token=TOKEN).as_user(actor="ada").query("leads")
    await asking.as_user(actor="ada").query("leads")
    for nobody in (fixed.as_user(actor="ada"), asking.as_user(), fixed.as_user(access_token=TOKEN).as_user()):
        with pytest.raises(AdapterError):
            await nobody.query("leads")
    assert server.sent == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None, None, None]


SQL: dict[str, dict[str, Any]] = {
    "token": {"access_token": TOKEN},
    "token and claims": {"access_token": TOKEN, "claims": {"role": "authenticated"}},
    "no role": {"claims": {"sub": TOKEN}},
    "none": {"claims": {"sub": TOKEN, "role": "none"}},
    "role is a list": {"claims": {"sub": TOKEN, "role": ["authenticated"]}},
    "empty": {"claims": {}},
    "no mapping": {"claims": TOKEN},
    "callable": {"claims": lambda: {"role": "authenticated"}},
    "no JSON": {"claims": {"sub": object(), "role": "authenticated"}},
    "no actor": {"claims": {"role": "authenticated"}, "actor": ""},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", SQL)
def test_what_names_no_user_of_postgresql_is_refused(given: str, form: str) -> None:
    """When the view is made, before there is a connection: here nobody listens."""
    service = AsyncPersistenceService(PostgresAdapter("postgresql://u:p@127.0.0.1:1/d"))
    with pytest.raises(ConfigurationError) as caught:
        FORMS[form](service).as_user(**SQL[given])
    assert secrets_in(said_by_error(caught.value)) == []


@pytest.mark.parametrize("adapter", [InMemoryAdapter, RecordingAdapter])
@pytest.mark.parametrize("given", [{}, {"access_token": TOKEN}, {"claims": {"role": "x"}}], ids=shown)
def test_an_adapter_that_knows_no_users_takes_none(given: dict[str, Any], adapter: Callable[[], Any]) -> None:
    """Nor nobody: its calls would run as they did; a tenant or an actor it takes."""
    service = AsyncPersistenceService(adapter())
    with pytest.raises(ConfigurationError, match="knows no users") as caught:
        service.as_user(**given)
    assert secrets_in(said_by_error(caught.value)) == []
    service.as_user(tenant="a").as_user(actor="ada")


@pytest.mark.parametrize("option", ["cache", "coalesce"])
def test_what_does_not_say_as_whom_it_calls_shares_nothing(option: str) -> None:
    """Of an adapter without `identity` one user might be given what another was answered."""
    inner = InMemoryAdapter()
    members = {name: getattr(inner, name) for name in dir(inner) if not name.startswith("_") and name != "identity"}
    options: dict[str, Any] = {option: True}
    with pytest.raises(ConfigurationError, match="does not say as whom"):
        AsyncPersistenceService(SimpleNamespace(**members), **options)


@pytest.mark.parametrize("given", [TOKEN, SecretStr(TOKEN), None, 5], ids=["text", "secret", "None", "number"])
def test_a_refreshing_token_takes_a_function(given: Any) -> None:
    """A token that never changes is given as it is."""
    with pytest.raises(ConfigurationError, match="takes a function") as caught:
        RefreshingToken(given)
    assert secrets_in(said_by_error(caught.value)) == []
