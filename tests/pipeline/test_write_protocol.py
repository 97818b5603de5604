"""The write protocol: what becomes of a write whose answer was lost, verb by verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    AuditEvent,
    BackendUnavailableError,
    ConflictError,
    InMemoryAdapter,
    OutcomeUnknownError,
    PersistenceError,
    RetryPolicy,
    Schema,
    TablePolicy,
)
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.exceptions import FailureState
from agent_persistence.filters import Filters, any_of, gt, in_
from agent_persistence.policy.retry import RetryBudget
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, Table, default_schema
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, RecordingAdapter, shown

pytestmark = pytest.mark.anyio

Step = BaseException | None | str
LOST, GARBLED = "applied, and its answer lost", "applied, and its answer garbled"
NEVER_ARRIVED = AdapterError("lost on the way there", state=FailureState.AMBIGUOUS)
LATER = AdapterError("busy", state=FailureState.RETRYABLE)
OTHERS = {"first_name": "somebody else"}


class Unsteady(RecordingAdapter):
    """Takes the next step with each write: raises it, or applies the write and then loses its answer, or neither.

    `meanwhile` runs once, after the first step: what others do before the write is sent again.
    """

    def __init__(self, steps: Iterable[Step], meanwhile: Callable[[InMemoryAdapter], Any] | None = None) -> None:
        self.store = InMemoryAdapter(schema=default_schema())
        super().__init__(self.store)
        self._steps = iter(steps)
        self.writes: list[tuple[Any, ...]] = []
        self.told: AdapterError | None = None
        """What is said in place of "lost", if anything."""
        self._meanwhile = meanwhile

    async def _step(self, write: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.writes.append(args)
        step = next(self._steps, None)
        try:
            if isinstance(step, BaseException):
                raise step
            value = await write(*args, **options)
            if step is not None:
                state = FailureState.AMBIGUOUS if step is LOST else FailureState.APPLIED
                raise self.told or AdapterError(step, state=state)
            return value
        finally:
            if self._meanwhile is not None:
                meanwhile, self._meanwhile = self._meanwhile, None
                await meanwhile(self.store)

    async def write(self, *args: Any) -> Any:
        return await self._step(super().write, *args)

    async def batch_write(self, *args: Any) -> Any:
        return await self._step(super().batch_write, *args)

    async def upsert(self, *args: Any) -> Any:
        return await self._step(super().upsert, *args)

    async def update(self, *args: Any, **options: Any) -> Any:
        return await self._step(super().update, *args, **options)

    async def delete(self, *args: Any, **options: Any) -> Any:
        return await self._step(super().delete, *args, **options)


POLICY = TablePolicy(read={"leads"}, write={"leads", "inquiries"}, delete=frozenset({"leads"}))
BLIND = TablePolicy(read=frozenset(), write=frozenset({"leads"}))


def within(rule: Filters) -> TablePolicy:
    return TablePolicy(read={"leads"}, write={"leads"}, delete=frozenset({"leads"}), rows={"leads": rule})


def service(
    adapter: PersistenceAdapter, policy: TablePolicy = POLICY, *, last_write_wins: bool = False, **options: Any
) -> AsyncPersistenceService:
    clockwork = FakeTime()
    retry = RetryPolicy(base_s=0.001, last_write_wins=last_write_wins)
    return AsyncPersistenceService(
        adapter, policy=policy, retry=retry, clock=clockwork.clock, sleep=clockwork.sleep, **options
    )


async def stored(adapter: Unsteady, **equal: Any) -> list[Row]:
    return await adapter.store.query("leads", equal or None, order_by="email")


@pytest.mark.parametrize("policy", [POLICY, BLIND], ids=["readable", "write only"])
@pytest.mark.parametrize(
    "steps",
    [
        [LOST],
        [GARBLED],
        [NEVER_ARRIVED],
        [LATER, LOST],
        [LOST, LATER],
        [LOST, NEVER_ARRIVED],
        [NEVER_ARRIVED, LOST],
        [LOST, NEVER_ARRIVED, LATER],
    ],
    ids=shown,
)
@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert"])
async def test_a_row_with_a_key_of_ours_is_there_once(verb: str, steps: list[Step], policy: TablePolicy) -> None:
    """Whatever was lost, the caller gets the row, and every try carried the same record."""
    adapter = Unsteady(steps)
    record: Any = {"email": "a"}
    sent = [record, {"email": "b"}] if verb == "batch_write" else record
    made = await getattr(service(adapter, policy), verb)("leads", sent)
    rows = await stored(adapter)
    assert [row["id"] for row in (made if isinstance(made, list) else [made])] == [row["id"] for row in rows]
    assert len({shown(arguments[1]) for arguments in adapter.writes}) == 1


async def test_the_row_is_read_back_with_what_the_database_made() -> None:
    """As if nothing had happened."""
    adapter = Unsteady([LOST])
    row = await service(adapter).write("leads", {"email": "a"})
    assert [row] == await stored(adapter)
    assert row["status"] == "new"


async def test_where_the_row_may_not_be_read_the_caller_gets_what_was_sent() -> None:
    """With its key; no request reads."""
    adapter = Unsteady([LOST])
    row = await service(adapter, BLIND).write("leads", {"email": "a"})
    assert (row["email"], sorted(row)) == ("a", ["email", "id"])
    assert {verb for verb, _ in adapter.calls} == {"write"}


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.write("inquiries", {"body": "a"}),
        lambda s: s.batch_write("inquiries", [{"body": "a"}]),
        lambda s: s.upsert("inquiries", {"body": "a"}),
        lambda s: s.update("leads", {"notes": "n"}, {"email": "a"}),
        lambda s: s.delete("leads", {"email": "a"}),
    ],
    ids=["write", "batch_write", "upsert", "update", "delete"],
)
async def test_without_a_key_nothing_is_sent_twice(write: Callable[[Any], Any]) -> None:
    """A broad update may meet other rows the second time; an identity column makes a second row."""
    adapter = Unsteady([LOST])
    with pytest.raises(OutcomeUnknownError) as caught:
        await write(service(adapter))
    assert (caught.value.key, caught.value.attempts, len(adapter.writes)) == (None, 1, 1)


async def test_a_key_of_the_callers_is_compared() -> None:
    """Its row is there with everything that was sent: it is this call's."""
    adapter = Unsteady([LOST])
    row = await service(adapter).write("leads", {"id": KEY, "email": "a"})
    assert [row] == await stored(adapter)


