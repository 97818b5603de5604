"""The ways to the server that AGENT_PERSISTENCE_STACK chooses between: each is another one than the default."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import AsyncPersistenceService, SupabaseAdapter
from agent_persistence.backends.transport.choice import AutomaticPool
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httptools import HttptoolsPool
from agent_persistence.pipeline.coalescing.layer import Coalescing
from tests import stack
from tests.backends.doubles import SECRET, URL
from tests.doubles import RecordingAdapter


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """The stack of the test's parameter, in place of the one of the run."""
    monkeypatch.setattr(stack, "STACK", frozenset(request.param.split()))
    yield from stack.chosen()


def transport() -> Any:
    return SupabaseAdapter(URL, SECRET)._http


@pytest.mark.parametrize("chosen", ["httpx", "httpx shared"], indirect=True)
@pytest.mark.usefixtures("chosen")
def test_httpx_is_taken_where_nothing_else_is_asked_for() -> None:
    """In the place of what the event loop would choose."""
    assert isinstance(transport(), HttpcorePool)
    assert isinstance(SupabaseAdapter(URL, SECRET, transport="httptools")._http, HttptoolsPool)


@pytest.mark.parametrize("chosen", ["shared", "httpx shared"], indirect=True)
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
    assert isinstance(transport(), AutomaticPool)
    assert not any(isinstance(layer, Coalescing) for layer in AsyncPersistenceService(adapter).layers)
