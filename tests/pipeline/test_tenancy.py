"""Every call within one tenant's rows: what is sent, and what is made of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import httpx
import pytest

from agent_persistence import (
    AdapterError,
    AuditEvent,
    ColumnNotAllowedError,
    InMemoryAdapter,
    Next,
    Operation,
    PersistencePermissionError,
    Result,
    TablePolicy,
    any_of,
    ne,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Query
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import NULL
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import Recorder, rows
from tests.doubles import RecordingAdapter, shown

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[Any]]

POLICY = TablePolicy(
    read={"notes", "countries"},
    write={"notes", "countries"},
    delete={"notes"},
    call={"search", "clock", "unsaid"},
    call_write={"purge"},
)
SCOPE = TenantScope("a", shared={"countries", "clock"}, arguments={"search": "owner", "purge": "tenant"})
OWN: dict[str, Any] = {"id": 1, "tenant_id": "a", "text": "x"}


def service(adapter: Any, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, **{"policy": POLICY, "tenant": SCOPE, "retry": False, **options})


@pytest.fixture
def adapter() -> RecordingAdapter:
    return RecordingAdapter(InMemoryAdapter({"notes": [OWN, {"id": 2, "tenant_id": "b", "text": "theirs"}]}))


@pytest.fixture
def own(adapter: RecordingAdapter) -> AsyncPersistenceService:
    return service(adapter)


SENT: dict[str, tuple[Call, str, str]] = {
    "query": (lambda made: made.query("notes"), "GET", "notes?select=*&tenant_id=eq.a&limit=100001"),
    "filter": (
        lambda made: made.query("notes", {"tenant_id": "b"}, 1),
        "GET",
        "notes?select=*&tenant_id=eq.b&tenant_id=eq.a&limit=1",
    ),
    "any_of": (
        lambda made: made.query("notes", any_of({"id": 1}, {"tenant_id": "b"}), 1),
        "GET",
        "notes?select=*&or=(id.eq.1,tenant_id.eq.%22b%22)&tenant_id=eq.a&limit=1",
    ),
    "select": (
        lambda made: made.query("notes", limit=1, select=["id"]),
        "GET",
        "notes?select=id,tenant_id&tenant_id=eq.a&limit=1",
    ),
    "read": (lambda made: made.read("notes", 1), "GET", "notes?select=*&id=eq.1&tenant_id=eq.a&limit=2"),
    "count": (lambda made: made.count("notes"), "GET", "notes?select=*&tenant_id=eq.a&limit=0"),
    "write": (lambda made: made.write("notes", {"id": 1}), "POST", "notes"),
    "upsert": (lambda made: made.upsert("notes", {"id": 1}), "POST", "notes?on_conflict=id,tenant_id"),
    "target": (
        lambda made: made.upsert("notes", {"slug": "s"}, ["slug"]),
        "POST",
        "notes?on_conflict=slug,tenant_id",
    ),
    "update": (lambda made: made.update("notes", {"text": "y"}, {"id": 1}), "PATCH", "notes?id=eq.1&tenant_id=eq.a"),
    "delete": (lambda made: made.delete("notes", {"id": 1}), "DELETE", "notes?id=eq.1&tenant_id=eq.a"),
    "call": (lambda made: made.call("search", {"word": "x"}), "GET", "rpc/search?word=x&owner=a"),
    "shared": (lambda made: made.query("countries", limit=1), "GET", "countries?select=*&limit=1"),
    "shared function": (lambda made: made.call("clock"), "GET", "rpc/clock"),
}


@pytest.mark.parametrize(("call", "method", "target"), SENT.values(), ids=SENT)
async def test_the_tenant_is_in_every_request(call: Call, method: str, target: str) -> None:
    """Byte for byte; shared tables and functions go without."""

    def respond(request: Any) -> Any:
        response = rows(OWN)
        response.headers["content-range"] = "*/1"
        return response

    recorder = Recorder(respond)
    await call(service(recorder.adapter(), row_cap=1000))
    [request] = recorder.requests
    assert (request.method, request.url.raw_path.decode()) == (method, f"/rest/v1/{target}")
    if method == "POST":
        assert b'"tenant_id":"a"' in request.content


async def test_the_tenant_comes_back_only_if_it_is_asked_for(own: AsyncPersistenceService) -> None:
    """A projection is answered as it was made."""
    assert await own.query("notes", select=["id"]) == [{"id": 1}]
    assert await own.query("notes", select=["id", "tenant_id"]) == [{"id": 1, "tenant_id": "a"}]
    assert await own.query("notes") == [await own.read("notes", 1)]


FOREIGN: dict[str, Call] = {
    "write": lambda made: made.write("notes", {"tenant_id": "b"}),
    "write NULL": lambda made: made.write("notes", {"tenant_id": NULL}),
    "write empty": lambda made: made.write("notes", {"tenant_id": ""}),
    "write a list": lambda made: made.write("notes", {"tenant_id": ["a"]}),
    "write an upper-case one": lambda made: made.write("notes", {"tenant_id": "A"}),
    "second row": lambda made: made.batch_write("notes", [{"id": 3}, {"id": 4, "tenant_id": "b"}]),
    "upsert": lambda made: made.upsert("notes", {"id": 1, "tenant_id": "b"}),
    "update": lambda made: made.update("notes", {"tenant_id": "b"}, {"id": 1}),
    "update to NULL": lambda made: made.update("notes", {"tenant_id": NULL}, {"id": 1}),
    "call": lambda made: made.call("search", {"owner": "b"}),
    "writing call": lambda made: made.call("purge", {"tenant": None}),
}


@pytest.mark.parametrize("call", FOREIGN.values(), ids=FOREIGN)
async def test_another_tenant_is_refused_before_anything_is_sent(call: Call, adapter: RecordingAdapter) -> None:
    """In a record, in changes, in arguments; and it is audited as a denial."""
    events: list[AuditEvent] = []
    with pytest.raises(ColumnNotAllowedError):
        await call(service(adapter, audit=events.append))
    assert adapter.calls == []
    assert [event.outcome for event in events] == ["denied"]


async def test_the_own_tenant_may_be_named(own: AsyncPersistenceService) -> None:
    """Control: the same value is no other tenant."""
    assert (await own.write("notes", {"id": 3, "tenant_id": "a"}))["tenant_id"] == "a"
    assert await own.update("notes", {"tenant_id": "a"}, {"id": 3})


async def test_a_function_that_nobody_declared_is_not_called(
    own: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Whether it keeps tenants apart is not known; the error says where to tell it."""
    with pytest.raises(PersistencePermissionError, match=r"arguments=.*shared="):
        await own.call("unsaid")
    assert adapter.calls == []


