"""A declared name is one name wherever it stands, whatever it looks like: in a URL, in a parameter, in a statement.

The names are read back by the grammars of PostgREST (pFieldName in QueryParams.hs) and of SQL, told again here.
"""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
import pytest
from hypothesis import assume, example, given, strategies as st

from agent_persistence import (
    AsyncPersistenceService,
    Column,
    PersistenceError,
    PostgresAdapter,
    Schema,
    Table,
    TablePolicy,
    ValidationError,
    any_of,
    gt,
    not_,
)
from agent_persistence.backends.postgres.transactions import Transaction, TransactionResult
from agent_persistence.query.identifiers import is_path
from agent_persistence.schema_registry import ForeignKey
from tests.backends.doubles import Recorder
from tests.differential.examples import examples

HOSTILE = [
    *('a"b', '"', '""', "a\\", '\\"', "(x)", "c,d", "e.f", "g -> h", "->", "a->>", "50%", "%22", "%2F", "a&select=*"),
    *("x#y", "x?y", "x=y", "eq.1", "not.eq.1", "order.desc", "a:b", "a::text", "...x(*)", "x!inner(*)", " ", "a/b"),
    *("a+b", "имя", "a\nb", "a\tb", "\u200b", "'; drop table x; --", "x)) returning *--", "$1", "{x}", "or", "select"),
]
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15) | (
    st.sampled_from(HOSTILE)
)
columns = names.filter(lambda name: not is_path(name) and name not in ("*", "id", "parent"))
tables = names.filter(lambda name: name not in (".", "..", "children") and len(name.encode()) <= 63)


def schema_of(table: str, column: str) -> Schema:
    parent = Table({"id": Column("integer"), column: Column("text"), "parent": Column("integer")})
    child = Table({"id": Column("integer"), column: Column("integer")}, foreign_keys=(ForeignKey(column, table),))
    return Schema({table: parent, "children": child})


# --- PostgREST --------------------------------------------------------------------------------------------------------

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_FIELD = re.compile(rf"(?:{_QUOTED}|[A-Za-z_][A-Za-z0-9_]*)", re.DOTALL)
_RESERVED = ("select", "order", "limit", "offset", "and", "or", "columns", "on_conflict")


def plain(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field[1:-1], flags=re.DOTALL) if field.startswith('"') else field


def fields(text: str) -> Iterator[str]:
    """The names in a list, a tree of conditions or an embedding; what is between them are signs and operators."""
    rest = text
    while rest:
        found = _FIELD.match(rest)
        if found:
            yield plain(found[0])
            rest = rest[found.end() :]
            continue
        assert rest[0] in "(),.:!*0123456789", text
        rest = rest[1:]


def names_in(request: httpx.Request) -> set[str]:
    """The table and the columns of a request; values are "v", "w", "a" and numbers here."""
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    segments = path.split("/")
    assert segments[:3] == ["", "rest", "v1"], path
    assert len(segments) == 4, path
    found = {unquote(segments[3], errors="strict")}
    for part in query.split("&") if query else ():
        key, separator, value = part.partition("=")
        assert separator, query
        key, value = unquote(key, errors="strict"), unquote(value, errors="strict")
        found |= set(fields(key)) - set(_RESERVED) if key not in _RESERVED else set()
        found |= set(fields(value))
    return found


_WORDS = {
    *("eq", "gt", "not", "or", "and", "asc", "desc", "v", "w", "a", "id", "is", "null", "children", "in", "limit"),
    *("order", "select", "parent"),
}


@given(table=tables, column=columns)
@example(table='a"b', column='x",id.eq.1,("y')
@example(table="%2F..%2Fleads", column="%22,id")
@example(table="order", column="select")
@examples(60)
def test_a_declared_name_is_one_name_of_a_request(table: str, column: str) -> None:
    """No request names anything that was not asked for, and its path has one segment for the table."""
    assume(table != column)
    schema = schema_of(table, column)
    policy = TablePolicy(read=[table, "children"], write=[table], delete=[table])
    recorder = Recorder(lambda request: httpx.Response(200, json=[], headers={"Content-Range": "*/0"}))
    service = AsyncPersistenceService(
        recorder.adapter(schema=schema), policy=policy, schema=schema, retry=False, row_cap=9
    )
    anyio.run(_tried, service, table, column)
    assert len(recorder.requests) >= 6
    for request in recorder.requests:
        assert names_in(request) - _WORDS <= {table, column}, request.url
        if request.method in ("POST", "PATCH"):
            told: Any = json.loads(request.content)
            assert {name for row in (told if isinstance(told, list) else [told]) for name in row} <= {column, "id"}


