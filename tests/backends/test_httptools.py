"""The transport over httptools; what it has in common with the others, `test_http.py` shows."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import asyncio
import gc
import gzip
import inspect
import socket
import ssl
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
import httptools
import pytest

from agent_persistence import SupabaseAdapter
from agent_persistence.backends.transport import over_httptools
from agent_persistence.backends.transport.dialling import dialled
from agent_persistence.backends.transport.failures import as_adapter_error
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.backends.transport.over_httptools import CONNECTING, STATES, HttptoolsPool
from agent_persistence.backends.transport.over_httpx import base_url
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from tests.backends.doubles import SECRET, URL, self_signed_context, subclasses
from tests.backends.stub_server import PATIENCE_S, Exchange, Script, StubServer, answer, stub_server
from tests.faults.certificates import DAY, authority
from tests.faults.steps import cancelled_at

NOT_SENT, AMBIGUOUS = FailureState.NOT_SENT, FailureState.AMBIGUOUS
GET = Request("GET", "/rest/v1/t")

Body: TypeAlias = Callable[[HttptoolsPool, StubServer], Awaitable[None]]


def run(script: Script | bytes, body: Body, **options: Any) -> StubServer:
    """Run `body` with connections to a server that answers so; the server, which has ended."""

    async def main() -> None:
        pool = HttptoolsPool(base_url(server.url, allow_http=False), **options)
        try:
            with anyio.fail_after(PATIENCE_S):
                await body(pool, server)
        finally:
            await pool.aclose()

    with stub_server(script) as server:
        anyio.run(main)
    return server


def told(script: Script | bytes, request: Request = GET, **options: Any) -> Response | AdapterError:
    """The response to a lone request, or its error."""
    found: list[Response | AdapterError] = []

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        try:
            found.append(await pool.send(request))
        except AdapterError as error:
            found.append(error)

    run(script, body, **options)
    return found[0]


def error_of(script: Script | bytes, **options: Any) -> AdapterError:
    error = told(script, **options)
    assert isinstance(error, AdapterError)
    return error


def response_to(script: Script | bytes, request: Request = GET) -> Response:
    response = told(script, request)
    assert isinstance(response, Response), response
    return response


def then_close(*pieces: bytes) -> Script:
    """Send the pieces, with a turn of the event loop between them, and end the connection."""

    async def script(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await anyio.sleep(0.001)
        await exchange.close()

    return script


# --- exceptions -------------------------------------------------------------------------------------------------------

ERRORS: list[type[Exception]] = sorted(
    {
        value
        for _, value in inspect.getmembers(httptools, inspect.isclass)
        if issubclass(value, Exception) and value is not httptools.HttpParserInvalidURLError
    },
    key=lambda cls: cls.__name__,
)
"""Those that reading a response can raise; the one left out is raised by httptools.parse_url."""


@pytest.mark.parametrize("error_class", ERRORS, ids=lambda cls: cls.__name__)
def test_every_exception_of_httptools_has_a_state(error_class: type[Exception]) -> None:
    """None gets through as itself, and none says that nothing was sent: they come from reading what was answered."""
    assert next((STATES[cls] for cls in error_class.__mro__ if cls in STATES), None) is AMBIGUOUS


def test_the_exceptions_of_httptools_are_all_known() -> None:
    """Control for the test above: the list is httptools' own, with every subclass that is loaded."""
    names = {cls.__name__ for cls in (*ERRORS, httptools.HttpParserInvalidURLError)}
    assert {cls.__name__ for cls in subclasses(httptools.HttpParserError)} <= names
    assert names >= {"HttpParserError", "HttpParserUpgrade", "HttpParserCallbackError"}


def test_a_class_that_nobody_mapped_fails_the_tests_above() -> None:
    """Control: an exception of another family has no state."""

    class Later(Exception):  # noqa: N818
        pass

    with pytest.raises(StopIteration):
        as_adapter_error(Later(), STATES)


def test_a_certificate_error_is_a_rejection_though_it_comes_while_connecting() -> None:
    """It is an OSError, which is "not sent" there and would be tried again."""
    error = ssl.SSLCertVerificationError("certificate verify failed")
    assert as_adapter_error(error, CONNECTING).state is FailureState.REJECTED
    assert as_adapter_error(ConnectionRefusedError(), CONNECTING).state is NOT_SENT