async def test_rows_of_others_are_neither_read_nor_changed(
    own: AsyncPersistenceService, adapter: RecordingAdapter
) -> None:
    """Whatever the filter says."""
    assert await own.read("notes", 2) is None
    assert await own.read("notes", "theirs", "text") is None
    assert await own.count("notes", any_of({"tenant_id": "b"}, {"id": 1})) == 1
    assert await own.update("notes", {"text": "y"}, {"tenant_id": ne("a")}) == []
    assert await own.delete("notes", {"id": 2}) == []
    assert [row async for row in own.iterate("notes", {"id": 2})] == []
    kept = await adapter.read("notes", 2)
    assert kept is not None
    assert (kept["tenant_id"], kept["text"]) == ("b", "theirs")


async def test_a_middleware_cannot_take_the_tenant_away(adapter: RecordingAdapter) -> None:
    """Whatever it makes of an operation comes by tenancy afterwards; so does another table."""

    async def widening(operation: Operation, call_next: Next) -> Result:
        assert isinstance(operation, Query)
        return await call_next(replace(operation, filters=None, select=None))

    async def renaming(operation: Operation, call_next: Next) -> Result:
        return await call_next(Query("notes") if operation.table == "countries" else operation)

    for layer in (widening, renaming):
        made = service(adapter, middleware=[layer])
        for table in ("notes", "countries"):
            found = await made.query(table, {"tenant_id": "b"})
            assert {row["tenant_id"] for row in found} <= {"a"}


