"""The verbs as SQL: what a statement says, and which of it is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    ValidationError,
    all_of,
    any_of,
    asc,
    contains,
    desc,
    gt,
    in_,
    is_true,
    like,
    not_,
    not_in,
    text_search,
)
from agent_persistence.backends.postgres import sql
from agent_persistence.backends.postgres.catalogue import TableFacts, Type
from agent_persistence.backends.postgres.copying import chunked
from agent_persistence.backends.postgres.filters import FilterFacts, simplified
from agent_persistence.backends.postgres.statements import Statement, quoted
from agent_persistence.backends.texts import array_text
from agent_persistence.filters import parse_filters
from agent_persistence.query.predicates import Filter
from tests.doubles import shown

T = '"public"."leads"'
TYPES = {"custom": "jsonb", "tags": "text[]", "found": "tsvector"}


def parsed(filters: Any) -> Filter | None:
    return simplified(parse_filters("leads", filters))


def where(filters: Any, types: Mapping[str, str] = TYPES) -> tuple[str, tuple[str | None, ...]]:
    statement = sql.count(FilterFacts(T, types), parsed(filters))
    return statement.text.removeprefix(f"select count(*)::text from {T}").strip(), statement.parameters


@pytest.mark.parametrize(
    ("filters", "text", "parameters"),
    [
        (None, "", ()),
        ({"score": 0.5}, 'where ("score" = $1)', ("0.5",)),
        ({"is_qualified": True, "notes": None}, 'where (("is_qualified" = $1) and ("notes" is null))', ("true",)),
        ({"is_qualified": is_true()}, 'where ("is_qualified" is true)', ()),
        ({"email": in_(["a,b", 'c"d'])}, 'where ("email" = any ($1))', ('{"a,b","c\\"d"}',)),
        ({"email": not_in(["a"])}, 'where (not "email" = any ($1))', ('{"a"}',)),
        ({"email": not_(like("a%"))}, 'where (not ("email" like $1))', ("a%",)),
        (
            any_of({"score": gt(1)}, all_of({"a": 1}, {"b": 2})),
            'where (("score" > $1) or (("a" = $2) and ("b" = $3)))',
            ("1", "1", "2"),
        ),
        ({"tags": contains(["a"])}, 'where ("tags" @> $1)', ('{"a"}',)),
        ({"custom": contains(["a"])}, 'where ("custom" @> $1)', ('["a"]',)),
        ({"custom": contains({"a": 1})}, 'where ("custom" @> $1)', ('{"a":1}',)),
        ({"custom->a->>0": "x"}, "where ((\"custom\" -> 'a' ->> 0) = $1)", ("x",)),
        (
            {"notes": text_search("a b", config="simple")},
            'where (to_tsvector($1::regconfig, "notes") @@ plainto_tsquery($1::regconfig, $2))',
            ("simple", "a b"),
        ),
        ({"found": text_search("a", kind="tsquery")}, 'where ("found" @@ to_tsquery($1))', ("a",)),
        ({'a"b': 1}, 'where ("a""b" = $1)', ("1",)),
    ],
    ids=shown,
)
def test_a_filter_is_a_clause_of_names_and_parameters(filters: Any, text: str, parameters: tuple[str, ...]) -> None:
    """Names are quoted, values are never in the text."""
    assert where(filters) == (text, parameters)


def test_a_query_is_one_json_array() -> None:
    """Of the columns asked for, in the order asked for, with a page in parameters."""
    order = (asc("id", nulls="first"), desc("b"))
    statement = sql.select(
        sql.Selection(FilterFacts(T), None, columns=["id", "custom->>a"], order=order, limit=5, offset=2)
    )
    assert statement.text == (
        "select coalesce(json_agg(_agent_persistence_row), '[]')::text, count(*)::text from"
        ' (select "id", ("custom" ->> \'a\') as "custom->>a" from "public"."leads" as _agent_persistence_0'
        ' order by "id" nulls first, "b" desc limit $1 offset $2) as _agent_persistence_row'
    )
    assert statement.parameters == ("5", "2")


def test_records_of_one_kind_are_one_parameter() -> None:
    """As many as there are."""
    statement = sql.insert(T, [{"a": 1, "b": None}, {"b": "x", "a": 2}], returning=())
    assert statement == Statement(
        'insert into "public"."leads" ("a", "b") select "a", "b"'
        ' from json_populate_recordset(null::"public"."leads", $1::json)',
        ('[{"a":1,"b":null},{"b":"x","a":2}]',),
    )


def test_a_column_that_a_record_lacks_is_the_default() -> None:
    """Which is not NULL."""
    statement = sql.insert(T, [{"a": 1}, {"b": 2}], returning=())
    assert statement.text == (
        'insert into "public"."leads" ("a", "b")'
        ' values ((json_populate_record(null::"public"."leads", $1::json))."a", default),'
        ' (default, (json_populate_record(null::"public"."leads", $2::json))."b")'
    )


def test_no_more_records_of_different_keys_than_parameters() -> None:
    """The connection would break; of one kind there may be any number."""
    with pytest.raises(ValidationError, match="same keys"):
        sql.insert(T, [{"a": 1}, *[{"b": 1}] * sql.MAX_PARAMETERS])
    sql.insert(T, [{"a": 1}] * (sql.MAX_PARAMETERS + 1))


def test_a_merge_sets_the_columns_that_were_given() -> None:
    """And does nothing where none was."""
    merging = sql.insert(T, [{"a": 1, "b": 2}], on_conflict=["a"], returning=())
    assert merging.text.endswith(' on conflict ("a") do update set "a" = excluded."a", "b" = excluded."b"')
    assert sql.insert(T, [{}], on_conflict=["a"], returning=()).text.endswith(' on conflict ("a") do nothing')


def test_what_is_not_merged_is_left_as_it_is() -> None:
    """Whatever columns are given."""
    leaving = sql.insert(T, [{"a": 1, "b": 2}], on_conflict=["a"], merges=False, returning=())
    assert leaving.text.endswith(' on conflict ("a") do nothing')


def test_an_estimate_asks_for_the_plan() -> None:
    """Which holds how many rows are expected; the values are parameters as ever."""
    statement = sql.estimate(FilterFacts(T, TYPES), parsed({"email": "a"}))
    assert statement.text.startswith(f"explain (format json) select from {T} where ")
    assert "'a'" not in statement.text
    assert sql.estimated(b'[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 2550}}]') == 2550


@pytest.mark.parametrize(
    ("returning", "told"), [(None, "returning *) "), (["id"], 'returning "id") '), ((), "")], ids=["all", "one", "none"]
)
def test_what_comes_back_is_what_was_asked_for(returning: Any, told: str) -> None:
    """Nothing at all needs no right to read."""
    for statement in (
        sql.insert(T, [{"a": 1}], returning=returning),
        sql.update(FilterFacts(T), {"a": 1}, parsed({"b": 1}), returning=returning),
        sql.delete(FilterFacts(T), parsed({"b": 1}), returning=returning),
    ):
        assert told in statement.text
        assert ("returning" in statement.text) is bool(told)


def test_settings_hold_for_the_transaction_and_the_role_comes_last() -> None:
    """Nothing is set where nothing is given."""
    assert sql.settings(None, None, None, None, writes=True) is None
    reading = sql.settings(None, None, None, None, writes=False)
    assert reading is not None
    assert reading.text == "select set_config('transaction_read_only', 'on', true)"
    statement = sql.settings("anon", "{}", 'odd"one', 1500, writes=True)
    assert statement
    assert statement.text.count("true)") == 4
    assert statement.text.endswith("set_config('role', $4, true)")
    assert statement.parameters == ("1500", '"odd""one", ', "{}", "anon")


@pytest.mark.parametrize(("text", "parameters"), [("select 1\0", ()), ("select $1", ("a\0b",))])
def test_no_statement_holds_a_nul(text: str, parameters: tuple[str, ...]) -> None:
    """libpq would cut it there."""
    with pytest.raises(AdapterError, match="NUL") as caught:
        Statement(text, parameters)
    assert caught.value.code == "22021"


def test_a_statement_hides_its_values() -> None:
    """What a debugger shows is the text."""
    assert "SECRET" not in repr(Statement("select $1", ("SECRET",)))


def test_an_array_is_written_as_postgresql_reads_it() -> None:
    """Quotes, backslashes, NULL and the text `null`, and further dimensions."""
    assert array_text(["a", None, "null", 'b"\\', "", "{}"]) == '{"a",NULL,"null","b\\"\\\\","","{}"}'
    assert array_text([[1, 2], [3, 4]]) == '{{"1","2"},{"3","4"}}'
    assert array_text([]) == "{}"
    assert quoted('a"; drop') == '"a""; drop"'


@pytest.mark.parametrize("type_name", ["numeric", "text", "jsonb"])
def test_a_column_of_numbers_is_written_as_each_of_them_alone(type_name: str) -> None:
    """Whatever its type, and whatever else is in the column."""
    values = [1, -(10**30), 0.1, 1e-7, 1e300, True, False]
    facts = TableFacts({"n": Type(type_name, "N")}, (), takes_copy=True)
    alone = [b"".join(chunked(["n"], [{"n": value}], facts)) for value in values]
    assert b"".join(chunked(["n"], [{"n": value} for value in values], facts)) == b"".join(alone)
    beside = b"".join(chunked(["n"], [{"n": value} for value in (*values, None)], facts))
    assert beside == b"".join(alone) + b"\\N\n"


def test_a_line_of_copy_is_escaped() -> None:
    """What COPY takes for its own: tabs, line ends, backslashes and the word for NULL."""
    types = {
        "body": Type("text", "S"),
        "doc": Type("jsonb", "U"),
        "tags": Type("text[]", "A", "S"),
        "n": Type("int4", "N"),
    }
    facts = TableFacts(types, (), takes_copy=True)
    records = [{"body": "a\tb\\N\n", "doc": "x\t", "tags": ["a\t"], "n": 1}, dict.fromkeys(types)]
    assert b"".join(chunked(list(types), records, facts)) == (
        b'a\\tb\\\\N\\n\t"x\\\\t"\t{"a\\t"}\t1\n\\N\t\\N\t\\N\t\\N\n'
    )
