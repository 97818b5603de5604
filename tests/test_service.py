"""The service: what a call becomes on its way to the adapter, and what comes back."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import anyio
import pytest

from agent_persistence import (
    NULL,
    AdapterError,
    AsyncPersistenceService,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    Next,
    Operation,
    OutcomeUnknownError,
    PersistenceAgent,
    Result,
    RetryPolicy,
    TableNotAllowedError,
    TablePolicy,
    UnsupportedOperationError,
    ValidationError,
    any_of,
    desc,
    gt,
    ilike,
    in_,
    is_null,
    like,
    not_,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.filters import Filters, equalities, parse_filters
from agent_persistence.operations import Query
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row
from tests.doubles import FakeTime, HangingAdapter, RecordingAdapter, shown

pytestmark = pytest.mark.anyio
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[object]]


@pytest.fixture
def adapter() -> RecordingAdapter:
    return RecordingAdapter()


@pytest.fixture
def service(adapter: RecordingAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter)


# Records on their way


async def test_none_is_stripped_and_null_is_written(
    service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """In every verb that writes; a None inside a JSON value stays."""
    record = {"email": "a", "company": None, "notes": NULL, "custom": {"x": None}}
    await service.write("leads", record)
    await service.batch_write("leads", [record])
    await service.upsert("leads", record)
    sent = {"email": "a", "notes": None, "custom": {"x": None}}
    assert [without_keys(arguments[1]) for _, arguments in adapter.calls] == [sent, [sent], sent]


async def test_an_empty_batch_gives_an_empty_list(service: AsyncPersistenceService) -> None:
    """[] gives []."""
    assert await service.batch_write("leads", []) == []


def without_keys(records: Any) -> Any:
    """What was sent but for the keys that the service made."""
    if isinstance(records, tuple):
        return [without_keys(record) for record in records]
    return {column: value for column, value in records.items() if column != "id"}


class Masking(AsyncPersistenceService):
    def _clean(self, record: Record) -> Record:
        return {**super()._clean(record), "email": "***"}


@pytest.mark.parametrize("through", [lambda service: service, PersistenceAgent], ids=["service", "agent"])
async def test_clean_is_the_masking_seam(through: Any, adapter: RecordingAdapter) -> None:
    """A subclass that overrides `_clean` masks every record that is written, also through an agent."""
    target = through(Masking(adapter))
    await target.write("leads", {"email": "ada@a.example", "company": None})
    await target.batch_write("leads", [{"email": "b"}, {"email": "c"}])
    await target.upsert("leads", {"email": "d"})
    masked = {"email": "***"}
    assert [without_keys(arguments[1]) for _, arguments in adapter.calls] == [masked, [masked, masked], masked]


# Bad input: a typed error, and nothing reaches the adapter

BAD_CALLS: dict[str, Call] = {
    **{
        f"{option}={shown(value)}": lambda service, option=option, value=value: service.query(
            "leads", **{option: value}
        )  # type: ignore[misc]
        for option, values in {
            "limit": [0, -1, True, "5", 1.0, 10**12],
            "offset": [-1, True, "5", 1.0],
            "select": ["email", "*", [], (), {"email"}, b"id", 5, {"email": 1}, iter(["id"])],
            "order_by": [5, b"id", {"id"}, {"id": "asc"}, [5], [["id"]]],
            "descending": [1, "yes", None],
            "filters": [5, "id=1", [("id", 1)], {"id": [1]}, {"id": {"gt": 1}}, {"id": object()}, gt(1)],
        }.items()
        for value in values
    },
    **{
        f"on_conflict={shown(value)}": lambda service, value=value: service.upsert("leads", {"email": "a"}, value)  # type: ignore[misc]
        for value in ["email", [], b"email", 5, {"email": 1}]
    },
    **{
        f"record={shown(value)}": lambda service, value=value: service.write("leads", value)  # type: ignore[misc]
        for value in [None, 5, "a", [("email", "a")], {}, {"email": None}, {"email": object()}, {"x": float("nan")}]
    },
    **{
        f"records={shown(value)}": lambda service, value=value: service.batch_write("leads", value)  # type: ignore[misc]
        for value in [None, 5, "ab", b"ab", {"email": "a"}, [None], [{"email": "a"}, {}], iter([{"email": "a"}])]
    },
    **{
        f"id_value={shown(value)}": lambda service, value=value: service.read("leads", value)  # type: ignore[misc]
        for value in [None, NULL, [1], {}, {"id": [1]}, {"id": None}, object()]
    },
    **{
        f"update {shown(value)}": lambda service, value=value: service.update("leads", *value)  # type: ignore[misc]
        for value in [({}, {"id": 1}), ({"email": None}, {"id": 1}), ({"email": "a"}, {}), ({"email": "a"}, None)]
    },
    **{
        f"delete {shown(value)}": lambda service, value=value: service.delete("leads", value)  # type: ignore[misc]
        for value in [{}, None, not_(any_of()), {"id": not_(in_([]))}]
    },
}


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_bad_input_is_a_validation_error_and_nothing_arrives(call: Call, adapter: RecordingAdapter) -> None:
    """It names the table and says what would be right; no call reaches the adapter."""
    service = AsyncPersistenceService(
        adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, delete=frozenset({"leads"}))
    )
    with pytest.raises(ValidationError) as caught:
        await call(service)
    assert adapter.calls == []
    assert caught.value.table == "leads"
    assert caught.value.problems


@pytest.mark.parametrize(
    ("select", "remedy"),
    [
        ("id,email", 'write ["id", "email"]'),
        (" id , email ", 'write ["id", "email"]'),
        ("email", 'write ["email"]'),
        ("*", "leave it out"),
        (",", "leave it out"),
        ("x" * 9_999, 'write ["xxx'),
        ("a," * 9_999, '"a", …]'),
    ],
    ids=shown,
)
async def test_names_in_one_text_are_answered_with_the_list_that_is_meant(
    select: Any, remedy: str, adapter: RecordingAdapter
) -> None:
    """As it is to be written, and short whatever was given."""
    service = AsyncPersistenceService(adapter)
    with pytest.raises(ValidationError) as caught:
        await service.query("leads", select=select)
    assert remedy in str(caught.value)
    assert len(str(caught.value)) < 300
    if "write" in remedy and len(select) < 20:
        await service.query("leads", select=json.loads(remedy.removeprefix("write ")))
        assert adapter.verbs == ["query"]


@pytest.mark.parametrize("arguments", [[1], "a=1", 5, {"a": object()}], ids=shown)
async def test_arguments_of_a_function_are_a_mapping_of_json_values(arguments: Any, adapter: RecordingAdapter) -> None:
    """As records are."""
    service = AsyncPersistenceService(adapter, policy=TablePolicy(call=frozenset({"reading"})))
    with pytest.raises(ValidationError):
        await service.call("reading", arguments)
    assert adapter.calls == []


async def test_a_value_without_json_form_is_named_by_its_path(service: AsyncPersistenceService) -> None:
    """In a batch, with the number of the record."""
    with pytest.raises(ValidationError, match=r"records\[1\]\.custom\.a\[0\]: object has no JSON form"):
        await service.batch_write("leads", [{"email": "a"}, {"custom": {"a": [object()]}}])


@pytest.mark.parametrize(
    ("arguments", "arrived"),
    [
        ({}, (None, None, (), None, 0)),
        ({"limit": 5, "offset": 10}, (None, 5, (), None, 10)),
        ({"select": ["id", "email"]}, (None, None, (), ("id", "email"), 0)),
        ({"order_by": "score", "descending": True}, (None, None, (desc("score"),), None, 0)),
        ({"filters": {"status": "new"}}, (parse_filters("leads", {"status": "new"}), None, (), None, 0)),
    ],
    ids=shown,
)
async def test_good_input_arrives_as_it_was_meant(
    arguments: dict[str, Any], arrived: tuple[Any, ...], adapter: RecordingAdapter
) -> None:
    """Control of the refusals above, and the form in which a middleware sees a query."""
    seen: list[Query] = []

    async def look(operation: Operation, call_next: Next) -> Result:
        assert isinstance(operation, Query)
        seen.append(operation)
        return await call_next(operation)

    await AsyncPersistenceService(adapter, middleware=[look]).query("leads", **arguments)
    (query,) = seen
    assert (query.filters, query.limit, query.order, query.select, query.offset) == arrived


# The chain


async def test_the_chain_walks_from_timing_to_the_adapter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Timing, audit, guard, the user's in the order given, guard, retry, adapter."""
    steps: list[str] = []

    def step(name: str) -> Callable[[Operation, Next], Awaitable[Result]]:
        async def middleware(operation: Operation, call_next: Next) -> Result:
            steps.append(f"{name} in")
            try:
                return await call_next(operation)
            finally:
                steps.append(f"{name} out")

        return middleware

    class Noting(RecordingAdapter):
        async def arrived(self, verb: str, *arguments: Any) -> None:
            steps.append("adapter")
            await super().arrived(verb, *arguments)

    service = AsyncPersistenceService(
        Noting(failures=[AdapterError("busy", state=FailureState.RETRYABLE)]),
        middleware=[step("first"), step("second")],
        audit=lambda event: steps.append(f"audit {capsys.readouterr().out!r}"),
        log=True,
        random=lambda: 0.0,
    )
    await service.query("leads")
    assert steps == ["first in", "second in", "adapter", "adapter", "second out", "first out", "audit ''"]
    assert capsys.readouterr().out.startswith("[persistence] op=query table=leads ")


