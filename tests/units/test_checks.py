"""No way leads through a unit of work to what a single call may not do; nothing is sent before all is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    AuditEvent,
    ColumnNotAllowedError,
    ConfigurationError,
    InMemoryAdapter,
    Next,
    Operation,
    PersistenceError,
    PersistencePermissionError,
    ReadOnlyError,
    Redaction,
    Result,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    UnitOfWork,
    UnsupportedOperationError,
    ValidationError,
    eq,
    gt,
    in_,
)
from agent_persistence.context import CallContext
from agent_persistence.operations import BatchWrite, Query, Unit, UnitPart, Write
from agent_persistence.redaction import allow, drop, redact
from agent_persistence.schema.registry import default_schema

pytestmark = pytest.mark.asyncio

TABLES = {"leads", "messages", "conversations", "inquiries", "staging_leads"}
_FEW = TablePolicy(read=TABLES, write=TABLES, columns={"leads": {"read": ["email", "id"], "write": ["email"]}})


class Watched(InMemoryAdapter):
    """A store that notes what is carried out in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[Operation] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        self.asked.append(operation)
        return await super().execute(operation, context)


def _service(adapter: InMemoryAdapter | None = None, **options: Any) -> tuple[AsyncPersistenceService, Watched]:
    store = adapter if isinstance(adapter, Watched) else Watched(schema=default_schema())
    options.setdefault("policy", TablePolicy(read=TABLES, write=TABLES, delete=TABLES))
    return AsyncPersistenceService(store, **options), store


Step = Callable[[UnitOfWork], Any]


async def _carry_out(unit: UnitOfWork, step: Step) -> None:
    step(unit)
    await unit.commit()


def _lead(unit: UnitOfWork) -> Any:
    return unit.upsert("leads", {"email": "x"}, ["email"])


