"""Generated histories of units: the back ends leave the rows, and give the values, that plain SQL transactions do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings, strategies as st

from agent_persistence import AdapterError, AsyncPersistenceService, ExpectationFailedError
from agent_persistence.query.records import Row
from tests.server import LocalServer
from tests.units.conftest import BACKENDS, POLICY, adapter_of

EMAILS = ("a", "b", "c")
STATUSES = ("new", "open", "won")


@dataclass(frozen=True)
class Step:
    """One operation. `source` is the number of an earlier step whose row's status is taken in the place of a value."""

    verb: str
    email: str
    status: str
    expect: int | None = None
    source: int | None = None


def _steps() -> st.SearchStrategy[list[Step]]:
    one = st.builds(
        Step,
        verb=st.sampled_from(("write", "upsert", "update", "delete", "require", "note", "notes", "follow")),
        email=st.sampled_from(EMAILS),
        status=st.sampled_from(STATUSES),
        expect=st.sampled_from((None, None, None, 0, 1)),
        source=st.none() | st.integers(0, 3),
    )
    return st.lists(one, min_size=1, max_size=5)


def _sources(steps: Sequence[Step]) -> list[int | None]:
    """The step that each refers to: an earlier one that has a row."""
    return [
        step.source
        if step.source is not None and step.source < index and steps[step.source].verb in ("write", "upsert")
        else None
        for index, step in enumerate(steps)
    ]


def _shown(value: Any) -> Any:
    """A value without what the database makes up."""
    if isinstance(value, list):
        return sorted((_shown(one) for one in value), key=str)
    if isinstance(value, dict):
        return {name: value[name] for name in ("email", "status", "body", "handled") if name in value}
    return value


async def _by_unit(service: AsyncPersistenceService, steps: Sequence[Step]) -> Any:
    unit = service.unit_of_work()
    handles: list[Any] = []
    for step, source in zip(steps, _sources(steps), strict=True):
        status: Any = step.status if source is None else handles[source]["status"]
        match step.verb:
            case "write":
                handle: Any = unit.write("leads", {"email": step.email, "status": status})
            case "upsert":
                handle = unit.upsert("leads", {"email": step.email, "status": status}, on_conflict=["email"])
            case "update":
                handle = unit.update("leads", {"status": status}, {"email": step.email}, expect=step.expect)
            case "delete":
                handle = unit.delete("leads", {"email": step.email}, expect=step.expect)
            case "require":
                handle = unit.require("leads", {"email": step.email, "status": status}, expect=step.expect)
            case "note":
                handle = unit.write("inquiries", {"email": step.email, "body": status})
            case "notes":
                records = [{"body": status}, {"body": status, "handled": True}]
                handle = unit.batch_write("inquiries", records)
            case _:
                handle = unit.update("inquiries", {"handled": True}, {"body": status}, expect=step.expect)
        handles.append(handle)
    try:
        results = await unit.commit()
    except ExpectationFailedError as error:
        return "unexpected", error.part
    except AdapterError as error:
        return error.code, error.part
    return [_shown(results[handle]) for handle in handles]


class _UnmetError(Exception):
    pass


def _by_sql(connection: psycopg.Connection[Row], steps: Sequence[Step]) -> Any:
    """The same as statements of a transaction, written by hand."""
    told: list[Any] = []
    try:
        with connection.transaction():
            for step, source in zip(steps, _sources(steps), strict=True):
                status = step.status if source is None else told[source]["status"]
                told.append(_stated(connection, step, status))
    except _UnmetError:
        return "unexpected", len(told)
    except psycopg.Error as error:
        return error.sqlstate, len(told)
    return [_shown(value) for value in told]


def _stated(connection: psycopg.Connection[Row], step: Step, status: str) -> Any:
    def rows(sql: str, *values: Any) -> list[Row]:
        return connection.execute(sql.encode(), values).fetchall()

    lead = "insert into leads (email, status) values (%s, %s)"
    match step.verb:
        case "write":
            return rows(f"{lead} returning *", step.email, status)[0]
        case "upsert":
            merged = "on conflict (email) do update set email = excluded.email, status = excluded.status"
            return rows(f"{lead} {merged} returning *", step.email, status)[0]
        case "update":
            found = rows("update leads set status = %s where email = %s returning *", status, step.email)
        case "delete":
            found = rows("delete from leads where email = %s returning *", step.email)
        case "require":
            found = rows("select 1 as one from leads where email = %s and status = %s for update", step.email, status)
            if len(found) != step.expect and (step.expect is not None or not found):
                raise _UnmetError
            return len(found)
        case "note":
            return rows("insert into inquiries (email, body) values (%s, %s) returning *", step.email, status)[0]
        case "notes":
            values = "insert into inquiries (body, handled) values (%s, default), (%s, true) returning *"
            return rows(values, status, status)
        case _:
            found = rows("update inquiries set handled = true where body = %s returning *", status)
    if step.expect is not None and len(found) != step.expect:
        raise _UnmetError
    return found


async def _told(service: AsyncPersistenceService, history: Sequence[Sequence[Step]]) -> list[Any]:
    told = [await _by_unit(service, steps) for steps in history]
    left = [_shown(await service.query(table)) for table in ("leads", "inquiries")]
    return [*told, *left]


async def _over(backend: str, server: LocalServer, history: Sequence[Sequence[Step]]) -> list[Any]:
    adapter = adapter_of(backend, server)
    async with AsyncPersistenceService(adapter, policy=POLICY, owns_adapter=True, row_cap=1000) as service:
        return await _told(service, history)


def _judged(server: LocalServer, history: Sequence[Sequence[Step]]) -> list[Any]:
    told = [_by_sql(server.connection, steps) for steps in history]
    left = [_shown(server.execute(f"select * from {table}")) for table in ("leads", "inquiries")]
    return [*told, *left]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(_steps(), min_size=1, max_size=4))
def test_every_back_end_does_what_plain_transactions_do(units_server: LocalServer, history: list[list[Step]]) -> None:
    """Values, refusals with their codes and places, and the rows that are there afterwards."""
    units_server.execute("delete from leads; delete from inquiries")
    judged = _judged(units_server, history)
    for backend in BACKENDS:
        units_server.execute("delete from leads; delete from inquiries")
        assert (backend, asyncio.run(_over(backend, units_server, history))) == (backend, judged)


def test_control_a_history_that_is_told_otherwise_is_found(units_server: LocalServer) -> None:
    """Another status in one step shows."""
    one, other = ([[Step("write", "a", status), Step("note", "a", "x", source=0)]] for status in ("new", "open"))
    judged = _judged(units_server, one)
    units_server.execute("delete from leads; delete from inquiries")
    assert asyncio.run(_over("postgres", units_server, other)) != judged