async def test_a_middleware_runs_once_a_call_and_sees_the_operation(adapter: RecordingAdapter) -> None:
    """With verb and table, values in JSON form."""
    seen: list[Operation] = []

    async def look(operation: Operation, call_next: Next) -> Result:
        seen.append(operation)
        return await call_next(operation)

    await AsyncPersistenceService(adapter, middleware=[look]).read("leads", 7)
    ((operation,),) = [seen]
    assert (operation.verb, operation.table) == ("read", "leads")


async def test_a_middleware_that_renames_the_table_is_refused_by_the_inner_guard(adapter: RecordingAdapter) -> None:
    """The guard stands below the user's middleware."""

    async def rename(operation: Operation, call_next: Next) -> Result:
        return await call_next(replace(operation, table="clients"))

    service = AsyncPersistenceService(adapter, middleware=[rename])
    with pytest.raises(TableNotAllowedError) as caught:
        await service.write("leads", {"email": "a"})
    assert (caught.value.table, adapter.calls) == ("clients", [])


async def test_a_middleware_that_answers_for_a_denied_table_is_refused_by_the_outer_guard() -> None:
    """The guard stands above the user's middleware, so that it is not even asked."""
    asked: list[Operation] = []

    async def cache(operation: Operation, call_next: Next) -> Result:
        asked.append(operation)
        return Result([{"id": 1}])

    policy = TablePolicy(read=frozenset({"leads"}))
    service = AsyncPersistenceService(InMemoryAdapter(), middleware=[cache], policy=policy)
    assert await service.query("leads") == [{"id": 1}]
    with pytest.raises(TableNotAllowedError):
        await service.query("clients")
    assert [operation.table for operation in asked] == ["leads"]


