"""The HTTP client: what arrives on the wire, what its failures say, and that no request can spoil a later one."""

from __future__ import annotations

import gzip
import inspect
import logging
import random
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeAlias

import anyio
import anyio.abc
import anyio.to_thread
import httpcore
import httpx
import pytest

from agent_persistence.backends.transport import admission, connections, over_httpcore, over_httpx
from agent_persistence.backends.transport.failures import mapped_exceptions
from agent_persistence.backends.transport.messages import Request
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httptools import HttptoolsPool
from agent_persistence.backends.transport.over_httpx import InjectedClient, base_url
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState, OverloadedError
from tests.backends.doubles import BACKENDS, SELF_SIGNED, Backend, self_signed_context, subclasses
from tests.backends.stub_server import PATIENCE_S, Exchange, Script, answer, stub_server

NOT_SENT, REJECTED, AMBIGUOUS = FailureState.NOT_SENT, FailureState.REJECTED, FailureState.AMBIGUOUS
GET = Request("GET", "/rest/v1/leads?select=*")
POST = Request("POST", "/rest/v1/leads", (("Content-Type", "application/json"),), b'{"email":"a"}')
SENTINEL = "s3ntinel"

Transport: TypeAlias = HttpcorePool | HttptoolsPool | InjectedClient
Body: TypeAlias = Callable[[Transport], Awaitable[None]]


@dataclass(frozen=True)
class Way:
    """A way to the server: an event loop, and what moves the bytes on it."""

    backend: Backend
    client: Literal["httpx", "httptools", "injected"]
    loop: Literal["", "uvloop"] = ""

    @property
    def is_injected(self) -> bool:
        return self.client == "injected"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.backend, self.client, self.loop)))

    @property
    def options(self) -> dict[str, Any]:
        """What anyio.run takes beside the backend."""
        return {"use_uvloop": True} if self.loop else {}


HTTPTOOLS = [Way("asyncio", "httptools"), Way("asyncio", "httptools", "uvloop")]
OWN = [Way("asyncio", "httpx"), Way("trio", "httpx"), *HTTPTOOLS]
WAYS = [*OWN, Way("asyncio", "injected"), Way("trio", "injected")]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Both event loops."""
    found: Backend = request.param
    return found


@pytest.fixture(params=OWN, ids=str)
def own(request: pytest.FixtureRequest) -> Way:
    """The ways over connections of our own."""
    found: Way = request.param
    return found


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """All ways to the server."""
    found: Way = request.param
    return found


def pool_of(own: Way, url: str, **options: Any) -> HttpcorePool | HttptoolsPool:
    made = HttptoolsPool if own.client == "httptools" else HttpcorePool
    return made(base_url(url, allow_http=False), **options)


def run(way: Way, url: str, body: Body, **options: Any) -> None:
    """Run `body` with a transport to `url`, on a fresh event loop."""

    async def main() -> None:
        with anyio.fail_after(PATIENCE_S):
            if way.is_injected:
                async with httpx.AsyncClient(limits=httpx.Limits(max_connections=10), trust_env=False) as client:
                    await body(InjectedClient(client, base_url(url, allow_http=False), **options))
            else:
                pool = pool_of(way, url, **options)
                try:
                    await body(pool)
                finally:
                    await pool.aclose()

    anyio.run(main, backend=way.backend, backend_options=way.options)


def raised_by(way: Way, url: str, request: Request = GET, **options: Any) -> AdapterError:
    """The error of one request."""
    found: list[AdapterError] = []

    async def body(transport: Transport) -> None:
        with pytest.raises(AdapterError) as caught:
            await transport.send(request)
        found.append(caught.value)

    run(way, url, body, **options)
    return found[0]


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/gateway", "/a%20b", "/%C3%A9"])
def test_a_request_arrives_as_it_was_rendered(way: Way, prefix: str) -> None:
    """Method, target and body are sent byte for byte, below the path of the project's URL."""
    target = "/rest/v1/..%2Fclients?select=*&a=eq.(x),y:z*%2522%25%20%5C&or=(a.eq.%22%5C%22%22,b.eq.1)&c=eq."
    request = Request("POST", target, (("Prefer", "return=representation"), ("apikey", "k")), '{"ä":1}'.encode())

    async def body(transport: Transport) -> None:
        assert (await transport.send(request)).body == b'[{"id":1}]'

    with stub_server(answer(b'[{"id":1}]')) as server:
        run(way, server.url + prefix, body)
        [received] = server.requests
    assert (received.method, received.target, received.body) == ("POST", prefix + target, request.body)
    assert (received.headers["prefer"], received.headers["apikey"]) == ("return=representation", "k")


