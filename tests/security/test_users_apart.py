"""Nobody ever sees or writes as another: every way to be a user, through every door, in every course of two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, NamedTuple

import pytest

from agent_persistence import PersistenceError
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.sync import PersistenceService
from tests.security import users
from tests.security.doors import DOORS, Action, Door, Topic, asks_who
from tests.security.users import REFUSED, SHARING, A, B, LeakError, Memory, Postgres, Rest, Way
from tests.server import LocalServer

BACKENDS: Final = ("httpx", "httptools", "postgres", "memory")
WAYS: Final = ("callable", "as_user", "refreshing", "tenant", "row rules")
COURSES: Final = ("one after the other", "concurrent", "leader cancelled", "leader fails")


class Case(NamedTuple):
    """`leader` is the first of the concurrent callers, whose request others might share."""

    backend: str
    way: str
    door: str
    sharing: str
    course: str

    def __str__(self) -> str:
        return ", ".join(self)


LEFT_OUT: Final[dict[str, Callable[[Case], bool]]] = {
    "memory knows no credentials": lambda case: (
        case.backend == "memory" and case.way in ("callable", "as_user", "refreshing")
    ),
    "memory sends no request that could be cancelled midway, and refuses nobody": lambda case: (
        case.backend == "memory" and case.course.startswith("leader")
    ),
    "PostgreSQL is told claims, which do not expire": lambda case: (
        case.backend == "postgres" and case.way == "refreshing"
    ),
    "a thread that waits is not cancelled": lambda case: case.door == "sync" and case.course == "leader cancelled",
    "every door leads to the verbs; behind the others all that can be shared is": lambda case: (
        case.door != "verbs" and case.sharing != "both"
    ),
}
ALL: Final = [Case(*each) for each in product(BACKENDS, WAYS, DOORS, SHARING, COURSES)]
CASES: Final = [case for case in ALL if not any(is_out(case) for is_out in LEFT_OUT.values())]


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_a_rule_leaves_out_what_no_other_does(reason: str) -> None:
    """Nothing is missing without a reason, and no reason is idle."""
    others = [is_out for other, is_out in LEFT_OUT.items() if other != reason]
    assert any(LEFT_OUT[reason](case) and not any(is_out(case) for is_out in others) for case in ALL)


# --- the world --------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What sends an adapter's requests; `sent` is set when one leaves."""

    inner: Any
    sent: asyncio.Event = field(default_factory=asyncio.Event)

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "ask"):
            self.sent.set()
        return getattr(self.inner, name)


@dataclass
class World:
    """A server, one event loop, and adapters whose connections are warm."""

    server: LocalServer
    loop: asyncio.Runner

    def __post_init__(self) -> None:
        self._backends: dict[str, Any] = {
            "httpx": Rest(self.server, "httpx"),
            "httptools": Rest(self.server, "httptools"),
            "postgres": Postgres(self.server),
            "memory": Memory(),
        }
        self._adapters: dict[tuple[str, str, bool], tuple[Any, Watched]] = {}

    def run(self, case: Case) -> None:
        """LeakError if somebody saw or wrote as somebody else."""
        backend, door = self._backends[case.backend], DOORS[case.door]
        adapter, watched = self._adapter(case)
        way = Way(case.way, backend, adapter, case.sharing, door.open)
        self.loop.run(Course(self.server, way, Topic(backend), watched, case).run(door))

    def _adapter(self, case: Case) -> tuple[Any, Watched]:
        """One for each event loop: the blocking verbs run in theirs."""
        key = case.backend, case.way, case.door == "sync"
        if key not in self._adapters:
            adapter = self._backends[case.backend].adapter(case.way)
            sender = "_pool" if case.backend == "postgres" else "_http"
            watched = Watched(getattr(adapter, sender, None))
            if watched.inner is not None:
                setattr(adapter, sender, watched)
            self._adapters[key] = adapter, watched
        return self._adapters[key]

    def close(self) -> None:
        for (_, _, blocks), (adapter, _) in self._adapters.items():
            if blocks:
                PersistenceService(adapter, owns_adapter=True).close()
            else:
                self.loop.run(adapter.aclose())