KEY = "01a20700-0b4a-742e-a343-d9470610fb9e"


async def test_a_row_of_somebody_else_under_the_callers_key_is_a_conflict() -> None:
    """Which may still be this call's own first try, changed since: the error says that it is not certain."""
    adapter = Unsteady([LOST], lambda store: store.update("leads", OTHERS, {"id": KEY}))
    with pytest.raises(ConflictError, match="earlier try") as caught:
        await service(adapter).write("leads", {"id": KEY, "email": "a", "first_name": "me"})
    assert (caught.value.state, caught.value.attempts) == (FailureState.AMBIGUOUS, 2)


async def test_a_conflict_at_the_first_try_is_one() -> None:
    """Nothing was lost: the row existed, also under a key that the service made."""
    adapter = Unsteady([])
    await adapter.store.write("leads", {"email": "a"})
    with pytest.raises(ConflictError) as caught:
        await service(adapter).write("leads", {"email": "a"})
    assert (caught.value.state, len(adapter.writes)) == (FailureState.REJECTED, 1)


@pytest.mark.parametrize("policy", [POLICY, BLIND], ids=["readable", "write only"])
async def test_another_rule_that_refuses_the_second_try_leaves_the_outcome_open(policy: TablePolicy) -> None:
    """Somebody took the e-mail meanwhile, and under row-level security our own row might be hidden from us."""
    adapter = Unsteady([NEVER_ARRIVED], lambda store: store.write("leads", {"email": "a"}))
    with pytest.raises(ConflictError) as caught:
        await service(adapter, policy).write("leads", {"email": "a"})
    assert (caught.value.state, caught.value.constraint) == (FailureState.AMBIGUOUS, "leads_email_key")