def test_a_response_is_its_status_headers_and_body(way: Way) -> None:
    """Header names are looked up in lower case; a chunked and compressed body comes out whole."""
    packed = gzip.compress(b'[{"id":1}]')
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    head = b"HTTP/1.1 206 Partial\r\nProxy-Status: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def body(transport: Transport) -> None:
        response = await transport.send(GET)
        assert (response.status, response.headers["proxy-status"], response.body) == (206, "x", b'[{"id":1}]')
        assert response.headers.get("retry-after") is None

    with stub_server(head + chunks) as server:
        run(way, server.url, body)


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(way: Way) -> None:
    """One caller after another shares one connection."""

    async def body(transport: Transport) -> None:
        for _ in range(5):
            await transport.send(GET)

    with stub_server(answer()) as server:
        run(way, server.url, body)
        assert (len(server.requests), server.connections) == (5, 1)


def test_there_are_no_more_connections_than_lanes(own: Way) -> None:
    """Callers beyond that wait their turn."""

    async def body(transport: Transport) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(transport.send, GET)

    with stub_server(answer()) as server:
        run(own, server.url, body, size=3)
        assert len(server.requests) == 30
        assert server.connections <= 3


def test_a_connection_that_the_server_closed_while_idle_is_replaced(way: Way) -> None:
    """Keep-alive that ended between two requests is no failure of the second."""

    async def once(exchange: Exchange) -> None:
        await exchange.send(answer())
        await exchange.close()

    async def body(transport: Transport) -> None:
        assert (await transport.send(GET)).status == 200
        await anyio.to_thread.run_sync(server.left.wait, PATIENCE_S)
        assert (await transport.send(GET)).status == 200

    with stub_server(once) as server:
        run(way, server.url, body)
        assert (len(server.requests), server.connections) == (2, 2)


STRAY = b'[{"id":"stray"}]'


@pytest.mark.parametrize(
    "stray",
    [answer(STRAY), b"stray bytes", b"\r\n\r\n", answer(STRAY) * 3, answer(STRAY)[:-20], answer(STRAY)[:9]],
    ids=["a second response", "bytes", "line ends", "three responses", "a part of one", "a part of its first line"],
)
def test_an_answer_is_never_matched_to_another_request(own: Way, stray: bytes) -> None:
    """Bytes behind a response, as a confused or malicious gateway sends, are not the next request's answer."""

    async def more_than_asked(exchange: Exchange) -> None:
        body = b'[{"id":"%s"}]' % exchange.request.target.encode()
        await exchange.send(answer(body) + (stray if exchange.number == 1 else b""))

    async def body(transport: Transport) -> None:
        for number in range(3):
            target = f"/rest/v1/t?select=*&id=eq.{number}"
            with suppress(AdapterError) if number == 0 else nullcontext():  # the answer that they came with may fail
                assert (await transport.send(Request("GET", target))).body == b'[{"id":"%s"}]' % target.encode()

    with stub_server(more_than_asked) as server:
        run(own, server.url, body)