def test_a_name_that_no_host_can_have_is_not_sent() -> None:
    """Looking it up raises no OSError, but a UnicodeError."""

    async def main() -> None:
        pool = HttptoolsPool(base_url(f"https://{'a' * 64}.example", allow_http=False))
        with pytest.raises(AdapterError) as caught:
            await pool.send(GET)
        assert caught.value.state is NOT_SENT
        await pool.aclose()

    anyio.run(main)


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", ["\r\nX: y", "\n", "\r", "\0"], ids=repr)
@pytest.mark.parametrize("place", ["method", "target", "name", "value"])
def test_a_line_end_cannot_get_into_a_request(injected: str, place: str) -> None:
    """Whatever may stand before the pool, nothing that it sends has a line more than it should."""
    at = {"method": "", "target": "", "name": "", "value": "", place: injected}
    headers = ((f"Prefer{at['name']}", f"count=exact{at['value']}"),)
    request = Request(f"GET{at['method']}", f"/rest/v1/t{at['target']}", headers)

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        with pytest.raises(AdapterError, match="line end") as caught:
            await pool.send(request)
        assert caught.value.state is FailureState.REJECTED

    assert run(answer(), body).requests == []


def test_a_body_of_two_megabytes_arrives_whole() -> None:
    """It is more than a socket takes at once."""
    request = Request("POST", "/rest/v1/t", (("Content-Type", "application/json"),), bytes(2 * 2**20))

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        await pool.send(request)

    assert run(answer(), body).requests[0].body == request.body


def test_a_cookie_is_neither_kept_nor_sent() -> None:
    """A gateway's session of one caller is not another's."""

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in range(2):
            await pool.send(GET)

    server = run(answer(headers={"Set-Cookie": "a=b; Path=/"}), body)
    assert [received.headers.get("cookie") for received in server.requests] == [None, None]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST"])
def test_a_request_is_sent_once_on_a_connection_that_breaks(method: str) -> None:
    """Whether it may be sent a second time is for the retries above to say."""

    async def answers_once(exchange: Exchange) -> None:
        if exchange.number == 2:
            await exchange.close()
        else:
            await exchange.send(answer())

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        await pool.send(GET)
        with pytest.raises(AdapterError, match="ClosedEarlyError") as caught:
            await pool.send(Request(method, "/rest/v1/t"))
        assert caught.value.state is AMBIGUOUS

    assert len(run(answers_once, body).requests) == 2