@pytest.fixture(scope="module")
def world(users_server: LocalServer) -> Iterator[World]:
    """A table with a policy; the rows of the cases are told apart by their topic."""
    with asyncio.Runner() as loop:
        made = World(users_server, loop)
        yield made
        made.close()


# --- the courses ------------------------------------------------------------------------------------------------------


@dataclass
class Course:
    """How several calls of an action by two users go together."""

    server: LocalServer
    way: Way
    topic: Topic
    watched: Watched
    case: Case

    async def run(self, door: Door) -> None:
        await self.topic.begin()
        for action in door.shared:
            if action is not asks_who or self.way.names_users:
                await self._several(action)
        if self.case.sharing == "both" and not self.case.course.startswith("leader"):
            for action in door.alone:
                await self._together(action, (A, B))
        await self.topic.judge()

    async def _several(self, action: Action) -> None:
        match self.case.course:
            case "one after the other":
                for user in (A, B, A):
                    await self._together(action, [user])
            case "concurrent":
                await self._together(action, (A, B, A, B))
            case "leader cancelled":
                await self._without_leader(action)
            case "leader fails":
                leader = asyncio.create_task(self._is_refused(action))
                await self._together(action, (A, B, A))
                await leader

    async def _acts(self, action: Action, user: str) -> None:
        self.way.begin(user)
        await action(self.way.of(user), user, self.topic)

    async def _together(self, action: Action, callers: Sequence[str]) -> None:
        await _settled([asyncio.create_task(self._acts(action, user)) for user in callers])

    async def _is_refused(self, action: Action) -> None:
        """Whatever is seen or written would be."""
        self.way.begin(REFUSED)
        with pytest.raises(PersistenceError):
            await action(self.way.refused(), A, self.topic)

    async def _without_leader(self, action: Action) -> None:
        """No request is answered before the leader is gone, because the table is locked."""
        self.watched.sent.clear()
        with self._locked():
            leader, *others = [asyncio.create_task(self._acts(action, user)) for user in (A, B, A, B)]
            await self.watched.sent.wait()
            leader.cancel()
            await asyncio.wait([leader])
            assert leader.cancelled()
        await _settled(others)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.server.connection.transaction():
            self.server.execute("lock table leads in access exclusive mode")
            yield


async def _settled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """All have ended, whatever the outcome; then the first failure is raised."""
    await asyncio.wait(tasks)
    failures = [failure for task in tasks if (failure := task.exception())]
    if failures:
        raise failures[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_users_are_apart(case: Case, world: World) -> None:
    """Each sees his own rows and none of the other's, and what he writes is his."""
    world.run(case)


# --- controls ---------------------------------------------------------------------------------------------------------

HIDES: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "cache": lambda _: None,
    "flight": lambda patch: patch.setattr(Caching, "_keep", lambda *_: None),
    "coalescing": lambda _: None,
}
SHOWN_BY: Final = {
    "cache": ("cache", "one after the other"),
    "flight": ("cache", "concurrent"),
    "coalescing": ("coalesce", "concurrent"),
}


@pytest.mark.parametrize("way", ["callable", "as_user"])
@pytest.mark.parametrize("backend", ["httpx", "httptools", "postgres"])
@pytest.mark.parametrize("shares", SHOWN_BY)
def test_a_key_without_the_identity_is_found(
    shares: str, backend: str, way: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: where every identity equals every other, one gets what another was answered, or writes as another; of
    the cache, of the reads under way (nothing is kept then) and of shared requests, each by itself. Tenants and row
    rules are not looked at: they stand in the filters and the records, too."""
    HIDES[shares](monkeypatch)
    case = Case(backend, way, "verbs", *SHOWN_BY[shares])
    world.run(case)
    users.forget_identities(monkeypatch)
    with pytest.raises(LeakError):
        world.run(case)
