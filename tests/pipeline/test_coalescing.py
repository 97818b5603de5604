"""Coalescing: several callers in one request, and each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    OutcomeUnknownError,
    PersistenceError,
    RetryPolicy,
    eq,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Result, Write
from agent_persistence.pipeline.chain import compose
from agent_persistence.pipeline.coalescing.layer import Coalescing
from agent_persistence.pipeline.coalescing.policy import CoalescePolicy
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema_registry import default_schema
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio


class Gate(RecordingAdapter):
    """Stores in memory, and answers only while it is open; `failures` are raised by the requests behind the first."""

    def __init__(self, *failures: BaseException | None, opened: bool = False) -> None:
        self.store = InMemoryAdapter(schema=default_schema())
        super().__init__(self.store, failures=(None, *failures))
        self.gate = anyio.Event()
        if opened:
            self.gate.set()

    async def arrived(self, verb: str, *arguments: Any) -> None:
        self.calls.append((verb, arguments))
        await self.gate.wait()
        failure = next(self._failures, None)
        if failure is not None:
            raise failure

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Of each request the verb, and how many rows or keys it carried."""
        return [(verb, _size(arguments)) for verb, arguments in self.calls]


def _size(arguments: Sequence[Any]) -> int:
    _, what, *_ = arguments
    if isinstance(what, tuple):
        return len(what)
    operand = getattr(what, "operand", None)
    return len(operand) if isinstance(operand, tuple) else 1


def service(adapter: Gate, coalesce: CoalescePolicy | bool = True, **options: Any) -> AsyncPersistenceService:
    options = {"retry": False, "row_cap": 1000, **options}
    return AsyncPersistenceService(adapter, coalesce=coalesce, **options)


class Callers:
    """Calls that are made one after the other while the gate is shut, and what became of each."""

    def __init__(self, adapter: Gate) -> None:
        self.adapter = adapter
        self.outcomes: dict[int, Any] = {}
        self.scopes: dict[int, anyio.CancelScope] = {}

    async def run(self, *calls: Callable[[], Any], meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for number, call in enumerate(calls):
                    group.start_soon(self._call, number, call)
                    await anyio.wait_all_tasks_blocked()
                meanwhile()
                await anyio.wait_all_tasks_blocked()
                self.adapter.gate.set()
        return [self.outcomes.get(number, "cancelled") for number in range(len(calls))]

    async def _call(self, number: int, call: Callable[[], Any]) -> None:
        with anyio.CancelScope() as self.scopes[number]:
            try:
                self.outcomes[number] = await call()
            except PersistenceError as error:
                self.outcomes[number] = error


def emails(rows: Sequence[Any]) -> list[str]:
    return [row["email"] for row in rows]


def writes(target: AsyncPersistenceService, *names: str) -> list[Callable[[], Any]]:
    return [partial(target.write, "leads", {"email": name}) for name in names]


# Together


async def test_writes_that_arrive_while_one_is_under_way_become_one_batch() -> None:
    """The first goes at once; each caller gets its own row."""
    adapter = Gate()
    rows = await Callers(adapter).run(*writes(service(adapter), *"abcde"))
    assert adapter.sizes == [("write", 1), ("batch_write", 4)]
    assert emails(rows) == list("abcde")
    assert sorted(emails(await adapter.store.query("leads"))) == list("abcde")


async def test_calls_that_begin_in_one_turn_of_the_event_loop_share_the_first_request() -> None:
    """None of them has to wait for another one's answer."""
    adapter = Gate(opened=True)
    target = service(adapter)
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(target.write, "leads", {"email": name})
    assert adapter.sizes == [("batch_write", 3)]


async def test_a_first_call_that_is_cancelled_at_once_takes_nobody_with_it() -> None:
    """Those who have joined it are served, and it is not sent."""
    adapter = Gate(opened=True)
    target = service(adapter)

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await target.write("leads", {"email": "a"})

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled)
            for name in "bc":
                group.start_soon(target.write, "leads", {"email": name})
    assert sorted(emails(await adapter.store.query("leads"))) == ["b", "c"]