_FORBIDDEN: list[tuple[str, dict[str, Any], Step, type[PersistenceError]]] = [
    ("a table not listed", {}, lambda u: u.write("clients", {"name": "x"}), TableNotAllowedError),
    ("a hostile table", {}, lambda u: u.write("leads/../clients", {"name": "x"}), TableNotAllowedError),
    ("a table to require", {}, lambda u: u.require("clients", {"name": "x"}), TableNotAllowedError),
    ("a table of auth", {}, lambda u: u.require("auth.users", {"email": "x"}), TableNotAllowedError),
    (
        "a table that may not be deleted from",
        {"policy": TablePolicy(read=TABLES, write=TABLES)},
        lambda u: u.delete("leads", {"email": "x"}),
        TableNotAllowedError,
    ),
    (
        "a table that may only be read",
        {"policy": TablePolicy(read={"leads"}, write={"inquiries"})},
        lambda u: u.update("leads", {"status": "x"}, {"email": "x"}),
        TableNotAllowedError,
    ),
    ("a column that is none", {}, lambda u: u.write("leads", {"email": "x", "select": "y"}), ColumnNotAllowedError),
    ("a filter by an instruction", {}, lambda u: u.require("leads", {"or": "(x)"}), ColumnNotAllowedError),
    (
        "a column that may not be written",
        {"policy": _FEW},
        lambda u: u.write("leads", {"email": "x", "score": 1}),
        ColumnNotAllowedError,
    ),
    (
        "a column that may not be asked about",
        {"policy": _FEW},
        lambda u: u.require("leads", {"score": gt(5)}),
        ColumnNotAllowedError,
    ),
    (
        "a column that may not be read, by its handle",
        {"policy": _FEW},
        lambda u: u.write("inquiries", {"body": _lead(u)["notes"]}),
        ColumnNotAllowedError,
    ),
    (
        "a column that may not be read, by a filter with its handle",
        {"policy": _FEW},
        lambda u: u.require("inquiries", {"body": _lead(u)["notes"]}, expect=0),
        ColumnNotAllowedError,
    ),
    (
        "a row of a table that may not be read, by its handle",
        {"policy": TablePolicy(read=TABLES - {"leads"}, write=TABLES)},
        lambda u: u.write("inquiries", {"body": u.write("leads", {"email": "x"})["status"]}),
        ColumnNotAllowedError,
    ),
    (
        "a masked column, by its handle",
        {"mask_reads": Redaction({"leads": {"notes": drop()}}, unknown=allow())},
        lambda u: u.write("inquiries", {"body": _lead(u)["notes"]}),
        ColumnNotAllowedError,
    ),
    (
        "an unmasked value for a masked column",
        {"mask_writes": Redaction({"inquiries": {"body": redact("email")}}, unknown=allow())},
        lambda u: u.write("inquiries", {"body": _lead(u)["notes"]}),
        ColumnNotAllowedError,
    ),
    (
        "a requirement about a masked column",
        {"mask_reads": Redaction({"leads": {"notes": drop()}}, unknown=allow())},
        lambda u: u.require("leads", {"notes": "secret"}),
        ColumnNotAllowedError,
    ),
    (
        "another tenant",
        {"tenant": TenantScope("a", column="source")},
        lambda u: u.write("staging_leads", {"email": "x", "source": "b"}),
        ColumnNotAllowedError,
    ),
    (
        "another tenant, by a reference",
        {"tenant": TenantScope("a", column="source", shared={"leads"})},
        lambda u: u.write("staging_leads", {"email": "x", "source": _lead(u)["email"]}),
        ColumnNotAllowedError,
    ),
    (
        "a row outside of the policy's, by a reference",
        {"policy": TablePolicy(read=TABLES, write=TABLES, rows={"inquiries": {"body": "open"}})},
        lambda u: u.write("inquiries", {"body": _lead(u)["status"]}),
        ColumnNotAllowedError,
    ),
    (
        "too large a value",
        {"policy": TablePolicy(read=TABLES, write=TABLES, max_value_bytes=1_000)},
        lambda u: u.write("leads", {"email": "x" * 2_000}),
        ValidationError,
    ),
    (
        "too many rows at once",
        {"policy": TablePolicy(read=TABLES, write=TABLES, max_batch=2)},
        lambda u: u.batch_write("inquiries", [{"body": str(n)} for n in range(3)]),
        ValidationError,
    ),
    (
        "too many operations",
        {"policy": TablePolicy(read=TABLES, write=TABLES, max_batch=2)},
        lambda u: [u.write("inquiries", {"body": str(n)}) for n in range(3)],
        ValidationError,
    ),
    (
        "too long a list",
        {"policy": TablePolicy(read=TABLES, write=TABLES, max_list=2)},
        lambda u: u.require("leads", {"email": in_(["a", "b", "c"])}),
        ValidationError,
    ),
    (
        "a value that the schema refuses",
        {"schema": default_schema()},
        lambda u: u.write("leads", {"email": "x", "is_qualified": [1]}),
        ValidationError,
    ),
    (
        "a handle's column that the schema does not know",
        {"schema": default_schema()},
        lambda u: u.write("inquiries", {"body": _lead(u)["ssn"]}),
        ValidationError,
    ),
]


@pytest.mark.parametrize(
    ("options", "step", "refusal"), [case[1:] for case in _FORBIDDEN], ids=[case[0] for case in _FORBIDDEN]
)
async def test_what_a_single_call_may_not_do_no_unit_does(
    options: dict[str, Any], step: Step, refusal: type[PersistenceError]
) -> None:
    """Neither first, nor after operations that are allowed; and nothing is carried out."""
    for before in (0, 2):
        service, store = _service(**options)
        unit = service.unit_of_work()
        for number in range(before):
            unit.batch_write("staging_leads", [{"email": str(number)}])
        with pytest.raises(refusal):
            await _carry_out(unit, step)
        assert store.asked == []


_ALLOWABLE = (
    "a table not listed",
    "a table that may not be deleted from",
    "a table that may only be read",
    "a column that may not be written",
    "a column that may not be read, by its handle",
    "a row of a table that may not be read, by its handle",
    "a masked column, by its handle",
    "an unmasked value for a masked column",
    "a row outside of the policy's, by a reference",
    "another tenant, by a reference",
    "too large a value",
    "too many rows at once",
    "too many operations",
)


@pytest.mark.parametrize("name", _ALLOWABLE)
async def test_control_the_same_operations_pass_where_nothing_forbids_them(name: str) -> None:
    """The harness refuses nothing by itself."""
    everything = TABLES | {"clients"}
    service, store = _service(policy=TablePolicy(read=everything, write=everything, delete=everything))
    (step,) = [case[2] for case in _FORBIDDEN if case[0] == name]
    unit = service.unit_of_work()
    step(unit)
    await unit.commit()
    assert len(store.asked) == 1


