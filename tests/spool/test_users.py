"""As whom what waits is applied: nobody's write becomes another's, and no token is on disk."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    BackendUnavailableError,
    PostgresAdapter,
    RetryPolicy,
    Spool,
    SupabaseAdapter,
    TablePolicy,
    is_spooled,
)
from agent_persistence.context import CallContext
from agent_persistence.operations import Operation, Result
from tests.server import LocalServer

ADA, BOB = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
POLICY = TablePolicy(read={"owned"}, write={"owned"})
KEYS = {"owned": "id"}
CREATE = """
create table owned (id uuid primary key default gen_random_uuid(), body text,
  owner text not null default (current_setting('request.jwt.claims', true)::json->>'sub'),
  role text default current_user);
alter table owned enable row level security;
create policy own on owned to authenticated
  using (owner = current_setting('request.jwt.claims', true)::json->>'sub')
  with check (owner = current_setting('request.jwt.claims', true)::json->>'sub');
create policy anybody on owned to anon using (owner = 'anon') with check (owner = 'anon');
grant select, insert on owned to authenticated, anon, service_role;
"""


class Cut:
    """Whether the way to the database is."""

    is_cut = True


def cut(adapter: Any, way: Cut) -> Any:
    """The adapter, before which the way may be cut."""
    execute = adapter.execute

    async def tried(operation: Operation, context: CallContext) -> Result:
        if way.is_cut:
            raise AdapterError("the way is cut", state="not_sent")
        result: Result = await execute(operation, context)
        return result

    adapter.execute = tried
    return adapter


@pytest.fixture
def owned(server: LocalServer) -> Iterator[LocalServer]:
    server.execute(CREATE)
    server.reload_schema()
    yield server
    server.execute("drop table owned")
    server.reload_schema()


@contextmanager
def no_token(path: Path, *tokens: str) -> Iterator[None]:
    """Afterwards none of them is in a file beside the spool."""
    yield
    for each in path.parent.iterdir():
        assert not any(token.encode() in each.read_bytes() for token in tokens)


def service_of(adapter: Any, path: Path) -> AsyncPersistenceService:
    return AsyncPersistenceService(
        adapter,
        policy=POLICY,
        client_keys=KEYS,
        spool=Spool(path),
        retry=RetryPolicy(attempts=2, base_s=0.001),
        owns_adapter=True,
    )


def found(server: LocalServer) -> dict[str, tuple[str, str]]:
    return {row["body"]: (row["owner"], row["role"]) for row in server.execute("select body, owner, role from owned")}


def test_writes_of_users_are_applied_as_these_users(owned: LocalServer, tmp_path: Path) -> None:
    """Over PostgreSQL, under real row-level security, by another process's adapter; one that is not theirs is refused
    then as it would have been."""
    path, way = tmp_path / "spool", Cut()

    async def keep() -> None:
        async with service_of(cut(PostgresAdapter(owned.database_url), way), path) as service:
            for user in (ADA, BOB):
                view = service.as_user(claims={"role": "authenticated", "sub": user})
                assert is_spooled(await view.write("owned", {"body": f"of {user}"}))
            ada = service.as_user(claims={"role": "authenticated", "sub": ADA})
            await ada.write("owned", {"body": "not hers", "owner": BOB})
            await service.as_user().write("owned", {"body": "of nobody", "owner": "anon"})

    async def flush() -> tuple[int, int, list[str | None]]:
        async with service_of(PostgresAdapter(owned.database_url), path) as service:
            await service.flush_spool()
            assert service.spool is not None
            refused = await service.spool.writes(refused=True)
            status = await service.spool.status()
            return status.waiting, status.refused, [each.reason for each in refused]

    anyio.run(keep)
    waiting, refused, reasons = anyio.run(flush)
    assert (waiting, refused) == (0, 1)
    assert (reasons[0] or "").startswith("RowSecurityError")
    assert found(owned) == {
        f"of {ADA}": (ADA, "authenticated"),
        f"of {BOB}": (BOB, "authenticated"),
        "of nobody": ("anon", "anon"),
    }


def test_a_callable_of_claims_names_whoever_called(owned: LocalServer, tmp_path: Path) -> None:
    """Not whoever it names when the write is applied."""
    path, way = tmp_path / "spool", Cut()
    current = [ADA]

    async def run() -> None:
        adapter = PostgresAdapter(owned.database_url, claims=lambda: {"role": "authenticated", "sub": current[0]})
        async with service_of(cut(adapter, way), path) as service:
            await service.write("owned", {"body": "first"})
            current[0] = BOB
            way.is_cut = False
            await service.flush_spool()

    anyio.run(run)
    assert found(owned) == {"first": (ADA, "authenticated")}


def test_a_write_under_an_access_token_is_not_kept(owned: LocalServer, tmp_path: Path) -> None:
    """With words about why; neither does it go behind what waits."""
    path, way = tmp_path / "spool", Cut()
    token = owned.token(sub=ADA)

    async def run() -> None:
        async with service_of(cut(SupabaseAdapter(owned.url, owned.service_key), way), path) as service:
            view = service.as_user(access_token=token)
            with pytest.raises(BackendUnavailableError) as failed:
                await view.write("owned", {"body": "hers"})
            assert any("no token is written to disk" in note for note in failed.value.__notes__)
            assert is_spooled(await service.write("owned", {"body": "ours", "owner": "x"}))
            with pytest.raises(BackendUnavailableError, match="cannot wait behind them"):
                await view.write("owned", {"body": "hers"})
            way.is_cut = False
            await service.flush_spool()
            assert (await view.write("owned", {"body": "hers"}))["owner"] == ADA

    with no_token(path, token, owned.service_key):
        anyio.run(run)
    assert found(owned).keys() == {"ours", "hers"}


def test_what_was_ours_is_not_applied_as_a_user(owned: LocalServer, tmp_path: Path) -> None:
    """Where the adapter has a callable since, its own credentials are nobody's."""
    path, way = tmp_path / "spool", Cut()

    async def keep() -> None:
        async with service_of(cut(PostgresAdapter(owned.database_url, role="service_role"), way), path) as service:
            await service.write("owned", {"body": "ours", "owner": "x"})

    async def flush() -> list[str | None]:
        adapter = PostgresAdapter(owned.database_url, claims=lambda: {"role": "authenticated", "sub": ADA})
        async with service_of(adapter, path) as service:
            await service.flush_spool()
            assert service.spool is not None
            return [each.reason for each in await service.spool.writes(refused=True)]

    anyio.run(keep)
    (reason,) = anyio.run(flush)
    assert reason is not None
    assert "which now come from a callable" in reason
    assert found(owned) == {}
