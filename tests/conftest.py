"""Fixtures that every folder of the tests may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from agent_persistence import metrics
from agent_persistence.testing import reset_memory
from tests import stack
from tests.server import LocalServer
from tests.server.fixtures import local_server

__all__ = ["local_server"]

# How long an example takes is up to what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_VARIABLES = (
    "SUPABASE_URL",
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_KEY",
    "DATABASE_URL",
    "PERSIST_LOCAL_PATH",
    "PERSIST_SPOOL",
    "PERSIST_ALLOWED_TABLES",
    "PERSIST_READ_TABLES",
    "PERSIST_WRITE_TABLES",
    "PERSIST_WRITE_DENY",
    "PERSIST_LOGGING",
    "PERSIST_TRANSPORT",
)


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every process that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts with an empty shared store, no metrics and none of our variables set."""
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    reset_memory()
    metrics.reset()
    yield
    reset_memory()


@pytest.fixture(scope="session", autouse=True)
def _stack() -> Iterator[None]:
    """The transport, and whether requests are shared, are those that AGENT_PERSISTENCE_STACK names."""
    yield from stack.chosen()


@pytest.fixture
def server(local_server: LocalServer) -> LocalServer:
    """The real server, with empty tables."""
    local_server.reset()
    return local_server
