"""The transport over aiohttp; what it has in common with the others, `test_http.py` shows."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import inspect
import ssl
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import client_exceptions, http_exceptions

from agent_persistence import SupabaseAdapter
from agent_persistence.backends.transport.failures import as_adapter_error
from agent_persistence.backends.transport.messages import Request
from agent_persistence.backends.transport.over_aiohttp import CONNECTING, STATES, AiohttpPool
from agent_persistence.backends.transport.over_httpx import base_url
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from tests.backends.doubles import SECRET, URL, subclasses
from tests.backends.stub_server import Exchange, answer, stub_server

NOT_SENT, AMBIGUOUS = FailureState.NOT_SENT, FailureState.AMBIGUOUS

# --- exceptions -------------------------------------------------------------------------------------------------------

OF_ANOTHER_PROTOCOL = {"WSMessageTypeError", "EofStream", "WebSocketError"}
"""Raised where websockets are read, or caught inside aiohttp."""


def errors_of(*modules: Any) -> list[type[Exception]]:
    found = {
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and not issubclass(value, Warning) and value.__module__.startswith("aiohttp")
    }
    return sorted(found, key=lambda cls: cls.__name__)


ERRORS = [
    cls for cls in errors_of(aiohttp, client_exceptions, http_exceptions) if cls.__name__ not in OF_ANOTHER_PROTOCOL
]


@pytest.mark.parametrize("error_class", ERRORS, ids=lambda cls: cls.__name__)
def test_every_exception_of_aiohttp_has_a_state(error_class: type[Exception]) -> None:
    """None gets through as itself; those that say that nothing was sent come from its connector, which is not used."""
    assert next((STATES[cls] for cls in error_class.__mro__ if cls in STATES), None) is AMBIGUOUS


def test_the_exceptions_of_aiohttp_are_all_known() -> None:
    """Control for the test above: the list is aiohttp's own, with every subclass that is loaded."""
    names = {cls.__name__ for cls in ERRORS}
    roots = (aiohttp.ClientError, http_exceptions.HttpProcessingError)
    loaded = {cls.__name__ for root in roots for cls in subclasses(root) if cls.__module__.startswith("aiohttp")}
    assert loaded <= names | OF_ANOTHER_PROTOCOL
    assert len(names) > 30


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


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", ["\r\nX: y", "\n", "\r", "\0"], ids=repr)
@pytest.mark.parametrize("place", ["target", "name", "value"])
def test_a_line_end_cannot_get_into_a_request(injected: str, place: str) -> None:
    """Whatever may stand before the pool, nothing that they send has a line more than it should."""
    at = {"target": "", "name": "", "value": "", place: injected}
    request = Request("GET", f"/rest/v1/t{at['target']}", ((f"Prefer{at['name']}", f"count=exact{at['value']}"),))

    async def main() -> None:
        pool = AiohttpPool(base_url(server.url, allow_http=False))
        with pytest.raises(AdapterError, match="line end") as caught:
            await pool.send(request)
        assert caught.value.state is FailureState.REJECTED
        await pool.aclose()

    with stub_server(answer()) as server:
        anyio.run(main)
        assert server.requests == []


def test_a_part_of_a_response_that_nobody_asked_for_ends_the_connection() -> None:
    """Its rest, come after the next request, would make another one of that request's answer."""
    stray = answer(b'[{"id":"stray"}]')

    async def then_a_part(exchange: Exchange) -> None:
        before = stray[-20:] if exchange.request.connection == exchange.number - 1 else b""
        await exchange.send(before + answer(b"[%d]" % exchange.number) + stray[:-20])

    async def main() -> None:
        pool = AiohttpPool(base_url(server.url, allow_http=False))
        for number in (1, 2):
            assert (await pool.send(Request("GET", "/rest/v1/t"))).body == b"[%d]" % number
        await pool.aclose()

    with stub_server(then_a_part) as server:
        anyio.run(main)
        assert server.connections == 2


