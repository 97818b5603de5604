"""TLS certificates that have expired or are another's: an error at once, which says what helps, and nothing sent."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
import pytest

from agent_persistence import AdapterError, AsyncPersistenceService, RetryPolicy, SupabaseAdapter
from agent_persistence.backends.transport import over_httpcore, over_httptools
from agent_persistence.exceptions import FailureState
from tests.backends.stub_server import StubServer, answer, stub_server
from tests.faults.certificates import DAY, authority
from tests.faults.lane import API_KEY
from tests.faults.verbs import POLICY

Client = Literal["httpx", "httptools", "injected"]
HERE = ("127.0.0.1", "localhost")
KEY = "018f0000-0000-7000-8000-000000000001"
ROW = answer(b'[{"id":"%s","subject":"one"}]' % KEY.encode(), status=201)


@pytest.fixture(params=["httpx", "httptools", "injected"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """What moves the bytes; each of them trusts the tests' authority and no other."""
    for module in (over_httpcore, over_httptools):
        monkeypatch.setattr(module, "tls_context", authority().trusting)
    found: Client = request.param
    return found


async def _written(server: StubServer, client: Client) -> tuple[Any, int]:
    """What a write with retries returned or raised, and after how many pauses."""
    pauses = 0

    async def sleep(pause_s: float) -> None:
        nonlocal pauses
        pauses += 1

    async with httpx.AsyncClient(verify=authority().trusting(), trust_env=False) as injected:
        own: dict[str, Any] = {"client": injected} if client == "injected" else {"transport": client}
        adapter = SupabaseAdapter(server.url, API_KEY, **own)
        agent = AsyncPersistenceService(adapter, policy=POLICY, retry=RetryPolicy(), owns_adapter=True, sleep=sleep)
        async with agent:
            try:
                return await agent.write("conversations", {"id": KEY, "subject": "one"}), pauses
            except AdapterError as error:
                return error, pauses


def written(server: StubServer, client: Client) -> tuple[Any, int]:
    return anyio.run(_written, server, client)


@pytest.mark.parametrize(
    ("names", "since", "until", "told", "remedy"),
    [
        pytest.param(HERE, -2 * DAY, -DAY, "expired", "renew the certificate", id="expired"),
        pytest.param(HERE, DAY, 2 * DAY, "not yet valid", "clock", id="not yet valid"),
        pytest.param(["other.example"], -DAY, DAY, "mismatch", "host name", id="another host's"),
        pytest.param(["192.0.2.1"], -DAY, DAY, "mismatch", "host name", id="another address's"),
    ],
)
def test_a_certificate_that_is_not_good_is_an_error_at_once(
    names: list[str],
    since: timedelta,
    until: timedelta,
    told: str,
    remedy: str,
    client: Client,
    tmp_path: Path,
) -> None:
    """It is not tried again, no byte of a request leaves, and the error says what is wrong and what helps."""
    with stub_server(ROW, tls=authority().serving(tmp_path, *names, since=since, until=until)) as server:
        error, pauses = written(server, client)
        assert server.requests == []
    assert isinstance(error, AdapterError)
    assert (error.state, error.attempts, pauses) == (FailureState.REJECTED, 1, 0)
    assert told in str(error)
    assert remedy in (error.hint or "")


def test_a_certificate_that_is_good_is_accepted(client: Client, tmp_path: Path) -> None:
    """Control: by the same authority, for this address and now."""
    with stub_server(ROW, tls=authority().serving(tmp_path, *HERE)) as server:
        row, _ = written(server, client)
        assert len(server.requests) == 1
    assert row["subject"] == "one"


def test_a_good_certificate_by_nobody_known_is_not_accepted(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error tells how to trust an authority of one's own."""
    monkeypatch.undo()
    with stub_server(ROW, tls=authority().serving(tmp_path, *HERE)) as server:
        error, pauses = written(server, "httptools" if client == "httptools" else "httpx")
        assert server.requests == []
    assert (error.state, pauses) == (FailureState.REJECTED, 0)
    assert "verify=" in (error.hint or "")
