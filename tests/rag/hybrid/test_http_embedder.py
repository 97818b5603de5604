"""The embedder over HTTP: what is on the wire, which answers count, how often it asks, and what it never says."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
import httpx
import pytest
from pydantic import SecretStr

from agent_persistence import AdapterError, BackendUnavailableError, ConfigurationError, RetryPolicy, ValidationError
from agent_persistence.exceptions import FailureState
from agent_persistence.ext.embeddings import HttpEmbedder
from tests.backends.doubles import everything_said_by
from tests.backends.stub_server import Exchange, Script, StubServer, answer, stub_server
from tests.doubles import FakeTime

pytestmark = pytest.mark.anyio

KEY = "sk-proj-Zm9vYmFyYmF6-1a2b3c4d"
TEXT = "the s3ntinel of the question"

Reply: TypeAlias = bytes | Callable[[list[str]], object]


def vectors_of(texts: list[str]) -> object:
    """An answer as OpenAI's: two numbers for each text, its length and one."""
    data = [{"object": "embedding", "index": index, "embedding": [len(text), 1]} for index, text in enumerate(texts)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def replying(*replies: Reply) -> Script:
    """Each request gets the next reply, and the last one serves those that follow."""

    async def script(exchange: Exchange) -> None:
        reply = replies[min(exchange.number, len(replies)) - 1]
        if not isinstance(reply, bytes):
            reply = answer(json.dumps(reply(json.loads(exchange.request.body)["input"])).encode())
        await exchange.send(reply)

    return script


@contextmanager
def asking(script: Script, **options: Any) -> Iterator[tuple[StubServer, HttpEmbedder, FakeTime]]:
    """An embedder of two dimensions over a server that answers by the script, in time that does not pass."""
    time = FakeTime()
    given = {"dimensions": 2, "key": KEY, "clock": time.clock, "sleep": time.sleep, "random": lambda: 1.0, **options}
    with stub_server(script) as server:
        yield server, HttpEmbedder(f"{server.url}/v1", "small", **given), time


async def refused(script: Script, **options: Any) -> tuple[AdapterError, StubServer, FakeTime]:
    """The error that embedding one text ends in."""
    with asking(script, **options) as (server, embedder, time):
        async with embedder:
            with pytest.raises(AdapterError) as caught:
                await embedder.embed([TEXT])
    return caught.value, server, time


def failing(status: int, code: str | None = None, **headers: str) -> bytes:
    """An error as OpenAI's, whose message repeats the key and the text, as some servers' do."""
    error = {"message": f"Incorrect API key {KEY} for {TEXT}", "type": KEY, "param": TEXT, "code": code}
    return answer(json.dumps({"error": error}).encode(), status=status, headers=headers)


async def test_a_request_is_openais() -> None:
    """One POST with model and texts, and the key as a bearer token."""
    with asking(replying(vectors_of)) as (server, embedder, _):
        async with embedder:
            assert await embedder.embed(["a", "bbb"]) == [[1.0, 1.0], [3.0, 1.0]]
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/embeddings")
    assert json.loads(request.body) == {"model": "small", "input": ["a", "bbb"]}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"


async def test_a_local_server_needs_no_key() -> None:
    """And gets none."""
    with asking(replying(vectors_of), key=None) as (server, embedder, _):
        async with embedder:
            await embedder.embed(["a"])
    assert "authorization" not in server.requests[0].headers


async def test_the_size_is_asked_for_only_where_that_is_wanted() -> None:
    """Servers that know no such parameter refuse it."""
    with asking(replying(vectors_of), request_dimensions=True) as (server, embedder, _):
        async with embedder:
            await embedder.embed(["a"])
    assert json.loads(server.requests[0].body)["dimensions"] == 2


async def test_no_texts_ask_nobody() -> None:
    """An empty request would be an error of the server's."""
    with asking(replying(vectors_of)) as (server, embedder, _):
        assert await embedder.embed([]) == []
        assert server.requests == []


async def test_many_texts_are_split_and_come_back_in_order() -> None:
    """By their number and by their characters."""
    texts = ["a", "bb", "ccc", "dddd", "e" * 50, "f"]
    with asking(replying(vectors_of), max_texts=3, max_chars=9) as (server, embedder, _):
        async with embedder:
            assert [vector[0] for vector in await embedder.embed(texts)] == [1, 2, 3, 4, 50, 1]
    sent = [json.loads(request.body)["input"] for request in server.requests]
    assert sent == [["a", "bb", "ccc"], ["dddd"], ["e" * 50], ["f"]]


async def test_vectors_belong_to_texts_by_their_index() -> None:
    """Whatever their order in the answer."""

    def backwards(texts: list[str]) -> object:
        data = [{"index": index, "embedding": [len(text), 0]} for index, text in enumerate(texts)]
        return {"data": data[::-1]}

    with asking(replying(backwards)) as (_, embedder, _):
        async with embedder:
            assert await embedder.embed(["a", "bb"]) == [[1.0, 0.0], [2.0, 0.0]]


async def test_without_an_index_the_order_counts() -> None:
    """Some servers leave it out."""
    with asking(replying(lambda texts: {"data": [{"embedding": [len(text), 0]} for text in texts]})) as (
        _,
        embedder,
        _,
    ):
        async with embedder:
            assert await embedder.embed(["a", "bb"]) == [[1.0, 0.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("[]", "something else than a list of embeddings"),
        ("{}", "something else than a list of embeddings"),
        ('{"data": [1]}', "something else than a list of embeddings"),
        ("<html>", "something else than a list of embeddings"),
        ("", "something else than a list of embeddings"),
        ('{"data": []}', "was sent 1 texts and answered with 0 vectors"),
        ('{"data": [{"embedding": [1, 2]}, {"embedding": [1, 2]}]}', "was sent 1 texts and answered with 2 vectors"),
        ('{"data": [{"index": 1, "embedding": [1, 2]}]}', "does not tell which vector belongs to which text"),
        ('{"data": [{"index": "0", "embedding": [1, 2]}]}', "does not tell which vector belongs to which text"),
        ('{"data": [{"index": 0}]}', "no list of numbers"),
        ('{"data": [{"index": 0, "embedding": "AACAPw=="}]}', "no list of numbers"),
        ('{"data": [{"index": 0, "embedding": [1, true]}]}', "no list of numbers"),
        ('{"data": [{"index": 0, "embedding": [1, null]}]}', "no list of numbers"),
        ('{"data": [{"index": 0, "embedding": [1]}]}', "a vector of 1 dimensions, and 2 were told to the embedder"),
        ('{"data": [{"index": 0, "embedding": [1, 2, 3]}]}', "a vector of 3 dimensions, and 2 were told"),
        ('{"data": [{"index": 0, "embedding": [1, 1e39]}]}', "not finite in single precision"),
        ('{"data": [{"index": 0, "embedding": [1, NaN]}]}', "not finite in single precision"),
    ],
)
async def test_an_answer_without_the_right_vectors_is_an_error(body: str, told: str) -> None:
    """And is not asked for again: the server would answer the same."""
    error, server, _ = await refused(replying(answer(body.encode())))
    assert error.state is FailureState.REJECTED
    assert len(server.requests) == 1
    with pytest.raises(AdapterError, match=told):
        raise error


async def test_two_vectors_for_one_text_are_an_error() -> None:
    """As many vectors as texts, but not one for each."""
    body = b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 0, "embedding": [3, 4]}]}'
    with asking(replying(answer(body))) as (_, embedder, _):
        async with embedder:
            with pytest.raises(AdapterError, match="which vector belongs to which text"):
                await embedder.embed(["a", "b"])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_refused(status: int) -> None:
    """The key is not sent to where it points."""
    with stub_server(replying(vectors_of)) as elsewhere:
        error, _, _ = await refused(replying(answer(b"", status=status, headers={"Location": elsewhere.url})))
        assert elsewhere.requests == []
    assert (error.status, error.state) == (status, FailureState.REJECTED)
    assert "redirects are never followed" in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