# --- no sending by itself ---------------------------------------------------------------------------------------------


async def _answers_once(exchange: Exchange) -> None:
    """The first request of a connection is answered; the second finds it closed."""
    if exchange.number == 2:
        await exchange.close()
    else:
        await exchange.send(answer())


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "POST"])
def test_a_request_is_sent_once_on_a_connection_that_breaks(method: str) -> None:
    """aiohttp would send what it deems idempotent a second time; whether to is for the retries above to say."""

    async def main() -> None:
        pool = AiohttpPool(base_url(server.url, allow_http=False))
        await pool.send(Request("GET", "/rest/v1/t"))
        with pytest.raises(AdapterError) as caught:
            await pool.send(Request(method, "/rest/v1/t"))
        assert caught.value.state is AMBIGUOUS
        await pool.aclose()

    with stub_server(_answers_once) as server:
        anyio.run(main)
        assert len(server.requests) == 2


def test_aiohttp_by_itself_sends_a_request_twice() -> None:
    """Control for the test above."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.get(server.url) as response:
                    await response.read()

    with stub_server(_answers_once) as server:
        anyio.run(main)
        assert len(server.requests) == 3


def test_a_cookie_is_neither_kept_nor_sent() -> None:
    """A gateway's session of one caller is not another's."""

    async def main() -> None:
        pool = AiohttpPool(base_url(server.url, allow_http=False))
        for _ in range(2):
            await pool.send(Request("GET", "/rest/v1/t"))
        await pool.aclose()

    with stub_server(answer(headers={"Set-Cookie": "a=b; Path=/"})) as server:
        anyio.run(main)
        assert [received.headers.get("cookie") for received in server.requests] == [None, None]


# --- the choice -------------------------------------------------------------------------------------------------------


def test_the_transport_is_a_choice_of_the_adapters() -> None:
    """One request over each; both are the adapter's own."""

    async def main() -> None:
        adapter = SupabaseAdapter(server.url, SECRET, transport="aiohttp")
        assert await adapter.query("leads") == [{"id": 1}]
        await adapter.aclose()

    with stub_server(answer(b'[{"id":1}]')) as server:
        anyio.run(main)
        assert server.requests[0].headers["user-agent"].startswith("agent-persistence/")


def test_a_body_of_two_megabytes_arrives_whole() -> None:
    """It is more than a socket takes at once."""
    body = bytes(2 * 2**20)

    async def main() -> None:
        pool = AiohttpPool(base_url(server.url, allow_http=False))
        await pool.send(Request("POST", "/rest/v1/t", (("Content-Type", "application/json"),), body))
        await pool.aclose()

    with stub_server(answer()) as server:
        anyio.run(main)
        assert server.requests[0].body == body


def test_trio_is_told_that_aiohttp_needs_asyncio() -> None:
    """At the first request: an adapter may be made before any event loop runs."""

    async def main() -> None:
        adapter = SupabaseAdapter(URL, SECRET, transport="aiohttp")
        with pytest.raises(ConfigurationError, match="asyncio"):
            await adapter.query("leads")

    anyio.run(main, backend="trio")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.delitem(sys.modules, "agent_persistence.backends.transport.over_aiohttp")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[aiohttp\]"):
        SupabaseAdapter(URL, SECRET, transport="aiohttp")


@pytest.mark.parametrize(
    "made_with",
    [
        pytest.param(lambda: {"transport": "requests"}, id="an unknown one"),
        pytest.param(lambda: {"transport": None}, id="None"),
        pytest.param(lambda: {"transport": "aiohttp", "client": httpx.AsyncClient()}, id="beside a client"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(made_with: Callable[[], dict[str, Any]]) -> None:
    """At construction."""
    with pytest.raises(ConfigurationError, match="transport"):
        SupabaseAdapter(URL, SECRET, **made_with())
