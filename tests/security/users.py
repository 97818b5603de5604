"""Users with rows of their own: where these are, and how a call is made one user's."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import pytest

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, RetryPolicy, SupabaseAdapter, TablePolicy
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.pipeline.caching.policy import CachePolicy
from agent_persistence.policy.identity import Identity, RefreshingToken
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, Schema, Table
from tests.server import LocalServer, running_server, tokens

SQL: Final = Path(__file__).with_name("users.sql")
SCHEMA: Final = Schema(
    {
        "leads": Table(
            {
                "id": Column("uuid", nullable=False),
                "owner": Column("text", nullable=False),
                "topic": Column("uuid", nullable=False),
                "body": Column("text"),
                "created_at": Column("timestamptz"),
            },
            primary_key=("id",),
            unique=(("id", "owner"),),
        )
    }
)
A, B, C = USERS = tuple(str(UUID(int=number << 96 | 0x4000_8000 << 64)) for number in (0xA, 0xB, 0xC))
ALL_ROWS, REFUSED = "whom no policy binds", "whose credentials are refused"
CLAIMS: Final[Mapping[str, dict[str, Any]]] = {
    **{user: {"sub": user, "role": "authenticated"} for user in USERS},
    ALL_ROWS: {"role": "service_role"},
    REFUSED: {"sub": A, "role": "no_such_role"},
}
asking: ContextVar[str] = ContextVar("asking")
"""Who asks, for the callables that are asked for every call."""


@contextmanager
def running() -> Iterator[LocalServer]:
    """A server of its own, where a policy keeps the rows of `leads` for their owners."""
    with running_server() as server:
        server.execute(SQL.read_text(encoding="utf-8"))
        server.reload_schema()
        yield server


class LeakError(AssertionError):
    """Somebody saw, counted, changed or wrote as somebody else."""


def forget_identities(patch: pytest.MonkeyPatch) -> None:
    """From now on every identity is equal to every other, as if it were no part of any key."""
    patch.setattr(Identity, "__eq__", lambda self, other: isinstance(other, Identity))
    patch.setattr(Identity, "__hash__", lambda self: 0)


class Backend(Protocol):
    """Where the rows are."""

    def adapter(self, way: str) -> Any:
        """An adapter for calls that are made a user's in this way."""

    def credentials(self, who: str) -> dict[str, Any]:
        """What `as_user` takes for them."""

    async def seed(self, rows: list[dict[str, Any]]) -> None:
        """These rows are there, too."""

    async def rows(self, topic: str) -> list[Row]:
        """All rows of the topic, whoever they belong to."""


@dataclass(frozen=True)
class _Database:
    server: LocalServer

    async def seed(self, rows: list[dict[str, Any]]) -> None:
        columns = ", ".join(rows[0])
        self.server.execute(
            f"insert into leads ({columns}) select {columns} from json_populate_recordset(null::leads, %s)",
            json.dumps(rows),
        )

    async def rows(self, topic: str) -> list[Row]:
        return self.server.execute("select id::text, owner, body from leads where topic = %s", topic)


@dataclass(frozen=True)
class Rest(_Database):
    """PostgREST, over one of the transports; credentials are signed tokens."""

    transport: Any

    def adapter(self, way: str) -> SupabaseAdapter:
        key = self.server.service_key if way == "row rules" else self.server.anon_key
        ask = (lambda: self.token(asking.get())) if way == "callable" else None
        return SupabaseAdapter(self.server.url, key, access_token=ask, schema=SCHEMA, transport=self.transport)

    def token(self, who: str) -> str:
        """Signed by the server, or, where it is to be refused, by somebody else."""
        claims = CLAIMS[who]
        return self.server.token(**claims) if who != REFUSED else tokens.sign(CLAIMS[A], "the secret of others")

    def credentials(self, who: str) -> dict[str, Any]:
        return {"access_token": self.token(who)}