async def test_an_unlucky_batch_of_the_callers_keys_is_read_back_whole() -> None:
    """All rows, in the order given."""
    adapter = Unsteady([LOST])
    records = [{"id": KEY[:-1] + digit, "email": digit} for digit in "98"]
    rows = await service(adapter).batch_write("leads", records)
    assert [row["email"] for row in rows] == ["9", "8"]
    assert len(await stored(adapter)) == 2


@pytest.mark.parametrize("step", [LOST, GARBLED])
@pytest.mark.parametrize("on_conflict", [None, ["email"]])
async def test_a_merge_is_looked_for_and_not_sent_again(step: str, on_conflict: list[str] | None) -> None:
    """The row is as the call would have it."""
    adapter = Unsteady([step])
    await adapter.store.write("leads", {"id": KEY, "email": "a"})
    row = await service(adapter).upsert("leads", {"id": KEY, "email": "a", "notes": "n"}, on_conflict)
    assert (row["notes"], adapter.verbs) == ("n", ["upsert", "query"])


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (lambda s: s.upsert("leads", {"id": KEY, "email": "a", "first_name": "me"}), {"first_name": "me"}),
        (lambda s: s.update("leads", {"first_name": "me"}, {"id": KEY}), [{"first_name": "me"}]),
        (lambda s: s.update("leads", {"first_name": "me"}, {"id": in_([KEY])}), [{"first_name": "me"}]),
    ],
    ids=["upsert", "update", "update of a list"],
)
@pytest.mark.parametrize("last_write_wins", [False, True])
async def test_a_change_that_others_may_have_overwritten_is_sent_again_only_if_allowed(
    change: Callable[[Any], Any], value: Any, last_write_wins: bool
) -> None:
    """Else the outcome is unknown: sent again it would undo theirs."""
    adapter = Unsteady([LOST], lambda store: store.update("leads", OTHERS, {"id": KEY}))
    await adapter.store.write("leads", {"id": KEY, "email": "a"})
    call = change(service(adapter, last_write_wins=last_write_wins))
    if last_write_wins:
        found = await call
        rows, expected = (found, value) if isinstance(value, list) else ([found], [value])
        assert [{"first_name": row["first_name"]} for row in rows] == expected
    else:
        with pytest.raises(OutcomeUnknownError):
            await call
        assert [row["first_name"] for row in await stored(adapter)] == ["somebody else"]
        assert len(adapter.writes) == 1


async def test_an_update_by_key_is_looked_for() -> None:
    """Its changes are values, so that the row tells."""
    adapter = Unsteady([LOST])
    await adapter.store.write("leads", {"id": KEY, "email": "a"})
    rows = await service(adapter).update("leads", {"notes": "n"}, {"id": KEY})
    assert ([row["notes"] for row in rows], len(adapter.writes)) == (["n"], 1)


async def test_a_compare_and_set_is_never_taken_for_ones_own() -> None:
    """Two workers that claim a job must not both be told that they have it."""
    adapter = Unsteady([NEVER_ARRIVED], lambda store: store.update("leads", {"status": "claimed"}, {"id": KEY}))
    await adapter.store.write("leads", {"id": KEY, "email": "a"})
    with pytest.raises(OutcomeUnknownError):
        await service(adapter).update("leads", {"status": "claimed"}, {"id": KEY, "status": "new"})


@pytest.mark.parametrize(("step", "sent"), [(LOST, 2), (NEVER_ARRIVED, 2), (GARBLED, 1)])
async def test_a_delete_by_key_is_sent_again(step: Step, sent: int) -> None:
    """The row is gone; where the first try deleted it, nobody can tell any more what it held."""
    adapter = Unsteady([step])
    await adapter.store.write("leads", {"id": KEY, "email": "a"})
    rows = await service(adapter).delete("leads", {"id": KEY})
    assert (len(rows), await stored(adapter)) == (int(step is NEVER_ARRIVED), [])
    assert len(adapter.writes) == sent


