"""What hangs on a façade, and what it sends: nothing that could write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import pytest
from pydantic import BaseModel

from agent_persistence import (
    PersistenceAgent,
    ReadOnlyError,
    ReadOnlyPersistenceFacade,
    TableNotAllowedError,
    TablePolicy,
    create_readonly_rag_facade,
    in_,
)
from agent_persistence.operations import BatchWrite, Delete, Operation, Update, Upsert, Write, WritingCall
from agent_persistence.query.predicates import Comparison, Operator
from agent_persistence.service import AsyncPersistenceService
from agent_persistence.sync import PersistenceService
from tests.backends.doubles import Recorder, rows
from tests.doubles import RecordingAdapter, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[Any], Awaitable[Any]]

POLICY = TablePolicy(read={"leads"}, write={"leads"}, delete={"leads"}, call={"search"}, call_write={"purge"})
WRITING = ("write", "batch_write", "upsert", "update", "delete")


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: str


@pytest.fixture
def recorder() -> Recorder:
    def respond(request: Any) -> Any:
        response = rows({"id": "1"})
        response.headers["content-range"] = "*/1"
        return response

    return Recorder(respond)


@pytest.fixture
def facade(recorder: Recorder) -> ReadOnlyPersistenceFacade:
    return AsyncPersistenceService(recorder.adapter(), policy=POLICY, row_cap=1000).readonly()


async def _all(found: Any) -> list[Any]:
    return [row async for row in found]


CALLS: dict[str, Call] = {
    "read": lambda facade: facade.read("leads", "1"),
    "query": lambda facade: facade.query("leads", {"id": "1"}, 5),
    "long list": lambda facade: facade.query("leads", {"id": in_([f"{n:036}" for n in range(300)])}, select=["id"]),
    "count": lambda facade: facade.count("leads"),
    "iterate": lambda facade: _all(facade.iterate("leads")),
    "get_columns": lambda facade: facade.get_columns("leads"),
    "call": lambda facade: facade.call("search", {"word": "x"}),
    "typed read": lambda facade: facade.table(Lead).read("1"),
    "typed query": lambda facade: facade.table(Lead).query(),
    "options": lambda facade: facade.with_options(deadline_s=5).query("leads", limit=1),
    "itself": lambda facade: facade.readonly().query("leads", limit=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_everything_that_it_sends_is_a_get(
    call: Call, facade: ReadOnlyPersistenceFacade, recorder: Recorder
) -> None:
    """Which PostgREST runs in a read-only transaction."""
    await call(facade)
    assert recorder.requests
    assert {request.method for request in recorder.requests} == {"GET"}


async def test_only_a_listed_function_with_large_arguments_goes_by_post(
    facade: ReadOnlyPersistenceFacade, recorder: Recorder
) -> None:
    """One that writes is not called, however it is asked for."""
    await facade.call("search", {"word": "x" * 5000})
    assert [(request.method, request.url.path) for request in recorder.requests] == [("POST", "/rest/v1/rpc/search")]
    for arguments in (None, {"word": "x" * 5000}):
        with pytest.raises(TableNotAllowedError):
            await facade.call("purge", arguments)
    assert len(recorder.requests) == 1


BY_KEY = Comparison(Operator.EQ, "1", "id")
OPERATIONS: list[Operation] = [
    Write("leads", {"id": "1"}),
    BatchWrite("leads", ({"id": "1"},)),
    Upsert("leads", {"id": "1"}),
    Update("leads", {"email": "a"}, BY_KEY),
    Delete("leads", BY_KEY),
    WritingCall("purge", {}),
    WritingCall("search", {}),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=shown)
async def test_an_operation_that_writes_does_not_pass(
    operation: Operation, facade: ReadOnlyPersistenceFacade, recorder: Recorder
) -> None:
    """Not even by the private entrance that all verbs share."""
    with pytest.raises(ReadOnlyError):
        await facade._invoke(operation)
    assert recorder.requests == []


def _reachable(root: object, depth: int = 4) -> Iterator[object]:
    """Whatever public attributes lead to, bound methods and their owners included."""
    seen: dict[int, object] = {}
    waiting = [(root, depth)]
    while waiting:
        found, left = waiting.pop()
        if id(found) in seen or isinstance(found, (str, int, float, bytes, type(None))):
            continue
        seen[id(found)] = found
        yield found
        if left:
            names = [name for name in dir(found) if not name.startswith("_")] + ["__self__"]
            waiting += [(getattr(found, name), left - 1) for name in names if hasattr(found, name)]


def _writers(root: object) -> list[object]:
    return [
        found
        for found in _reachable(root)
        if not isinstance(found, type) and any(callable(getattr(found, verb, None)) for verb in ("write", "upsert"))
    ]


def test_no_public_attribute_leads_to_anything_that_writes(
    facade: ReadOnlyPersistenceFacade, anyio_backend: str
) -> None:
    """Of the façade, its methods, its tables, its schema; in four steps."""
    for reader in (facade, facade.table(Lead), facade.with_options(deadline_s=1), facade.readonly()):
        assert _writers(reader) == []


def test_the_search_finds_what_writes(facade: ReadOnlyPersistenceFacade, anyio_backend: str) -> None:
    """Control: an agent leads to its service."""
    agent = PersistenceAgent(AsyncPersistenceService(RecordingAdapter()))
    assert agent.service in _writers(agent)


@pytest.mark.parametrize("verb", WRITING)
@pytest.mark.parametrize(
    "made",
    [
        lambda facade: facade,
        lambda facade: facade.table(Lead),
        lambda facade: facade.with_options(retry=False),
        lambda facade: create_readonly_rag_facade("memory"),
        lambda facade: PersistenceService(AsyncPersistenceService(RecordingAdapter())).readonly(),
    ],
    ids=["façade", "typed", "options", "factory", "sync"],
)
def test_no_kind_of_facade_has_a_writing_verb(
    verb: str, made: Any, facade: ReadOnlyPersistenceFacade, anyio_backend: str
) -> None:
    """`hasattr` is False, `dir` does not tell it, and touching it says ReadOnlyError."""
    reader = made(facade)
    assert not hasattr(reader, verb)
    assert verb not in dir(reader)
    with pytest.raises(ReadOnlyError):
        getattr(reader, verb)


def test_a_policy_that_is_changed_later_changes_nothing(recorder: Recorder, anyio_backend: str) -> None:
    """The allow-lists were frozen when the policy was made."""
    read: Any = {"leads"}
    columns: Any = {"leads": ["id"]}
    made = AsyncPersistenceService(recorder.adapter(), policy=TablePolicy(read=read, columns=columns))
    read.add("clients")
    columns["leads"].append("email")
    reader = made.readonly()
    for call in (reader.query("clients"), reader.query("leads", select=["email"])):
        with pytest.raises(Exception, match="not allowed"):
            asyncio.run(call)
    assert recorder.requests == []
