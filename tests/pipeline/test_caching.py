"""A read that was answered is answered again without a request, until something is written or time has passed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from math import inf
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    BackendUnavailableError,
    OutcomeUnknownError,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import (
    BatchWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Query,
    Read,
    Result,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.pipeline.caching.layer import Caching
from agent_persistence.pipeline.caching.policy import CachePolicy
from agent_persistence.pipeline.chain import compose
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.query.predicates import Comparison, Operator
from agent_persistence.schema_registry import Column, Schema, Table, default_schema
from tests.doubles import FakeTime, RecordingAdapter, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]

Step: TypeAlias = Callable[[], Awaitable[Any]]

SCHEMA: Final = Schema(
    {
        **default_schema().tables,
        "lead_counts": Table({"status": Column("text"), "n": Column("bigint")}, primary_key=()),
    }
)
ROW: Final = {"id": "1", "email": "a@x.io", "tags": ["a", {"b": [1]}], "score": Decimal("0.12345678901234567890")}
BY_ID: Final = Comparison(Operator.EQ, "1", "id")
READS: Final[list[Operation]] = [
    Read("leads", "1"),
    Query("leads", BY_ID, 10),
    Count("leads", BY_ID),
    GetColumns("leads"),
]
WRITES: Final[list[Operation]] = [
    Write("leads", {"email": "a@x.io"}),
    BatchWrite("leads", ({"email": "a@x.io"},)),
    Upsert("leads", {"email": "a@x.io"}),
    Update("leads", {"email": "b@x.io"}, BY_ID),
    Delete("leads", BY_ID),
    WritingCall("merge_leads", {}),
]


class Server:
    """Answers each read with the number of the request; `answers` come first, errors are raised.

    While `open` is not set, everything that arrives waits.
    """

    def __init__(self, *answers: Any) -> None:
        self.asked: list[Operation] = []
        self.under_way = self.most_under_way = 0
        self.answers = list(answers)
        self.open = anyio.Event()
        self.open.set()

    async def __call__(self, operation: Operation, context: CallContext) -> Result:
        self.asked.append(operation)
        answer = self.answers.pop(0) if self.answers else len(self.asked)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.open.wait()
            await anyio.lowlevel.checkpoint()
        finally:
            self.under_way -= 1
        if isinstance(answer, BaseException):
            raise answer
        return Result(answer)

    def close(self) -> None:
        self.open = anyio.Event()


class World:
    """A cache in front of a server, under a clock that stands still."""

    def __init__(self, *answers: Any, **policy: Any) -> None:
        self.time = FakeTime()
        self.server = Server(*answers)
        self.cache = Caching(CachePolicy(**policy), SCHEMA, self.time.clock)
        self._chain = compose([self.cache], self.server)

    async def ask(self, operation: Operation, deadline: float = inf) -> Result:
        return await self._chain(operation, CallContext(deadline=deadline))

    async def value(self, operation: Operation, deadline: float = inf) -> Any:
        return (await self.ask(operation, deadline)).value

    async def together(self, *operations: Operation, deadlines: Sequence[float] = ()) -> list[Any]:
        """What each of them brings, asked before the server answers any."""
        told: dict[int, Any] = {}

        async def tell(number: int, operation: Operation) -> None:
            try:
                told[number] = await self.value(operation, deadlines[number] if deadlines else inf)
            except Exception as error:
                told[number] = error

        self.server.close()
        async with anyio.create_task_group() as group:
            for number, operation in enumerate(operations):
                group.start_soon(tell, number, operation)
                await anyio.wait_all_tasks_blocked()
            self.server.open.set()
        return [told[number] for number in range(len(operations))]


@pytest.mark.parametrize("read", READS, ids=shown)
async def test_the_second_time_costs_no_request(read: Operation) -> None:
    """The result says so: it took no attempt."""
    world = World()
    first, second = await world.ask(read), await world.ask(read)
    assert first.value == second.value
    assert (first.attempts, second.attempts) == (1, 0)
    assert world.server.asked == [read]


async def test_what_was_not_found_is_an_answer_too() -> None:
    """None, no rows and zero."""
    for read, nothing in ((Read("leads", "9"), None), (Query("leads"), []), (Count("leads"), 0)):
        world = World(nothing)
        assert await world.value(read) == await world.value(read) == nothing
        assert len(world.server.asked) == 1


async def test_another_question_is_asked() -> None:
    """Of another type, table, limit, order of columns; but another deadline is none."""
    world = World()
    operations: list[Operation] = [
        *(Read("leads", value) for value in ("1", 1, True, 1.0)),
        Read("clients", "1"),
        Read("leads", "1", "email"),
        *(Query("leads", limit=limit) for limit in (None, 1, 2)),
        *(Query("leads", select=names) for names in (("a", "b"), ("b", "a"))),
        *(Query("leads", Comparison(Operator.EQ, value, "n")) for value in (1, True)),
        Count("leads", Comparison(Operator.EQ, 1, "n")),
    ]
    values = [await world.value(operation) for operation in operations]
    assert len(set(values)) == len(values) == len(world.server.asked)
    assert await world.value(Read("leads", "1"), deadline=5000.0) == values[0]


async def test_an_answer_expires() -> None:
    """Counted from when it was asked for, on the clock that was given."""
    world = World(ttl_s=30)
    await world.ask(READS[0])
    world.time.now_s += 29.9
    assert await world.value(READS[0]) == 1
    world.time.now_s += 0.1
    assert await world.value(READS[0]) == 2


async def test_an_answer_is_as_old_as_its_question() -> None:
    """The time that the server takes counts."""
    world = World(ttl_s=30)
    world.server.close()
    async with anyio.create_task_group() as group:
        group.start_soon(world.ask, READS[0])
        await anyio.wait_all_tasks_blocked()
        world.time.now_s += 30
        world.server.open.set()
    assert await world.value(READS[0]) == 2


async def test_whoever_gets_an_answer_may_change_it() -> None:
    """The first, who got it from the server, as well as those who got it from the cache."""
    world = World([dict(ROW, tags=["a", {"b": [1]}])])
    for _ in range(3):
        (row,) = await world.value(Query("leads"))
        assert row == ROW
        assert type(row["score"]) is Decimal
        row["tags"][1]["b"].append("poison")
        row["tags"].clear()
        row["email"] = "poison"
    assert len(world.server.asked) == 1


async def test_those_who_share_an_answer_do_not_share_its_objects() -> None:
    """Nor with the one who asked."""
    world = World([dict(ROW, tags=["a", {"b": [1]}])])
    told = await world.together(*[Query("leads")] * 3)
    assert len({id(rows[0]["tags"][1]) for rows in told}) == 3
    told[0][0]["tags"].append("poison")
    assert told[1] == told[2] == [ROW]


async def test_what_cannot_be_copied_is_not_kept() -> None:
    """A kind of value that only somebody else's adapter gives; those who waited for one then ask all at once."""
    world = World(*[[{"id": {1, 2}}]] * 9)
    await world.together(*[Query("leads")] * 3)
    assert len(world.server.asked) == 3
    assert world.server.most_under_way == 2
    await world.ask(Query("leads"))
    assert len(world.server.asked) == 4
    assert world.cache.stats.entries == 0


