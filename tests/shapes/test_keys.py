"""Rows that are told apart by several columns, or by none."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from agent_persistence import (
    AdapterError,
    CachePolicy,
    ConflictError,
    RetryPolicy,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    gt,
)
from tests.shapes.conftest import BackEnd

pytestmark = pytest.mark.anyio

LINES = [{"order-id": order, "line": line, "sku": f"{order}/{line}"} for order in (2, 1) for line in (3, 1, 2)]


class OrderLine(BaseModel):
    """As `schema pull --models` would write it."""

    __tablename__: ClassVar[str] = "order lines"

    order_id: int = Field(alias="order-id")
    line: int
    sku: str | None = None


def keys(rows: list[Any]) -> list[tuple[int, int]]:
    return [(row["order-id"], row["line"]) for row in rows]


async def test_a_row_is_read_by_a_key_of_several_columns(backend: BackEnd) -> None:
    """A mapping names them; what is not there is None."""
    async with backend.agent() as agent:
        await agent.batch_write("order lines", LINES)
        row = await agent.read("order lines", {"order-id": 1, "line": 2})
        assert row is not None
        assert row["sku"] == "1/2"
        assert await agent.readonly().read("order lines", {"line": 2, "order-id": 1}) == row
        assert await agent.read("order lines", {"order-id": 1, "line": 9}) is None
        typed = await agent.table(OrderLine).read({"order-id": 2, "line": 3})
        assert typed == OrderLine.model_validate({"order-id": 2, "line": 3, "sku": "2/3"})
        with pytest.raises(ValidationError, match="more than one row has this order-id"):
            await agent.read("order lines", {"order-id": 1})


@pytest.mark.parametrize(
    ("id_value", "id_column", "problem"),
    [
        ({}, "id", "maps the columns of a key"),
        ({"order-id": 1, "line": 2}, "line", "id_column is left out"),
        ({"order-id": None, "line": 2}, "id", "one key, not NoneType"),
        ({"order-id": [1], "line": 2}, "id", "one key, not list"),
        (1, "id", r"its key is \(order-id, line\): give id_value as a mapping"),
    ],
)
async def test_a_key_that_is_none_is_refused(backend: BackEnd, id_value: Any, id_column: str, problem: str) -> None:
    """Before a request leaves; the error says what the key is."""
    async with backend.agent() as agent:
        with pytest.raises(ValidationError, match=problem):
            await agent.read("order lines", id_value, id_column)


async def test_a_denied_table_tells_nothing_of_its_key(backend: BackEnd) -> None:
    """It is refused as any other is."""
    async with backend.agent(policy=TablePolicy(read=["User"])) as agent:
        for id_value in (1, {"order-id": 1, "line": 2}, {"a": 1}):
            with pytest.raises(TableNotAllowedError) as caught:
                await agent.read("order lines", id_value)
            assert "order-id" not in str(caught.value)


@pytest.mark.parametrize("page_size", [1, 2, 4, 100])
@pytest.mark.parametrize("descending", [False, True])
async def test_rows_are_iterated_by_their_key(backend: BackEnd, page_size: int, descending: bool) -> None:
    """By default by all of it; by a column of it with the rest for ties; by several in the order given."""
    ordered = sorted(((line["order-id"], line["line"]) for line in LINES), reverse=descending)
    by_line = sorted(ordered, key=lambda key: (key[1], key[0]), reverse=descending)
    async with backend.agent() as agent:
        await agent.batch_write("order lines", LINES)

        async def iterated(**about: Any) -> list[tuple[int, int]]:
            about |= {"page_size": page_size, "descending": descending}
            return keys([row async for row in agent.iterate("order lines", **about)])

        assert await iterated() == ordered
        assert await iterated(order_by="order-id") == ordered
        assert await iterated(order_by=["line", "order-id"]) == await iterated(order_by="line") == by_line
        typed = agent.table(OrderLine).iterate(page_size=page_size, descending=descending)
        assert [(row.order_id, row.line) async for row in typed] == ordered
        narrow = agent.iterate("order lines", select=["sku"], page_size=page_size, descending=descending)
        assert [row async for row in narrow] == [{"sku": f"{order}/{line}"} for order, line in ordered]


async def test_pages_of_several_columns_with_nulls(backend: BackEnd) -> None:
    """No row twice and none left out, whichever of the columns is NULL."""
    records = [{"carrier": f"c{n}", "order-id": None if n % 2 else n % 3, "line": None} for n in range(7)]
    async with backend.agent(schema=backend.schema) as agent:
        await agent.batch_write("order lines", [{"order-id": n, "line": n} for n in range(3)])
        await agent.batch_write("shipments", records)
        for descending in (False, True):
            order_by = ["order-id", "carrier"]
            seen = [
                row["id"]
                async for row in agent.iterate("shipments", order_by=order_by, page_size=2, descending=descending)
            ]
            whole = await agent.query("shipments", order_by=[*order_by, "id"], descending=descending)
            assert seen == [row["id"] for row in whole]


async def test_upsert_merges_by_the_whole_key(backend: BackEnd) -> None:
    """Without on_conflict; one column of it alone is no key."""
    async with backend.agent() as agent:
        await agent.batch_write("order lines", LINES)
        merged = await agent.upsert("order lines", {"order-id": 1, "line": 2, "sku": "new"})
        assert (merged["sku"], await agent.count("order lines")) == ("new", len(LINES))
        rows = await agent.upsert_many("order lines", [{"order-id": 1, "line": n, "sku": "x"} for n in (2, 9)])
        assert keys(rows) == [(1, 2), (1, 9)]
        typed = await agent.table(OrderLine).upsert({"order-id": 1, "line": 9, "sku": "y"})
        assert typed.sku == "y"
        with pytest.raises(ValidationError, match=r"\(order-id\) is no declared key; keys are \(order-id, line\)"):
            await agent.upsert("order lines", {"order-id": 1, "line": 2}, ["order-id"])
        with pytest.raises(ConflictError):
            await agent.write("order lines", {"order-id": 1, "line": 2})


async def test_a_foreign_key_of_several_columns_holds(backend: BackEnd) -> None:
    """A row that refers to none is refused, one that is NULL in part is not, and a deletion cascades."""
    async with backend.agent() as agent:
        await agent.batch_write("order lines", LINES)
        with pytest.raises(ConflictError) as caught:
            await agent.write("shipments", {"order-id": 1, "line": 9})
        assert caught.value.code == "23503"
        sent = await agent.write("shipments", {"order-id": 1, "line": 2})
        loose = await agent.write("shipments", {"order-id": 9})
        await agent.delete("order lines", {"order-id": 1, "line": 2})
        assert await agent.query("shipments", {"id": [sent["id"], loose["id"]][1]}) == [loose]
        assert await agent.count("shipments") == 1


async def test_a_cached_row_of_several_keys_is_as_fresh_as_any(backend: BackEnd) -> None:
    """A second read is answered from the cache, and none after a write."""
    async with backend.agent(cache=CachePolicy(ttl_s=60)) as agent:
        await agent.batch_write("order lines", LINES)
        key = {"order-id": 1, "line": 2}
        first = await agent.read("order lines", key)
        if backend.name != "memory":
            backend.server.execute('update "order lines" set amount = 7')
        assert await agent.read("order lines", key) == first
        await agent.update("order lines", {"sku": "changed"}, key)
        row = await agent.read("order lines", key)
        assert row is not None
        assert row["sku"] == "changed"


async def test_a_partitioned_table_is_one_table(database: BackEnd) -> None:
    """Rows of every partition, by the key of several columns; the partitions themselves are not declared."""
    assert "readings_2026" not in database.schema.tables
    async with database.agent() as agent:
        days = ["2026-03-01", "2027-03-01", "2026-01-01"]
        await agent.bulk_write("readings", [{"sensor": 1, "day": day, "value": 1.5} for day in days])
        assert [row["day"] async for row in agent.iterate("readings", page_size=1)] == sorted(days)
        merged = await agent.upsert("readings", {"sensor": 1, "day": date(2027, 3, 1), "value": 2.5})
        assert (merged["value"], await agent.count("readings")) == (2.5, 3)


# --- no key -----------------------------------------------------------------------------------------------------------


async def test_a_table_without_a_key_is_read_and_written(backend: BackEnd) -> None:
    """It is queried, counted, updated and deleted from; an upsert of it would be a guess."""
    async with backend.agent() as agent:
        event = {"kind": "a", "at": "2026-01-01T00:00:00+00:00", "note": None}
        assert [await agent.write("events", event) for _ in range(2)] == [event, event]
        assert await agent.count("events", {"kind": "a"}) == 2
        assert await agent.query("events", limit=1) == [event]
        assert len(await agent.update("events", {"note": "x"}, {"kind": "a"})) == 2
        with pytest.raises(ValidationError, match="keys are none"):
            await agent.upsert("events", {"kind": "a", "at": "2026-01-01T00:00:00+00:00"})
        with pytest.raises(ValidationError, match="it has no key: use query"):
            await agent.read("events", 1)
        with pytest.raises(ValidationError, match="it has no key to page by"):
            [row async for row in agent.iterate("events")]
        with pytest.raises(ValidationError, match="ties of 'at' need the table's key"):
            [row async for row in agent.iterate("events", order_by="at")]


async def test_a_table_with_a_unique_set_instead_is_iterated_by_it(backend: BackEnd) -> None:
    """As the tables are that Prisma makes between two others."""
    async with backend.agent() as agent:
        user = await agent.write("User", {"email": "a@x"})
        posts = await agent.batch_write("Post", [{"authorId": user["id"], "title": str(n)} for n in range(3)])
        await agent.batch_write("_PostToTag", [{"A": post["id"], "B": tag} for post in posts for tag in ("y", "x")])
        pairs = [(row["A"], row["B"]) async for row in agent.iterate("_PostToTag", page_size=1)]
        assert pairs == sorted((post["id"], tag) for post in posts for tag in ("x", "y"))
        merged = await agent.upsert("_PostToTag", {"A": posts[0]["id"], "B": "x"}, ["A", "B"])
        assert merged["B"] == "x"


# --- answers that were lost -------------------------------------------------------------------------------------------

KEY = {"order-id": 1, "line": 2}
WRITES: dict[str, Any] = {
    "write": lambda agent: agent.write("order lines", {"order-id": 1, "line": 9, "sku": "new"}),
    "batch_write": lambda agent: agent.batch_write("order lines", [{"order-id": 1, "line": n} for n in (8, 9)]),
    "upsert": lambda agent: agent.upsert("order lines", {**KEY, "sku": "new"}),
    "upsert_many": lambda agent: agent.upsert_many("order lines", [{**KEY, "sku": "new"}]),
    "update": lambda agent: agent.update("order lines", {"sku": "new"}, KEY),
    "delete": lambda agent: agent.delete("order lines", KEY),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_whose_answer_was_lost_is_found_by_its_whole_key(backend: BackEnd, verb: str) -> None:
    """It is applied once, and its rows are told though the answer did not tell them."""
    adapter: Any = backend.adapter()
    execute = adapter.execute
    lost: list[Any] = []

    async def losing(operation: Any, context: Any) -> Any:
        result = await execute(operation, context)
        if operation.writes and not lost and operation.verb == verb:
            lost.append(operation)
            raise AdapterError("the answer was lost", state="ambiguous")
        return result

    adapter.execute = losing
    async with backend.agent(adapter=adapter, retry=RetryPolicy(base_s=0.001)) as agent:
        await agent.bulk_write("order lines", LINES)
        await agent.bulk_write("order lines", [{"order-id": 5, "line": 5, "sku": "other"}])
        told = await WRITES[verb](agent)
        assert len(lost) == 1
        new = await agent.query("order lines", {"order-id": 1, "line": gt(7)}, order_by="line")
        changed = await agent.read("order lines", KEY)
        if verb in ("write", "batch_write"):
            assert told == (new[0] if verb == "write" else new)
        else:
            assert told in (changed, [changed], [])
        assert await agent.count("order lines") == len(LINES) + 1 + len(new) - (verb == "delete")
