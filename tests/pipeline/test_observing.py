"""Observing: what observers are told of a call, and that they cannot change it."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any

import anyio
import httpx
import pytest

from agent_persistence import (
    AdapterError,
    BackendUnavailableError,
    ColumnNotAllowedError,
    ConfigurationError,
    Next,
    Operation,
    OutcomeUnknownError,
    Result,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.pipeline.observing import AttemptFailed, CallBegun, CallEnded, Observing, attempt_failed
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, HangingAdapter, Lying, RecordingAdapter, shown

pytestmark = pytest.mark.anyio
NO_ANSWER = FailureState.AMBIGUOUS


class Watching:
    """An observer that writes down what it is told, under a name of its own."""

    def __init__(self, name: str = "", told: list[tuple[str, object]] | None = None) -> None:
        self.name = name
        self.told: list[tuple[str, object]] = [] if told is None else told

    def __call__(self, call: CallBegun, /) -> Watching:
        self.told.append((f"{self.name} begun", call))
        return self

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        self.told.append((f"{self.name} attempt failed", attempt))

    def ended(self, end: CallEnded, /) -> None:
        self.told.append((f"{self.name} ended", end))

    @property
    def begun(self) -> list[CallBegun]:
        return [what for _, what in self.told if isinstance(what, CallBegun)]

    @property
    def attempts(self) -> list[AttemptFailed]:
        return [what for _, what in self.told if isinstance(what, AttemptFailed)]

    @property
    def ends(self) -> list[CallEnded]:
        return [what for _, what in self.told if isinstance(what, CallEnded)]


class Broken(Watching):
    """Raises at one of the three occasions."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def __call__(self, call: CallBegun, /) -> Broken:
        return self if self.at != "begun" else self._break()

    def attempt_failed(self, attempt: AttemptFailed, /) -> None:
        if self.at == "attempt failed":
            self._break()

    def ended(self, end: CallEnded, /) -> None:
        if self.at == "ended":
            self._break()

    def _break(self) -> Broken:
        raise RuntimeError("broken")


def _failures(*states: FailureState, **about: Any) -> list[AdapterError]:
    return [AdapterError("no", state=state, **about) for state in states]


@pytest.fixture
def watching() -> Watching:
    return Watching()


async def test_a_call_is_told_from_its_beginning_to_its_end(watching: Watching) -> None:
    """Names and counts, in the terms of the audit."""
    service = AsyncPersistenceService(RecordingAdapter(), observers=watching)
    await service.batch_write("leads", [{"email": "a@a.example"}, {"email": "b@a.example"}])
    await service.query("leads")
    assert watching.begun == [CallBegun("batch_write", "leads", batch_size=2), CallBegun("query", "leads")]
    assert [(end.outcome, end.attempts, end.row_count) for end in watching.ends] == [("ok", 1, 2), ("ok", 1, 2)]
    assert all(end.duration_s > 0 and end.error_type is end.code is None for end in watching.ends)


async def test_without_observers_the_layer_is_not_in_the_chain(watching: Watching) -> None:
    """What is not configured costs nothing; with one it is the outermost layer, and no second guard comes with it."""
    without = AsyncPersistenceService(RecordingAdapter()).layers
    with_one = AsyncPersistenceService(RecordingAdapter(), observers=watching).layers
    assert not any(isinstance(layer, Observing) for layer in without)
    assert [type(layer) for layer in with_one] == [Observing, *map(type, without)]


async def test_the_first_observer_is_around_the_others() -> None:
    """So that what the second does at the end still happens within the first one's span."""
    told: list[tuple[str, object]] = []
    service = AsyncPersistenceService(RecordingAdapter(), observers=[Watching("a", told), Watching("b", told)])
    await service.query("leads")
    assert [what for what, _ in told] == ["a begun", "b begun", "b ended", "a ended"]


@pytest.mark.parametrize(
    ("verb", "table"),
    [
        ("write", "clients"),
        ("write", 'evil"\n'),
        ("write", "x" * 1000),
        ("query", "no_such_table"),
        ("query", Lying("pg_shadow", "leads")),
        ("query", 7),
        ("query", ["leads"]),
        ("update", "inquiries"),
        ("delete", "leads"),
        ("call", "leads"),
    ],
    ids=shown,
)
async def test_a_table_that_the_policy_refuses_has_no_name(verb: str, table: Any, watching: Watching) -> None:
    """The refusal itself is told; a stranger chooses no name, and may fill neither a label nor a span."""
    policy = TablePolicy(read={"leads"}, write={"inquiries"})
    arguments = {"write": ({"email": "a"},), "update": ({"email": "a"}, {"id": "1"}), "delete": ({"id": "1"},)}
    service = AsyncPersistenceService(RecordingAdapter(), policy=policy, observers=watching)
    with pytest.raises(TableNotAllowedError):
        await getattr(service, verb)(table, *arguments.get(verb, ()))
    assert [(call.verb, call.table) for call in watching.begun] == [(verb, "<denied>")]
    assert [(e.outcome, e.attempts, e.error_type) for e in watching.ends] == [("denied", 0, "TableNotAllowedError")]


