"""Each listed difference of the test server is still there; one that has gone must be taken off the list.

PostgREST, where it serves in the test server's place, does what the twin does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import psycopg
import pytest

from agent_persistence import InMemoryAdapter
from agent_persistence.filters import contains, imatch, in_, match
from agent_persistence.query.records import Row
from tests.differential import strategies
from tests.differential.known_differences import KNOWN
from tests.differential.twins import Call, Outcome, Twins, query_of, write_of


@pytest.fixture
def fresh(twins: Twins) -> Twins:
    """Both adapters over empty tables."""
    twins.server.reset()
    twins.memory = InMemoryAdapter(schema=strategies.SCHEMA)
    return twins


code = attrgetter("code")
told = attrgetter("code", "value")


def check(fresh: Twins, call: Call, ours: object, theirs: object, about: Callable[[Outcome], object] = told) -> None:
    """What the outcome tells is `ours` with the twin and with PostgREST, and `theirs` with the test server."""
    served = ours if fresh.server.is_postgrest else theirs
    assert about(fresh.outcome(fresh.memory, call)) == ours
    assert about(fresh.outcome(fresh.real, call)) == served


def test_null_in_an_array(fresh: Twins) -> None:
    """The database stores NULL and says null; the server says "NULL"."""
    call = write_of("clients", {"name": "n", "tags": [None]})
    check(fresh, call, [None], ["NULL"], lambda outcome: json.loads(outcome.value or "")["tags"])
    assert fresh.server.execute("select tags from clients") == [{"tags": [None]}]


def test_a_text_for_an_array(fresh: Twins) -> None:
    """json_to_record refuses what the server accepts."""
    call = write_of("clients", {"name": "n", "tags": '["a"]'})
    check(fresh, call, "22P02", None, code)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        fresh.server.execute("select * from json_to_record(%s) as r(tags text[])", json.dumps({"tags": '["a"]'}))


def test_in_on_an_array(fresh: Twins) -> None:
    """`= any` refuses what single comparisons do not."""
    call = query_of("clients", {"tags": in_(["{a}"])})
    check(fresh, call, ("42704", None), (None, "[]"))
    with pytest.raises(psycopg.errors.UndefinedObject):
        fresh.server.execute("select * from clients where tags = any (%s)", '{"{a}"}')


def test_a_wrong_value_for_no_row(fresh: Twins) -> None:
    """PostgreSQL does not read a lateral document for rows that are not there."""

    async def call(adapter: Any) -> Any:
        return await adapter.update("inquiries", {"handled": "no boolean"}, {"id": 1})

    ours, theirs = fresh.outcome(fresh.memory, call), fresh.outcome(fresh.real, call)
    assert (ours, theirs.code) == (Outcome("[]"), "22P02")
    update = """update inquiries set handled = body.handled from (select %s::json as told) as sent,
        lateral (select handled from json_to_record(told) as r(handled boolean)) as body where id = 1"""
    told = json.dumps({"handled": "no boolean"})
    assert fresh.server.execute(update, told) == []
    for adapter in (fresh.memory, fresh.real):
        fresh.outcome(adapter, write_of("inquiries", {"id": 1}))
        assert fresh.outcome(adapter, call).code == "22P02"
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        fresh.server.execute(update, told)


@pytest.mark.parametrize(
    ("records", "code", "later"),
    [
        ([{"id": 1, "body": "a"}, {"body": "b"}], None, 3),
        ([{"id": 7, "body": "a"}, {"body": "b"}, {"body": "c"}], None, 4),
        ([{"body": "a"}, {"id": "no number", "body": "b"}], "22P02", 3),
        ([{"body": "a"}, {"id": 2, "handled": None}, {"id": 2, "body": "c"}], "23505", 4),
    ],
)
def test_numbers_of_rows_that_give_theirs(fresh: Twins, records: list[Row], code: str | None, later: int) -> None:
    """Every record takes one, also where the call fails: as the statement that PostgREST writes, not as the server."""

    async def call(adapter: Any) -> Any:
        return [row["id"] for row in await adapter.batch_write("inquiries", records)]

    ours = fresh.outcome(fresh.memory, call)
    assert (ours.code, _number_of_the_next(fresh, fresh.memory)) == (code, later)
    fresh.outcome(fresh.real, call)
    assert _number_of_the_next(fresh, fresh.real) != later
    fresh.server.reset()
    names = ", ".join(dict.fromkeys(name for record in records for name in record))
    insert = f"""with made as (insert into inquiries ({names}) select {names} from
          (select %s::jsonb as told) as sent,
          lateral (select jsonb_agg(jsonb_build_object('id', nextval('inquiries_id_seq')) || one) as told
            from jsonb_array_elements(sent.told) as one) as whole,
          lateral (select * from jsonb_to_recordset(whole.told) as r(id bigint, body text, handled boolean)) as body
        returning id) select json_agg(id)::text as ids from made"""
    assert _ids_or_code(fresh, insert, json.dumps(records)) == (code or ours.value)
    assert fresh.server.execute("select nextval('inquiries_id_seq') as id") == [{"id": later}]


def _ids_or_code(twins: Twins, insert: str, told: str) -> str | None:
    try:
        (found,) = twins.server.execute(insert, told)
    except psycopg.Error as error:
        return error.sqlstate
    return str(found["ids"])


def _number_of_the_next(twins: Twins, adapter: object) -> Any:
    told = twins.outcome(adapter, write_of("inquiries", {"body": "later"})).value
    return json.loads(told)["id"] if told else None


def test_operators_on_a_path(fresh: Twins) -> None:
    """The server compares with `=`, and finds what is equal to the pattern or the document."""
    twins_row = {"email": "e", "custom": {"a": "xy", "b": [1, 2]}}
    for adapter in (fresh.memory, fresh.real):
        assert fresh.outcome(adapter, write_of("leads", twins_row)).error is None
    for filters in ({"custom->>a": match("^x")}, {"custom->>a": imatch("X")}, {"custom->b": contains([1])}):
        check(fresh, query_of("leads", filters, select=["email"]), (None, '[{"email": "e"}]'), (None, "[]"))
    where = "custom->>'a' ~ '^x' and custom->>'a' ~* 'X' and custom->'b' @> '[1]' and custom->'b' <@ '[1, 2, 3]'"
    assert fresh.server.execute(f"select email from leads where {where}") == [{"email": "e"}]


def test_max_affected_before_the_rules(fresh: Twins) -> None:
    """A name that may not be null, in more rows than may be affected."""
    row = {"id": "00000001-0000-4000-8000-000000000000", "name": "n"}

    async def call(adapter: Any) -> Any:
        return await adapter.update("clients", {"name": None}, {"id": row["id"]}, max_affected=0)

    for adapter in (fresh.memory, fresh.real):
        fresh.outcome(adapter, write_of("clients", row))
    check(fresh, call, "23502", "PGRST124", code)
    with pytest.raises(psycopg.errors.NotNullViolation):
        fresh.server.execute("update clients set name = null where id = %s", row["id"])


def test_every_listed_difference_has_its_test() -> None:
    """Nothing is excused that is not shown."""
    assert {f"test_{difference.name}" for difference in KNOWN} <= set(globals())
