"""Validation: what the declared schema shows to be a mistake never reaches an adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from agent_persistence import (
    NULL,
    ColumnNotAllowedError,
    InMemoryAdapter,
    Schema,
    TablePolicy,
    ValidationError,
    all_of,
    any_of,
    contained_by,
    contains,
    create_persistence_agent,
    create_readonly_rag_facade,
    eq,
    gt,
    ilike,
    imatch,
    in_,
    is_false,
    is_true,
    like,
    match,
    ne,
    not_,
    not_in,
    overlaps,
    text_search,
)
from agent_persistence.filters import Filters
from agent_persistence.operations import Operation, Result, Write
from agent_persistence.pipeline.chain import Next
from agent_persistence.schema_registry import Column, Table
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import RecordingAdapter, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[object]]

POLICY = TablePolicy(
    read={"leads"}, write={"leads", "messages", "inquiries"}, delete=frozenset({"leads"}), call=frozenset({"leads"})
)
SCHEMA = Schema(
    {
        "leads": Table(
            {
                "id": Column("uuid", nullable=False),
                "email": Column("text", nullable=False),
                "status": Column("text", one_of=("new", "won")),
                "score": Column("numeric(12,2)"),
                "visits": Column("integer"),
                "is_open": Column("boolean"),
                "tags": Column("text[]"),
                "custom": Column("jsonb"),
                "at": Column("timestamp with time zone"),
                "mood": Column("public.mood"),
                "name": Column("character varying(80)"),
            },
            unique=(("email",), ("name", "score")),
        ),
        "messages": Table({"content": Column("text")}, primary_key=()),
    }
)
COLUMNS = "id, email, status, score, visits, is_open, tags, custom, at, mood, name"


class Counting(RecordingAdapter):
    """A server that understands every filter."""

    async def count(self, table: str, filters: Filters | None = None) -> int:
        await self.arrived("count", table, filters)
        return 5


@pytest.fixture
def adapter() -> RecordingAdapter:
    return RecordingAdapter(InMemoryAdapter())


@pytest.fixture
def service(adapter: RecordingAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, schema=SCHEMA, policy=POLICY)


async def refused(call: Awaitable[object]) -> tuple[str, ...]:
    with pytest.raises(ValidationError) as caught:
        await call
    assert caught.value.table in SCHEMA.tables
    return caught.value.problems


UNKNOWN: dict[str, Call] = {
    "record": lambda service: service.write("leads", {"emial": "a"}),
    "records[1]": lambda service: service.batch_write("leads", [{"email": "a"}, {"emial": "a"}]),
    "changes": lambda service: service.update("leads", {"emial": "a"}, {"email": "a"}),
    "select": lambda service: service.query("leads", select=["id", "emial"]),
    "order_by": lambda service: service.query("leads", order_by=["id", "emial"]),
    "on_conflict": lambda service: service.upsert("leads", {"email": "a"}, ["emial"]),
    "id_column": lambda service: service.read("leads", "1", "emial"),
    "filters": lambda service: service.query("leads", {"email": "a", "emial": "a"}),
    "filters of count": lambda service: service.count("leads", not_(any_of({"emial": gt("a")}))),
    "filters of update": lambda service: service.update("leads", {"email": "a"}, {"emial": "a"}),
    "filters of delete": lambda service: service.delete("leads", {"emial": "a"}),
    "filters of iterate": lambda service: anext(aiter(service.iterate("leads", {"emial": "a"}))),
}


@pytest.mark.parametrize("place", UNKNOWN)
async def test_a_column_that_is_not_declared_is_refused_wherever_it_stands(
    place: str, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """The message says where, which column may have been meant and which there are."""
    (problem,) = await refused(UNKNOWN[place](service))
    assert problem == f"{place.split()[0]}: no column 'emial': did you mean 'email'?; leads has {COLUMNS}"
    assert adapter.calls == []


async def test_all_problems_are_told_at_once(service: AsyncPersistenceService) -> None:
    """One error, one problem each, the columns listed once."""
    record = {"emial": "a", "zzz": 1, "score": {}, "email": NULL, "status": "lost"}
    assert await refused(service.upsert("leads", record, ["score"])) == (
        "record: no column 'emial': did you mean 'email'?",
        f"record: no column 'zzz'; leads has {COLUMNS}",
        "record: score is numeric(12,2), which takes no mapping",
        "record: email may not be NULL",
        "record: status is one of 'new', 'won'",
        "on_conflict: (score) is no declared key; keys are (id), (email), (name, score); add it to `unique`",
    )


async def test_the_same_problem_in_many_records_is_told_once(service: AsyncPersistenceService) -> None:
    """With the first places and the number of the others."""
    (problem,) = await refused(service.batch_write("leads", [{"email": "a", "score": []}] * 500))
    assert problem == "records[0], records[1], records[2], 497 more: score is numeric(12,2), which takes no list"


TAKEN: dict[str, list[Any]] = {
    "id": ["1", 1],
    "email": ["a", 1, True, 1.5, [1], {"a": 1}],
    "status": ["new", "won"],
    "score": ["1.5", 1, 1.5],
    "visits": ["1", 1, 1.0],
    "is_open": [True, "t", 1],
    "tags": [[], ["a"], "{a,b}", [["a"]]],
    "custom": [1, True, "a", [], {}, 1.5],
    "at": ["now", 20260101],
    "mood": [1, True, "a", [], {}],
}
NOT_TAKEN: dict[str, list[Any]] = {
    "id": [True, [], {}],
    "status": ["lost", "", "New", 1],
    "score": [True, ["1"], {"a": 1}],
    "visits": [False, [], {}],
    "is_open": [[], {}],
    "tags": [{}, 1, True, 1.5],
    "at": [True, [], {}],
}


@pytest.mark.parametrize(("column", "value"), [(c, v) for c, values in TAKEN.items() for v in values], ids=shown)
async def test_a_value_that_the_server_may_coerce_is_left_to_it(
    column: str, value: Any, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Text passes for every type, and every value for a type that is not known."""
    await service.write("leads", {column: value})
    assert adapter.verbs == ["write"]