async def test_a_lone_call_is_left_as_it_is() -> None:
    """One request, the very one that it would be without coalescing."""
    adapter = Gate(opened=True)
    target = service(adapter)
    row = await target.write("leads", {"email": "a"})
    await target.read("leads", row["id"])
    await target.query("leads")
    assert adapter.verbs == ["write", "read", "query"]


async def test_reads_by_key_become_one_query() -> None:
    """Each caller gets the row of its key, or None; two who ask for the same get copies."""
    adapter = Gate()
    stored = await adapter.store.batch_write("leads", [{"email": name} for name in "abc"])
    target = service(adapter)
    keys = [*(row["id"] for row in stored), stored[0]["id"], "00000000-0000-0000-0000-000000000000"]
    first, *rows = await Callers(adapter).run(*(partial(target.read, "leads", key) for key in [keys[0], *keys]))
    assert adapter.sizes == [("read", 1), ("query", 4)]
    assert [row and row["email"] for row in (first, *rows)] == ["a", "a", "b", "c", "a", None]
    assert rows[0] is not rows[3]


async def test_a_key_in_another_form_finds_its_row() -> None:
    """A uuid in capitals, a number as a text: PostgreSQL takes them for the same, and so it is here."""
    adapter = Gate()
    lead = await adapter.store.write("leads", {"email": "a"})
    message = await adapter.store.write("inquiries", {"body": "b"})
    target = service(adapter)
    reads = [partial(target.read, "leads", lead["id"].upper())] * 3
    others = [partial(target.read, "inquiries", str(message["id"]))] * 3
    rows = await Callers(adapter).run(*reads, *others)
    assert rows == [lead] * 3 + [message] * 3


async def test_a_row_that_nobody_seems_to_have_asked_for_makes_the_callers_ask_alone() -> None:
    """Its key may have come back in a form that only the server takes for the same."""
    adapter = Gate()
    lead = await adapter.store.write("leads", {"email": "a", "score": "1.5"})
    target = service(adapter, schema=None)

    async def elsewhere(*arguments: Any, **options: Any) -> list[Any]:
        return [{**lead, "id": "in another form"}]

    adapter.query = elsewhere  # type: ignore[method-assign]
    rows = await Callers(adapter).run(*[partial(target.read, "leads", lead["id"])] * 3)
    assert rows == [lead] * 3
    assert adapter.verbs == ["read", "read", "read"]


async def test_equal_queries_become_one() -> None:
    """And what one caller does with its rows, the others do not see."""
    adapter = Gate()
    await adapter.store.write("leads", {"email": "a", "custom": {"tags": [1]}})
    target = service(adapter)
    query = partial(target.query, "leads", {"email": eq("a")})
    other = partial(target.query, "leads", {"email": eq("b")})
    results = await Callers(adapter).run(query, query, query, other, partial(target.count, "leads"))
    assert adapter.verbs == ["query", "query", "count", "query"]
    results[1][0]["custom"]["tags"].append(2)
    assert (results[2][0]["custom"], results[3], results[4]) == ({"tags": [1]}, [], 1)


async def test_what_differs_goes_apart() -> None:
    """Another table, other columns, a key of the caller's own, and verbs that are not for sharing."""
    adapter = Gate()
    target = service(adapter)
    await Callers(adapter).run(
        *writes(target, "a", "b"),
        partial(target.write, "leads", {"email": "c", "company": "C"}),
        partial(target.write, "inquiries", {"body": "d"}),
        *[partial(target.write, "leads", {"id": "01a20700-0b4a-742e-a343-d9470610fb9e", "email": "e"})] * 2,
        *[partial(target.upsert, "leads", {"email": "f"}, ["email"])] * 2,
    )
    assert sorted(adapter.sizes) == sorted([("write", 1)] * 6 + [("upsert", 1)] * 2)