@pytest.mark.parametrize("write", WRITES, ids=shown)
@pytest.mark.parametrize("read", READS, ids=shown)
async def test_a_write_makes_the_answers_of_its_table_stale(read: Operation, write: Operation) -> None:
    """All verbs that write."""
    world = World()
    before = await world.value(read)
    await world.ask(write)
    assert await world.value(read) != before


@pytest.mark.parametrize(
    "failure",
    [
        AdapterError("no", state=FailureState.REJECTED),
        AdapterError("lost", state=FailureState.APPLIED),
        BackendUnavailableError("down", state=FailureState.RETRYABLE),
        OutcomeUnknownError("lost"),
        ValidationError("leads", "no"),
        ZeroDivisionError(),
    ],
    ids=shown,
)
async def test_so_does_a_write_that_fails(failure: Exception) -> None:
    """In whatever way."""
    world = World(1, failure)
    await world.ask(READS[0])
    with pytest.raises(type(failure)):
        await world.ask(WRITES[0])
    await world.ask(READS[0])
    assert len(world.server.asked) == 3


async def test_answers_about_other_tables_stay() -> None:
    """Control: a write does not empty the cache."""
    world = World()
    read = Read("clients", "1")
    await world.ask(read)
    for write in WRITES[:5]:
        await world.ask(write)
    assert await world.value(read) == 1


