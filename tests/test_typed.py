"""Typed tables: the same verbs over a pydantic model."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from agent_persistence import (
    NULL,
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAgent,
    ReadOnlyError,
    Schema,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    desc,
    gte,
    sync,
)
from agent_persistence.client.typed import ReadOnlyTable, TypedTable
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, Table as Declared
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio
POLICY = TablePolicy(read={"leads"}, write={"leads"}, delete=frozenset({"leads"}))
ID = "00000000-0000-0000-0000-000000000001"
SECRET = "hunter2"


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"

    id: UUID | None = None
    email: str
    score: Decimal | None = None


class Inner(BaseModel):
    price: int


class Outer(BaseModel):
    items: list[Inner]
    prices: dict[str, Inner] = Field(default_factory=dict)


Table: TypeAlias = TypedTable[Lead]


@pytest.fixture
def service() -> AsyncPersistenceService:
    return AsyncPersistenceService(InMemoryAdapter(schema=Schema.default()), policy=POLICY)


@pytest.fixture
def leads(service: AsyncPersistenceService) -> Table:
    return PersistenceAgent(service).table(Lead)


async def test_what_is_written_comes_back_as_models(leads: Table) -> None:
    """By every verb that writes or reads rows."""
    first = await leads.write(Lead(email="a", score=Decimal("0.10")))
    assert isinstance(first.id, UUID)
    second, third = await leads.batch_write([Lead(email="b"), {"email": "c", "score": 2}])
    merged = await leads.upsert({"email": "b", "score": 1}, ["email"])
    assert merged == Lead(id=second.id, email="b", score=Decimal(1))
    assert await leads.read(first.id) == first
    assert await leads.query({"score": gte(1)}, order_by=desc("score")) == [third, merged]
    assert [lead async for lead in leads.iterate(page_size=1, order_by="email")] == [first, merged, third]
    assert await leads.update({"score": NULL}, {"email": "a"}) == [Lead(id=first.id, email="a")]
    assert await leads.delete({"email": "c"}, max_affected=1) == [third]
    assert await leads.count() == 2
    assert (await leads.get_columns() or [])[0] == "id"


async def test_no_row_is_none(leads: Table) -> None:
    """And no match an empty list."""
    assert await leads.read(ID) is None
    assert await leads.query({"email": "a"}) == []


async def test_the_arguments_reach_the_untyped_verbs() -> None:
    """Filters, limit, order, offset, pages and bounds mean what they mean there."""
    adapter = RecordingAdapter(InMemoryAdapter(schema=Schema.default()))
    service = AsyncPersistenceService(adapter, policy=POLICY)
    leads = service.table(Lead)
    await leads.query({"email": "a"}, 5, "email", True, offset=2)
    await leads.update({"email": "b"}, {"email": "a"}, max_affected=3)
    assert [lead async for lead in leads.iterate({"email": "a"}, page_size=7, order_by="email")] == []
    typed = adapter.calls.copy()
    adapter.calls.clear()
    await service.query("leads", {"email": "a"}, 5, "email", True, offset=2)
    await service.update("leads", {"email": "b"}, {"email": "a"}, max_affected=3)
    assert [row async for row in service.iterate("leads", {"email": "a"}, page_size=7, order_by="email")] == []
    assert typed == adapter.calls


async def test_a_decimal_comes_back_as_a_decimal(leads: Table) -> None:
    """Whatever number the adapter tells it by."""
    assert (await leads.write({"email": "a", "score": "0.1"})).score == Decimal("0.1")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    id: UUID
    score: Decimal | None


async def test_a_strict_model_reads_a_row_as_json(service: AsyncPersistenceService) -> None:
    """A uuid is a text there, which strictness about Python's types would refuse."""
    row = await service.write("leads", {"id": ID, "email": "a", "score": 0.5})
    assert row["id"] == ID
    assert await service.table(Strict, "leads").read(ID) == Strict(id=UUID(ID), score=Decimal("0.5"))


# The name of the table


class Unnamed(BaseModel):
    email: str