async def test_rows_without_keys_of_their_own_are_shared_too() -> None:
    """The database counts up their keys."""
    adapter = Gate()
    target = service(adapter)
    rows = await Callers(adapter).run(*(partial(target.write, "inquiries", {"body": body}) for body in "abc"))
    assert [(row["id"], row["body"]) for row in rows] == [(1, "a"), (2, "b"), (3, "c")]
    assert adapter.sizes == [("write", 1), ("batch_write", 2)]


async def test_everybody_reads_what_he_has_written() -> None:
    """A query does not join one that left before it was asked."""
    adapter = Gate(opened=True)
    await adapter.store.write("leads", {"email": "a"})
    target = service(adapter)
    read_early = anyio.Event()
    go_on = anyio.Event()

    async def slow(*arguments: Any, **options: Any) -> list[Any]:
        rows = await adapter.store.query(*arguments, **options)
        if not read_early.is_set():
            read_early.set()
            await go_on.wait()
        return rows

    adapter.query = slow  # type: ignore[method-assign]
    seen: list[list[str]] = []

    async def write_and_read() -> None:
        await read_early.wait()
        await adapter.store.write("leads", {"email": "b"})
        async with anyio.create_task_group() as group:
            group.start_soon(query)
            await anyio.wait_all_tasks_blocked()
            go_on.set()

    async def query() -> None:
        seen.append(emails(await target.query("leads", order_by="email")))

    async with anyio.create_task_group() as group:
        group.start_soon(query)
        group.start_soon(write_and_read)
    assert seen == [["a"], ["a", "b"]]


@pytest.mark.parametrize(
    ("policy", "sizes"),
    [(CoalescePolicy(max_rows=2), [1, 2, 2, 1]), (CoalescePolicy(max_bytes=1), [1] * 6), (CoalescePolicy(), [1, 5])],
    ids=shown,
)
async def test_a_request_is_bounded(policy: CoalescePolicy, sizes: list[int]) -> None:
    """By rows and by bytes; who does not fit goes with the next."""
    adapter = Gate()
    await Callers(adapter).run(*writes(service(adapter, policy), *"abcdef"))
    assert [size for _, size in adapter.sizes] == sizes


# Failures


async def test_if_a_batch_is_rejected_each_row_is_judged_alone() -> None:
    """The others get their rows; who is at fault gets the error."""
    adapter = Gate()
    await adapter.store.write("leads", {"email": "taken"})
    first, taken, other = await Callers(adapter).run(*writes(service(adapter), "a", "taken", "b"))
    assert (first["email"], other["email"]) == ("a", "b")
    assert isinstance(taken, ConflictError)
    assert (taken.constraint, taken.state) == ("leads_email_key", FailureState.REJECTED)


async def test_a_batch_that_never_left_fails_for_everybody() -> None:
    """With an error object of its own for each."""
    adapter = Gate(AdapterError("refused", state=FailureState.NOT_SENT))
    first, *failed = await Callers(adapter).run(*writes(service(adapter), *"abc"))
    assert first["email"] == "a"
    assert [type(error) for error in failed] == [BackendUnavailableError] * 2
    assert failed[0] is not failed[1]


async def test_a_lost_batch_tells_each_caller_its_own_key() -> None:
    """With that it can look for its row."""
    adapter = Gate(AdapterError("lost", state=FailureState.AMBIGUOUS))
    target = service(adapter)
    _, *failed = await Callers(adapter).run(*writes(target, *"abc"))
    sent = [record["id"] for _, (_, records) in adapter.calls[1:] for record in records]
    assert [type(error) for error in failed] == [OutcomeUnknownError] * 2
    assert [error.key for error in failed] == sent