def test_bytes_on_an_idle_connection_are_no_answer(own: Way) -> None:
    """A whole response that nobody asked for, come between two requests, is not the second one's."""
    sent = Event()

    async def then_one_more(exchange: Exchange) -> None:
        await exchange.send(answer(b"[%d]" % exchange.number))
        if exchange.number == 1:
            await server.held()
            await exchange.send(answer(b'["stray"]'))
            sent.set()

    async def body(transport: Transport) -> None:
        assert (await transport.send(GET)).body == b"[1]"
        server.released.set()
        assert sent.wait(PATIENCE_S)  # in the event loop's thread, so that it cannot have read them yet
        assert (await transport.send(GET)).body == b"[2]"

    with stub_server(then_one_more) as server:
        run(own, server.url, body)
        assert server.connections == 2


def test_an_informational_response_is_passed_over(way: Way) -> None:
    """103 Early Hints and 100 Continue precede the answer."""

    async def body(transport: Transport) -> None:
        assert (await transport.send(POST)).status == 201

    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with stub_server(early + answer(b"[{}]", status=201)) as server:
        run(way, server.url, body)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(way: Way, status: int) -> None:
    """The other host sees no request, and so no key."""

    async def body(transport: Transport) -> None:
        assert (await transport.send(GET)).status == status

    with (
        stub_server(answer()) as other,
        stub_server(answer(b"", status=status, headers={"Location": f"{other.url}/rest/v1/leads"})) as server,
    ):
        run(way, server.url, body)
        assert (len(server.requests), other.connections) == (1, 0)


def test_a_client_that_follows_redirects_does_not_follow_ours(backend: Backend) -> None:
    """The caller's `follow_redirects=True` is for the caller's own requests: the control shows that it works."""
    with (
        stub_server(answer()) as other,
        stub_server(answer(b"", status=307, headers={"Location": f"{other.url}/rest/v1/leads"})) as server,
    ):

        async def main() -> None:
            async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
                ours = InjectedClient(client, base_url(server.url, allow_http=False))
                assert (await ours.send(GET)).status == 307
                assert other.connections == 0
                assert (await client.get(server.url)).status_code == 200
                assert other.connections == 1

        anyio.run(main, backend=backend)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_in_the_environment_is_ignored(own: Way, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """`trust_env=False`: the environment cannot redirect requests that carry a key. Control: httpx would."""

    async def body(transport: Transport) -> None:
        assert (await transport.send(GET)).body == b"[]"

    async def control() -> None:
        async with httpx.AsyncClient() as client:
            assert (await client.get("http://project.supabase.example/")).text == "[1]"

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stub_server(answer(b"[1]")) as proxy, stub_server(answer()) as server:
        monkeypatch.setenv(variable, proxy.url)
        run(own, server.url, body)
        assert (proxy.connections, server.connections) == (0, 1)
        anyio.run(control, backend=own.backend)
        assert proxy.connections == 1


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def peak_of_memory() -> Iterator[Callable[[], int]]:
    """The highest number of bytes that Python objects took since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_a_gzip_bomb_is_refused_in_bounded_memory(way: Way, peak_of_memory: Callable[[], int]) -> None:
    """200 KB that would become 200 MB are refused while they are decompressed."""
    bomb = _bomb(200 * 2**20)
    reply = answer(bomb, headers={"Content-Encoding": "gzip"})
    with stub_server(reply) as server:
        error = raised_by(way, server.url, max_response_bytes=2**20)
    assert "larger than 1048576 bytes" in str(error)
    assert peak_of_memory() < 20 * 2**20


def _bomb(size: int) -> bytes:
    chunk = bytes(2**20)
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(chunk) for _ in range(size // len(chunk))) + packer.flush()


def test_an_endless_body_is_refused_in_bounded_memory(way: Way, peak_of_memory: Callable[[], int]) -> None:
    """A body without an end is cut off at the limit, and its connection is closed."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
        while True:
            await exchange.send(b" " * 65_536)

    with stub_server(endless) as server:
        error = raised_by(way, server.url, max_response_bytes=2**20)
        assert server.left.wait(PATIENCE_S)
    assert (error.state, error.status) == (AMBIGUOUS, 200)
    assert peak_of_memory() < 20 * 2**20


def test_endless_headers_are_refused_in_bounded_memory(way: Way, peak_of_memory: Callable[[], int]) -> None:
    """100 KB of header and more is no response."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await exchange.send(b"x" * 65_536)

    with stub_server(endless) as server:
        assert raised_by(way, server.url).state is AMBIGUOUS
    assert peak_of_memory() < 20 * 2**20


def test_a_body_of_exactly_the_limit_passes(way: Way) -> None:
    """Control: the limit is a limit, not a ban."""

    async def body(transport: Transport) -> None:
        assert len((await transport.send(GET)).body) == 1000

    with stub_server(answer(b" " * 1000)) as server:
        run(way, server.url, body, max_response_bytes=1000)


def test_too_many_waiting_calls_are_refused_at_once(own: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent for them, and those that wait are served."""
    monkeypatch.setattr(admission, "MAX_WAITING", 2)
    errors: list[AdapterError] = []

    async def held(exchange: Exchange) -> None:
        await server.held()
        await exchange.send(answer())

    async def body(transport: Transport) -> None:
        async def call() -> None:
            try:
                await transport.send(GET)
            except OverloadedError as error:
                errors.append(error)
                server.released.set()

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)

    with stub_server(held) as server:
        run(own, server.url, body, size=1)
        assert len(server.requests) == 3
    assert [(type(error), error.state) for error in errors] == [(OverloadedError, NOT_SENT)]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_not_sent(way: Way) -> None:
    """Nobody listens: nothing left."""
    with stub_server(answer()) as server:
        url = server.url
    assert raised_by(way, url, POST).state is NOT_SENT