# Within a scope

HELD = [
    pytest.param({"tenant": TenantScope("acme", column="company")}, id="tenancy"),
    pytest.param({"policy": within({"company": "acme"})}, id="a rule for rows"),
    pytest.param({"policy": within(any_of({"company": "acme"}, {"score": gt(90)}))}, id="a rule of two"),
]
OURS: Row = {"id": KEY, "email": "a", "company": "acme"}
LEAVES: Row = {"company": "another"}


@pytest.mark.parametrize("scope", HELD)
@pytest.mark.parametrize("filters", [{"id": KEY}, {"id": in_([KEY])}], ids=["by key", "by a list"])
async def test_a_lost_change_by_key_is_found_out_within_a_scope(scope: dict[str, Any], filters: Any) -> None:
    """What the layers above add to its filter does not make it a compare-and-set."""
    adapter = Unsteady([LOST, LOST])
    await adapter.store.write("leads", OURS)
    held = service(adapter, **scope)
    assert [row["notes"] for row in await held.update("leads", {"notes": "n"}, filters)] == ["n"]
    assert await held.delete("leads", filters) == []
    assert await stored(adapter) == []


@pytest.mark.parametrize("scope", HELD)
async def test_a_compare_and_set_within_a_scope_stays_one(scope: dict[str, Any]) -> None:
    """The condition is the caller's, whoever asks the scope's beside it."""
    adapter = Unsteady([NEVER_ARRIVED], lambda store: store.update("leads", {"status": "claimed"}, {"id": KEY}))
    await adapter.store.write("leads", OURS)
    with pytest.raises(OutcomeUnknownError):
        await service(adapter, **scope).update("leads", {"status": "claimed"}, {"id": KEY, "status": "new"})


@pytest.mark.parametrize("scope", HELD)
@pytest.mark.parametrize("last_write_wins", [False, True])
async def test_a_row_that_has_left_the_scope_is_neither_seen_nor_changed(
    scope: dict[str, Any], last_write_wins: bool
) -> None:
    """It may hold what was wanted: that it is as wanted was never the question, whose it is was."""
    adapter = Unsteady([NEVER_ARRIVED], lambda store: store.update("leads", {**LEAVES, "notes": "n"}, {"id": KEY}))
    await adapter.store.write("leads", OURS)
    held = service(adapter, last_write_wins=last_write_wins, **scope)
    if last_write_wins:
        assert await held.update("leads", {"notes": "n"}, {"id": KEY}) == []
    else:
        with pytest.raises(OutcomeUnknownError):
            await held.update("leads", {"notes": "n"}, {"id": KEY})
    assert [row["company"] for row in await stored(adapter)] == ["another"]


@pytest.mark.parametrize("scope", HELD)
async def test_a_delete_leaves_a_row_that_has_left_the_scope(scope: dict[str, Any]) -> None:
    """Sent again it finds nothing, and nothing is what it returns: no such row is within the scope."""
    adapter = Unsteady([NEVER_ARRIVED], lambda store: store.update("leads", LEAVES, {"id": KEY}))
    await adapter.store.write("leads", OURS)
    assert await service(adapter, **scope).delete("leads", {"id": KEY}) == []
    assert [row["company"] for row in await stored(adapter)] == ["another"]


UNAUTHORIZED = AdapterError("the token has expired", status=401)
MISSING_PARENT = ConflictError("no such client", code="23503")


@pytest.mark.parametrize(
    ("policy", "steps", "outcome"),
    [
        (POLICY, [LOST, UNAUTHORIZED], None),
        (BLIND, [LOST, UNAUTHORIZED], OutcomeUnknownError),
        (POLICY, [NEVER_ARRIVED, UNAUTHORIZED], OutcomeUnknownError),
        (POLICY, [NEVER_ARRIVED, MISSING_PARENT], ConflictError),
    ],
    ids=["read back", "not readable", "not there", "judged by the database"],
)
async def test_a_rejection_after_a_lost_answer_counts_only_if_the_row_was_judged(
    policy: TablePolicy, steps: list[Step], outcome: type[PersistenceError] | None
) -> None:
    """An expired token says nothing about the first try, the row does; a foreign key missing now was so then."""
    adapter = Unsteady(steps)
    if outcome is None:
        assert [await service(adapter, policy).write("leads", {"email": "a"})] == await stored(adapter)
    else:
        with pytest.raises(outcome) as caught:
            await service(adapter, policy).write("leads", {"email": "a"})
        assert type(caught.value) is outcome


