"""Whatever the tasks do and whenever they are cancelled: nobody is told what a finished write has made untrue."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from unittest import mock

import anyio
import anyio.lowlevel
import pytest
from hypothesis import Phase, find, given, settings, strategies as st
from hypothesis.errors import NoSuchExample

from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, FailureState
from agent_persistence.operations import Delete, Operation, Query, Read, Result, Write
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.pipeline.caching.policy import CachePolicy
from agent_persistence.pipeline.caching.staleness import Staleness
from agent_persistence.pipeline.chain import Layer, Rest, compose
from agent_persistence.query.predicates import Comparison, Operator
from agent_persistence.schema_registry import default_schema
from tests.doubles import FakeTime

BACKENDS: Final = ["asyncio", "trio"]
TABLES: Final = ("clients", "leads")
"""The second refers to the first: a delete of a client may reach leads."""

Ending: TypeAlias = Literal["ok", "refused", "lost"]


@dataclass(frozen=True)
class Step:
    """One call, and after how many turns of the event loop it is cancelled, if ever."""

    operation: Operation
    ending: Ending = "ok"
    patience: int | None = None


@dataclass
class Database:
    """A number for each table, which every write that is applied raises; `seed` decides how long things take."""

    seed: int
    state: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    applied: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    """What writes that have ended well left behind."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    async def answer(self, operation: Operation, context: CallContext) -> Result:
        """Apply a write, or tell the table's number, at some moment of the call."""
        await self._pause()
        with self.lock:
            told = [dict(self.state)] if not operation.writes else self._apply(operation)
        await self._pause()
        return Result(told)

    def _apply(self, operation: Operation) -> dict[str, int]:
        for table in TABLES if isinstance(operation, Delete) else (operation.table,):
            self.state[table] += 1
        return dict(self.state)

    async def _pause(self) -> None:
        for _ in range(self.random.randrange(5)):
            await anyio.lowlevel.checkpoint()


class StaleError(AssertionError):
    """A read that began after a write had ended told what was there before."""


class Run:
    """Tasks that call one cache in front of one database, and check what they are told."""

    def __init__(self, seed: int, cache: Caching) -> None:
        self.database = Database(seed)
        self.cache = cache

    def asking(self) -> Callable[[Operation], Coroutine[Any, Any, Result]]:
        chain = compose([self.cache], self.database.answer)

        async def ask(operation: Operation) -> Result:
            return await chain(operation, CallContext())

        return ask

    async def tasks(self, scripts: list[list[Step]]) -> None:
        async with anyio.create_task_group() as group:
            for script in scripts:
                group.start_soon(self._task, script)

    async def _task(self, script: list[Step]) -> None:
        for step in script:
            async with anyio.create_task_group() as group:
                if step.patience is not None:
                    group.start_soon(_cancel_after, group.cancel_scope, step.patience)
                await self._call(step)
                group.cancel_scope.cancel()

    async def _call(self, step: Step) -> None:
        operation = step.operation
        ask = compose([self.cache, _ending(step.ending)], self.database.answer)
        known = dict(self.database.applied)
        try:
            value = (await ask(operation, CallContext())).value
        except AdapterError:
            return
        if isinstance(operation, (Read, Query)):
            self._check(operation, value, known)
        else:
            self._note(operation, value)

    def _check(self, operation: Operation, value: Any, known: dict[str, int]) -> None:
        assert len(value) == 1, "somebody changed what others got"
        assert value[0].keys() == set(TABLES), "somebody changed what others got"
        if value[0][operation.table] < known[operation.table]:
            raise StaleError(f"{value[0]} on {operation.table}, of which {known} was known")
        value[0]["poison"] = 1
        value.append("poison")

    def _note(self, operation: Operation, value: dict[str, int]) -> None:
        with self.database.lock:
            for table in TABLES if isinstance(operation, Delete) else (operation.table,):
                self.database.applied[table] = max(self.database.applied[table], value[table])


