"""Both sides of every line of docs/migration.md do the same to the same rows of a real server."""

from __future__ import annotations

import re
import warnings
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import sqlalchemy
from postgrest import SyncPostgrestClient

import agent_persistence
from agent_persistence import SupabaseAdapter, TablePolicy, create_persistence_agent
from agent_persistence.legacy import DBWriteAgent
from agent_persistence.operations import Page
from agent_persistence.schema_registry import Schema, default_schema
from tests.server import LocalServer

PAGE: Final = Path(__file__).parents[1] / "docs" / "migration.md"
CLIENT: Final = "00000000-0000-4000-8000-000000000001"
LEADS: Final[list[dict[str, Any]]] = [
    {
        "email": "ada@example.org",
        "status": "won",
        "score": 0.9,
        "company": "Acme",
        "tags": ["vip"],
        "client_id": CLIENT,
    },
    {
        "email": "bob@example.org",
        "status": "new",
        "score": 0.4,
        "company": "acme ltd",
        "tags": ["press", "new"],
        "custom": '{"role": "ceo"}',
        "notes": "He called twice",
    },
    {"email": "cleo@example.org", "status": "lost", "company": "Bolt"},
    {"email": "dan@example.org", "status": "won", "score": 0.2},
]
TALKS: Final = [("ada", "Price", True), ("ada", "Hello", False), ("dan", "Again", None)]
SCHEMA: Final = Schema(
    {**default_schema().tables, "leads": replace(default_schema().tables["leads"], paths=("custom->>role",))}
)
POLICY: Final = TablePolicy(
    read={"leads", "clients", "conversations"},
    write={"leads"},
    delete={"leads"},
    call={"won_leads"},
    call_write={"open_conversation"},
)
GENERATED: Final = {"id", "created_at"}


@dataclass(frozen=True)
class Line:
    """One line of a table: what was written before, and what is written here."""

    before: str
    here: str


def lines(header: str) -> list[Line]:
    """The lines of the table whose first column has this header."""
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index(f"| {header} | here |") :].partition("\n\n")[0]
    cells = [re.findall(r"(?<=\| )`(.+?)`(?= \|)", line) for line in table.splitlines()[2:]]
    return [Line(before, here) for before, here in cells]


SUPABASE_PY: Final = lines("supabase-py")
SQL: Final = lines("SQL")


@pytest.fixture(scope="module")
def functions(local_server: LocalServer) -> Iterator[LocalServer]:
    """The server with the functions that the page defines; afterwards they are gone."""
    local_server.execute("\n".join(re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)))
    local_server.reload_schema()
    yield local_server
    local_server.execute("drop function won_leads; drop function open_conversation")
    local_server.reload_schema()


def sample(server: LocalServer) -> None:
    """The sample rows are there, and no others."""
    server.reset()
    server.execute("insert into clients (id, name, plan) values (%s, 'Acme', 'pro')", CLIENT)
    for lead in LEADS:
        columns = ", ".join(lead)
        server.execute(f"insert into leads ({columns}) values ({', '.join(['%s'] * len(lead))})", *lead.values())
    for name, subject, opened in TALKS:
        talk = "insert into conversations (lead_id, subject, opened) select id, %s, %s from leads where email like %s"
        server.execute(talk, subject, opened, f"{name}%")


def by_supabase_py(server: LocalServer, before: str) -> object:
    """What the expression gives: the data of the response, with the number of rows if that was asked for; or what it
    takes of it itself."""
    headers = {"apikey": server.service_key}
    # persistence-guard: allow AP003 this is what is migrated from
    with SyncPostgrestClient(f"{server.url}/rest/v1", headers=headers) as client:
        answer = eval(before, {"client": client, "leads": client.table("leads")})
    data = getattr(answer, "data", answer)
    total = None if data is None else getattr(answer, "count", None)
    return [*data, {"total": total}] if isinstance(total, int) else data


