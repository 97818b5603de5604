"""Which transport an adapter takes: what was asked for, or by its default what suits the event loop."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_args

import anyio
import httptools
import httpx
import pytest

from agent_persistence import PersistenceConfig, SupabaseAdapter
from agent_persistence.backends.transport import over_httpcore, over_httptools
from agent_persistence.backends.transport.choice import AutomaticPool, Transport
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httptools import HttptoolsPool
from agent_persistence.backends.transport.over_httpx import InjectedClient
from agent_persistence.exceptions import ConfigurationError
from tests.backends.doubles import SECRET, URL
from tests.backends.stub_server import answer, stub_server

OURS = ("http_protocol", "over_httptools")


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Over what each new connection is."""
    made: list[str] = []
    for module, name in ((over_httpcore, "httpx"), (over_httptools, "httptools")):
        connection: Any = module._Connection

        def counted(*arguments: Any, name: str = name, connection: Any = connection) -> Any:
            made.append(name)
            return connection(*arguments)

        monkeypatch.setattr(module, "_Connection", counted)
    return made


@pytest.fixture
def without_httptools(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in OURS:
        monkeypatch.delitem(sys.modules, f"agent_persistence.backends.transport.{module}")
    monkeypatch.setitem(sys.modules, "httptools", None)


def test_one_adapter_is_right_in_every_event_loop(connected: list[str]) -> None:
    """Over httptools under asyncio, over httpx's engine under trio, by turns; and each loop has its own connections."""
    loops = ("asyncio", "trio", "asyncio", "trio")

    async def main() -> None:
        for number in range(3):
            assert await adapter.query("leads") == [{"id": 1}], number

    with stub_server(answer(b'[{"id":1}]')) as server:
        adapter = SupabaseAdapter(server.url, SECRET)
        for backend in loops:
            anyio.run(main, backend=backend)
        anyio.run(adapter.aclose, backend="trio")
        assert server.connections == len(loops)
    assert connected == ["httptools", "httpx", "httptools", "httpx"]


def test_trio_as_a_guest_of_asyncio_is_trio(connected: list[str]) -> None:
    """There is an asyncio loop in the thread then, but no task of it."""
    import asyncio

    import trio

    async def guest() -> None:
        adapter = SupabaseAdapter(server.url, SECRET)
        assert await adapter.query("leads") == []
        await adapter.aclose()

    async def host() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        outcomes: list[Any] = []

        def over(outcome: Any) -> None:
            outcomes.append(outcome)
            ended.set()

        trio.lowlevel.start_guest_run(guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=over)
        await ended.wait()
        outcomes[0].unwrap()

    with stub_server(answer()) as server:
        asyncio.run(host())
    assert connected == ["httpx"]


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, AutomaticPool),
        ({"transport": "auto"}, AutomaticPool),
        ({"transport": "httptools"}, HttptoolsPool),
        ({"transport": "httpx"}, HttpcorePool),
    ],
    ids=["default", "auto", "httptools", "httpx"],
)
def test_what_is_asked_for_is_taken(options: Any, taken: type) -> None:
    """By name; the default looks at the event loop."""
    assert type(SupabaseAdapter(URL, SECRET, **options)._http) is taken


@pytest.mark.parametrize("options", [{}, {"transport": "auto"}, {"transport": "httpx"}], ids=str)
def test_a_client_of_the_callers_goes_before_the_default(options: Any) -> None:
    """It is what the caller has set up."""
    assert type(SupabaseAdapter(URL, SECRET, client=httpx.AsyncClient(), **options)._http) is InjectedClient


def test_the_earlier_name_is_taken_and_told_of() -> None:
    """For a release; the warning points at who asked, and says what to write."""
    with pytest.warns(DeprecationWarning, match='called "httptools"') as told:
        adapter = SupabaseAdapter(URL, SECRET, transport="aiohttp")
    assert isinstance(adapter._http, HttptoolsPool)
    assert told[0].filename == __file__


@pytest.mark.usefixtures("without_httptools")
def test_without_httptools_the_default_is_httpx() -> None:
    """Nothing has to be installed, and nothing is said of it."""
    assert isinstance(SupabaseAdapter(URL, SECRET)._http, HttpcorePool)


@pytest.mark.usefixtures("without_httptools")
def test_a_missing_extra_is_named() -> None:
    """With the command that installs it."""
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[fast\]"):
        SupabaseAdapter(URL, SECRET, transport="httptools")


@pytest.mark.parametrize("version", ["0.6.3", "0.5.0"])
def test_a_parser_that_is_too_old_is_not_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package may have brought it; its parser is more lenient."""
    for module in OURS:
        monkeypatch.delitem(sys.modules, f"agent_persistence.backends.transport.{module}")
    monkeypatch.setattr(httptools, "__version__", version)
    assert isinstance(SupabaseAdapter(URL, SECRET)._http, HttpcorePool)
    with pytest.raises(ConfigurationError, match=r"0\.6\.4 or later"):
        SupabaseAdapter(URL, SECRET, transport="httptools")


@pytest.mark.parametrize(
    "made_with",
    [
        pytest.param(lambda: {"transport": "requests"}, id="an unknown one"),
        pytest.param(lambda: {"transport": None}, id="None"),
        pytest.param(lambda: {"transport": ["httpx"]}, id="a list"),
        pytest.param(lambda: {"transport": "httptools", "client": httpx.AsyncClient()}, id="beside a client"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(made_with: Callable[[], dict[str, Any]]) -> None:
    """At construction."""
    with pytest.raises(ConfigurationError, match="transport"):
        SupabaseAdapter(URL, SECRET, **made_with())


def test_the_settings_know_the_same_names() -> None:
    """PERSIST_TRANSPORT takes what the adapter takes."""
    assert get_args(PersistenceConfig.model_fields["transport"].annotation) == get_args(Transport)
