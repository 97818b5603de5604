"""The model before which a hundred thousand faults are tried does what the function in the database does."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from agent_persistence import PersistenceError
from agent_persistence.query.records import Row
from tests.faults.lane import API_KEY
from tests.faults.loop import run
from tests.faults.sql import relay
from tests.server import LocalServer
from tests.units.called import CALLS, Call
from tests.units.faults import before
from tests.units.many_faults import Chunk, Forgetful, _faults, _run
from tests.units.model import COLUMNS, Model
from tests.units.stores import SqlStore, Store

MARK = "case 1"


def _left(rows: list[Row]) -> list[Row]:
    """The columns that the model knows, without keys that nobody can foresee."""
    return sorted(
        ({name: value for name, value in row.items() if not name.endswith("id")} for row in rows), key=json.dumps
    )


async def _given(upstream: Any, key: str, store: Store, call: Call) -> Any:
    """What the call gives the first time and under a unit's key the second, and where the rows it needs are gone."""
    told: list[Any] = []
    call.seed(store, MARK)
    async with before(upstream, key) as (_, service):
        for _ in range(2):
            try:
                told.append(_plain(await call.call(service, MARK)))
            except PersistenceError as error:
                told.append((type(error).__name__, getattr(error, "part", None)))
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: value[name] for name in value if name in KNOWN}


KNOWN = {name for columns in COLUMNS.values() for name in columns if not name.endswith("id")}


@pytest.mark.parametrize("name", CALLS)
def test_it_gives_and_leaves_what_the_database_does(units_server: LocalServer, name: str) -> None:
    """Of every call: values, refusals, and rows."""
    model, store = Model(), SqlStore(units_server)
    store.reset()
    upstream = relay(units_server.url)
    assert run(_given(model, API_KEY, model, CALLS[name])) == run(
        _given(upstream, units_server.service_key, store, CALLS[name])
    )
    for table, columns in COLUMNS.items():
        names = ", ".join(columns)
        there = units_server.execute(f"select {names} from {table}")
        assert _left(json.loads(json.dumps(there, default=_json))) == _left(model.rows(table)), table


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else int(value)


def test_a_key_is_applied_once_and_for_one_content() -> None:
    model = Model()
    key = str(uuid4())
    unit = {"key": key, "digest": "one", "operations": [_insertion("a")]}
    first = model.applied_once(key, unit)
    assert model.applied_once(key, unit) == first
    with pytest.raises(Exception, match="another content"):
        model.applied_once(key, unit | {"digest": "other"})
    with pytest.raises(Exception, match="2 rows"):
        model.applied_once(str(uuid4()), {"operations": [_insertion("b"), {**_insertion("c", "d"), "at_least": 3}]})
    assert model.count("inquiries", body="a") == len(model.rows("inquiries")) == 1


def _insertion(*bodies: str) -> Row:
    return {"verb": "insert", "table": "inquiries", "columns": ["body"], "records": [{"body": one} for one in bodies]}


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
def test_faults_before_it_leave_nothing_in_doubt(transport: Any) -> None:
    """Every hundredth single fault; the control, which makes a key of its own for every attempt, doubles rows."""
    for name in CALLS:
        cases = [(fault,) for fault in run(_faults(name, transport))[::100]]
        score = _run(Chunk(name, transport, cases))
        assert (score.findings, score.counts["acknowledged"]) == ([], len(cases))
    lost = [(fault,) for fault in run(_faults("write", transport))[::20]]
    assert _run(Chunk("write", transport, lost, Forgetful)).counts["doubled"] > 0