@pytest.mark.parametrize(
    ("write", "stale"),
    [
        (Delete("clients", BY_ID), {"clients", "campaigns", "sequences", "leads", "conversations", "messages"}),
        (Update("campaigns", {"name": "x"}, BY_ID), {"campaigns", "sequences", "leads", "conversations", "messages"}),
        (Upsert("conversations", {"id": "1"}), {"conversations", "messages"}),
        (Delete("messages", BY_ID), {"messages"}),
        (Write("clients", {"name": "x"}), {"clients"}),
        (WritingCall("f", {}), set(default_schema().tables)),
    ],
    ids=shown,
)
async def test_what_may_cascade_makes_the_tables_below_stale(write: Operation, stale: set[str]) -> None:
    """By the foreign keys of the schema, directly or through another table; and no others."""
    world = World()
    before = {table: await world.value(Query(table)) for table in default_schema().tables}
    await world.ask(write)
    assert {table for table in before if await world.value(Query(table)) != before[table]} == stale


@pytest.mark.parametrize("table", ["lead_counts", "undeclared"])
async def test_any_write_makes_a_view_stale(table: str) -> None:
    """Nobody says which tables it shows; nor of a table that is not declared, which may be one."""
    world = World()
    await world.ask(Query(table))
    await world.ask(Write("messages", {"content": "x"}))
    assert await world.value(Query(table)) == 3


async def test_functions_are_kept_where_the_policy_names_them() -> None:
    """Their answers are stale after any write."""
    world = World(functions={"top_leads"})
    named, other = Call("top_leads", {"n": 3}), Call("random_lead", {})
    assert [await world.value(named), await world.value(named)] == [1, 1]
    assert [await world.value(other), await world.value(other)] == [2, 3]
    await world.ask(WRITES[0])
    assert await world.value(named) == 5


async def test_tables_are_kept_where_the_policy_names_them() -> None:
    """Without `tables`, all are."""
    world = World(tables={"clients"})
    assert [await world.value(Query("leads")), await world.value(Query("leads"))] == [1, 2]
    assert [await world.value(Query("clients")), await world.value(Query("clients"))] == [3, 3]


async def test_a_read_during_which_a_write_ran_is_not_kept() -> None:
    """Whoever began first, and whoever ended first; its own caller gets what it asked for."""
    for first, second in ((READS[0], WRITES[0]), (WRITES[0], READS[0])):
        world = World()
        assert await world.together(first, second) == [1, 2]
        assert await world.value(READS[0]) == 3


async def test_nothing_is_kept_while_a_write_is_under_way() -> None:
    """Neither what was there before nor what is answered meanwhile: the write may be applied between two reads."""
    world = World("before", 1, 2, 3)
    await world.ask(READS[0])
    gate = anyio.Event()

    async def slow_write(operation: Operation, context: CallContext) -> Result:
        await gate.wait()
        return Result(operation)

    async def write() -> None:
        await compose([world.cache], slow_write)(WRITES[0], CallContext())

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        assert [await world.value(READS[0]), await world.value(READS[0])] == [1, 2]
        gate.set()
    assert [await world.value(READS[0]), await world.value(READS[0])] == [3, 3]


async def test_a_read_after_a_write_does_not_join_one_from_before() -> None:
    """The other one may bring what was there before."""
    world = World("old", "written", "new")
    assert await world.together(READS[0], WRITES[0], READS[0]) == ["old", "written", "new"]
    world = World("old", "new")
    assert await world.together(READS[0], READS[0]) == ["old", "old"], "control: without a write it does"


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "lost"])
async def test_a_write_that_may_still_be_applied_keeps_its_table_out_for_a_while(cancelled: bool) -> None:
    """For `ttl_s` after its call has ended."""
    world = World(*([] if cancelled else [OutcomeUnknownError("lost")]), ttl_s=30)
    if cancelled:
        world.server.close()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(world.ask, WRITES[0])
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        world.server.open.set()
    else:
        with pytest.raises(OutcomeUnknownError):
            await world.ask(WRITES[0])
    assert [await world.value(READS[0]), await world.value(READS[0])] == [2, 3]
    assert [await world.value(Query("clients")), await world.value(Query("clients"))] == [4, 4]
    world.time.now_s += 30
    assert [await world.value(READS[0]), await world.value(READS[0])] == [5, 5]