async def test_a_lost_batch_is_sent_again_and_applied_once() -> None:
    """The retries stand below, and every row has a key."""
    adapter = Gate()
    batch_write = adapter.batch_write

    async def losing(table: str, records: Any) -> Any:
        stored = await batch_write(table, records)
        if len(adapter.calls) == 2:
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return stored

    adapter.batch_write = losing  # type: ignore[method-assign]
    rows = await Callers(adapter).run(*writes(service(adapter, retry=RetryPolicy(base_s=0.001)), *"abc"))
    assert emails(rows) == list("abc")
    assert sorted(emails(await adapter.store.query("leads"))) == list("abc")


async def test_a_broken_adapter_is_told_to_the_callers() -> None:
    """Nobody waits for ever, no task dies unseen, and what may have been applied is not sent again."""
    adapter = Gate()
    target = service(adapter)

    async def broken(*arguments: Any) -> Any:
        adapter.calls.append(("batch_write", arguments))
        return [{}]

    adapter.batch_write = broken  # type: ignore[method-assign, assignment]
    told: list[BaseException] = []

    async def call(write: Callable[[], Any]) -> None:
        try:
            await write()
        except ValueError as error:
            told.append(error)

    await Callers(adapter).run(*(partial(call, write) for write in writes(target, *"abc")))
    assert (len(told), adapter.verbs) == (2, ["write", "batch_write"])


# Leaving


@pytest.mark.parametrize("leaving", range(4))
async def test_cancelling_one_harms_nobody_else(leaving: int) -> None:
    """Neither the one whose request is under way nor one that waits."""
    adapter = Gate()
    callers = Callers(adapter)
    calls = writes(service(adapter), *"abcd")
    outcomes = await callers.run(*calls, meanwhile=lambda: callers.scopes[leaving].cancel())
    assert outcomes[leaving] == "cancelled"
    others = [name for number, name in enumerate("abcd") if number != leaving]
    assert emails([row for row in outcomes if row != "cancelled"]) == others
    assert sorted(emails(await adapter.store.query("leads"))) == others


async def test_cancelling_one_whose_row_is_in_a_batch_lets_the_batch_go_on() -> None:
    """Its row may be there in the end, as after any cancelled write."""
    adapter = Gate(opened=True)
    callers = Callers(adapter)
    in_batch = anyio.Event()
    batch_write = adapter.batch_write

    async def cancelling(table: str, records: Any) -> Any:
        callers.scopes[1].cancel()
        in_batch.set()
        await anyio.sleep(0.01)
        return await batch_write(table, records)

    adapter.batch_write = cancelling  # type: ignore[method-assign]
    adapter.gate = anyio.Event()
    outcomes = await callers.run(*writes(service(adapter), *"abc"))
    assert (outcomes[0]["email"], outcomes[1], outcomes[2]["email"]) == ("a", "cancelled", "c")
    assert sorted(emails(await adapter.store.query("leads"))) == ["a", "b", "c"]


def _stopped() -> float:
    """A clock by which no time passes, so that a call has the same patience on a busy machine."""
    return 0.0


def chain(adapter: Gate) -> Callable[[str, float], Coroutine[Any, Any, Result]]:
    """Writes a lead under a key of this name, by a call that has so many seconds; all under one retry policy."""
    shared = Coalescing(CoalescePolicy(), ClientKeys(default_schema(), None), clock=_stopped)
    ask = compose([shared], dispatch_to(adapter, _stopped))

    async def write(name: str, patience_s: float) -> Result:
        record = {"id": str(uuid5(NAMESPACE_DNS, name)), "email": name}
        context = CallContext(deadline=_stopped() + patience_s)
        return await ask(Write("leads", record, generated_key="id"), context)

    return write


