"""What a connection prepares, and what becomes of it when it fits no longer."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_persistence import AsyncPersistenceService, ConfigurationError, TablePolicy
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres import preparing
from agent_persistence.backends.postgres.preparing import PreparedStatements, Preparing
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.testing import CONTRACT, Law
from tests.server import LocalServer

pytestmark = pytest.mark.anyio
TEXTS = Statement(
    "select coalesce(json_agg(statement), '[]')::text from pg_prepared_statements where name like 'agent_persistence%'"
)
EMAIL = "ada@b.example"


@pytest.fixture
async def adapter(server: LocalServer) -> AsyncIterator[PostgresAdapter]:
    """One connection for reads and writes, which prepares where it finds out that it may."""
    adapter = PostgresAdapter(server.database_url, max_connections=1)
    yield adapter
    await adapter.aclose()


async def prepared(adapter: PostgresAdapter) -> str:
    return (await adapter.ask(TEXTS) or b"").decode()


async def test_a_statement_is_prepared_the_second_time_and_holds_no_value(adapter: PostgresAdapter) -> None:
    """What is asked once costs the server no memory, and what it keeps tells nothing of any call."""
    await adapter.query("leads", {"email": EMAIL})
    assert "email" not in await prepared(adapter)
    await adapter.query("leads", {"email": EMAIL})
    told = await prepared(adapter)
    assert "email" in told
    assert EMAIL not in told


@pytest.mark.parametrize("prepare", [True, False])
async def test_preparing_can_be_chosen(server: LocalServer, prepare: bool) -> None:
    """Where the default would find out something else."""
    adapter = PostgresAdapter(server.database_url, max_connections=1, prepare=prepare)
    for _ in range(3):
        await adapter.query("leads", {"email": EMAIL})
    assert ("email" in await prepared(adapter)) is prepare
    await adapter.aclose()


def test_preparing_is_chosen_by_true_or_false() -> None:
    """Anything else is a mistake."""
    wrong: Any = "auto"
    with pytest.raises(ConfigurationError, match="prepare is True, False or None, not str"):
        PostgresAdapter("postgresql://u:p@127.0.0.1/d", prepare=wrong)


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
async def test_every_law_holds_once_its_statements_are_prepared(
    adapter: PostgresAdapter, server: LocalServer, law: Law
) -> None:
    """By the third time each was run twice."""
    for _ in range(3):
        server.reset()
        await law(adapter)


async def test_a_column_whose_type_changes_costs_no_call(adapter: PostgresAdapter, server: LocalServer) -> None:
    """The statement was prepared for the type that it had, is refused, and is sent again as text."""
    server.execute("create table turns (id integer primary key, place integer); insert into turns values (1, 7)")
    try:
        for _ in range(3):
            assert await adapter.query("turns", {"place": 7}) == [{"id": 1, "place": 7}]
        server.execute("alter table turns alter column place type text")
        service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"turns"}))
        for _ in range(3):
            assert await service.query("turns", {"place": "7"}) == [{"id": 1, "place": "7"}]
    finally:
        server.execute("drop table turns")


async def test_a_table_that_is_made_anew_is_read_as_it_is_now(adapter: PostgresAdapter, server: LocalServer) -> None:
    """PostgreSQL plans again by itself; `*` is then the columns of today."""
    server.execute("create table turns (id integer primary key)")
    try:
        for _ in range(3):
            assert await adapter.write("turns", {"id": 1}) == {"id": 1}
            assert len(await adapter.delete("turns", {"id": 1})) == 1
        server.execute("drop table turns; create table turns (id integer primary key, place text default 'here')")
        assert await adapter.write("turns", {"id": 1}) == {"id": 1, "place": "here"}
    finally:
        server.execute("drop table turns")


# --- by itself --------------------------------------------------------------------------------------------------------


def names(preparing: Preparing, texts: list[str]) -> list[bytes | None]:
    """The names under which the second sending of each text is prepared."""
    found = PreparedStatements(preparing)
    for text in texts:
        assert found.new_name(text) is None
    return [found.new_name(text) for text in texts]


def test_a_name_says_the_whole_text() -> None:
    """So that what another client of a pooler has prepared under it is the same statement."""
    first, second = names(Preparing(True), ["select 1", "select 2"])
    assert first != second
    assert names(Preparing(True), ["select 1"]) == [first]


def test_a_connection_prepares_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further statements are sent as text."""
    monkeypatch.setattr(preparing, "MOST_PREPARED", 2)
    assert [name is None for name in names(Preparing(True), ["a", "b", "c"])] == [False, False, True]


@pytest.mark.parametrize(
    ("code", "is_learnt", "others_go_on"),
    [
        ("42883", True, True),
        ("0A000", True, True),
        ("26000", True, False),
        ("42P05", True, False),
        ("42501", False, True),
        ("23505", False, True),
    ],
)
def test_what_a_refusal_teaches(code: str, is_learnt: bool, others_go_on: bool) -> None:
    """One statement that fits no longer, a pooler that changes sessions, or nothing."""
    shared = Preparing(True)
    found = PreparedStatements(shared)
    for text in ("a", "a", "b", "b"):
        found.new_name(text)
    assert shared.learn("a", code) is is_learnt
    assert (found.name("a") is None) is is_learnt
    assert (found.name("b") is not None) is others_go_on