async def _cut_before(exchange: Exchange) -> None:
    await exchange.close()


async def _reset(exchange: Exchange) -> None:
    exchange.reset()
    await exchange.close()


def _then_close(data: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        await exchange.close()

    return script


WHOLE = answer(b'[{"id":1}]')


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(_cut_before, id="closed without an answer"),
        pytest.param(_reset, id="reset without an answer"),
        pytest.param(_then_close(WHOLE[:10]), id="cut in the status line"),
        pytest.param(_then_close(WHOLE[:40]), id="cut in the header"),
        pytest.param(_then_close(WHOLE[:-4]), id="cut in the body"),
        pytest.param(_then_close(b"\x00\xff garbage \r\n\r\n"), id="garbage"),
        pytest.param(_then_close(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), id="another protocol"),
        pytest.param(_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]"), id="a length that is no number"),
        pytest.param(_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="a bad chunk"),
        pytest.param(_then_close(answer(b"no gzip", headers={"Content-Encoding": "gzip"})), id="a bad compression"),
        pytest.param(_then_close(answer(b"[]", headers={"Bad Name": "x"})), id="a bad header"),
    ],
)
def test_a_broken_answer_is_ambiguous(way: Way, script: Script) -> None:
    """The request left, so a write may have been applied; the text does not repeat what came."""
    with stub_server(script) as server:
        error = raised_by(way, server.url, POST)
        assert len(server.requests) == 1
    assert error.state is AMBIGUOUS
    assert "may have" in str(error)
    assert "garbage" not in str(error)


def test_after_a_broken_answer_the_next_request_has_a_fresh_connection(way: Way) -> None:
    """What is left of a failed exchange is thrown away."""

    async def first_is_broken(exchange: Exchange) -> None:
        await exchange.send(answer() if exchange.number > 1 else b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]")

    async def body(transport: Transport) -> None:
        with pytest.raises(AdapterError):
            await transport.send(POST)
        assert (await transport.send(POST)).body == b"[]"

    with stub_server(first_is_broken) as server:
        run(way, server.url, body)
        assert server.connections == 2