async def test_a_refused_column_is_told_under_its_table(watching: Watching) -> None:
    """The table is allowed, and its name of our choosing."""
    service = AsyncPersistenceService(RecordingAdapter(), observers=watching)
    with pytest.raises(ColumnNotAllowedError):
        await service.query("leads", {"clients.ssn": 1})
    assert (watching.begun[0].table, watching.ends[0].outcome) == ("leads", "denied")


async def test_nothing_told_holds_a_value() -> None:
    """Neither rows, keys, filters nor messages of errors: what is told may leave the house."""

    async def fail(operation: Operation, call_next: Next) -> Result:
        raise RuntimeError("s3cret of a middleware")

    watching = Watching()
    failures = [None, None, None, *_failures(FailureState.REJECTED, hint="s3cret of the server")]
    service = AsyncPersistenceService(RecordingAdapter(failures=failures), observers=watching)
    await service.write("leads", {"id": "s3cret", "email": "s3cret"})
    await service.query("leads", {"email": "s3cret"})  # two requests: a short page may not be the last
    with pytest.raises(AdapterError):
        await service.read("leads", "s3cret")
    with pytest.raises(RuntimeError):
        await AsyncPersistenceService(RecordingAdapter(), observers=watching, middleware=[fail]).query("leads")
    assert len(watching.told) == 8
    assert "s3cret" not in repr(watching.told)


async def test_every_attempt_that_is_followed_by_another_is_told(watching: Watching) -> None:
    """With its number, its error and the pause; the last attempt is the call's own end."""
    time = FakeTime()
    failures = [
        *_failures(FailureState.RETRYABLE, status=503),
        *_failures(FailureState.NOT_SENT),
        *_failures(FailureState.RETRYABLE, status=503, code="57P03"),
    ]
    service = AsyncPersistenceService(
        RecordingAdapter(failures=failures), observers=watching, clock=time.clock, sleep=time.sleep, random=lambda: 1.0
    )
    await service.query("leads")
    assert watching.attempts == [
        AttemptFailed(1, "AdapterError", "503", 0.1),
        AttemptFailed(2, "AdapterError", None, 0.2),
        AttemptFailed(3, "AdapterError", "57P03", 0.4),
    ]
    assert [wait.wait_s for wait in watching.attempts] == time.slept_s
    assert [(end.outcome, end.attempts) for end in watching.ends] == [("ok", 4)]


async def test_a_call_that_is_given_up_is_told_with_the_servers_code(watching: Watching) -> None:
    """Three pauses between four attempts, and the class that the caller gets."""
    time = FakeTime()
    service = AsyncPersistenceService(
        RecordingAdapter(failures=_failures(*[FailureState.RETRYABLE] * 4, status=503, code="57P03")),
        observers=watching,
        clock=time.clock,
        sleep=time.sleep,
    )
    with pytest.raises(BackendUnavailableError):
        await service.query("leads")
    end = watching.ends[0]
    assert (len(watching.attempts), end.outcome, end.attempts) == (3, "error", 4)
    assert (end.error_type, end.code) == ("BackendUnavailableError", "57P03")


async def test_a_write_whose_answer_was_lost_is_unknown(watching: Watching) -> None:
    """It is no ordinary error: somebody has to look."""
    service = AsyncPersistenceService(
        RecordingAdapter(failures=_failures(NO_ANSWER)), observers=watching, client_keys=False, retry=False
    )
    with pytest.raises(OutcomeUnknownError):
        await service.write("inquiries", {"email": "a"})
    assert [(end.outcome, end.error_type) for end in watching.ends] == [("unknown", "OutcomeUnknownError")]


async def test_a_cancelled_call_is_told(watching: Watching) -> None:
    """It ended, and a write that was cancelled may have been applied."""
    adapter = HangingAdapter()
    service = AsyncPersistenceService(adapter, observers=watching)
    async with anyio.create_task_group() as group:
        group.start_soon(service.write, "leads", {"email": "a"})
        await adapter.hanging.wait()
        group.cancel_scope.cancel()
    assert [end.outcome for end in watching.ends] == ["unknown"]
    assert (watching.ends[0].error_type or "").startswith("Cancelled")


