"""One event loop and one pair of adapters for each module; how many examples, and the seed that repeats them."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from agent_persistence import InMemoryAdapter, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.schema_registry import default_schema
from tests.differential.examples import SEED
from tests.differential.twins import Tally, Twins
from tests.server import LocalServer

REAL: dict[str, Callable[[LocalServer], Any]] = {
    "supabase": lambda server: SupabaseAdapter(server.url, server.service_key),
    "postgres": lambda server: PostgresAdapter(server.database_url, role="service_role"),
}


def pytest_report_header() -> str:
    return f"differential suite: AGENT_PERSISTENCE_SEED={SEED}"


@pytest.fixture(autouse=True)
def _few_refusals(twins: Twins) -> Iterator[None]:
    """Refusals cannot eat a test: those of the twin are counted, and too many fail it."""
    twins.tally = Tally()
    yield
    print(f"{twins.tally}")
    twins.tally.check()


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Told beside a failure."""
    print(f"AGENT_PERSISTENCE_SEED={SEED}")


@pytest.fixture(scope="module")
def twins(local_server: LocalServer, request: pytest.FixtureRequest) -> Iterator[Twins]:
    """Both adapters over empty tables of the reference schema; which is the real one, a module may say."""
    local_server.reset()
    with start_blocking_portal() as portal:
        real = REAL[getattr(request, "param", "supabase")](local_server)
        yield Twins(local_server, portal, real, InMemoryAdapter(schema=default_schema()), default_schema())
        portal.call(real.aclose)