async def test_a_facade_has_no_units() -> None:
    """By no name."""
    service, _ = _service()
    facade = service.readonly()
    assert not hasattr(facade, "unit_of_work")
    with pytest.raises(ReadOnlyError):
        facade.unit_of_work()  # type: ignore[attr-defined]


async def test_a_unit_is_taken_for_no_single_operation() -> None:
    """A middleware that builds one gets round no check: every layer that guards refuses it."""

    async def smuggling(operation: Operation, call_next: Next) -> Result:
        hidden = UnitPart(Write("clients", {"name": "x"}))
        return await call_next(Unit("leads", (hidden,)))

    service, store = _service(middleware=[smuggling])
    with pytest.raises(UnsupportedOperationError):
        await service.write("leads", {"email": "x"})
    assert store.asked == []


async def test_references_stand_in_their_own_unit_alone() -> None:
    """Not in a single call, and not in another unit."""
    service, store = _service()
    unit, other = service.unit_of_work(), service.unit_of_work()
    lead = unit.upsert("leads", {"email": "x"}, on_conflict=["email"])
    attempts: list[Callable[[], Any]] = [
        lambda: other.write("inquiries", {"body": lead["email"]}),
        lambda: other.require("inquiries", {"body": lead["email"]}),
        lambda: unit.write("inquiries", {"body": [lead["email"]]}),
        lambda: unit.write("inquiries", {"body": {"a": lead["email"]}}),
        lambda: unit.require("leads", {"email": in_([lead["email"]])}),
    ]
    for attempt in attempts:
        with pytest.raises(ValidationError):
            attempt()
    for call in (
        lambda: service.write("inquiries", {"body": lead["email"]}),
        lambda: service.query("inquiries", {"body": lead["email"]}),
        lambda: service.update("inquiries", {"body": "x"}, {"body": eq(lead["email"])}),
        lambda: service.delete("inquiries", {"body": gt(lead["email"])}),
        lambda: service.count("inquiries", {"body": lead["email"]}),
        lambda: service.read("inquiries", lead["email"]),
        lambda: service.batch_write("inquiries", [{"body": lead["email"]}]),
    ):
        with pytest.raises(ValidationError):
            await call()
    assert store.asked == []


async def test_a_row_of_several_is_not_referred_to() -> None:
    """What an update changes may be many rows, unless one is expected."""
    service, _ = _service()
    unit = service.unit_of_work()
    changed = unit.update("leads", {"status": "x"}, {"email": "x"})
    with pytest.raises(ValidationError, match="may affect several rows"):
        changed["id"]
    batch = unit.batch_write("inquiries", [{"body": "a"}])
    with pytest.raises(ValidationError, match="from 0 to 0"):
        batch[1]


async def test_what_is_masked_stays_masked_in_results() -> None:
    """Each row goes back through the layers that its own call would go through."""
    service, _ = _service(
        mask_reads=Redaction({"leads": {"email": redact("email")}}, unknown=allow()),
        policy=TablePolicy(read=TABLES, write=TABLES, columns={"inquiries": {"read": ["id"], "write": ["body"]}}),
    )
    unit = service.unit_of_work()
    lead = unit.upsert("leads", {"email": "ada@x.io"}, on_conflict=["email"])
    note = unit.write("inquiries", {"body": "b"})
    results = await unit.commit()
    assert results[lead]["email"] != "ada@x.io"
    assert set(results[note]) == {"id", "body"}


async def test_a_tenant_is_held_to_its_rows() -> None:
    """What is written gets the tenant's value, and what is chosen is the tenant's."""
    service, store = _service(tenant=TenantScope("a", column="source"))
    store.asked.clear()
    unit = service.unit_of_work()
    written = unit.write("staging_leads", {"email": "x"})
    changed = unit.update("staging_leads", {"status": "seen"}, {"email": "x"})
    results = await unit.commit()
    assert results[written]["source"] == "a"
    assert len(results[changed]) == 1
    other = service.as_user(tenant="b").unit_of_work()
    other.update("staging_leads", {"status": "stolen"}, {"email": "x"}, expect=1)
    with pytest.raises(PersistenceError, match="0 rows were found"):
        await other.commit()


