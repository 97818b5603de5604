"""The ways to the server that AGENT_PERSISTENCE_STACK chooses between: each is another one than the default."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from typing import Any

import anyio
import pytest

from agent_persistence import AsyncPersistenceService, SupabaseAdapter
from agent_persistence.backends.transport.over_aiohttp import AiohttpPool
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.pipeline.coalescing.layer import Coalescing
from tests import stack
from tests.backends.doubles import SECRET, URL
from tests.backends.stub_server import answer, stub_server
from tests.doubles import RecordingAdapter


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """The stack of the test's parameter, in place of the one of the run."""
    monkeypatch.setattr(stack, "STACK", frozenset(request.param.split()))
    yield from stack.chosen()


def transport() -> Any:
    return SupabaseAdapter(URL, SECRET)._http


@pytest.mark.parametrize("chosen", ["aiohttp", "aiohttp shared"], indirect=True)
@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_aiohttp_carries_what_runs_under_asyncio(backend: str) -> None:
    """Under trio, which it cannot serve, requests go as by default."""

    async def main() -> None:
        adapter = SupabaseAdapter(server.url, SECRET)
        assert isinstance(adapter._http, AiohttpPool)
        assert await adapter.query("leads") == []
        await adapter.aclose()

    with stub_server(answer()) as server:
        anyio.run(main, backend=backend)


@pytest.mark.parametrize("chosen", ["shared", "aiohttp shared"], indirect=True)
@pytest.mark.usefixtures("chosen")
@pytest.mark.asyncio
async def test_callers_share_what_they_read() -> None:
    """Several ask, one request is sent; and so it is for every service that says nothing else."""
    adapter = RecordingAdapter()
    assert await stack.as_chosen(adapter).query("leads") == []
    assert adapter.verbs == ["query"]
    assert any(isinstance(layer, Coalescing) for layer in AsyncPersistenceService(adapter).layers)


@pytest.mark.parametrize("chosen", [""], indirect=True)
@pytest.mark.usefixtures("chosen")
def test_nothing_is_changed_by_default() -> None:
    """Control for the tests above."""
    adapter = RecordingAdapter()
    assert stack.as_chosen(adapter) is adapter
    assert isinstance(transport(), HttpcorePool)
    assert not any(isinstance(layer, Coalescing) for layer in AsyncPersistenceService(adapter).layers)