@dataclass(frozen=True)
class Postgres(_Database):
    """PostgreSQL itself; credentials are claims."""

    def adapter(self, way: str) -> PostgresAdapter:
        given: dict[str, Any] = {"callable": lambda: CLAIMS[asking.get()], "row rules": CLAIMS[ALL_ROWS]}
        return PostgresAdapter(self.server.database_url, claims=given.get(way), max_connections=4)

    def credentials(self, who: str) -> dict[str, Any]:
        return {"claims": CLAIMS[who]}


class Memory:
    """This process, which knows no users: only tenants and row rules keep them apart."""

    def __init__(self) -> None:
        self._adapter = InMemoryAdapter(schema=SCHEMA)

    def adapter(self, way: str) -> InMemoryAdapter:
        return self._adapter

    def credentials(self, who: str) -> dict[str, Any]:
        return {}

    async def seed(self, rows: list[dict[str, Any]]) -> None:
        await self._adapter.batch_write("leads", rows)

    async def rows(self, topic: str) -> list[Row]:
        return await self._adapter.query("leads", {"topic": topic})


SHARING: Final[Mapping[str, dict[str, Any]]] = {
    "plain": {},
    "cache": {"cache": CachePolicy(functions=frozenset({"who"}))},
    "coalesce": {"coalesce": True},
    "both": {"cache": CachePolicy(functions=frozenset({"who"})), "coalesce": True},
}
RETRY: Final = RetryPolicy(attempts=2, base_s=0.001)
Open = Callable[[AsyncPersistenceService], Any]


class Way:
    """How calls are made a user's: `of(user)` is what the user calls, in a task that has called `begin(user)`."""

    def __init__(self, name: str, backend: Backend, adapter: Any, sharing: str, door: Open) -> None:
        self._name = name
        self._backend = backend
        self._opened = {
            user: door(AsyncPersistenceService(adapter, policy=policy, schema=SCHEMA, retry=RETRY, **SHARING[sharing]))
            for user, policy in self._policies().items()
        }
        self._tokens = {user: RefreshingToken(partial(self._fetch, user)) for user in USERS}

    def _fetch(self, user: str) -> str:
        token: str = self._backend.credentials(user)["access_token"]
        return token

    def _policies(self) -> dict[str, TablePolicy]:
        """One for everybody, and so one service; or one for each user, over one adapter."""
        only = {"leads"}
        if self._name == "row rules":
            return {
                user: TablePolicy(read=only, write=only, delete=only, rows={"leads": {"owner": user}}) for user in USERS
            }
        return {"": TablePolicy(read=only, write=only, delete=only, call={"who"})}

    @property
    def names_users(self) -> bool:
        """Whether the database is told who asks."""
        return self._name in ("callable", "as_user", "refreshing")

    @staticmethod
    def begin(who: str) -> None:
        asking.set(who)

    def of(self, user: str) -> Any:
        opened = self._opened_for(user)
        match self._name:
            case "as_user":
                return opened.as_user(**self._backend.credentials(user))
            case "refreshing":
                return opened.as_user(access_token=self._tokens[user])
            case "tenant":
                return opened.as_user(**self._backend.credentials(ALL_ROWS), tenant=tenant(user))
        return opened

    def _opened_for(self, user: str) -> Any:
        return self._opened[user if user in self._opened else ""]

    def refused(self) -> Any:
        """What somebody calls whose credentials are refused, and who claims to be A."""
        match self._name:
            case "callable":
                return self._opened_for(A)
            case "refreshing":
                return self._opened_for(A).as_user(access_token=RefreshingToken(_fails))
        within = {"tenant": tenant(A)} if self._name == "tenant" else {}
        return self._opened_for(A).as_user(**self._backend.credentials(REFUSED), **within)


def tenant(user: str) -> TenantScope:
    """The user's rows, to whom whatever credentials may see them."""
    return TenantScope(user, column="owner")


def _fails() -> str:
    raise ConnectionError("no token today")