def by_sql(server: LocalServer, before: str) -> list[Any]:
    """The rows of the statement."""
    engine = sqlalchemy.create_engine(server.database_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            rows = connection.execute(sqlalchemy.text(before)).mappings().all()
    finally:
        engine.dispose()
    return [dict(row) for row in rows]


async def here(server: LocalServer, expression: str) -> object:
    """What the verb of an agent gives that reaches the server with the same key."""
    # persistence-guard: allow AP001 one adapter for each line, closed with it
    adapter = SupabaseAdapter(server.url, server.service_key, schema=SCHEMA)
    agent = create_persistence_agent(adapter=adapter, policy=POLICY, schema=SCHEMA, row_cap=1000)
    verbs = {verb: getattr(agent, verb) for verb in dir(agent) if not verb.startswith("_")}
    names = {name: getattr(agent_persistence, name) for name in agent_persistence.__all__}
    try:
        answer = await eval(expression, {**names, **verbs})
        return [*answer.rows, {"total": answer.total}] if isinstance(answer, Page) else answer
    finally:
        await adapter.aclose()


def rows_of(server: LocalServer) -> list[object]:
    """Every lead there is now."""
    return told(server.execute("select * from leads"))


def told(value: object, columns: Container[str] | None = None, *, ordered: bool = False) -> list[Any]:
    """The value as a list of rows, without what differs in every run: generated values, types of numbers, and an
    order that nobody asked for."""
    rows = [_told(row, columns) for row in (value if isinstance(value, list) else [value])]
    return rows if ordered else sorted(rows, key=repr)


def _told(row: object, columns: Container[str] | None) -> object:
    if not isinstance(row, Mapping):
        return row
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in sorted(row.items())
        if name not in GENERATED and (columns is None or name in columns)
    }


@pytest.mark.parametrize("line", SUPABASE_PY, ids=lambda line: line.before)
def test_what_was_written_with_supabase_py_gives_the_same_here(functions: LocalServer, line: Line) -> None:
    """The same data comes back, and the same rows are there afterwards."""
    ordered = "order" in line.before
    sample(functions)
    before, left = by_supabase_py(functions, line.before), rows_of(functions)
    sample(functions)
    after = anyio.run(here, functions, line.here)
    assert told(before, ordered=ordered) == told(after, ordered=ordered)
    assert rows_of(functions) == left


@pytest.mark.parametrize("line", SQL, ids=lambda line: line.before)
def test_what_was_written_in_sql_gives_the_same_here(functions: LocalServer, line: Line) -> None:
    """The same rows, as far as the statement returns them, and the same rows are there afterwards."""
    ordered = "order by" in line.before
    sample(functions)
    before, left = by_sql(functions, line.before), rows_of(functions)
    sample(functions)
    after = anyio.run(here, functions, line.here)
    if isinstance(after, int):
        assert before == [dict.fromkeys(before[0], after)]
    else:
        assert told(before, ordered=ordered) == told(after, {*before[0]}, ordered=ordered)
    assert rows_of(functions) == left


def test_two_sides_that_differ_are_noticed(functions: LocalServer) -> None:
    """Control: another filter, and another change, give another result."""
    sample(functions)
    some = 'leads.select("*").eq("status", "won").execute()'
    others = anyio.run(here, functions, 'query("leads", {"status": ne("won")})')
    assert told(by_supabase_py(functions, some)) != told(others)
    left = rows_of(functions)
    anyio.run(here, functions, 'update("leads", {"company": NULL}, {"status": "lost"})')
    assert rows_of(functions) != left


def test_every_verb_that_moves_rows_is_in_both_tables() -> None:
    """Control: a verb that a table forgets, or a line that the expression above does not read, is noticed."""
    for table in (SUPABASE_PY, SQL):
        assert {"query", "count", "write", "upsert", "update", "delete", "call"} <= {
            line.here.partition("(")[0] for line in table
        }
        assert len(table) > 14
    assert {"page", "read", "batch_write", "upsert_many"} <= {line.here.partition("(")[0] for line in SUPABASE_PY}
    assert all(word in str(SUPABASE_PY) for word in ("include=", "exists(", "text_search(", "->>", "overlaps("))


def test_a_subclass_of_the_stand_in_warns_at_its_own_line() -> None:
    """Old code that derived from DBWriteAgent finds the line that has to change."""

    class Outreach(DBWriteAgent):
        def __init__(self) -> None:
            super().__init__("memory")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Outreach()
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert caught[0].filename == __file__
    assert "super().__init__" in line