async def test_a_write_that_was_refused_does_not() -> None:
    """Control: it is known not to be applied."""
    world = World(AdapterError("no", state=FailureState.REJECTED))
    with pytest.raises(AdapterError):
        await world.ask(WRITES[0])
    assert [await world.value(READS[0]), await world.value(READS[0])] == [2, 2]


async def test_the_same_read_by_many_is_one_request() -> None:
    """Of those that did not ask, none counts an attempt."""
    world = World()
    assert await world.together(*[READS[0]] * 50) == [1] * 50
    stats = world.cache.stats
    assert (stats.misses, stats.shared, stats.hits) == (1, 49, 0)


async def test_an_error_is_not_kept() -> None:
    """The next call asks again."""
    world = World(AdapterError("down", state=FailureState.NOT_SENT))
    with pytest.raises(AdapterError):
        await world.ask(READS[0])
    assert await world.value(READS[0]) == 2


async def test_a_failure_is_shared_but_not_its_object() -> None:
    """Each task may add notes to its own; class, attributes and cause are the same."""
    failure = BackendUnavailableError("down", state=FailureState.RETRYABLE, status=503)
    failure.__cause__ = OSError("refused")
    failure.add_note("a note")
    failure.attempts = 4
    world = World(failure)
    errors = await world.together(*[READS[0]] * 3)
    assert len(world.server.asked) == 1
    assert errors[0] is failure
    assert len({*map(id, errors)}) == 3
    for error in errors:
        assert (type(error), error.state, error.status, str(error)) == (type(failure), "retryable", 503, "down")
        assert error.__cause__ is failure.__cause__
        assert error.__notes__ == ["a note"]
    assert [error.attempts for error in errors] == [4, 0, 0]
    errors[1].add_note("mine")
    assert errors[0].__notes__ == errors[2].__notes__ == ["a note"]


async def test_an_error_that_is_none_of_ours_is_not_shared() -> None:
    """It cannot be copied safely; the others ask by themselves."""
    world = World(ZeroDivisionError())
    first, *others = await world.together(*[READS[0]] * 3)
    assert isinstance(first, ZeroDivisionError)
    assert {*others} <= {2, 3}


async def test_cancelling_the_one_who_asks_harms_nobody() -> None:
    """One of those who wait takes over, and the others wait for it."""
    world = World()
    told: list[Any] = []

    async def tell() -> None:
        told.append(await world.value(READS[0]))

    world.server.close()
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as leader:
            async with anyio.create_task_group() as leading:
                leading.start_soon(world.ask, READS[0])
                await anyio.wait_all_tasks_blocked()
                for _ in range(3):
                    group.start_soon(tell)
                await anyio.wait_all_tasks_blocked()
                assert len(world.server.asked) == 1
                leader.cancel()
        await anyio.wait_all_tasks_blocked()
        assert len(world.server.asked) == 2
        world.server.open.set()
    assert told == [2, 2, 2]


async def test_cancelling_one_who_waits_harms_nobody() -> None:
    """The one who asks goes on."""
    world = World()
    told: list[Any] = []

    async def tell() -> None:
        told.append(await world.value(READS[0]))

    world.server.close()
    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as others:
                others.start_soon(world.ask, READS[0])
                await anyio.wait_all_tasks_blocked()
                waiting.cancel()
        world.server.open.set()
    assert told == [1]
    assert await world.value(READS[0]) == 1


async def test_one_who_waits_obeys_its_own_deadline() -> None:
    """It is told so by the error of a call that reached it; the other call goes on."""
    world = World()
    now = world.time.now_s
    first, late = await world.together(READS[0], READS[0], deadlines=[now + 60, now - 1])
    assert first == 1
    assert isinstance(late, BackendUnavailableError)
    assert "reached its deadline" in str(late)
    assert (late.state, late.attempts) == ("not_sent", 0)
    assert len(world.server.asked) == 1


