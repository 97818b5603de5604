"""No password, claim, value of a filter or content of a row is said on any way to an error of PostgreSQL."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest

from agent_persistence import AuditEvent, PersistenceConfig, contains, gt, in_, match, text_search
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.service import AsyncPersistenceService
from tests.security.said import FILTERED, KEY, TOKEN, WRITTEN, said_by, secrets_in
from tests.security.test_secrets import CALLS, POLICY, nothing_is_said, service
from tests.server import LocalServer
from tests.server.postgres import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[Any]]

CLAIMS = {"role": "service_role", "sub": TOKEN, "email": FILTERED}
WRONG: dict[str, Call] = {
    "unique": lambda made: made.batch_write("leads", [{"email": WRITTEN}, {"email": WRITTEN}]),
    "merged twice": lambda made: made.bulk_write("leads", [{"email": WRITTEN}] * 2, on_conflict=["email"]),
    "foreign key": lambda made: made.write("conversations", {"lead_id": "0" * 32, "subject": WRITTEN}),
    "check": lambda made: made.update("leads", {"status": WRITTEN}, {"email": "held@example.com"}),
    "copied": lambda made: made.bulk_write("leads", [{"email": WRITTEN, "created_at": WRITTEN}] * 300),
    "type": lambda made: made.query("leads", {"id": FILTERED}),
    "time": lambda made: made.query("leads", {"created_at": gt(FILTERED)}),
    "expression": lambda made: made.query("leads", {"email": match(f"({FILTERED}")}),
    "array": lambda made: made.query("leads", {"tags": f"{{{FILTERED}"}),
    "document": lambda made: made.query("leads", {"custom": FILTERED}),
    "search": lambda made: made.query("leads", {"notes": text_search(f"{FILTERED} &", kind="tsquery")}),
    "operator": lambda made: made.query("leads", {"score": contains([FILTERED])}),
    "list": lambda made: made.query("leads", {"score": in_([FILTERED])}),
    "trigger": lambda made: made.write("leads", {"email": f"raise {WRITTEN}"}),
    "function": lambda made: made.call("search", {"word": FILTERED}),
}


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every line of every logger, at every level."""
    names = [name for name, found in logging.root.manager.loggerDict.items() if isinstance(found, logging.Logger)]
    for name in (None, *names):
        caplog.set_level(1, logger=name)
    return caplog


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


@pytest.fixture
def hostile(server: LocalServer) -> Iterator[LocalServer]:
    """A trigger and a function that say what they were given."""
    server.execute(
        "create function says() returns trigger language plpgsql as"
        " $$ begin raise 'not %', new.email using detail = new.email, hint = 'Perhaps you meant ' || new.email; end $$;"
        " create trigger says before insert on leads for each row when (new.email like 'raise%')"
        " execute function says();"
        " create function search(word text) returns text stable language plpgsql as"
        " $$ begin raise warning 'no %', word; return word::uuid; end $$;"
        " insert into leads (email) values ('held@example.com');"
        " alter table leads add constraint held check (email <> 'held@example.com' or status = 'new')"
    )
    yield server
    server.execute("drop function says cascade; drop function search(text); alter table leads drop constraint held")


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
async def test_nothing_is_said_by_a_refusal_of_the_database(
    hostile: LocalServer, call: Call, events: list[AuditEvent], capsys: Any, logged: Any
) -> None:
    """Its details, hints, contexts and warnings hold values."""
    adapter = PostgresAdapter(hostile.database_url, claims=CLAIMS)
    made = service(adapter, events, policy=POLICY, client_keys=False)
    assert await nothing_is_said(call(made), made, events, capsys, logged)
    assert secrets_in(said_by(adapter)) == []
    await adapter.aclose()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nothing_is_said_where_nobody_listens_or_the_password_is_wrong(
    server: LocalServer, call: Call, events: list[AuditEvent], capsys: Any, logged: Any
) -> None:
    """Neither by libpq."""
    for place in (f"127.0.0.1:{free_port()}/postgres", server.database_url.split("@")[1]):
        adapter = PostgresAdapter(f"postgresql://postgres:{KEY}@{place}", claims=CLAIMS)
        made = service(adapter, events)
        assert await nothing_is_said(call(made), made, events, capsys, logged)
        assert secrets_in(said_by(adapter)) == []
        await adapter.aclose()


def test_settings_and_adapters_hide_the_password(anyio_backend: str) -> None:
    """Also in their parts."""
    url = f"postgresql://me:{KEY}@127.0.0.1/crm"
    adapter = PostgresAdapter(url, claims=CLAIMS)
    things = [PersistenceConfig.from_env({"DATABASE_URL": url}), adapter, adapter._roles, adapter._pool]
    assert {type(thing).__name__: secrets_in(said_by(thing)) for thing in things if secrets_in(said_by(thing))} == {}
