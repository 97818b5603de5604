"""Three users do whatever they like at once, over one service that shares what it can: nobody meets another's rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import Phase, find, given, settings, strategies as st

from agent_persistence import AsyncPersistenceService, PersistenceError, TablePolicy
from tests.differential.examples import examples
from tests.security import users
from tests.security.users import RETRY, SCHEMA, SHARING, USERS, Backend, LeakError, Postgres, Rest, asking
from tests.server import LocalServer

KEYS: Final = 6
POLICY: Final = TablePolicy(read={"leads"}, write={"leads"}, delete={"leads"}, call={"who"})


@dataclass(frozen=True)
class Step:
    """One call: of which user, of which row where it is of one; `turns` of the event loop later it may be cancelled.

    A user is either named by `as_user`, while the adapter would have said another, or is whom the adapter says.
    """

    verb: str
    user: str
    row: int = 0
    is_named: bool = False
    turns: int | None = None


@dataclass(frozen=True)
class World:
    """Where the rows are, and an adapter that asks for every call as whom to run it."""

    backend: Backend
    adapter: Any
    loop: asyncio.Runner


Verb = Callable[[Any, "History", Step], Awaitable[Any]]
WRITING: Final[Mapping[str, Verb]] = {
    "write": lambda service, known, step: service.write("leads", known.record(step)),
    "batch_write": lambda service, known, step: service.batch_write("leads", [known.record(step)] * 2),
    "bulk_write": lambda service, known, step: service.bulk_write("leads", [known.record(step)] * 2),
    "upsert": lambda service, known, step: service.upsert("leads", {"id": known.keys[step.row], **known.record(step)}),
    "update": lambda service, known, step: service.update("leads", {"body": step.user}, {"topic": known.topic}),
    "update one": lambda service, known, step: service.update(
        "leads", {"body": step.user}, {"id": known.keys[step.row]}
    ),
    "delete": lambda service, known, step: service.delete("leads", {"id": known.keys[step.row]}),
}
READING: Final[Mapping[str, Verb]] = {
    "read": lambda service, known, step: service.read("leads", known.keys[step.row]),
    "query": lambda service, known, step: service.query("leads", {"topic": known.topic}),
    "count": lambda service, known, step: service.count("leads", {"topic": known.topic}),
    "iterate": lambda service, known, step: _all(service.iterate("leads", {"topic": known.topic}, page_size=2)),
    "call": lambda service, known, step: service.call("who"),
}
VERBS: Final = {**WRITING, **READING}
steps = st.builds(
    Step,
    st.sampled_from([*VERBS]),
    st.sampled_from(USERS),
    st.integers(0, KEYS - 1),
    st.booleans(),
    st.sampled_from([None, None, None, 1, 30]),
)
histories = st.lists(st.lists(steps, min_size=1, max_size=6), min_size=1, max_size=4)


async def _all(rows: Any) -> list[Any]:
    return [row async for row in rows]


@dataclass
class History:
    """Groups of calls at once, over one service, and what SQL says of their rows after each group."""

    world: World
    topic: str = field(default_factory=lambda: str(uuid4()))
    keys: Sequence[str] = field(default_factory=lambda: [str(uuid4()) for _ in range(KEYS)])
    succeeded: int = 0
    settled: bool = True
    """Whether no request is on its way of which nobody waits for the answer."""

    def __post_init__(self) -> None:
        self._service = AsyncPersistenceService(
            self.world.adapter, policy=POLICY, schema=SCHEMA, retry=RETRY, **SHARING["both"]
        )

    def record(self, step: Step) -> dict[str, Any]:
        """It is signed, and leaves it to the database whose it is."""
        return {"topic": self.topic, "body": step.user}

    async def run(self, groups: Sequence[Sequence[Step]]) -> int:
        """How many calls succeeded; LeakError if one of them met another's rows."""
        owners = [user for user in USERS for _ in range(KEYS // len(USERS) - 1)]
        await self.world.backend.seed(
            [
                {"id": key, "owner": user, "topic": self.topic, "body": user}
                for key, user in zip(self.keys, owners, strict=False)
            ]
        )
        for group in groups:
            before = await self._rows()
            tasks = [asyncio.create_task(self._call(step)) for step in group]
            await asyncio.gather(*(self._cancel(task, step.turns) for task, step in zip(tasks, group, strict=True)))
            await asyncio.wait(tasks)
            after = await self._rows()
            for task, step in zip(tasks, group, strict=True):
                if not task.cancelled() and not isinstance(task.exception(), PersistenceError):
                    self.succeeded += 1
                    still = all(each.verb in READING for each in group if each.user == step.user)
                    self._judge(step, task.result(), before if still and self.settled else None)
            if wrong := [row for row in after if row["owner"] != row["body"]]:
                raise LeakError(f"{group}: rows were written as somebody else: {wrong}")
        return self.succeeded

    async def _cancel(self, task: asyncio.Task[Any], turns: int | None) -> None:
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        if turns is not None and task.cancel():
            self.settled = False

    async def _rows(self) -> list[dict[str, Any]]:
        return await self.world.backend.rows(self.topic)

    async def _call(self, step: Step) -> Any:
        service = self._service
        asking.set(step.user)
        if step.is_named:
            asking.set(USERS[USERS.index(step.user) - 1])
            service = service.as_user(**self.world.backend.credentials(step.user))
        return await VERBS[step.verb](service, self, step)

    def _judge(self, step: Step, told: Any, known: list[dict[str, Any]] | None) -> None:
        """`known` are the rows that there were all the while, if nobody wrote any as this user."""
        if step.verb == "call":
            if told != step.user:
                raise LeakError(f"{step}: the database took the user for {told}")
            return
        own = None if known is None else {row["id"] for row in known if row["owner"] == step.user}
        if isinstance(told, int):
            if step.verb == "count" and own is not None and told != len(own):
                raise LeakError(f"{step}: counted {told} rows, not {len(own)}")
            return
        rows = told if isinstance(told, list) else [told] if told else []
        if wrong := [row for row in rows if (row["owner"], row["body"]) != (step.user, step.user)]:
            raise LeakError(f"{step}: was shown {wrong}")
        if step.verb in ("query", "iterate") and own is not None and {row["id"] for row in rows} != own:
            raise LeakError(f"{step}: was not shown all that is the user's")


@pytest.fixture(scope="module", params=["httpx", "postgres"])
def world(users_server: LocalServer, request: pytest.FixtureRequest) -> Iterator[World]:
    """PostgREST or PostgreSQL, one event loop, one adapter."""
    backend: Rest | Postgres = Rest(users_server, "httpx") if request.param == "httpx" else Postgres(users_server)
    with asyncio.Runner() as loop:
        adapter = backend.adapter("callable")
        yield World(backend, adapter, loop)
        loop.run(adapter.aclose())


@given(groups=histories)
@examples(60)
def test_nobody_meets_the_rows_of_another(world: World, groups: list[list[Step]]) -> None:
    """Whatever three users call at once, each is shown rows of his own, and what he writes is his, as SQL says."""
    world.loop.run(History(world).run(groups))


SEARCH: Final = settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate])


def leaks(world: World, groups: list[list[Step]]) -> bool:
    try:
        world.loop.run(History(world).run(groups))
    except LeakError:
        return True
    return False


def test_the_adversary_finds_a_key_without_the_identity(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: if identities were no part of the keys, somebody would meet another's rows."""
    users.forget_identities(monkeypatch)
    assert find(histories, lambda groups: leaks(world, groups), settings=SEARCH)


def test_many_of_the_calls_succeed(world: World) -> None:
    """Control: users who are refused everything would prove nothing."""
    made: list[Step] = []
    succeeded: list[int] = []

    @given(groups=histories)
    @examples(20)
    def call(groups: list[list[Step]]) -> None:
        made.extend(step for group in groups for step in group)
        succeeded.append(world.loop.run(History(world).run(groups)))

    call()
    print(f"{sum(succeeded)} of {len(made)} calls succeeded")
    assert sum(succeeded) > len(made) / 2