@pytest.mark.parametrize("told", [{"tenant_id": "b"}, {"tenant_id": None}, {}, {"tenant_id": ["a"]}], ids=shown)
@pytest.mark.parametrize("verb", ["query", "select", "read", "write", "batch_write", "upsert", "update", "delete"])
async def test_a_row_that_is_not_the_tenants_is_withheld(verb: str, told: dict[str, Any]) -> None:
    """Whatever the server was asked for: another tenant's, nobody's, or one that does not say whose it is."""
    foreign = {"id": 1, "text": "secret", **told}
    recorder = Recorder(lambda request: rows(foreign))
    made = service(recorder.adapter(), row_cap=1000)
    calls: dict[str, Call] = {
        "query": lambda made: made.query("notes"),
        "select": lambda made: made.query("notes", select=["text"]),
        "read": lambda made: made.read("notes", 1),
        "write": lambda made: made.write("notes", {"id": 1}),
        "batch_write": lambda made: made.batch_write("notes", [{"id": 1}]),
        "upsert": lambda made: made.upsert("notes", {"id": 1}),
        "update": lambda made: made.update("notes", {"text": "y"}, {"id": 1}),
        "delete": lambda made: made.delete("notes", {"id": 1}),
    }
    with pytest.raises(AdapterError, match="withheld") as caught:
        await calls[verb](made)
    assert "secret" not in str(caught.value)
    is_read = verb in ("query", "select", "read")
    assert caught.value.state is (FailureState.REJECTED if is_read else FailureState.APPLIED)


@pytest.mark.parametrize(
    ("told", "is_withheld"),
    [([{"tenant_id": "b"}], True), ({"tenant_id": None}, True), ([{"tenant_id": "a"}, {"n": 1}], False), (5, False)],
    ids=shown,
)
async def test_rows_of_a_function_that_name_another_tenant_are_withheld(told: Any, is_withheld: bool) -> None:
    """What has no column of the tenant's is the function's own affair."""
    recorder = Recorder(lambda request: httpx.Response(200, json=told))
    made = service(recorder.adapter())
    if is_withheld:
        with pytest.raises(AdapterError, match="withheld"):
            await made.call("search")
    else:
        assert await made.call("search") == told


async def test_rows_that_others_hold_are_not_changed() -> None:
    """A projection is answered with rows of its own: those below may be a cache's."""
    kept: list[dict[str, Any]] = [{"id": 1, "tenant_id": "a"}]

    class Keeping(RecordingAdapter):
        async def query(self, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
            return kept

    assert await service(Keeping()).query("notes", limit=1, select=["id"]) == [{"id": 1}]
    assert kept == [{"id": 1, "tenant_id": "a"}]


async def test_the_policys_columns_and_the_tenant_do_not_get_in_each_others_way() -> None:
    """A caller who may not name the tenant's column works within the tenant all the same."""
    policy = TablePolicy(
        read={"notes"},
        write={"notes"},
        delete={"notes"},
        columns={"notes": {"read": ["id", "text"], "write": ["text"]}},
    )
    adapter = InMemoryAdapter({"notes": [OWN, {"id": 2, "tenant_id": "b", "text": "theirs"}]})
    made = service(adapter, policy=policy)
    assert await made.query("notes") == [{"id": 1, "text": "x"}]
    assert await made.read("notes", 1) == {"id": 1, "text": "x"}
    assert (await made.write("notes", {"text": "y"})).keys() == {"id", "text"}
    assert await made.update("notes", {"text": "z"}, {"id": 1}) == [{"id": 1, "text": "z"}]
    with pytest.raises(ColumnNotAllowedError):
        await made.query("notes", {"tenant_id": "a"})
    with pytest.raises(ColumnNotAllowedError):
        await made.write("notes", {"tenant_id": "a"})
    assert await made.delete("notes", {"id": 1}) == [{"id": 1, "text": "z"}]


async def test_get_columns_is_the_same_for_all_tenants(own: AsyncPersistenceService) -> None:
    """It tells names, and no rows."""
    assert "tenant_id" in (await own.get_columns("notes") or [])