@pytest.mark.parametrize("option", ["middleware", "audit"])
def test_a_layer_that_cannot_be_called_is_refused(option: str, adapter: RecordingAdapter) -> None:
    """At construction, not at the first call."""
    options: dict[str, Any] = {option: ["not callable"]}
    with pytest.raises(ConfigurationError):
        AsyncPersistenceService(adapter, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"policy": {"read": ["leads"]}},
        {"policy": []},
        {"schema": {}},
        {"middleware": 5},
        {"metrics": 5},
    ],
    ids=shown,
)
def test_an_option_of_the_wrong_type_is_refused(options: dict[str, Any], adapter: RecordingAdapter) -> None:
    """A policy that is no TablePolicy must not be taken for "the default"."""
    with pytest.raises(ConfigurationError):
        AsyncPersistenceService(adapter, **options)


# Failures


@pytest.mark.parametrize(
    ("verb", "arguments", "failure", "error", "state"),
    [
        ("write", ("leads", {"email": "a"}), RuntimeError("boom"), OutcomeUnknownError, FailureState.AMBIGUOUS),
        ("write", ("leads", {"email": "a"}), TimeoutError(), OutcomeUnknownError, FailureState.AMBIGUOUS),
        ("query", ("leads",), KeyError("password"), AdapterError, FailureState.REJECTED),
        ("query", ("leads",), ConnectionResetError(), BackendUnavailableError, FailureState.AMBIGUOUS),
    ],
    ids=shown,
)
async def test_a_foreign_failure_inside_the_adapter_is_wrapped(
    verb: str, arguments: tuple[Any, ...], failure: Exception, error: type[AdapterError], state: FailureState
) -> None:
    """The class and state are sorted by what may have happened; the original is in the chain of causes."""
    service = AsyncPersistenceService(RecordingAdapter(failures=[failure] * 9), random=lambda: 0.0)
    with pytest.raises(AdapterError) as caught:
        await getattr(service, verb)(*arguments)
    causes: list[BaseException | None] = [caught.value]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    assert (type(caught.value), caught.value.state) == (error, state)
    assert failure in causes
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("failure", [ConflictError("taken"), ValidationError("leads", "two rows")], ids=shown)
async def test_an_error_of_ours_passes_unchanged(failure: Exception) -> None:
    """The adapter's own classification stands."""
    with pytest.raises(type(failure)) as caught:
        await AsyncPersistenceService(RecordingAdapter(failures=[failure])).query("leads")
    assert caught.value is failure