# --- what is read -----------------------------------------------------------------------------------------------------

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n"
)
WHOLE: dict[str, bytes] = {
    "with a length": answer(b"[1]"),
    "in chunks": CHUNKED + b"0\r\n\r\n",
    "in chunks, with a trailer": CHUNKED + b"0\r\nContent-Type: text/html\r\nX: y\r\n\r\n",
    "compressed": answer(gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip"}),
    "behind two informational ones": b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + answer(b"[1]"),
    "of HTTP/1.0": answer(b"[1]").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "without a reason": answer(b"[1]").replace(b" Scripted", b""),
}


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_a_response_is_the_same_wherever_it_is_cut_in_pieces(whole: bytes) -> None:
    """Two pieces cut at every byte, and at last one byte at a time."""
    cuts: list[tuple[bytes, ...]] = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
    cuts.append(tuple(bytes([byte]) for byte in whole))

    async def next_cut(exchange: Exchange) -> None:
        for piece in cuts[exchange.number - 1]:
            await exchange.send(piece)
            await anyio.sleep(0.0005)

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in cuts:
            response = await pool.send(GET)
            assert (response.status, response.body) == (200, b"[1]")
            assert response.headers["content-type"] == "application/json"
            assert "x" not in response.headers

    server = run(next_cut, body)
    assert server.connections == (len(cuts) if b"HTTP/1.0" in whole else 1)


def test_a_header_that_comes_twice_is_one_list() -> None:
    """As RFC 9110, section 5.2, has it; the names in lower case."""
    head = b"HTTP/1.1 200 OK\r\nPreference-Applied: a\r\nPREFERENCE-APPLIED: b\r\nContent-Length: 0\r\n\r\n"
    assert response_to(head).headers["preference-applied"] == "a, b"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_ends_with_its_head(status: int) -> None:
    """No length is told, and the connection stays."""

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in range(2):
            response = await pool.send(GET)
            assert (response.status, response.body) == (status, b"")

    assert run(b"HTTP/1.1 %d Nothing\r\n\r\n" % status, body).connections == 1


def test_the_end_of_the_connection_ends_a_response_that_tells_no_other() -> None:
    """Such a response, and none that says how long it is, or that it comes in chunks."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    assert response_to(then_close(head + b"\r\n[", b"1]")).body == b"[1]"
    for framing in (b"Content-Length: 4", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"):
        assert error_of(then_close(head + framing + b"\r\n\r\n[1]")).state is AMBIGUOUS
    packed = gzip.compress(b"[1]")
    for reply, whole in ((packed, True), (packed[:-1], False)):
        found = told(then_close(head + b"Content-Encoding: gzip\r\n\r\n" + reply))
        assert isinstance(found, Response) is whole


def test_the_response_to_head_has_no_body() -> None:
    """Though it tells the length of the one that GET would bring; its connection is not used again."""

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in range(2):
            response = await pool.send(Request("HEAD", "/rest/v1/t"))
            assert (response.headers["content-length"], response.body) == ("40", b"")

    head = answer(b"x" * 40).partition(b"x")[0]
    assert run(head, body).connections == 2


def test_switching_protocols_ends_the_connection() -> None:
    """Nobody asked for another protocol; what follows is none of HTTP."""
    head = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in range(2):
            assert (await pool.send(GET)).status == 101

    assert run(head, body).connections == 2
    assert run(head + b"HTTP/1.1 200 OK\r\n\r\n", body).connections == 2


@pytest.mark.parametrize("told_by", ["HTTP/1.0", "Connection: close"])
def test_a_connection_that_the_server_will_close_is_not_used_again(told_by: str) -> None:
    """It need not have done so yet."""
    reply = answer(headers={"Connection": "close"}) if told_by.startswith("C") else answer().replace(b"1.1", b"1.0")

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for _ in range(2):
            assert (await pool.send(GET)).body == b"[]"

    assert run(reply, body).connections == 2


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\nX: ", b"x"), id="a header"),
        pytest.param((b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers"),
        pytest.param((b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"), id="informational responses"),
        pytest.param((CHUNKED + b"0\r\nX: ", b"x"), id="a trailer"),
        pytest.param((CHUNKED + b"0\r\n", b"X: y\r\n"), id="trailers"),
        pytest.param((CHUNKED + b"1;x=", b"x"), id="a chunk's extension"),
    ],
)
def test_what_never_comes_to_an_end_is_refused_in_bounded_memory(endless: tuple[bytes, bytes]) -> None:
    """100 KB that bring nothing of a body are no response."""
    begin, more = endless

    async def script(exchange: Exchange) -> None:
        await exchange.send(begin)
        while True:
            await exchange.send(more * (65_536 // len(more)))

    tracemalloc.start()
    try:
        error = error_of(script)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    assert (error.state, "its head is larger" in str(error)) == (AMBIGUOUS, True)


def test_what_follows_a_compressed_body_is_refused() -> None:
    """It would be kept, undecompressed, for as long as it goes on."""
    error = error_of(then_close(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"[1]"), b"more"))
    assert (error.state, error.status) == (AMBIGUOUS, 200)


def test_no_response_is_kept_that_was_delivered() -> None:
    """An idle connection holds nothing of it: 20 of them could hold 20 times what one may be large."""

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        response = await pool.send(GET)
        assert kept(response.body) == [response]
        del response
        await asyncio.sleep(0)  # until then the event loop holds what woke this task
        assert kept(whole) == []

    def kept(body: bytes) -> list[object]:
        return [found for found in gc.get_objects() if isinstance(found, Response) and found.body == body]

    whole = b'"%s"' % (b"x" * 100_000)
    run(answer(whole), body)


# --- bytes that nobody asked for --------------------------------------------------------------------------------------


def test_a_part_of_a_response_that_nobody_asked_for_ends_the_connection() -> None:
    """Its rest, come after the next request, would make another one of that request's answer."""
    stray = answer(b'[{"id":"stray"}]')

    async def then_a_part(exchange: Exchange) -> None:
        before = stray[-20:] if exchange.request.connection == exchange.number - 1 else b""
        await exchange.send(before + answer(b"[%d]" % exchange.number) + stray[:-20])

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        for number in (1, 2):
            assert (await pool.send(GET)).body == b"[%d]" % number

    assert run(then_a_part, body).connections == 2


@pytest.mark.parametrize("stray", [b"H", b"\r", answer(b'["stray"]')], ids=["a byte", "a line end", "a response"])
def test_a_byte_that_comes_to_an_idle_connection_ends_it(stray: bytes) -> None:
    """At once: nobody need ask for anything, and the next request has a fresh one."""

    async def then_one_more(exchange: Exchange) -> None:
        await exchange.send(answer(b"[%d]" % exchange.number))
        if exchange.number == 1:
            await anyio.to_thread.run_sync(released.wait, PATIENCE_S)
            await exchange.send(stray)
            await exchange.until_client_leaves()

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        assert (await pool.send(GET)).body == b"[1]"
        released.set()
        assert await anyio.to_thread.run_sync(server.left.wait, PATIENCE_S)
        assert (await pool.send(GET)).body == b"[2]"

    released = Event()
    assert run(then_one_more, body).connections == 2


def test_a_late_answer_reaches_nobody() -> None:
    """The caller has gone; whoever asks next has another connection, while the first one's answer arrives."""

    async def first_is_late(exchange: Exchange) -> None:
        if exchange.number == 1:
            await anyio.to_thread.run_sync(released.wait, PATIENCE_S)
        await exchange.send(answer(b"[%d]" % exchange.number))

    async def body(pool: HttptoolsPool, server: StubServer) -> None:
        with anyio.move_on_after(0.05):
            await pool.send(GET)
        released.set()
        for number in range(2, 6):
            assert (await pool.send(GET)).body == b"[%d]" % number

    released = Event()
    assert run(first_is_late, body, size=1).connections == 2


def test_a_server_that_speaks_first_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is no answer: there was no question."""
    received: list[bytes] = []

    async def main() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b'["stray"]'))
            greeted.set()
            with suppress(ConnectionResetError):
                received.append(await reader.read())
            writer.close()
            left.set()

        async def slowly_dialled(host: str, port: int) -> socket.socket:
            connection = await dialled(host, port)
            await greeted.wait()
            return connection

        monkeypatch.setattr(over_httptools, "dialled", slowly_dialled)
        greeted, left = asyncio.Event(), asyncio.Event()
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            pool = HttptoolsPool(base_url(f"http://127.0.0.1:{port}", allow_http=False))
            with pytest.raises(AdapterError) as caught:
                await pool.send(GET)
            assert caught.value.state is NOT_SENT
            await pool.aclose()
            await left.wait()

    asyncio.run(main())
    assert b"".join(received) == b""


# --- the event loop ---------------------------------------------------------------------------------------------------


def test_trio_is_told_that_httptools_needs_asyncio() -> None:
    """At the first request: an adapter may be made before any event loop runs."""

    async def main() -> None:
        adapter = SupabaseAdapter(URL, SECRET, transport="httptools")
        with pytest.raises(ConfigurationError, match="asyncio"):
            await adapter.query("leads")

    anyio.run(main, backend="trio")


def test_a_loop_that_ends_closes_what_is_idle() -> None:
    """Nobody called aclose: no ResourceWarning, neither then nor when the garbage is collected."""
    pool: HttptoolsPool | None = None

    async def main() -> None:
        assert pool is not None
        await asyncio.gather(*(pool.send(GET) for _ in range(5)))

    with stub_server(answer()) as server:
        pool = HttptoolsPool(base_url(server.url, allow_http=False))
        for _ in range(2):
            asyncio.run(main())
        pool = None
        gc.collect()
        assert server.left.wait(PATIENCE_S)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_one_connection_with_tls_carries_many_requests(
    loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of more than one record each; what TLS itself has to say, behind the handshake, is nobody's answer."""
    monkeypatch.setattr(over_httptools, "tls_context", authority().trusting)
    large = Request("POST", "/rest/v1/t", (), bytes(300_000))

    async def main() -> None:
        pool = HttptoolsPool(base_url(server.url, allow_http=False), size=1)
        with anyio.fail_after(PATIENCE_S):
            for _ in range(10):
                assert len((await pool.send(large)).body) == 500_000
        await pool.aclose()

    serving = authority().serving(tmp_path, "127.0.0.1", since=-DAY, until=DAY)
    with stub_server(answer(bytes(500_000)), tls=serving) as server:
        anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})
        assert [len(received.body) for received in server.requests] == [300_000] * 10
        assert server.connections == 1


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "with TLS"])
def test_a_connection_that_is_cancelled_while_it_is_made_leaves_no_socket(encrypted: bool) -> None:
    """At every await from the first on, however much of a handshake is over; the certificate is not accepted."""

    async def tried() -> object:
        pool = HttptoolsPool(base_url(server.url, allow_http=False))
        try:
            return await pool.send(GET)
        except AdapterError as error:
            return error
        finally:
            await pool.aclose()

    async def main() -> int:
        for step in range(100):
            found = await cancelled_at(step, "task", tried())
            for _ in range(3):  # in the turns that follow, asyncio closes what a cancelled handshake leaves
                await asyncio.sleep(0)
            assert open_sockets(int(server.url.rpartition(":")[2])) == 0
            if found is not None:
                return step
        raise AssertionError("it never got through")

    with stub_server(answer(), tls=self_signed_context() if encrypted else None) as server:
        assert asyncio.run(main()) >= 2


def open_sockets(port: int) -> int:
    """How many sockets of ours are connected to the port."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, socket.socket) and each.family == socket.AF_INET]
    return sum(_peer(each) == port for each in found)


def _peer(connection: socket.socket) -> object:
    with suppress(OSError):  # it is not connected, or closed
        return connection.getpeername()[1]
    return None