async def test_a_server_that_is_busy_or_broken_is_asked_again(status: int) -> None:
    """And the answer that comes counts."""
    with asking(replying(failing(status), failing(status), vectors_of)) as (server, embedder, time):
        async with embedder:
            assert await embedder.embed(["a"]) == [[1.0, 1.0]]
    assert len(server.requests) == 3
    assert time.slept_s == [0.1, 0.2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_a_refusal_for_good_is_not_asked_for_again(status: int) -> None:
    """It would be refused again."""
    error, server, _ = await refused(replying(failing(status)))
    assert (type(error), error.status, error.state) == (AdapterError, status, FailureState.REJECTED)
    assert len(server.requests) == 1


async def test_a_spent_quota_is_not_asked_for_again() -> None:
    """It comes as a 429, and no waiting helps."""
    error, server, _ = await refused(replying(failing(429, "insufficient_quota")))
    assert (error.code, len(server.requests)) == ("insufficient_quota", 1)
    error, server, _ = await refused(replying(failing(429, "rate_limit_exceeded")))
    assert (error.code, len(server.requests)) == ("rate_limit_exceeded", 4)


async def test_retries_end_with_the_attempts() -> None:
    """As an error that says that nothing was wrong with the call."""
    error, server, _ = await refused(replying(failing(503)), retry=RetryPolicy(attempts=3))
    assert isinstance(error, BackendUnavailableError)
    assert (error.attempts, error.status, len(server.requests)) == (3, 503, 3)
    assert "attempts: 3" in str(error)


async def test_the_servers_wish_to_wait_is_kept() -> None:
    """In seconds, as it says."""
    with asking(replying(failing(429, **{"Retry-After": "7"}), vectors_of)) as (_, embedder, time):
        async with embedder:
            await embedder.embed(["a"])
    assert time.slept_s == [7.0]


async def test_nothing_waits_beyond_the_deadline() -> None:
    """A wish that exceeds it ends the call at once."""
    policy = RetryPolicy(read_deadline_s=5)
    error, server, time = await refused(replying(failing(429, **{"Retry-After": "7"})), retry=policy)
    assert (isinstance(error, BackendUnavailableError), len(server.requests), time.slept_s) == (True, 1, [])
    assert error.retry_after_s == 7


async def test_a_silent_server_is_given_up() -> None:
    """After the time of one attempt, or what is left until the deadline."""

    async def silence(exchange: Exchange) -> None:
        await exchange.until_client_leaves()

    policy = RetryPolicy(attempts=2, attempt_s=0.5, read_deadline_s=1000)
    with anyio.fail_after(60):
        error, _, _ = await refused(silence, retry=policy)
    assert (isinstance(error, BackendUnavailableError), error.attempts) == (True, 2)
    assert error.state is FailureState.AMBIGUOUS


async def test_a_lost_connection_is_asked_again() -> None:
    """Embedding changes nothing, so that asking twice is safe."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.reset()
            await exchange.close()
        else:
            await replying(vectors_of)(exchange)

    with asking(script) as (server, embedder, _):
        async with embedder:
            assert await embedder.embed(["a"]) == [[1.0, 1.0]]
    assert len(server.requests) == 2


async def test_an_unreachable_server_is_unavailable() -> None:
    """Nobody listens there any more."""
    with asking(replying(vectors_of)) as (_, embedder, _):
        pass
    with pytest.raises(BackendUnavailableError, match="was not reached"):
        await embedder.embed(["a"])


@pytest.mark.parametrize("status", [301, 400, 401, 429, 500])
async def test_neither_key_nor_text_is_in_an_error_or_a_log(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Although the server repeats both."""
    with caplog.at_level(logging.DEBUG):
        error, server, _ = await refused(replying(failing(status, KEY, Location=KEY)))
    said = everything_said_by(error) + caplog.text + repr(error.__cause__)
    assert KEY not in said
    assert TEXT not in said
    assert KEY in server.requests[0].headers["authorization"]  # control: it was there to be told


def test_the_key_is_in_no_repr() -> None:
    """Nor in what a debugger shows of the object."""
    for key in (KEY, SecretStr(KEY)):
        embedder = HttpEmbedder("https://api.example/v1", "small", dimensions=2, key=key)
        assert repr(embedder) == "HttpEmbedder(model='small', dimensions=2)"
        assert KEY not in repr(vars(embedder))
        assert KEY not in repr(vars(copy.copy(embedder)))
        assert (embedder.name, embedder.dimensions) == ("small", 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dimensions", 0),
        ("dimensions", 1.5),
        ("max_texts", 0),
        ("max_chars", True),
        ("model", " "),
        ("key", "two words"),
        ("key", ""),
        ("key", "k\r\nX-Evil: 1"),
        ("retry", 3),
        ("base_url", "api.example/v1"),
        ("base_url", "http://api.example/v1"),
        ("base_url", "https://user:pass@api.example/v1"),
        ("base_url", "https://api.example/v1?key=x"),
        ("base_url", ""),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_made(option: str, value: Any) -> None:
    """With the option's name and without its value, which may be a secret."""
    settings: dict[str, Any] = {"base_url": "https://api.example/v1", "model": "small", "dimensions": 2, option: value}
    with pytest.raises(ConfigurationError, match=option) as caught:
        HttpEmbedder(**settings)
    assert "pass@" not in str(caught.value)


def test_plain_http_leaves_the_machine_only_where_that_is_allowed() -> None:
    """The key would be sent unencrypted."""
    HttpEmbedder("http://127.0.0.1:11434/v1", "small", dimensions=2)
    HttpEmbedder("http://embeddings.internal/v1", "small", dimensions=2, allow_http=True)


async def test_a_client_of_the_callers_is_used_and_left_open() -> None:
    """With its proxies and certificates."""
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=vectors_of(json.loads(request.content)["input"]))

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), trust_env=False) as client:
        async with HttpEmbedder("https://api.example/v1", "small", dimensions=2, client=client) as embedder:
            assert await embedder.embed(["a"]) == [[1.0, 1.0]]
        assert not client.is_closed
    assert str(seen[0].url) == "https://api.example/v1/embeddings"


async def test_a_closed_embedder_asks_nobody() -> None:
    """Closing twice is no error."""
    with asking(replying(vectors_of)) as (server, embedder, _):
        await embedder.aclose()
        await embedder.aclose()
        with pytest.raises(AdapterError, match="closed"):
            await embedder.embed(["a"])
        assert server.requests == []


async def test_a_text_that_json_cannot_hold_is_refused_before_it_is_sent() -> None:
    """By its number."""
    with asking(replying(vectors_of)) as (server, embedder, _):
        with pytest.raises(ValidationError, match=r"texts\[1\]"):
            await embedder.embed(["a", "\ud800"])
        assert server.requests == []


def test_one_embedder_works_over_several_event_loops() -> None:
    """Each loop has connections of its own."""
    with asking(replying(vectors_of)) as (server, embedder, _):
        ask: Callable[[list[str]], Awaitable[list[list[float]]]] = embedder.embed
        for backend in ("asyncio", "trio", "asyncio"):
            assert anyio.run(ask, ["a"], backend=backend) == [[1.0, 1.0]]
    assert server.connections == 3