def test_the_table_has_the_models_name_or_the_one_given(service: AsyncPersistenceService) -> None:
    """The argument beats the class."""
    assert service.table(Lead).name == "leads"
    assert service.table(Lead, "inquiries").name == "inquiries"
    assert service.table(Unnamed, "leads").model is Unnamed


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((Unnamed,), "Unnamed names no table"),
        ((Unnamed, 5), "Unnamed names no table"),
        (("leads",), "a pydantic model class"),
        ((Unnamed(email="a"), "leads"), "a pydantic model class"),
        ((dict, "leads"), "a pydantic model class"),
    ],
    ids=shown,
)
def test_without_a_model_and_a_name_there_is_no_table(
    arguments: tuple[Any, ...], problem: str, service: AsyncPersistenceService
) -> None:
    """Refused when the table is made, not at its first call."""
    for source in (service, PersistenceAgent(service), service.readonly()):
        with pytest.raises(ConfigurationError, match=problem):
            source.table(*arguments)


async def test_the_policy_holds_for_typed_tables(service: AsyncPersistenceService) -> None:
    """They are no way round the guard."""
    with pytest.raises(TableNotAllowedError):
        await service.table(Lead, "clients").write({"email": "a"})
    with pytest.raises(TableNotAllowedError):
        await service.table(Lead, "leads/../clients").count()


# What is refused


async def test_a_projection_is_refused_with_the_reason(leads: Table) -> None:
    """A part of a row is no model."""
    refused: Any = {"select": ["email"]}
    with pytest.raises(ValidationError, match="no Lead; leave it out"):
        await leads.query(**refused)
    with pytest.raises(ValidationError, match="no Lead; leave it out"):
        await anext(aiter(leads.iterate(**refused)))


VERBS: dict[str, Callable[[TypedTable[Any]], Awaitable[object]]] = {
    "read": lambda table: table.read(ID),
    "query": lambda table: table.query(),
    "iterate": lambda table: anext(aiter(table.iterate())),
    "write": lambda table: table.write({"email": SECRET}),
    "batch_write": lambda table: table.batch_write([{"email": SECRET}]),
    "upsert": lambda table: table.upsert({"id": ID, "email": SECRET}),
    "update": lambda table: table.update({"email": SECRET}, {"id": ID}),
    "delete": lambda table: table.delete({"id": ID}),
}


class Numbered(BaseModel):
    email: int
    missing: str


@pytest.mark.parametrize("verb", VERBS)
async def test_a_row_that_does_not_fit_is_refused_with_its_fields(verb: str, service: AsyncPersistenceService) -> None:
    """By path and kind of misfit, never by content; where rows were changed, the message says so."""
    await service.write("leads", {"id": ID, "email": f"{SECRET}@x.io"})
    with pytest.raises(ValidationError) as caught:
        await VERBS[verb](service.table(Numbered, "leads"))
    done = {"delete": "the rows are deleted, but "}.get(verb, "the rows are stored, but ")
    begin = "" if verb in ("read", "query", "iterate") else done
    assert caught.value.table == "leads"
    assert caught.value.problems == (f"{begin}a row does not fit Numbered: email (int_parsing), missing (missing)",)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"items": [{"price": 1}, {"price": SECRET}]}, "items[1].price (int_parsing)"),
        ({"items": [{}]}, "items[0].price (missing)"),
        ({"items": [], "prices": {SECRET: {"price": SECRET}}}, "prices.….price (int_parsing)"),
        ({"items": SECRET}, "items (list_type)"),
    ],
    ids=shown,
)
async def test_the_path_names_fields_and_no_keys_of_documents(row: Row, path: str) -> None:
    """A key inside a JSON document is content."""
    service = AsyncPersistenceService(InMemoryAdapter({"inquiries": [row]}))
    with pytest.raises(ValidationError) as caught:
        await service.table(Outer, "inquiries").query()
    assert caught.value.problems == (f"a row does not fit Outer: {path}",)


# Read-only