async def test_a_conflict_with_our_own_key_is_success_at_the_first_try_too() -> None:
    """A gateway may have sent the request twice, or told the client to try again after it was applied."""
    again = AdapterError("try again", state=FailureState.RETRYABLE)
    adapter = Unsteady([LOST])
    adapter.told = again
    row = await service(adapter).write("leads", {"email": "a"})
    assert [row] == await stored(adapter)


async def test_what_is_given_up_on_tells_the_key_and_the_attempts() -> None:
    """To caller and audit alike."""
    events: list[AuditEvent] = []
    adapter = Unsteady([LOST, *[NEVER_ARRIVED] * 9])
    with pytest.raises(OutcomeUnknownError) as caught:
        await service(adapter, audit=events.append).write("leads", {"email": "a"})
    (row,) = await stored(adapter)
    assert (caught.value.key, caught.value.attempts) == (row["id"], 4)
    assert (events[0].outcome, events[0].keys, events[0].attempts) == ("unknown", (row["id"],), 4)


async def test_a_batch_that_is_given_up_on_tells_all_keys() -> None:
    """In the order of its rows."""
    adapter = Unsteady([LOST, *[NEVER_ARRIVED] * 9])
    with pytest.raises(OutcomeUnknownError) as caught:
        await service(adapter).batch_write("leads", [{"email": "a"}, {"email": "b"}])
    assert caught.value.key == [row["id"] for row in await stored(adapter)]


async def test_rows_that_a_trigger_swallowed_are_told_of() -> None:
    """The server confirmed the write, and the row is not there: an error that says so, after one try."""
    swallowed = AdapterError("1 row(s) were sent, 0 came back", state=FailureState.APPLIED)
    adapter = Unsteady([swallowed])
    with pytest.raises(OutcomeUnknownError, match=r"rows are not there as they were sent: .* 0 came back") as caught:
        await service(adapter).write("leads", {"email": "a"})
    assert (caught.value.state, len(adapter.writes)) == (FailureState.AMBIGUOUS, 1)


async def test_a_key_that_the_table_does_not_have_is_explained() -> None:
    """The schema was a guess: the note says what to pass."""
    adapter = Unsteady([AdapterError("invalid input syntax for type bigint", code="22P02")])
    with pytest.raises(AdapterError) as caught:
        await service(adapter).write("leads", {"email": "a"})
    assert "client_keys={table: None}" in caught.value.__notes__[0]


async def test_keys_can_be_left_to_the_database() -> None:
    """Then another set of columns that the schema says is unique is the fence, where the record holds one."""
    adapter = Unsteady([LOST])
    row = await service(adapter, client_keys={"leads": None}, schema=default_schema()).write("leads", {"email": "a"})
    assert ([arguments[1] for arguments in adapter.writes], [row]) == ([{"email": "a"}] * 2, await stored(adapter))


async def test_what_no_schema_was_given_for_is_no_fence() -> None:
    """The default schema's unique email is a guess: without such an index the row would be stored twice."""
    adapter = Unsteady([LOST])
    with pytest.raises(OutcomeUnknownError):
        await service(adapter, client_keys={"leads": None}).write("leads", {"email": "a"})
    assert len(adapter.writes) == len(await stored(adapter)) == 1


class NotNow(Unsteady):
    """Fails to answer the next look-ups, of which there are `failing`."""

    failing = 0

    async def query(self, *args: Any, **options: Any) -> Any:
        if self.failing:
            self.failing -= 1
            raise AdapterError("busy", state=FailureState.RETRYABLE)
        return await super().query(*args, **options)


