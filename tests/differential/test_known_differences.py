"""Each listed difference of the test server is still there; one that has gone must be taken off the list."""

from __future__ import annotations

import json

import psycopg
import pytest

from agent_persistence import InMemoryAdapter
from agent_persistence.filters import in_
from tests.differential import strategies
from tests.differential.known_differences import KNOWN
from tests.differential.twins import Outcome, Twins, query_of, write_of


@pytest.fixture
def fresh(twins: Twins) -> Twins:
    """Both adapters over empty tables."""
    twins.server.reset()
    twins.memory = InMemoryAdapter(schema=strategies.SCHEMA)
    return twins


def test_null_in_an_array(fresh: Twins) -> None:
    """The database stores NULL and says null; the server says "NULL"."""
    call = write_of("clients", {"name": "n", "tags": [None]})
    ours, theirs = fresh.outcome(fresh.memory, call), fresh.outcome(fresh.real, call)
    assert '"tags": [null]' in (ours.value or "")
    assert '"tags": ["NULL"]' in (theirs.value or "")
    assert fresh.server.execute("select tags from clients") == [{"tags": [None]}]


def test_a_text_for_an_array(fresh: Twins) -> None:
    """json_to_record refuses what the server accepts."""
    call = write_of("clients", {"name": "n", "tags": '["a"]'})
    ours, theirs = fresh.outcome(fresh.memory, call), fresh.outcome(fresh.real, call)
    assert (ours.code, theirs.error) == ("22P02", None)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        fresh.server.execute("select * from json_to_record(%s) as r(tags text[])", json.dumps({"tags": '["a"]'}))


def test_in_on_an_array(fresh: Twins) -> None:
    """`= any` refuses what single comparisons do not."""
    call = query_of("clients", {"tags": in_(["{a}"])})
    ours, theirs = fresh.outcome(fresh.memory, call), fresh.outcome(fresh.real, call)
    assert (ours.code, theirs) == ("42704", Outcome("[]"))
    with pytest.raises(psycopg.errors.UndefinedObject):
        fresh.server.execute("select * from clients where tags = any (%s)", '{"{a}"}')


def test_no_limit_with_an_offset(fresh: Twins) -> None:
    """PostgREST lets limit=0 stand beside any offset."""
    call = query_of("clients", limit=0, offset=1)
    ours, theirs = fresh.outcome(fresh.memory, call), fresh.outcome(fresh.real, call)
    assert (ours, theirs.code) == (Outcome("[]"), "PGRST103")


def test_every_listed_difference_has_its_test() -> None:
    """Nothing is excused that is not shown."""
    assert {f"test_{difference.name}" for difference in KNOWN} <= set(globals())