@pytest.mark.parametrize(("column", "value"), [(c, v) for c, values in NOT_TAKEN.items() for v in values], ids=shown)
async def test_a_value_that_no_such_column_takes_is_refused(
    column: str, value: Any, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """By its JSON type, or because `one_of` does not list it; the message never holds the value."""
    (written,) = await refused(service.write("leads", {"email": "a", column: value}))
    (changed,) = await refused(service.update("leads", {column: value}, {"email": "a"}))
    assert written.removeprefix("record: ") == changed.removeprefix("changes: ")
    assert written.startswith(f"record: {column} is ")
    assert adapter.calls == []


async def test_no_value_shows_in_a_message(service: AsyncPersistenceService) -> None:
    """Neither of a record nor of a filter."""
    secret = "hunter2"
    problems = [
        *await refused(service.write("leads", {"status": secret, "score": {secret: secret}})),
        *await refused(service.query("leads", {"tags": contains({secret: secret}), "zzz": secret})),
    ]
    assert not any(secret in problem for problem in problems)


async def test_null_is_written_only_where_the_column_may_be_null(
    service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """An explicit NULL; a column that is left out may have a default that nobody declared."""
    assert await refused(service.write("leads", {"email": NULL})) == ("record: email may not be NULL",)
    assert await refused(service.update("leads", {"email": NULL}, {"id": "1"})) == ("changes: email may not be NULL",)
    await service.write("leads", {"status": NULL})
    assert [(verb, record["status"]) for verb, (_, record) in adapter.calls] == [("write", None)]


@pytest.mark.parametrize(
    "filters",
    [
        {"email": None},
        {"status": "lost"},
        {"email": like("a%"), "name": ilike("a"), "status": match("a")},
        {"mood": imatch("a")},
        {"is_open": is_true()},
        {"tags": overlaps(["a"]), "custom": contains({"a": 1})},
        {"tags": contains(["a"])},
        {"custom": contained_by([1])},
        {"tags": "{a}"},
        {"name": text_search("a"), "custom": text_search("a")},
        {"visits": in_([1, "2"]), "score": all_of(gt(1), ne("2"))},
        {"mood": overlaps(["a"])},
    ],
    ids=shown,
)
async def test_a_filter_that_the_server_can_answer_passes(filters: Filters) -> None:
    """Also one that no row can satisfy, such as NULL where the column may not be NULL."""
    adapter = Counting()
    assert await AsyncPersistenceService(adapter, schema=SCHEMA).count("leads", filters) == 5
    assert adapter.verbs == ["count"]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"visits": True}, "visits is integer, which takes no boolean"),
        ({"visits": in_([1, False])}, "visits is integer, which takes no boolean"),
        ({"score": not_in([True])}, "score is numeric(12,2), which takes no boolean"),
        ({"tags": 5}, "tags is text[], which takes no number"),
        ({"at": not_(eq(True))}, "at is timestamp with time zone, which takes no boolean"),
        ({"score": like("a")}, "score is numeric(12,2), which like does not compare"),
        ({"id": ilike("a")}, "id is uuid, which ilike does not compare"),
        ({"tags": imatch("a")}, "tags is text[], which imatch does not compare"),
        ({"email": is_true()}, "email is text, which is_true does not compare"),
        ({"visits": is_false()}, "visits is integer, which is_false does not compare"),
        ({"email": contains(["a"])}, "email is text, which contains does not compare"),
        ({"tags": contained_by({"a": 1})}, "tags is text[], which contained_by does not compare"),
        ({"custom": overlaps(["a"])}, "custom is jsonb, which overlaps does not compare"),
        ({"visits": text_search("a")}, "visits is integer, which text_search does not compare"),
    ],
    ids=shown,
)
async def test_a_comparison_that_the_type_does_not_know_is_refused(
    filters: Filters, problem: str, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """PostgreSQL has no such operator, or no such literal, for the type."""
    assert await refused(service.query("leads", filters)) == (f"filters: {problem}",)
    assert adapter.calls == []


async def test_the_key_of_a_read_fits_its_column(service: AsyncPersistenceService) -> None:
    """As the operand of a filter does."""
    assert await refused(service.read("leads", True)) == ("id_value: id is uuid, which takes no boolean",)


@pytest.mark.parametrize("target", [None, ["id"], ["email"], ["name", "score"], ["score", "name"]], ids=shown)
async def test_an_upsert_by_a_declared_key_passes(
    target: list[str] | None, service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """The primary key, which is the default, or a unique set, in any order."""
    await service.upsert("leads", {"id": "1", "email": "a", "name": "n", "score": 1}, target)
    assert adapter.verbs == ["upsert"]


@pytest.mark.parametrize("target", [["status"], ["name"], ["email", "id"]], ids=shown)
async def test_an_upsert_by_other_columns_is_refused(target: list[str], service: AsyncPersistenceService) -> None:
    """The server would have no constraint to infer."""
    (problem,) = await refused(service.upsert("leads", {"email": "a"}, target))
    assert problem.startswith(f"on_conflict: ({', '.join(target)}) is no declared key; keys are (id), (email)")


async def test_an_upsert_into_a_table_without_a_key_is_refused(service: AsyncPersistenceService) -> None:
    """There is nothing that could conflict."""
    (problem,) = await refused(service.upsert("messages", {"content": "a"}))
    assert problem == "on_conflict: () is no declared key; keys are none; add it to `unique`"


async def test_a_table_that_is_not_declared_is_not_checked(
    service: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Nothing is known about it."""
    await service.write("inquiries", {"anything": {"at": "all"}})
    assert adapter.verbs == ["write"]


async def test_a_function_is_no_table(service: AsyncPersistenceService, adapter: RecordingAdapter) -> None:
    """Even where both have the same name, its arguments are not columns."""
    await service.call("leads", {"anything": 1})
    assert adapter.verbs == ["call"]


async def test_what_the_users_middleware_made_of_a_call_is_checked(adapter: RecordingAdapter) -> None:
    """Validation stands behind it, as the inner guard does."""

    async def rename(operation: Operation, call_next: Next) -> Result:
        return await call_next(Write(operation.table, {"emial": "a"}))

    service = AsyncPersistenceService(adapter, schema=SCHEMA, middleware=[rename])
    assert len(await refused(service.write("leads", {"email": "a"}))) == 1
    assert adapter.calls == []


async def test_the_guard_speaks_first(service: AsyncPersistenceService) -> None:
    """A hostile name is denied, not corrected."""
    with pytest.raises(ColumnNotAllowedError):
        await service.query("leads", select=["email::text"])


async def test_the_default_schema_refuses_nothing(adapter: RecordingAdapter) -> None:
    """It is a guess about other people's tables: only a schema that was passed in is enforced."""
    await AsyncPersistenceService(adapter).write("leads", {"emial": "a"})
    with pytest.raises(ValidationError, match="emial"):
        await AsyncPersistenceService(adapter, schema=Schema.default()).write("leads", {"emial": "a"})
    assert adapter.verbs == ["write"]


@pytest.mark.parametrize("make", [create_persistence_agent, create_readonly_rag_facade], ids=lambda make: make.__name__)
async def test_a_factory_enforces_only_a_schema_that_it_was_given(
    make: Callable[..., Any], adapter: RecordingAdapter
) -> None:
    """As the service does."""
    await make("memory", adapter=adapter).count("leads", {"emial": "a"})
    with pytest.raises(ValidationError, match="emial"):
        await make("memory", adapter=adapter, schema=SCHEMA).count("leads", {"emial": "a"})
    assert adapter.verbs == ["count"]


# --- paths ------------------------------------------------------------------------------------------------------------

WITH_PATHS = Schema(
    {"leads": Table({"id": Column("uuid"), "custom": Column("jsonb")}, paths=("custom->>role", "custom->seen"))}
)


@pytest.mark.parametrize(
    "filters",
    [
        {"custom->>role": "cto"},
        {"custom->>role": like("c%")},
        {"custom->>role": in_(["a", "b"])},
        {"custom->seen": contains({"a": 1})},
        {"custom->seen": "5"},
    ],
    ids=shown,
)
async def test_a_path_is_compared_as_what_it_reads(filters: Filters, adapter: RecordingAdapter) -> None:
    """A text by `->>`, a document by `->`."""
    service = AsyncPersistenceService(adapter, schema=WITH_PATHS, policy=POLICY)
    await service.query("leads", filters, select=["custom->>role"], order_by="custom->seen")
    assert adapter.verbs == ["query"]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"custom->>role": is_true()}, "filters: custom->>role is text, which is_true does not compare"),
        ({"custom->>role": contains(["a"])}, "filters: custom->>role is text, which contains does not compare"),
        ({"custom->seen": like("a")}, "filters: custom->seen is jsonb, which like does not compare"),
        ({"custom->seen": overlaps(["a"])}, "filters: custom->seen is jsonb, which overlaps does not compare"),
    ],
    ids=shown,
)
async def test_an_operator_that_a_path_does_not_have_is_refused(
    filters: Filters, problem: str, adapter: RecordingAdapter
) -> None:
    """By the type of what it reads, not of the column."""
    service = AsyncPersistenceService(adapter, schema=WITH_PATHS, policy=POLICY)
    assert await refused(service.query("leads", filters)) == (problem,)


async def test_a_path_may_be_what_was_meant(adapter: RecordingAdapter) -> None:
    """Paths stand in the list of what the table has."""
    service = AsyncPersistenceService(adapter, schema=WITH_PATHS, policy=POLICY)
    [problem] = await refused(service.query("leads", {"custom_role": "cto"}))
    assert problem.startswith("filters: no column 'custom_role': did you mean 'custom->>role'?")
    assert problem.endswith("leads has id, custom, custom->>role, custom->seen")