@pytest.mark.parametrize("at", ["begun", "attempt failed", "ended"])
async def test_a_broken_observer_changes_no_result(at: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises is logged once, and the other observers are told as ever."""
    others = [Watching(), Watching()]
    time = FakeTime()
    service = AsyncPersistenceService(
        RecordingAdapter(failures=_failures(FailureState.RETRYABLE)),
        observers=[others[0], Broken(at), others[1]],
        clock=time.clock,
        sleep=time.sleep,
    )
    assert (await service.write("leads", {"email": "a"}))["email"] == "a"
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("agent_persistence.observers", "an observer failed on write of leads")
    ]
    assert [len(other.told) for other in others] == [3, 3]


@pytest.mark.parametrize("at", ["begun", "ended"])
async def test_a_broken_observer_changes_no_error(at: str) -> None:
    """The caller gets the error of the call, not the observer's."""
    failure = AdapterError("no")
    service = AsyncPersistenceService(RecordingAdapter(failures=[failure]), observers=Broken(at))
    with pytest.raises(AdapterError) as caught:
        await service.query("leads")
    assert caught.value is failure


async def test_what_is_learnt_after_the_end_of_a_call_is_not_told(watching: Watching) -> None:
    """A request that is shared outlives the caller that began it; that caller's span is closed."""
    inside: list[Context] = []

    async def remember(operation: Operation, call_next: Next) -> Result:
        inside.append(copy_context())
        return await call_next(operation)

    await AsyncPersistenceService(RecordingAdapter(), observers=watching, middleware=[remember]).query("leads")
    inside[0].run(attempt_failed, 1, AdapterError("late"), 0.1)
    attempt_failed(1, AdapterError("of nobody"), 0.1)
    assert watching.attempts == []


async def test_attempts_of_a_call_within_a_call_are_told_to_it_alone() -> None:
    """A middleware may call another service; afterwards the outer call is the current one again."""
    time = FakeTime()
    outer, inner = Watching(), Watching()

    def service(watching: Watching, *middleware: Any) -> AsyncPersistenceService:
        return AsyncPersistenceService(
            RecordingAdapter(failures=_failures(FailureState.RETRYABLE, status=502 if middleware else 503)),
            observers=watching,
            middleware=middleware,
            clock=time.clock,
            sleep=time.sleep,
        )

    other = service(inner)

    async def look_up(operation: Operation, call_next: Next) -> Result:
        await other.query("messages")
        return await call_next(operation)

    await service(outer, look_up).query("leads")
    assert [[attempt.code for attempt in one.attempts] for one in (outer, inner)] == [["502"], ["503"]]


async def test_attempts_of_a_shared_request_are_told_to_who_began_it() -> None:
    """With coalescing several callers wait for one request, which runs in a task of its own, on both event loops."""
    time, watching = FakeTime(), Watching()
    adapter = RecordingAdapter(failures=_failures(FailureState.RETRYABLE, status=503))
    service = AsyncPersistenceService(
        adapter, observers=watching, coalesce=True, clock=time.clock, sleep=time.sleep, random=lambda: 1.0
    )
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(service.read, "leads", str(number))
    assert adapter.verbs == ["query", "query"]
    assert watching.attempts == [AttemptFailed(1, "AdapterError", "503", 0.1)]
    assert len(watching.ends) == 4


async def test_bounds_and_the_facade_keep_the_observers(watching: Watching) -> None:
    """They belong to the service, whoever uses it."""
    service = AsyncPersistenceService(RecordingAdapter(), observers=watching)
    await service.with_options(deadline_s=5).query("leads")
    await service.readonly().query("messages")
    assert [call.table for call in watching.begun] == ["leads", "messages"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://project.supabase.co", ("project.supabase.co", 443)),
        ("http://127.0.0.1", ("127.0.0.1", 80)),
        ("http://127.0.0.1:54321/rest/v1", ("127.0.0.1", 54321)),
    ],
)
async def test_an_adapter_says_where_its_database_is(url: str, server: tuple[str, int], watching: Watching) -> None:
    """Host and port of its URL, which holds no user, and the schema; nothing of its key."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=[])))
    # persistence-guard: allow AP001 the adapter's address is what is shown
    adapter = SupabaseAdapter(url, "s3cret-key", client=client, db_schema="crm")
    assert (adapter.capabilities.server, adapter.capabilities.namespace) == (server, "crm")
    await AsyncPersistenceService(adapter, observers=watching).query("leads", limit=1)
    assert watching.begun == [CallBegun("query", "leads", server=server, namespace="crm")]
    assert "s3cret" not in repr(watching.told)
    await client.aclose()


async def test_a_middleware_that_returns_no_result_is_named_as_ever(watching: Watching) -> None:
    """Watching does not stumble over what the service refuses behind it."""

    async def forget(operation: Operation, call_next: Next) -> Any:
        await call_next(operation)

    service = AsyncPersistenceService(RecordingAdapter(), observers=watching, middleware=[forget])
    with pytest.raises(ConfigurationError, match="a middleware returned NoneType"):
        await service.query("leads")
    assert len(watching.ends) == 1


async def test_an_observer_is_a_callable() -> None:
    """Said when the service is made."""
    not_callable: Any = "OpenTelemetry"
    with pytest.raises(ConfigurationError, match="observers holds str"):
        AsyncPersistenceService(RecordingAdapter(), observers=[not_callable])


@pytest.mark.parametrize(
    ("value", "rows"),
    [(None, 0), ([], 0), (7, 0), ([1, 2], 0), (["id"], 0), ({"id": 1}, 1), ([{"id": 1}, {"id": 2}], 2)],
    ids=shown,
)
async def test_rows_are_counted_and_nothing_else_is(value: Any, rows: int, watching: Watching) -> None:
    """Numbers, names of columns and what a function returns are no rows."""

    async def answer(operation: Operation, call_next: Next) -> Result:
        return Result(value)

    service = AsyncPersistenceService(RecordingAdapter(), observers=watching, middleware=[answer])
    await service.get_columns("leads")
    assert watching.ends[0].row_count == rows