def _ending(ending: Ending) -> Layer:
    """A layer that ends a call in this way, after the database."""

    async def end(operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        if ending == "refused":
            await anyio.lowlevel.checkpoint()
            raise AdapterError("no", state=FailureState.REJECTED)
        result = await call_next(operation, context)
        if ending == "lost":
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return result

    return end


async def _cancel_after(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


BY_ID: Final = Comparison(Operator.EQ, "1", "id")
OPERATIONS: Final = st.sampled_from(
    [
        *[Query("leads"), Query("leads"), Read("leads", "1"), Query("clients")],
        *[Write("leads", {"email": "a"}), Write("clients", {"name": "a"}), Delete("clients", BY_ID)],
    ]
)
STEPS: Final = st.builds(
    Step, OPERATIONS, st.sampled_from(["ok", "ok", "ok", "refused", "lost"]), st.none() | st.integers(0, 12)
)
SCRIPTS: Final = st.lists(st.lists(STEPS, min_size=1, max_size=6), min_size=2, max_size=6)
SEEDS: Final = st.integers(0, 10**6)


def _cache(**policy: Any) -> Caching:
    return Caching(CachePolicy(**policy), default_schema(), FakeTime().clock)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_reads_what_was_there_before_a_finished_write(backend: str) -> None:
    """Under random schedules, failures and cancellations; and what one task does to its rows, no other sees."""
    hits = 0

    @settings(max_examples=250, deadline=None)
    @given(SCRIPTS, SEEDS)
    def check(scripts: list[list[Step]], seed: int) -> None:
        nonlocal hits
        run = Run(seed, _cache())
        anyio.run(run.tasks, scripts, backend=backend)
        stats = run.cache.stats
        hits += stats.hits + stats.shared

    check()
    assert hits > 100, "the cache was hardly used, and the test shows nothing"


def _finds_a_stale_answer() -> None:
    """Search for scripts after which somebody was told what was untrue; NoSuchExample where there are none."""

    def is_stale(scripts: list[list[Step]]) -> bool:
        for seed in range(3):
            try:
                anyio.run(Run(seed, _cache()).tasks, scripts)
            except BaseExceptionGroup as group:
                return bool(group.subgroup(StaleError))
        return False

    find(
        SCRIPTS,
        is_stale,
        settings=settings(max_examples=400, deadline=None, derandomize=True, database=None, phases=[Phase.generate]),
    )


@contextmanager
def _without(method: str, does: Any) -> Iterator[None]:
    with mock.patch.object(Staleness, method, does):
        yield


@pytest.mark.parametrize(
    ("method", "does"),
    [
        ("version", lambda *_: ()),
        ("end", lambda *_, **__: None),
        ("_touched", lambda self, write: iter([self._scopes[write.table]])),
    ],
    ids=["no versions", "nothing after the write", "no cascades"],
)
def test_each_part_of_the_invalidation_is_needed(method: str, does: Any) -> None:
    """Control: without it, the search above finds an answer that is untrue."""
    with _without(method, does):
        _finds_a_stale_answer()


def test_the_search_finds_nothing_where_all_parts_are_there() -> None:
    """Control of the control."""
    with pytest.raises(NoSuchExample):
        _finds_a_stale_answer()


def test_threads_with_event_loops_of_their_own_share_answers_and_writes() -> None:
    """On both kinds of loops at once, each with tasks that read and write."""
    run = Run(1, _cache(max_entries=3))
    failures: list[BaseException] = []
    writes = [Step(Write(table, {"a": 1})) for table in TABLES]
    reads = [Step(operation) for table in TABLES for operation in (Query(table), Query(table, limit=5))]

    def work(number: int) -> None:
        rng = random.Random(number)
        scripts = [[rng.choice(reads * 4 + writes) for _ in range(60)] for _ in range(4)]
        try:
            anyio.run(run.tasks, scripts, backend=BACKENDS[number % 2])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert run.cache.stats.hits > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_cache_works_over_several_event_loops(backend: str) -> None:
    """An answer outlives the loop in which it was asked for; a read that its loop left behind stops nobody."""
    run = Run(1, _cache())
    ask = run.asking()

    async def leave_behind() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, Query("leads"))
            group.start_soon(ask, Query("leads"))
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    anyio.run(leave_behind, backend=backend)
    for name in (backend, *BACKENDS):
        anyio.run(ask, Query("leads"), backend=name)
    stats = run.cache.stats
    assert stats.hits == 2
    assert stats.entries == 1


def test_a_call_that_is_closed_lets_others_go_on() -> None:
    """A coroutine that is thrown away, not cancelled, is no leader any more."""
    run = Run(1, _cache())
    told: list[Any] = []

    async def closed(operation: Operation, context: CallContext) -> Result:
        await anyio.sleep_forever()
        raise AssertionError

    async def follow() -> None:
        told.append((await compose([run.cache], run.database.answer)(Query("leads"), CallContext())).value)

    async def main() -> None:
        leader: Any = compose([run.cache], closed)(Query("leads"), CallContext())
        leader.send(None)
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            leader.close()

    anyio.run(main)
    assert len(told) == 1


def test_a_child_process_begins_with_an_empty_cache() -> None:
    """A write that was under way in the parent never ends in the child, and a lock held there is never released."""
    run = Run(1, _cache())
    ask = run.asking()
    anyio.run(ask, Query("leads"))
    with run.cache._writing(Write("leads", {"email": "a"})), run.cache._lock:
        if (child := os.fork()) == 0:
            anyio.run(ask, Query("leads"))
            anyio.run(ask, Query("leads"))
            stats = run.cache.stats
            os._exit(0 if (stats.misses, stats.hits) == (1, 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
