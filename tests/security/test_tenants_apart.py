"""One tenant cannot see, count, change, move or take away a row of another, whatever it asks for."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings

from agent_persistence import SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.operations import Scope
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.predicates import TRUE
from tests.differential.examples import examples
from tests.security import tenants
from tests.security.tenants import Attack, BreachError, Memory, Real, Step, histories
from tests.server import LocalServer


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all calls."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=["postgres", "supabase"])
def real(local_server: LocalServer, loop: asyncio.Runner, request: pytest.FixtureRequest) -> Iterator[Real]:
    """The table on the real server, or in its PostgreSQL; it is gone afterwards."""
    local_server.execute(tenants.DROP)
    local_server.execute(tenants.SQL)
    local_server.reload_schema()
    adapter: Any = PostgresAdapter(local_server.database_url, role="service_role")
    if request.param == "supabase":
        adapter = SupabaseAdapter(local_server.url, local_server.service_key, schema=tenants.SCHEMA)
    yield Real(local_server, adapter)
    loop.run(adapter.aclose())
    local_server.execute(tenants.DROP)
    local_server.reload_schema()


@given(history=histories)
@examples(120)
def test_nothing_reaches_the_other_tenant_on_the_real_server(
    real: Real, loop: asyncio.Runner, history: list[Step]
) -> None:
    """Through every verb and door, with hostile filters, keys, targets and tenants, and with answers that get lost."""
    Attack(real, loop).run(history)


@given(history=histories)
@examples(250)
def test_nothing_reaches_the_other_tenant_in_memory(loop: asyncio.Runner, history: list[Step]) -> None:
    """The same, where a call costs less."""
    Attack(Memory(loop), loop).run(history)


def breached(loop: asyncio.Runner, history: list[Step], **options: Any) -> bool:
    try:
        Attack(Memory(loop), loop, **options).run(history)
    except BreachError:
        return True
    return False


SEARCH = settings(max_examples=20_000, deadline=None, database=None, phases=[Phase.generate])


def test_without_a_tenant_the_adversary_succeeds(loop: asyncio.Runner) -> None:
    """Control: it can find a breach where nothing keeps it."""
    assert find(histories, lambda history: breached(loop, history, tenant=None), settings=SEARCH)


def _unfiltered(scope: Scope, filters: Any) -> Any:
    return scope.filters if filters is None else filters


WEAKENED: dict[str, tuple[Any, str, Any]] = {
    "the caller's filter counts": (Scope, "both", _unfiltered),
    "the target lacks the tenant": (
        Scope,
        "merging",
        lambda scope, table, target: target,
    ),
    "the record counts": (Scope, "completed", lambda scope, table, record: {**scope.values, **record}),
    "changes are not looked at": (Scope, "check", lambda scope, table, record: None),
    "nothing is narrowed": (TenantScope, "scope", property(lambda tenant: Scope(TRUE, {}))),
}


@pytest.mark.parametrize("weakness", WEAKENED)
def test_the_adversary_finds_each_weakness(
    weakness: str, loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with one of the rules taken out there is a breach, even though what comes back is looked at again."""
    monkeypatch.setattr(*WEAKENED[weakness])
    assert find(histories, lambda history: breached(loop, history), settings=SEARCH)


def test_many_of_the_calls_succeed(loop: asyncio.Runner) -> None:
    """Control: an adversary that is refused everything would prove nothing."""
    made, succeeded = [], []

    @given(history=histories)
    @examples(100)
    def attack(history: list[Step]) -> None:
        made.append(len(history))
        succeeded.append(Attack(Memory(loop), loop).run(history))

    attack()
    print(f"{sum(succeeded)} of {sum(made)} calls succeeded")
    assert sum(succeeded) > sum(made) / 4