async def _tried(service: AsyncPersistenceService, table: str, column: str) -> None:
    """Each call, whatever comes of it, for the answers are empty: what is looked at is what has left."""
    for call in _calls(service, table, column):
        with suppress(PersistenceError):
            await call


def _calls(service: AsyncPersistenceService, table: str, column: str) -> list[Any]:
    both = any_of({column: "v"}, not_({column: gt("a")}))
    related: Any = {"children": {"select": ["id"], "order_by": "id", "filters": {column: 1}}}
    return [
        service.query(table, {column: "v", "id": 1}, order_by=[column, "id"], select=["id", column]),
        service.query(table, both, select=[column]),
        service.query(table, {"id": 1}, select=["id"], include=related),
        service.read(table, "v", column),
        service.read(table, {"id": 1, column: "v"}),
        service.count(table, not_({column: "v"})),
        service.update(table, {column: "w"}, {column: "v"}),
        service.bulk_write(table, [{"id": 1, column: "v"}], ["id"]),
        service.batch_write(table, [{column: "v"}, {"id": 1}]),
        service.delete(table, {column: "v"}),
    ]


@pytest.mark.parametrize("table", [".", ".."])
def test_a_table_that_is_a_path_is_refused(table: str) -> None:
    """No request leaves for it, though it is declared and listed."""
    recorder = Recorder()
    schema = Schema({table: Table({"id": Column("integer")})})
    service = AsyncPersistenceService(recorder.adapter(schema=schema), policy=TablePolicy(read=[table]), schema=schema)
    with pytest.raises(ValidationError, match="this is a path, not a name"):
        anyio.run(service.query, table)
    assert recorder.requests == []


def test_a_column_that_postgrest_takes_for_all_of_them_is_refused() -> None:
    """`*` in quotes is `*` to it; PostgreSQL itself knows better."""
    recorder = Recorder()
    schema = Schema({"t": Table({"id": Column("integer"), "*": Column("text")})})
    service = AsyncPersistenceService(recorder.adapter(schema=schema), policy=TablePolicy(read=["t"]), schema=schema)

    async def main() -> None:
        for about in ({"select": ["*"]}, {"filters": {"*": "x"}}, {"order_by": "*"}):
            with pytest.raises(ValidationError, match="PostgREST reads this name as all columns"):
                await service.query("t", **about)

    anyio.run(main)
    assert recorder.requests == []


# --- SQL --------------------------------------------------------------------------------------------------------------

_NAME = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
_OWN = {"public", "id", "children", "parent"}


class Recording:
    """In the place of the connections: every statement is kept and answered with nothing."""

    def __init__(self, table: str, column: str) -> None:
        self.sent: list[Transaction] = []
        told = {"columns": [["id", "integer", "N", None], [column, "text", "S", None]], "primary_key": ["id"]}
        self._table = json.dumps({**told, "given_by_server": [], "takes_copy": False}).encode()

    async def send(self, transaction: Transaction) -> TransactionResult:
        assert transaction.statement
        if "pg_catalog" in transaction.statement.text:
            return TransactionResult(self._table)
        self.sent.append(transaction)
        return TransactionResult(b"[]", 1)

    async def aclose(self) -> None: ...


@given(table=tables, column=columns)
@example(table='a"b', column='x" from secrets; --')
@examples(60)
def test_a_declared_name_is_one_name_of_a_statement(table: str, column: str) -> None:
    """It stands between double quotes, which are doubled in it; nothing of it is left outside of them."""
    assume(table != column)
    schema = schema_of(table, column)
    policy = TablePolicy(read=[table, "children"], write=[table], delete=[table])
    adapter = PostgresAdapter("postgresql://nobody@127.0.0.1/none")
    recording = Recording(table, column)
    adapter._pool = recording  # type: ignore[assignment]
    service = AsyncPersistenceService(adapter, policy=policy, schema=schema, retry=False)
    anyio.run(_tried, service, table, column)
    assert len(recording.sent) >= 6
    for transaction in recording.sent:
        statement = transaction.statement
        assert statement is not None
        named = {name.replace('""', '"') for name in _NAME.findall(statement.text)}
        assert named <= {table, column, *_OWN}, statement.text
        outside = _NAME.sub(" ", statement.text)
        assert re.fullmatch(r"[a-z0-9_ ,.()=<>$:'\[\]*]*", outside), outside