def test_a_certificate_that_nobody_signed_is_rejected(own: Way) -> None:
    """Nothing is sent, and it is not tried again: a man in the middle stays one."""
    with stub_server(answer(), tls=self_signed_context()) as server:
        error = raised_by(own, server.url)
        assert server.requests == []
    assert error.state is REJECTED
    assert "certificate" in str(error)
    assert not error.may_be_retried


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environment_adds_no_certificate_authority(
    own: Way, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With `trust_env=False` an authority in the environment does not count."""
    authority = tmp_path / "ca.pem"
    authority.write_text(SELF_SIGNED)
    monkeypatch.setenv(variable, str(authority if variable == "SSL_CERT_FILE" else tmp_path))
    with stub_server(answer(), tls=self_signed_context()) as server:
        assert raised_by(own, server.url).state is REJECTED
        assert server.requests == []


def test_a_lane_of_a_plain_adapter_never_serves_one_with_tls(backend: Backend) -> None:
    """Each transport has a pool of its own: one made without TLS verification is not handed to another."""

    async def main() -> None:
        plain = HttpcorePool(base_url(plain_server.url, allow_http=False))
        secure = HttpcorePool(base_url(secure_server.url, allow_http=False))
        await plain.send(GET)
        with pytest.raises(AdapterError, match="certificate"):
            await secure.send(GET)
        await secure.aclose()
        await plain.send(GET)
        await plain.aclose()

    with stub_server(answer()) as plain_server, stub_server(answer(), tls=self_signed_context()) as secure_server:
        anyio.run(main, backend=backend)
        assert secure_server.requests == []


# --- the exceptions of httpx ------------------------------------------------------------------------------------------

HTTPX_ERRORS: list[type[Exception]] = sorted(
    {
        value
        for _, value in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(value, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError))
    },
    key=lambda cls: cls.__name__,
)
HTTPCORE_ERRORS: list[type[Exception]] = sorted(
    {value for _, value in inspect.getmembers(httpcore, inspect.isclass) if issubclass(value, Exception)},
    key=lambda cls: cls.__name__,
)
STATES = {**over_httpx.STATES, **over_httpcore.STATES}
KNOWN_AS_NOT_SENT = {
    "ConnectError",
    "ConnectTimeout",
    "ConnectionNotAvailable",
    "PoolTimeout",
    "UnsupportedProtocol",
    "InvalidURL",
    "ProxyError",
}


def made(error_class: type[Exception]) -> Exception:
    """An exception of the class, with a text that must not be repeated."""
    if issubclass(error_class, httpx.HTTPStatusError):
        return error_class(SENTINEL, request=httpx.Request("GET", "http://a"), response=httpx.Response(500))
    if error_class in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead):
        return error_class()
    return error_class(SENTINEL)


def mapped(error: Exception) -> AdapterError:
    with pytest.raises(AdapterError) as caught, mapped_exceptions(STATES):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    "error_class", HTTPX_ERRORS + HTTPCORE_ERRORS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}"
)
def test_every_exception_of_the_client_has_a_state(error_class: type[Exception]) -> None:
    """None gets through as itself, and only those from before the request left say so."""
    error = mapped(made(error_class))
    assert error.state is (NOT_SENT if error_class.__name__ in KNOWN_AS_NOT_SENT else AMBIGUOUS)
    assert error_class.__name__ in str(error)
    assert SENTINEL not in str(error)


def test_the_exceptions_of_the_client_are_all_known() -> None:
    """Control for the test above: the lists hold every class known as not sent, and none of httpx's is private."""
    names = {cls.__name__ for cls in HTTPX_ERRORS + HTTPCORE_ERRORS}
    assert names >= KNOWN_AS_NOT_SENT
    assert names >= {cls.__name__ for cls in subclasses(httpx.HTTPError) if cls.__module__.startswith("httpx")}


def test_the_table_of_states_says_not_sent_for_exactly_these() -> None:
    """A new entry that claims nothing was sent has to be argued for here."""
    claimed = {cls.__name__ for cls, state in STATES.items() if state is NOT_SENT}
    assert claimed == KNOWN_AS_NOT_SENT
    assert set(STATES.values()) == {NOT_SENT, AMBIGUOUS}


def test_an_unknown_subclass_counts_as_its_nearest_ancestor() -> None:
    """A future httpx, or a custom transport, may raise classes of its own."""

    class LaterTimeout(httpx.ConnectTimeout):
        pass

    class LaterError(httpx.TransportError):
        pass

    assert mapped(LaterTimeout("x")).state is NOT_SENT
    assert mapped(LaterError("x")).state is AMBIGUOUS


@pytest.mark.parametrize("how", ["cause", "text"])
def test_a_certificate_error_is_not_retried_however_it_is_told(how: str) -> None:
    """httpcore reports it as a ConnectError, whose cause or text says what it was."""
    cause = ssl.SSLCertVerificationError("certificate verify failed")
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] …" if how == "text" else "")
    error.__cause__ = cause if how == "cause" else None
    assert mapped(error).state is REJECTED