@pytest.mark.parametrize("verb", ["write", "batch_write", "upsert", "update", "delete"])
async def test_a_facades_table_only_reads(verb: str, service: AsyncPersistenceService) -> None:
    """A writing verb is not there, and touching one says where to write."""
    await service.write("leads", {"email": "a"})
    leads = service.readonly().table(Lead)
    assert [lead.email for lead in await leads.query()] == ["a"]
    assert not hasattr(leads, verb)
    assert verb not in dir(leads)
    with pytest.raises(ReadOnlyError):
        getattr(leads, verb)
    with pytest.raises(ReadOnlyError):
        getattr(sync.ReadOnlyPersistenceFacade(service.readonly()).table(Lead), verb)


def test_a_facades_table_holds_the_facade_and_not_its_service(service: AsyncPersistenceService) -> None:
    """What it reads with cannot write either."""
    facade = service.readonly()
    leads = facade.table(Lead)
    held = [getattr(leads, name) for cls in type(leads).__mro__ for name in getattr(cls, "__slots__", ())]
    assert held == [Lead, "leads", facade]


def test_an_attribute_that_no_table_has_is_absent(service: AsyncPersistenceService) -> None:
    """A misspelt verb is an AttributeError and no refusal."""
    with pytest.raises(AttributeError, match="wirte"):
        _ = service.readonly().table(Lead).wirte  # type: ignore[attr-defined]


# Without await


def test_the_blocking_tables_have_the_same_verbs(service: AsyncPersistenceService) -> None:
    """Signatures and docstrings are those of the async ones."""
    for blocking, awaited in ((sync.ReadOnlyTable, ReadOnlyTable), (sync.TypedTable, TypedTable)):
        verbs = {name for name, _ in inspect.getmembers(awaited, inspect.isfunction) if not name.startswith("_")}
        assert verbs == {name for name in dir(blocking) if not name.startswith("_")}
        for name in verbs:
            assert inspect.signature(getattr(blocking, name)) == inspect.signature(getattr(awaited, name))
            assert inspect.getdoc(getattr(blocking, name)) == inspect.getdoc(getattr(awaited, name))


def test_a_blocking_table_gives_models() -> None:
    """From an agent, a service and a façade."""
    with sync.PersistenceService(InMemoryAdapter(schema=Schema.default())) as service:
        leads = service.table(Lead)
        first = leads.write(Lead(email="a"))
        leads.batch_write([Lead(email="b")])
        assert leads.read(first.id) == first
        assert [lead.email for lead in leads.iterate(order_by="email")] == ["a", "b"]
        assert service.readonly().table(Lead).count() == 2
    with sync.create_persistence_agent("memory") as agent:
        assert agent.table(Lead).query() == []


async def test_a_models_default_does_not_overwrite_what_is_stored() -> None:
    """Merging and updating use the fields that were set; inserting uses the defaults too."""

    class Prospect(BaseModel):
        email: str = "nobody@x.io"
        status: str = "prospect"

    agent = PersistenceAgent(AsyncPersistenceService(InMemoryAdapter(schema=Schema.default())))
    leads = agent.table(Prospect, "leads")
    assert (await leads.write(Prospect(email="a@x.io"))).status == "prospect"
    await leads.update({"status": "won"}, {"email": "a@x.io"})
    assert (await leads.upsert(Prospect(email="a@x.io"), ["email"])).status == "won"
    assert (await agent.update("leads", Prospect(status="lost"), {"email": "a@x.io"}))[0]["email"] == "a@x.io"


class Precise(BaseModel):
    model_config = ConfigDict(strict=True)

    score: float
    exact: Decimal


async def test_a_strict_float_takes_a_number_that_it_cannot_hold() -> None:
    """Rounded, beside a Decimal that is not."""
    digits = "0.123456789012345678901234567890"
    schema = Schema({"t": Declared({"id": Column("bigint"), "score": Column("numeric"), "exact": Column("numeric")})})
    adapter = InMemoryAdapter({"t": [{"id": 1, "score": digits, "exact": digits}]}, schema=schema)
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read=frozenset({"t"})))
    assert await PersistenceAgent(service).table(Precise, "t").query() == [
        Precise(score=float(digits), exact=Decimal(digits))
    ]
