"""Functions and merges of many rows as parts of a unit, over every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pydantic import BaseModel

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ColumnNotAllowedError,
    ConflictError,
    InMemoryAdapter,
    Redaction,
    TableNotAllowedError,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    sync,
)
from agent_persistence.redaction import allow, drop, redact
from agent_persistence.schema.registry import default_schema
from tests.server import LocalServer
from tests.units.conftest import BACKENDS, POLICY, adapter_of

WRITING = replace(POLICY, call=frozenset({"asked"}), call_write=frozenset({"noted", "refusing", "described"}))
FUNCTIONS = """
create or replace function noted(body text, lead uuid default null) returns jsonb language sql volatile
  as $$ insert into inquiries (body, email) values (noted.body, noted.lead::text)
  returning jsonb_build_object('body', inquiries.body, 'lead', inquiries.email) $$;
create or replace function described(about jsonb, n int default 0) returns jsonb language sql volatile
  as $$ select jsonb_build_object('about', about, 'n', n) $$;
create or replace function refusing() returns int language plpgsql volatile
  as $$ begin insert into inquiries (body) values ('never'); raise exception using errcode = '22012'; end $$;
create or replace function asked() returns int language sql stable as 'select 1';
"""


@pytest.fixture(scope="module")
def _functions(local_server: LocalServer) -> Iterator[None]:
    local_server.execute(FUNCTIONS)
    local_server.reload_schema()
    yield
    for name in ("noted", "described", "refusing", "asked"):
        local_server.execute(f"drop function {name}")
    local_server.reload_schema()


class Functions(InMemoryAdapter):
    """The same functions in Python; they write into the store as a call of its own would."""

    def __init__(self) -> None:
        functions: dict[str, Callable[..., Any]] = {
            "noted": self._noted,
            "described": lambda about, n=0: {"about": about, "n": n},
            "refusing": self._refusing,
            "asked": self._asked,
            "later": _later,
        }
        self.called: list[str] = []
        super().__init__(
            schema=default_schema(),
            functions={**functions, "refusing": self._refusing, "later": _later, "asked": self._asked},
        )

    def _noted(self, body: str, lead: str | None = None) -> dict[str, Any]:
        self.called.append(body)
        return {"body": body, "lead": lead}

    def _asked(self) -> int:
        self.called.append("asked")
        return 1

    def _refusing(self) -> int:
        raise AdapterError("it refuses", code="22012")


async def _later() -> int:
    return 1


@pytest.fixture(params=BACKENDS)
def functions(request: pytest.FixtureRequest, units_server: LocalServer, _functions: None) -> Any:
    return Functions() if request.param == "memory" else adapter_of(request.param, units_server)


@pytest_asyncio.fixture
async def calling(functions: Any) -> AsyncIterator[AsyncPersistenceService]:
    async with AsyncPersistenceService(functions, policy=WRITING, ledger=True, owns_adapter=True) as made:
        yield made


@pytest.mark.asyncio
async def test_a_function_is_called_between_writes(calling: AsyncPersistenceService) -> None:
    """With columns of earlier handles for arguments; its value is what a call by itself returns."""
    unit = calling.unit_of_work()
    lead = unit.upsert("leads", {"email": "a@x.example", "custom": {"a": [1]}, "score": 3}, ["email"])
    note = unit.call("noted", {"body": "hello", "lead": lead["id"]})
    told = unit.call("described", {"about": lead["custom"], "n": 2})
    unit.write("inquiries", {"body": "after"})
    results = await unit.commit()
    assert results[note] == {"body": "hello", "lead": results[lead]["id"]}
    assert results[told] == {"about": {"a": [1]}, "n": 2}
    assert results[told] == await calling.call("described", {"about": {"a": [1]}, "n": 2})


@pytest.mark.asyncio
async def test_a_function_that_refuses_takes_all_with_it(calling: AsyncPersistenceService) -> None:
    """The error is that of its place."""
    unit = calling.unit_of_work()
    unit.write("inquiries", {"body": "before"})
    unit.call("refusing")
    with pytest.raises(AdapterError) as refused:
        await unit.commit()
    assert (refused.value.code, refused.value.part, await calling.count("inquiries")) == ("22012", 1, 0)


@pytest.mark.asyncio
async def test_a_unit_with_a_function_is_applied_once(calling: AsyncPersistenceService, functions: Any) -> None:
    """Under its key, also where it is all that the unit holds; other arguments are refused."""
    for alone in (True, False):
        key = uuid4()
        values = []
        for body in ("a", "a", "b"):
            unit = calling.unit_of_work(key)
            note = unit.call("noted", {"body": body})
            if not alone:
                unit.write("inquiries", {"body": "beside"})
            if body == "b":
                with pytest.raises(ConflictError):
                    await unit.commit()
            else:
                values.append((await unit.commit())[note])
        assert values == [{"body": "a", "lead": None}] * 2
    if isinstance(functions, Functions):
        assert functions.called == ["a", "a"]
    else:
        assert await calling.count("inquiries", {"body": "a"}) == 2


@pytest.mark.asyncio
async def test_the_rights_are_those_of_a_call() -> None:
    """A function that only reads is not called where it might write, and no other one is either."""
    store = Functions()
    service = AsyncPersistenceService(store, policy=WRITING)
    for name in ("asked", "missing", "agent_persistence_apply"):
        unit = service.unit_of_work()
        unit.write("inquiries", {"body": "a"})
        unit.call(name)
        with pytest.raises(TableNotAllowedError):
            await unit.commit()
    assert (store.called, await service.count("inquiries")) == ([], 0)


@pytest.mark.asyncio
async def test_tenants_and_masks_hold_for_arguments_and_values() -> None:
    """As for a call by itself."""
    service = AsyncPersistenceService(
        Functions(),
        policy=WRITING,
        tenant=TenantScope("t1", column="client_id", arguments={"noted": "lead"}, shared=("described",)),
        mask_reads=Redaction(columns={"described": {"n": drop()}, "noted": {"body": redact()}}, unknown=allow()),
    )
    unit = service.unit_of_work()
    note, told = unit.call("noted", {"body": "a"}), unit.call("described", {"about": None, "n": 1})
    results = await unit.commit()
    assert (results[note]["lead"], results[told]) == ("t1", {"about": None})
    assert results[note] == await service.call("noted", {"body": "a"})


@pytest.mark.asyncio
async def test_a_value_of_the_database_is_no_argument_that_is_masked() -> None:
    """It could not be."""
    service = AsyncPersistenceService(
        Functions(), policy=WRITING, mask_writes=Redaction(columns={"noted": {"lead": redact()}})
    )
    unit = service.unit_of_work()
    lead = unit.write("conversations", {"subject": "a"})
    unit.call("noted", {"body": "a", "lead": lead["created_at"]})
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await unit.commit()


@pytest.mark.asyncio
async def test_in_memory_an_async_function_is_not_called_within_a_unit() -> None:
    """A transaction waits for nothing; by itself it is."""
    service = AsyncPersistenceService(Functions(), policy=replace(WRITING, call_write=frozenset({"later"})))
    alone = service.unit_of_work()
    called = alone.call("later")
    assert (await alone.commit())[called] == 1
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "a"})
    unit.call("later")
    with pytest.raises(UnsupportedOperationError, match="async"):
        await unit.commit()
    assert await service.count("inquiries") == 0


class Lead(BaseModel):
    id: UUID | None = None
    email: str
    company: str | None = None
    status: str | None = None


@pytest.mark.asyncio
async def test_many_rows_are_merged_in_the_order_given(service: AsyncPersistenceService) -> None:
    """Each has its own row, to which later operations refer."""
    old = await service.write("leads", {"email": "old@x.example", "status": "won"})
    unit = service.unit_of_work()
    records = [{"email": "new@x.example", "company": "N"}, {"email": "old@x.example", "company": "O"}]
    leads = unit.upsert_many("leads", records, ["email"])
    talk = unit.write("conversations", {"lead_id": leads[1]["id"], "subject": "hello"})
    results = await unit.commit()
    assert [(row["company"], row["status"]) for row in results[leads]] == [("N", "new"), ("O", "won")]
    assert results[talk]["lead_id"] == results[leads][1]["id"] == old["id"]
    assert results[leads[0]] == results[leads][0]


@pytest.mark.asyncio
async def test_merged_rows_are_models_too(service: AsyncPersistenceService) -> None:
    unit = service.unit_of_work()
    merged = unit.table(Lead, "leads").upsert_many([Lead(email="a@x.example", company="A")], ["email"])
    (lead,) = (await unit.commit())[merged]
    assert (type(lead), lead.company, lead.status) == (Lead, "A", "new")


@pytest.mark.asyncio
async def test_rows_that_are_one_are_refused_as_a_whole(service: AsyncPersistenceService) -> None:
    """By the database, with its place; records of different columns before anything is sent."""
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "a"})
    unit.upsert_many("leads", [{"email": "a@x.example"}] * 2, ["email"])
    with pytest.raises(AdapterError) as refused:
        await unit.commit()
    assert (refused.value.code, refused.value.part, await service.count("inquiries")) == ("21000", 1, 0)
    with pytest.raises(ValidationError, match="the same columns"):
        service.unit_of_work().upsert_many("leads", [{"email": "a"}, {"email": "b", "company": "B"}], ["email"])
    with pytest.raises(ValidationError, match="empty"):
        service.unit_of_work().upsert_many("leads", [])


@pytest.mark.asyncio
async def test_keys_that_are_made_here_are_the_same_each_time(service: AsyncPersistenceService) -> None:
    """So that the unit is, and a lost answer finds its rows."""
    key = uuid4()
    told = []
    for _ in range(2):
        unit = service.unit_of_work(key)
        rows = unit.upsert_many("leads", [{"email": "a@x.example"}, {"email": "b@x.example"}])
        told.append((rows[0]["id"], (await unit.commit())[rows]))
    assert told[0] == told[1]
    assert await service.count("leads") == 2


def test_a_blocking_unit_has_them() -> None:
    with sync.create_persistence_agent(adapter=Functions(), policy=WRITING) as agent:
        unit = agent.unit_of_work()
        rows, note = unit.upsert_many("leads", [{"email": "a"}], ["email"]), unit.call("noted", {"body": "b"})
        results = unit.commit()
        assert (results[rows][0]["email"], results[note]["body"]) == ("a", "b")