@pytest.mark.parametrize(
    ("verb", "arguments", "error"),
    [
        ("write", ("leads", {"email": "a"}), OutcomeUnknownError),
        ("query", ("leads",), BackendUnavailableError),
    ],
)
async def test_an_adapter_that_hangs_ends_by_the_deadline(
    verb: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    """A write may have been applied, a read was not answered; nobody waits longer than the policy says."""
    adapter = HangingAdapter()
    retry = RetryPolicy(attempts=1, write_deadline_s=0.05, read_deadline_s=0.05)
    with anyio.fail_after(60), pytest.raises(error):
        await getattr(AsyncPersistenceService(adapter, retry=retry, clock=lambda: 0.0), verb)(*arguments)
    assert adapter.verbs == [verb]


async def test_a_call_whose_deadline_has_passed_is_not_sent(adapter: RecordingAdapter) -> None:
    """A middleware that used up the time leaves nothing to send: the write is known not to be applied."""
    time = FakeTime()

    async def slow(operation: Operation, call_next: Next) -> Result:
        await time.sleep(3600)
        return await call_next(operation)

    with pytest.raises(BackendUnavailableError) as caught:
        await AsyncPersistenceService(adapter, middleware=[slow], clock=time.clock).write("leads", {"email": "a"})
    assert (caught.value.state, adapter.calls) == (FailureState.NOT_SENT, [])


async def test_a_callers_own_timeout_is_not_taken_for_the_deadline() -> None:
    """The caller's cancellation reaches the caller."""
    adapter = HangingAdapter()
    with anyio.move_on_after(0.05) as scope:
        await AsyncPersistenceService(adapter).query("leads")
    assert scope.cancelled_caught


# Capabilities


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        ("equality_filters", lambda service: service.query("leads", {"a": 1})),
        ("equality_filters", lambda service: service.query("leads", {"a": is_null()})),
        ("range_operators", lambda service: service.query("leads", {"a": gt(1)})),
        ("in_operator", lambda service: service.query("leads", {"a": in_([1])})),
        ("pattern", lambda service: service.query("leads", {"a": like("x")})),
        ("ilike", lambda service: service.query("leads", {"a": ilike("x")})),
        ("logic", lambda service: service.query("leads", any_of({"a": 1}, {"b": 1}))),
        ("ordering", lambda service: service.query("leads", order_by="a")),
        ("limit", lambda service: service.query("leads", limit=1)),
        ("offset", lambda service: service.query("leads", offset=1)),
        ("projections", lambda service: service.query("leads", select=["a"])),
        ("count", lambda service: service.count("leads")),
        ("update", lambda service: service.update("leads", {"a": 1}, {"id": 1})),
        ("delete", lambda service: service.delete("leads", {"id": 1})),
        ("call", lambda service: service.call("reading")),
    ],
)
async def test_what_the_adapter_lacks_is_refused_before_it_is_called(capability: str, call: Call) -> None:
    """By name of the capability; with it, the same call passes."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, delete=frozenset({"leads"}), call=frozenset({"reading"}))
    lacking = RecordingAdapter(without={capability})
    with pytest.raises(UnsupportedOperationError) as caught:
        await call(AsyncPersistenceService(lacking, policy=policy))
    assert (caught.value.capability, lacking.calls) == (capability, [])
    able = RecordingAdapter()
    await call(AsyncPersistenceService(able, policy=policy))
    assert len(able.calls) == 1


async def test_more_rows_than_the_policy_allows_raise_whatever_the_adapter_can() -> None:
    """Also where the adapter lacks what reading in pages needs."""
    inner = InMemoryAdapter({"leads": [{"id": number} for number in range(5)]})
    adapter = RecordingAdapter(inner, without={"offset"})
    with pytest.raises(ValidationError, match="max_rows"):
        await AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, max_rows=2)).query(
            "leads"
        )


async def test_capabilities_are_the_adapters() -> None:
    """Planners ask the service, an agent or a façade."""
    service = AsyncPersistenceService(RecordingAdapter(without={"ilike"}))
    for holder in (service, PersistenceAgent(service), service.readonly()):
        assert (holder.capabilities["ilike"], holder.capabilities["limit"]) == (False, True)


async def test_an_empty_list_needs_no_more_than_a_full_one() -> None:
    """`in_([])` is asked of an adapter that knows `in_`."""
    adapter = RecordingAdapter(without={"logic"})
    assert await AsyncPersistenceService(adapter).query("leads", {"id": in_([])}) == []


class Shelf:
    """A third party's adapter, which only knows equality."""

    capabilities: Mapping[str, bool] = {"equality_filters": True}

    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def write(self, table: str, record: Record) -> Row:
        row = {"id": len(self.rows), **record}
        self.rows.append(row)
        return dict(row)

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        return [await self.write(table, record) for record in records]

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        for row in self.rows:
            if all(row.get(name) == record.get(name) for name in on_conflict or ("id",)):
                row.update(record)
                return dict(row)
        return await self.write(table, record)

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        return next(iter(await self.query(table, {id_column: id_value})), None)

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        wanted = equalities(table, parse_filters(table, filters))
        return [dict(row) for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    async def get_columns(self, table: str) -> list[str] | None:
        return None

    async def aclose(self) -> None:
        pass


async def test_a_minimal_adapter_of_somebody_else_works() -> None:
    """Six verbs, `aclose` and one capability are enough; what it lacks is refused for it."""
    service = AsyncPersistenceService(Shelf())
    row = await service.write("leads", {"email": "a", "company": "A"})
    await service.batch_write("leads", [{"email": "b", "company": "A"}, {"email": "c"}])
    await service.upsert("leads", {"email": "a", "company": "B"}, ["email"])
    assert await service.read("leads", row["id"]) == {"id": row["id"], "email": "a", "company": "B"}
    assert [r["email"] for r in await service.query("leads", {"company": "A"})] == ["b"]
    assert [r["email"] for r in await service.query("leads", {"company": None})] == ["c"]
    assert await service.get_columns("leads") is None
    for unsupported in (
        service.query("leads", {"company": gt("A")}),
        service.query("leads", limit=1),
        service.count("leads"),
        service.update("leads", {"email": "x"}, {"id": 1}),
    ):
        with pytest.raises(UnsupportedOperationError):
            await unsupported


# Ends


@pytest.mark.parametrize(("owns", "closed"), [(True, 2), (False, 0)])
async def test_a_service_closes_the_adapter_only_if_it_owns_it(
    owns: bool, closed: int, adapter: RecordingAdapter
) -> None:
    """`aclose` may be called again, and leaving the block is closing."""
    async with AsyncPersistenceService(adapter, owns_adapter=owns) as service:
        await service.aclose()
    assert adapter.closed == closed


async def test_nothing_is_logged_about_values(
    service: AsyncPersistenceService, caplog: pytest.LogCaptureFixture
) -> None:
    """At no level does a value of a record, a filter or a key reach a log."""
    with caplog.at_level(logging.DEBUG):
        await service.write("leads", {"email": "ada@secret.example"})
        await service.query("leads", {"email": "ada@secret.example"})
    assert "ada@secret.example" not in caplog.text