def test_other_errors_pass_unchanged() -> None:
    """Control: a bug, or an AdapterError of our own, is not disguised."""
    ours = AdapterError("ours")
    for error in (KeyError("x"), ours):
        with pytest.raises(type(error)) as caught, mapped_exceptions(STATES):
            raise error
        assert caught.value is error


def test_a_response_hook_that_raises_is_an_adapter_error(backend: Backend) -> None:
    """`raise_for_status` as an event hook is an idiom of httpx's manual; its error must not pass as itself."""

    async def raise_for_status(response: httpx.Response) -> None:
        response.raise_for_status()

    async def main() -> None:
        async with httpx.AsyncClient(event_hooks={"response": [raise_for_status]}, trust_env=False) as client:
            with pytest.raises(AdapterError):
                await InjectedClient(client, base_url(server.url, allow_http=False)).send(GET)

    with stub_server(answer(status=409)) as server:
        anyio.run(main, backend=backend)


def test_a_closed_client_of_the_callers_is_an_adapter_error(backend: Backend) -> None:
    """httpx raises RuntimeError; nothing was sent."""

    async def main() -> None:
        client = httpx.AsyncClient(trust_env=False)
        await client.aclose()
        with pytest.raises(AdapterError):
            await InjectedClient(client, base_url("http://127.0.0.1:9", allow_http=False)).send(GET)

    anyio.run(main, backend=backend)


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_after_a_cancelled_request_the_next_one_has_a_fresh_connection(way: Way) -> None:
    """The connection of a cancelled request is closed; its late answer reaches nobody."""

    async def first_is_held(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.until_client_leaves()
        else:
            await exchange.send(answer(b'[{"id":2}]'))

    async def body(transport: Transport) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(transport.send, POST)
            await anyio.to_thread.run_sync(server.arrived.wait, PATIENCE_S)
            group.cancel_scope.cancel()
        assert (await transport.send(GET)).body == b'[{"id":2}]'

    with stub_server(first_is_held) as server:
        run(way, server.url, body)
        assert server.left.wait(PATIENCE_S)
        assert server.connections == 2


def test_a_call_cancelled_while_it_waits_sends_nothing(own: Way) -> None:
    """It gives its place in the queue back."""

    async def held(exchange: Exchange) -> None:
        await server.held()
        await exchange.send(answer())

    async def body(transport: Transport) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(transport.send, GET)
            await anyio.to_thread.run_sync(server.arrived.wait, PATIENCE_S)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await transport.send(POST)
            server.released.set()
        await transport.send(GET)

    with stub_server(held) as server:
        run(own, server.url, body, size=1)
        assert [received.method for received in server.requests] == ["GET", "GET"]


def test_a_storm_of_deadlines_leaves_every_connection_usable(way: Way) -> None:
    """40 tasks with 0 to 30 ms each for a second over few connections; then 20 plain requests all pass."""
    chance = random.Random(7)
    until = time.monotonic() + 1

    async def impatient(transport: Transport) -> None:
        while time.monotonic() < until:
            with anyio.move_on_after(chance.uniform(0, 0.03)), suppress(AdapterError):  # not sent in time
                await transport.send(GET)

    async def body(transport: Transport) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(impatient, transport)
        for _ in range(20):
            assert (await transport.send(GET)).status == 200

    with stub_server(answer()) as server:
        run(way, server.url, body, **({} if way.is_injected else {"size": 4}))


# --- closing ----------------------------------------------------------------------------------------------------------


def test_one_transport_works_over_several_event_loops(backend: Backend) -> None:
    """Each `asyncio.run` has connections of its own, which end with it: no ResourceWarning, no shared socket."""

    async def send(pool: HttpcorePool) -> None:
        for _ in range(2):
            assert (await pool.send(GET)).status == 200

    with stub_server(answer()) as server:
        pool = HttpcorePool(base_url(server.url, allow_http=False))
        for count in (1, 2, 3):
            anyio.run(send, pool, backend=backend)
            assert server.connections == count
        anyio.run(pool.aclose, backend=backend)


def test_closing_is_final_and_may_be_repeated(own: Way) -> None:
    """Idle connections are closed at once, later requests are refused."""

    async def body(transport: Transport) -> None:
        await transport.send(GET)
        await transport.aclose()
        await transport.aclose()
        assert await anyio.to_thread.run_sync(server.left.wait, PATIENCE_S)
        with pytest.raises(AdapterError, match="closed"):
            await transport.send(GET)

    with stub_server(answer()) as server:
        run(own, server.url, body)
        assert len(server.requests) == 1


def test_closing_before_the_first_request_is_fine(own: Way) -> None:
    """There is nothing to close yet."""

    async def body(transport: Transport) -> None:
        await transport.aclose()

    run(own, "http://127.0.0.1:9", body)


def test_closing_waits_for_the_requests_under_way(way: Way) -> None:
    """Their answers are delivered before it ends. A client of the caller's that were closed while one of them connects
    would leave a connection open."""
    told: list[object] = []

    async def held(exchange: Exchange) -> None:
        await server.held()
        await exchange.send(answer())

    async def body(transport: Transport) -> None:
        async def call() -> None:
            told.append((await transport.send(GET)).status)

        async def close() -> None:
            await transport.aclose()
            told.append("closed")

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.to_thread.run_sync(server.arrived.wait, PATIENCE_S)
            group.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            server.released.set()

    with stub_server(held) as server:
        run(way, server.url, body)
    assert told == [200, "closed"]


def test_a_request_after_the_closing_is_refused(way: Way) -> None:
    """Nothing is sent, over the caller's client either."""

    async def body(transport: Transport) -> None:
        await transport.aclose()
        with pytest.raises(AdapterError, match="closed"):
            await transport.send(GET)

    with stub_server(answer()) as server:
        run(way, server.url, body)
        assert server.requests == []


def test_a_request_that_outlives_the_closing_leaves_no_connection(own: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is still delivered; its connection is closed afterwards, not kept for nobody."""
    monkeypatch.setattr(connections, "DRAIN_S", 0.01)
    answers: list[int] = []

    async def held(exchange: Exchange) -> None:
        await server.held()
        await exchange.send(answer())

    async def body(transport: Transport) -> None:
        async def call() -> None:
            answers.append((await transport.send(GET)).status)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.to_thread.run_sync(server.arrived.wait, PATIENCE_S)
            await transport.aclose()
            assert answers == []
            server.released.set()
        assert await anyio.to_thread.run_sync(server.left.wait, PATIENCE_S)

    with stub_server(held) as server:
        run(own, server.url, body)
    assert answers == [200]


def test_a_call_that_waits_when_the_transport_is_closed_sends_nothing(
    own: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing stops admission, also for those who stand in the queue already."""
    monkeypatch.setattr(connections, "DRAIN_S", 0.01)
    errors: list[AdapterError] = []

    async def held(exchange: Exchange) -> None:
        await server.held()
        await exchange.send(answer())

    async def body(transport: Transport) -> None:
        async def queued(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            task_status.started()
            with pytest.raises(AdapterError, match="closed") as caught:
                await transport.send(POST)
            errors.append(caught.value)

        async with anyio.create_task_group() as group:
            group.start_soon(transport.send, GET)
            await anyio.to_thread.run_sync(server.arrived.wait, PATIENCE_S)
            await group.start(queued)
            await anyio.wait_all_tasks_blocked()
            await transport.aclose()
            server.released.set()

    with stub_server(held) as server:
        run(own, server.url, body, size=1)
        assert [received.method for received in server.requests] == ["GET"]
    assert len(errors) == 1


def test_the_callers_client_stays_open(backend: Backend) -> None:
    """Closing us does not close it, and it may be used afterwards."""

    async def main() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            ours = InjectedClient(client, base_url(server.url, allow_http=False))
            await ours.send(GET)
            await ours.aclose()
            assert not client.is_closed
            assert (await client.get(server.url)).status_code == 200

    with stub_server(answer()) as server:
        anyio.run(main, backend=backend)


# --- logs -------------------------------------------------------------------------------------------------------------

LEAKY = Request("GET", f"/rest/v1/leads?select=*&email=eq.{SENTINEL}", (("apikey", SENTINEL),))


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_no_log_line_shows_a_filter_value_or_a_key(way: Way, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """httpx logs whole URLs at INFO, httpcore the answer's headers at DEBUG; not for our requests."""

    async def body(transport: Transport) -> None:
        await transport.send(LEAKY)

    async def echo(exchange: Exchange) -> None:
        """PostgREST repeats the query in Content-Location."""
        await exchange.send(answer(headers={"Content-Location": exchange.request.target}))

    with caplog.at_level(level), stub_server(echo) as server:
        run(way, server.url, body)
    assert SENTINEL not in caplog.text
    assert SENTINEL not in "".join(repr(vars(record)) for record in caplog.records)


def test_the_callers_own_requests_are_logged_as_ever(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """Control: the same client, used by its owner, writes its line, before and after and while ours are under way."""

    async def held_for_us(exchange: Exchange) -> None:
        if SENTINEL in exchange.request.target:
            await server.held()
        await exchange.send(answer())

    async def main() -> None:
        async with httpx.AsyncClient(trust_env=False) as client, anyio.create_task_group() as group:
            await client.get(f"{server.url}/before")
            group.start_soon(InjectedClient(client, base_url(server.url, allow_http=False)).send, LEAKY)
            await anyio.wait_all_tasks_blocked()
            await client.get(f"{server.url}/meanwhile")
            server.released.set()

    with caplog.at_level(logging.INFO), stub_server(held_for_us) as server:
        anyio.run(main, backend=backend)
    logged = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert [line.split()[3].rpartition("/")[2] for line in logged] == ["before", "meanwhile"]


# --- the project's URL ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.evil.example",
        "http://127.evil.example",
        "http://localhost.evil.example",
        "http://evil.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
    ],
)
def test_plain_http_leaves_the_machine_only_when_allowed(url: str) -> None:
    """The key would travel unencrypted; a name that only looks like loopback is not loopback."""
    with pytest.raises(ConfigurationError, match="unencrypted"):
        base_url(url, allow_http=False)
    assert base_url(url, allow_http=True).scheme == "http"


@pytest.mark.parametrize(
    "url",
    ["http://localhost", "http://localhost:54321", "http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:54321"],
)
def test_plain_http_to_this_machine_is_fine(url: str) -> None:
    """`supabase start` serves http on loopback."""
    assert str(base_url(url, allow_http=False)).rstrip("/") == url