async def test_a_look_up_that_fails_is_made_again() -> None:
    """A conflict with a row of this very call is no conflict, however often it takes to see that."""
    adapter = NotNow([LOST])
    adapter.failing = 6
    row = await service(adapter).write("leads", {"id": KEY, "email": "a"})
    assert [row] == await stored(adapter)


async def test_where_the_look_up_fails_until_the_deadline_the_outcome_is_unknown() -> None:
    """ConflictError would say that nothing was applied."""
    adapter = NotNow([LOST])
    adapter.failing = 10**6
    with pytest.raises(OutcomeUnknownError) as caught:
        await service(adapter).write("leads", {"id": KEY, "email": "a"})
    assert caught.value.key == KEY
    assert len(await stored(adapter)) == 1


async def test_a_conflict_that_is_the_answer_to_another_call_is_no_success() -> None:
    """Nobody sees a row with our key: the same row is sent once more, and stored."""
    strange = ConflictError("duplicate key", code="23505", constraint="leads_pkey")
    adapter = Unsteady([strange])
    row = await service(adapter).write("leads", {"email": "a"})
    assert ([row], len(adapter.writes)) == (await stored(adapter), 2)


async def test_a_lost_deletion_by_a_natural_key_is_not_sent_again() -> None:
    """Somebody may have made a new row under it since, which is theirs."""

    async def made_anew(store: InMemoryAdapter) -> None:
        await store.write("tags", {"name": "hot", "note": "somebody else's"})

    schema = Schema({"tags": Table({"name": Column("text"), "note": Column("text")}, ("name",))})
    policy = TablePolicy(read={"tags"}, write={"tags"}, delete={"tags"})
    adapter = Unsteady([LOST], made_anew)
    adapter.store = adapter._inner = InMemoryAdapter({"tags": [{"name": "hot"}]}, schema=schema)
    with pytest.raises(OutcomeUnknownError):
        await service(adapter, policy, schema=schema).delete("tags", {"name": "hot"})
    assert [row["note"] for row in await adapter.store.query("tags")] == ["somebody else's"]


# The retry budget


async def test_an_outage_is_not_multiplied() -> None:
    """Of a thousand calls that fail, at most one in ten is tried again."""
    adapter = RecordingAdapter(failures=[AdapterError("down", state=FailureState.NOT_SENT)] * 5000)
    target = service(adapter)
    for _ in range(1000):
        with pytest.raises(BackendUnavailableError):
            await target.query("leads")
    assert 1000 < len(adapter.calls) <= 1100


async def test_the_last_fifth_is_reserved_for_lost_writes() -> None:
    """What became of them is worth more than another try of a read."""
    budget = RetryBudget(500)
    assert sum(budget.spend(14, reserved=False) for _ in range(100)) == 400 // 14
    assert sum(budget.spend(14, reserved=True) for _ in range(100)) == (500 - 400 // 14 * 14) // 14
    budget.refund(10_000)
    assert budget.spent == 0


async def test_successes_fill_the_budget_again() -> None:
    """After an outage retries are back."""
    down = AdapterError("down", state=FailureState.NOT_SENT)
    adapter = RecordingAdapter(failures=[*[down] * 400, *[None] * 400, down, None])
    target = service(adapter)
    while len(adapter.calls) < 400:
        with pytest.raises(BackendUnavailableError):
            await target.query("leads")
    for _ in range(401):
        await target.query("leads")
    assert len(adapter.calls) == 802


# One call under other bounds


async def test_one_call_can_have_its_own_bounds() -> None:
    """The others keep theirs."""
    failures = [AdapterError("down", state=FailureState.NOT_SENT)] * 99
    adapter = RecordingAdapter(failures=failures)
    target = service(adapter)
    with pytest.raises(BackendUnavailableError):
        await target.with_options(retry=False).query("leads")
    with pytest.raises(BackendUnavailableError):
        await target.query("leads")
    assert len(adapter.calls) == 1 + 4