async def test_every_operation_is_audited_under_one_id() -> None:
    """One event each, in order, whatever becomes of them; the ids of two units differ."""
    events: list[AuditEvent] = []
    service, _ = _service(audit=events.append, actor="ada")
    for email in ("a", "b"):
        unit = service.unit_of_work()
        lead = unit.upsert("leads", {"email": email}, on_conflict=["email"])
        unit.write("inquiries", {"email": lead["email"], "body": "x"})
        await unit.commit()
    assert [(e.verb, e.table, e.outcome, e.row_count, e.actor) for e in events] == [
        ("upsert", "leads", "ok", 1, "ada"),
        ("write", "inquiries", "ok", 1, "ada"),
    ] * 2
    assert len({e.unit for e in events}) == 2
    assert events[0].unit == events[1].unit
    events.clear()
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "x"})
    unit.write("clients", {"name": "x"})
    unit.write("inquiries", {"body": "y"})
    with pytest.raises(PersistencePermissionError):
        await unit.commit()
    assert [(e.table, e.outcome) for e in events] == [("clients", "denied"), ("inquiries", "error")]


async def test_a_middleware_sees_each_operation_and_may_change_it() -> None:
    """As it does that of a single call; the guard looks again behind it."""

    async def stamping(operation: Operation, call_next: Next) -> Result:
        if isinstance(operation, Write):
            operation = replace(operation, record={**operation.record, "email": "stamped"})
        return await call_next(operation)

    service, _ = _service(middleware=[stamping])
    unit = service.unit_of_work()
    note = unit.write("inquiries", {"body": "x"})
    assert (await unit.commit())[note]["email"] == "stamped"


@pytest.mark.parametrize("manner", ["answers by itself", "sends twice", "makes it another call", "raises"])
async def test_a_middleware_that_takes_an_operation_out_of_its_unit_keeps_all_back(manner: str) -> None:
    """Nothing is carried out."""

    async def meddling(operation: Operation, call_next: Next) -> Result:
        if operation.table != "leads":
            return await call_next(operation)
        if manner == "answers by itself":
            return Result({})
        if manner == "raises":
            raise RuntimeError("no")
        if manner == "makes it another call":
            return await call_next(Query("leads"))
        await call_next(operation)
        return await call_next(operation)

    service, store = _service(middleware=[meddling])
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "x"})
    unit.write("leads", {"email": "x"})
    unit.write("inquiries", {"body": "y"})
    with pytest.raises(RuntimeError if manner == "raises" else ConfigurationError):
        await unit.commit()
    asked = [operation for operation in store.asked if manner != "sends twice"]
    assert asked == []


async def test_the_cache_forgets_every_table_of_the_unit() -> None:
    """And what depends on it."""
    service, _ = _service(cache=True)
    assert await service.query("leads") == []
    assert await service.query("inquiries") == []
    unit = service.unit_of_work()
    unit.write("leads", {"email": "x"})
    unit.write("inquiries", {"body": "x"})
    await unit.commit()
    assert len(await service.query("leads")) == len(await service.query("inquiries")) == 1


async def test_nothing_of_a_unit_is_sent_with_other_calls() -> None:
    """One Unit arrives, with all its operations, where calls are shared and where single writes are remembered."""
    service, store = _service(coalesce=True, ledger=True)
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "x"})
    unit.batch_write("inquiries", [{"body": "y"}])
    await unit.commit()
    (sent,) = store.asked
    assert isinstance(sent, Unit)
    assert [type(part.operation) for part in sent.parts] == [Write, BatchWrite]


async def test_an_adapter_without_transactions_is_refused() -> None:
    """Before anything is sent; and ledger=True when the service is made."""

    class Plain(Watched):
        @property
        def capabilities(self) -> Any:
            return replace(super().capabilities, can={**super().capabilities.can, "transactions": False})

    store = Plain(schema=default_schema())
    service, _ = _service(store)
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "x"})
    with pytest.raises(UnsupportedOperationError) as refused:
        await unit.commit()
    assert (refused.value.capability, store.asked) == ("transactions", [])
    with pytest.raises(ConfigurationError, match="ledger=True"):
        _service(store, ledger=True)