async def test_who_has_much_more_time_does_not_share_the_fate_of_who_has_little() -> None:
    """It asks by itself, and those who come then share its request."""
    world = World(AdapterError("late", state=FailureState.NOT_SENT), "patient")
    now = world.time.now_s
    errors = await world.together(*[READS[0]] * 4, deadlines=[now + left_s for left_s in (1, 10, 10, 1)])
    assert isinstance(errors[0], AdapterError)
    assert errors[1:] == ["patient"] * 3


async def test_the_least_recently_used_answer_goes_first() -> None:
    """By their number."""
    world = World(max_entries=2)
    for key in ("1", "2", "1", "3"):
        await world.ask(Read("leads", key))
    assert [await world.value(Read("leads", key)) for key in ("1", "3", "2")] == [1, 3, 4]
    assert world.cache.stats.evictions == 2


async def test_the_answers_together_stay_below_a_size() -> None:
    """By the memory that they take."""
    world = World(*["x" * 10_000] * 4, max_bytes=32_000)
    for key in "1234":
        await world.ask(Read("leads", key))
    stats = world.cache.stats
    assert (stats.entries, stats.evictions) == (3, 1)
    assert 30_000 < stats.size_bytes <= 32_000
    for key in "234":
        await world.ask(Read("leads", key))
    assert len(world.server.asked) == 4


async def test_an_answer_that_is_too_large_by_itself_is_not_kept() -> None:
    """It drops no other."""
    world = World("x", "x" * 40_000, max_bytes=32_000)
    for key in "1221":
        await world.ask(Read("leads", key))
    assert [read.id_value for read in world.server.asked if isinstance(read, Read)] == ["1", "2", "2"]


async def test_rows_are_counted_with_all_that_is_in_them() -> None:
    """Nested lists and mappings included."""
    world = World([{"custom": {"a": ["x" * 50_000]}}], max_bytes=10_000)
    await world.ask(Query("leads"))
    assert world.cache.stats.entries == 0


async def test_clear_forgets_everything_and_what_is_under_way() -> None:
    """Someone else is known to have written."""
    world = World()
    await world.ask(Query("clients"))
    world.server.close()
    async with anyio.create_task_group() as group:
        group.start_soon(world.ask, READS[0])
        await anyio.wait_all_tasks_blocked()
        world.cache.clear()
        world.server.open.set()
    assert world.cache.stats.entries == world.cache.stats.size_bytes == 0
    assert [await world.value(READS[0]), await world.value(Query("clients"))] == [3, 4]


async def test_stats_are_a_snapshot() -> None:
    """Later calls do not change it."""
    world = World()
    await world.ask(READS[0])
    before = world.cache.stats
    await world.ask(READS[0])
    assert (before.hits, world.cache.stats.hits) == (0, 1)
    with pytest.raises(AttributeError):
        before.hits = 5  # type: ignore[misc]


async def test_a_denied_table_is_never_served() -> None:
    """The guard stands above it: what one policy let in, another policy's service cannot ask for."""
    cache = Caching(CachePolicy(), SCHEMA, FakeTime().clock)
    allowed, denied = (
        compose([Guard(TablePolicy(read=read), SCHEMA), cache], Server()) for read in ({"leads"}, {"clients"})
    )
    await allowed(Query("leads"), CallContext())
    with pytest.raises(TableNotAllowedError):
        await denied(Query("leads"), CallContext())
    assert cache.stats.entries == 1


async def test_an_answer_from_the_cache_is_audited_with_no_attempt() -> None:
    """Hooks can tell it from one that cost a request."""
    events: list[AuditEvent] = []
    service = AsyncPersistenceService(RecordingAdapter(), cache=True, clock=FakeTime().clock, audit=events.append)
    await service.query("leads")
    await service.query("leads")
    assert [event.attempts for event in events] == [1, 0]


async def test_calls_under_other_bounds_share_the_cache() -> None:
    """As they share policy and metrics; so does the façade."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, cache=True, clock=FakeTime().clock)
    await service.query("leads")
    await service.with_options(deadline_s=3).query("leads")
    await service.readonly().query("leads")
    assert adapter.verbs == ["query"]