async def test_a_deadline_ends_the_waiting_before_anything_was_sent() -> None:
    """The error says so; the one whose request is under way goes on."""
    adapter = Gate()
    write = chain(adapter)
    errors: list[AdapterError] = []

    async def call() -> None:
        with pytest.raises(BackendUnavailableError) as caught:
            await write("b", 0.05)
        errors.append(caught.value)
        adapter.gate.set()

    async with anyio.create_task_group() as group:
        group.start_soon(write, "a", 10)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(call)
    assert [error.state for error in errors] == [FailureState.NOT_SENT]
    assert emails(await adapter.store.query("leads")) == ["a"]


async def test_a_deadline_ends_the_waiting_for_a_request_under_way() -> None:
    """The row may be there in the end, and is; the others of the batch get theirs."""
    adapter = Gate()
    write = chain(adapter)
    errors: list[OutcomeUnknownError] = []

    async def call() -> None:
        with pytest.raises(OutcomeUnknownError) as caught:
            await write("b", 0.05)
        errors.append(caught.value)
        adapter.gate.set()

    async with anyio.create_task_group() as group:
        group.start_soon(write, "a", 10)
        group.start_soon(call)
    assert adapter.sizes == [("batch_write", 2)]
    rows = await adapter.store.query("leads", order_by="email")
    assert emails(rows) == ["a", "b"]
    assert [error.key for error in errors] == [rows[1]["id"]]


async def test_calls_under_other_retries_or_of_other_users_share_no_request() -> None:
    """What one of them joined would change its attempts, its errors, or as whom it runs."""
    adapter = Gate(opened=True)
    target = service(adapter)
    views = [target, target.with_options(deadline_s=9), target.as_user(actor="ada"), target.as_user(actor="bob")]
    async with anyio.create_task_group() as group:
        for number, view in enumerate(views):
            for call in writes(view, f"a{number}", f"b{number}"):
                group.start_soon(call)
    assert adapter.sizes == [("batch_write", 2)] * 4


async def test_each_call_is_told_to_audit_and_metrics() -> None:
    """As if it had gone alone."""
    events: list[AuditEvent] = []
    metrics = Metrics()
    adapter = Gate()
    rows = await Callers(adapter).run(*writes(service(adapter, audit=events.append, metrics=metrics), *"abcd"))
    assert [(event.verb, event.outcome, event.row_count) for event in events] == [("write", "ok", 1)] * 4
    assert {event.keys for event in events} == {(row["id"],) for row in rows}
    assert metrics.snapshot()["write"]["leads"]["count"] == 4


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_thousand_callers_need_few_requests() -> None:
    """And each gets its own row, in any order of arrival."""
    adapter = Gate(opened=True)
    target = service(adapter)
    rows = await asyncio.gather(*(target.write("leads", {"email": f"{number}"}) for number in range(1000)))
    assert emails(rows) == [f"{number}" for number in range(1000)]
    assert len(adapter.calls) <= 5


def test_it_works_over_one_event_loop_after_the_other() -> None:
    """Also if a loop ends while calls wait."""
    adapter = Gate()
    target = service(adapter)

    async def abandoned() -> None:
        tasks = [asyncio.ensure_future(target.write("leads", {"email": name})) for name in "ab"]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    asyncio.run(abandoned())
    adapter.gate = anyio.Event()
    adapter.gate.set()
    assert asyncio.run(target.write("leads", {"email": "c"}))["email"] == "c"


@pytest.mark.parametrize("coalesce", [1, "yes", None, {"max_rows": 1}], ids=shown)
def test_what_is_no_policy_is_refused(coalesce: Any) -> None:
    """At construction."""
    with pytest.raises(ConfigurationError, match="coalesce"):
        AsyncPersistenceService(RecordingAdapter(), coalesce=coalesce)


@pytest.mark.parametrize("options", [{"max_rows": 0}, {"max_rows": True}, {"max_bytes": -1}], ids=shown)
def test_bounds_are_positive(options: Any) -> None:
    """Anything else is refused at construction."""
    with pytest.raises(ConfigurationError):
        CoalescePolicy(**options)
