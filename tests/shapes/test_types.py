"""Views, enums, domains, ranges and arrays, and what each back end says of what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    ConflictError,
    UnsupportedOperationError,
    ValidationError,
    adjacent,
    any_of,
    contained_by,
    contains,
    eq,
    gt,
    in_,
    like,
    ne,
    not_,
    overlaps,
    parse_filters,
)
from agent_persistence.backends.base import CAPABILITIES
from tests.shapes.conftest import BackEnd

pytestmark = pytest.mark.anyio


# --- views ------------------------------------------------------------------------------------------------------------


async def test_a_view_is_read_as_a_table_is(database: BackEnd) -> None:
    """A materialized one with the rows of its last refresh."""
    async with database.agent() as agent:
        ada = await agent.write("User", {"email": "a@x", "role": "ADMIN"})
        post = await agent.write("Post", {"authorId": ada["id"], "title": "One", "isPublished": True})
        assert await agent.query("posts_of_admins", {"title": "One"}) == [post]
        assert [row["id"] async for row in agent.iterate("published", order_by="id", page_size=1)] == [post["id"]]
        database.server.execute("refresh materialized view post_counts")
        assert await agent.query("post_counts") == [{"authorId": ada["id"], "posts": 1}]


async def test_a_view_of_one_table_is_written(database: BackEnd) -> None:
    """PostgreSQL writes it by itself, and the catalogues say so."""
    assert not database.schema.tables["published"].read_only
    async with database.agent() as agent:
        user = await agent.write("User", {"email": "a@x"})
        record = {"authorId": user["id"], "title": "One", "isPublished": True}
        stored = await agent.write("published", record)
        assert await agent.update("published", {"title": "Two"}, {"id": stored["id"]}) == [stored | {"title": "Two"}]
        assert await agent.delete("published", {"id": stored["id"]}) == [stored | {"title": "Two"}]


WRITES: dict[str, Any] = {
    "write": lambda agent, view: agent.write(view, {"authorId": 1}),
    "batch_write": lambda agent, view: agent.batch_write(view, [{"authorId": 1}]),
    "upsert": lambda agent, view: agent.upsert(view, {"authorId": 1}, ["authorId"]),
    "update": lambda agent, view: agent.update(view, {"authorId": 1}, {"authorId": 2}),
    "delete": lambda agent, view: agent.delete(view, {"authorId": 2}),
}


@pytest.mark.parametrize("view", ["posts_of_admins", "post_counts"])
@pytest.mark.parametrize("verb", WRITES)
async def test_a_view_that_cannot_be_written_is_refused(backend: BackEnd, verb: str, view: str) -> None:
    """Before a request leaves, by a schema that says so."""
    async with backend.agent() as agent:
        with pytest.raises(ValidationError, match="it takes no writes"):
            await WRITES[verb](agent, view)


@pytest.mark.parametrize("view", ["posts_of_admins", "post_counts"])
async def test_the_database_refuses_it_else(backend: BackEnd, view: str) -> None:
    """Without validation: a refusal, which is not tried again, with what to do."""
    adapter: Any = backend.adapter()
    try:
        with pytest.raises(AdapterError) as caught:
            await adapter.write(view, {"authorId": 1})
        assert caught.value.code in ("55000", "42809")
        assert caught.value.state == "rejected"
        if backend.name != "memory":
            assert "INSTEAD OF" in str(caught.value)
    finally:
        await adapter.aclose()


# --- enums and domains ------------------------------------------------------------------------------------------------


async def test_an_enum_is_compared_and_sorted_as_it_is_declared(backend: BackEnd) -> None:
    """USER comes before EDITOR, and EDITOR before ADMIN."""
    async with backend.agent() as agent:
        roles = ["ADMIN", "USER", "EDITOR"]
        await agent.batch_write("User", [{"email": f"{role}@x", "role": role} for role in roles])
        assert [row["role"] for row in await agent.query("User", order_by="role")] == ["USER", "EDITOR", "ADMIN"]
        assert await agent.count("User", {"role": "ADMIN"}) == 1
        assert await agent.count("User", {"role": in_(["ADMIN", "USER"])}) == 2
        assert await agent.count("User", {"role": gt("USER")}) == 2
        assert await agent.count("User", not_({"role": ne("ADMIN")})) == 1
        assert [row["role"] async for row in agent.iterate("User", order_by="role", page_size=1)] == sorted(
            roles, key=["USER", "EDITOR", "ADMIN"].index
        )
        with pytest.raises(ValidationError, match="role is one of 'USER', 'EDITOR', 'ADMIN'"):
            await agent.write("User", {"email": "b@x", "role": "KING"})


@pytest.mark.parametrize(
    ("filters", "code"), [({"role": "KING"}, "22P02"), ({"role": like("A%")}, "42883"), ({"role": gt("")}, "22P02")]
)
async def test_the_same_is_refused_of_an_enum(backend: BackEnd, filters: Any, code: str) -> None:
    """With PostgreSQL's codes, in memory too."""
    adapter: Any = backend.adapter()
    try:
        with pytest.raises(AdapterError) as caught:
            await adapter.query("User", filters)
        assert caught.value.code == code
    finally:
        await adapter.aclose()


async def test_a_domain_is_its_base_type_with_its_rules(backend: BackEnd) -> None:
    """Its default, whether it may be NULL, and the values that its check lists."""
    columns = backend.schema.columns("User")
    assert (columns["email"].type, columns["email"].nullable) == ("text", False)
    assert (columns["plan"].type, columns["plan"].default, columns["plan"].one_of) == ("text", "free", ("free", "paid"))
    async with backend.agent() as agent:
        await agent.write("User", {"email": "a@x"})
        assert await agent.count("User", {"email": like("%@x"), "plan": "free"}) == 1
        with pytest.raises((ValidationError, ConflictError)):
            await agent.write("User", {"email": "b@x", "plan": "gold"})


# --- ranges -----------------------------------------------------------------------------------------------------------

BOOKINGS = [
    {"seats": "[1,5)", "days": "[2026-01-01,2026-01-10)", "weeks": "{[2026-01-01,2026-01-08)}", "price": "(,10]"},
    {"seats": "[5,9)", "days": "[2026-01-10,2026-01-20)", "weeks": "{}", "price": "empty"},
    {"seats": "[20,30)"},
]
ON_RANGES = [
    ({"seats": overlaps("[4,6)")}, [1, 2]),
    ({"seats": contains("[2,3]")}, [1]),
    ({"seats": contained_by("[0,10)")}, [1, 2]),
    ({"seats": adjacent("[9,20)")}, [2, 3]),
    ({"seats": adjacent("[5,9)")}, [1]),
    ({"seats": eq("[1,4]")}, [1]),
    ({"days": adjacent("[2026-01-20,2026-01-21)")}, [2]),
    ({"days": overlaps("[2026-01-05,)")}, [1, 2]),
    ({"weeks": overlaps("{[2026-01-07,2026-01-09)}")}, [1]),
    ({"price": contains("[9.5,9.75]")}, [1]),
    (any_of({"seats": adjacent("(,1)")}, {"seats": overlaps("[29,29]")}), [1, 3]),
    (not_({"seats": overlaps("[4,6)")}), [3]),
    (parse_filters({"seats": {"overlaps": "[4,6)", "adjacent": "[9,20)"}}), [2]),
]


@pytest.mark.parametrize(("filters", "found"), ON_RANGES, ids=lambda value: repr(value)[:60])
async def test_ranges_are_compared_by_the_database(database: BackEnd, filters: Any, found: list[int]) -> None:
    """By overlap, containment, adjacency and equality, alone and in junctions."""
    async with database.agent() as agent:
        assert agent.capabilities["ranges"]
        rows = await agent.batch_write("bookings", BOOKINGS)
        ids = [row["id"] for row in rows]
        expected = [ids[number - 1] for number in found]
        assert [row["id"] for row in await agent.query("bookings", filters, order_by="id")] == expected
        assert await agent.count("bookings", filters) == len(found)


async def test_a_unit_of_work_compares_ranges(database: BackEnd) -> None:
    """Over PostgREST by the function that the command installs, over PostgreSQL by itself."""
    if database.name == "supabase":
        from agent_persistence.backends.installation import unit_of_work_sql

        database.server.execute(unit_of_work_sql())
        database.server.reload_schema()
    async with database.agent() as agent:
        await agent.batch_write("bookings", BOOKINGS)
        unit = agent.unit_of_work()
        changed = unit.update("bookings", {"labels": ["near"]}, {"seats": adjacent("[9,20)")})
        results = await unit.commit()
        assert [row["labels"] for row in results[changed]] == [["near"], ["near"]]


async def test_what_memory_does_not_model_is_refused_with_the_remedy(backend: BackEnd) -> None:
    """Values of ranges and their operators, before anything is stored."""
    if backend.name != "memory":
        return
    async with backend.agent() as agent:
        assert not agent.capabilities["ranges"]
        with pytest.raises(UnsupportedOperationError, match='kind="local" and kind="postgres" ask PostgreSQL itself'):
            await agent.query("bookings", {"seats": overlaps("[1,2)")})
        with pytest.raises(UnsupportedOperationError, match='kind="local" and kind="postgres" ask PostgreSQL itself'):
            await agent.write("bookings", {"seats": "[1,2)"})


@pytest.mark.parametrize("operator", [overlaps, contains, contained_by, adjacent])
@pytest.mark.parametrize("value", ["", "5", "1,5", "[1,5", "1,5)", "[1;5)", "vip", "[1,5)x"])
def test_a_text_that_is_no_range_is_refused(operator: Any, value: str) -> None:
    """A word that was meant for a list is told apart."""
    with pytest.raises(ValidationError, match="range"):
        operator(value)


@pytest.mark.parametrize("value", [5, None, ["[1,5)"], {"a": 1}])
def test_adjacent_takes_ranges_alone(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"adjacent takes a range such as '\[1,5\)'"):
        adjacent(value)


async def test_validation_knows_which_columns_are_ranges(database: BackEnd) -> None:
    """A list is compared with no range, and a range with no number."""
    async with database.agent() as agent:
        for filters in (
            {"seats": overlaps([1, 2])},
            {"seats": contains({"a": 1})},
            {"seats": like("[1%")},
            {"id": adjacent("[1,2)")},
            {"id": overlaps("[1,2)")},
            {"id": eq([1, 2])},
        ):
            with pytest.raises(ValidationError):
                await agent.query("bookings", filters)
        with pytest.raises(ValidationError, match="int4range, which takes no number"):
            await agent.write("bookings", {"seats": 5})


# --- arrays -----------------------------------------------------------------------------------------------------------


async def test_an_array_equals_a_list(backend: BackEnd) -> None:
    """Element by element in their order, whatever is in the texts."""
    lists: list[list[str]] = [[], ["a", "b"], ["b", "a"], ['c"d', "e,f"], ["{}", "NULL", ""]]
    async with backend.agent() as agent:
        await agent.batch_write("User", [{"email": f"{n}@x", "tags": tags} for n, tags in enumerate(lists)])
        for tags in lists:
            assert [row["tags"] for row in await agent.query("User", {"tags": eq(tags)})] == [tags]
            assert await agent.count("User", {"tags": ne(tags)}) == len(lists) - 1
            assert await agent.count("User", any_of({"tags": eq(tags)}, {"email": "none@x"})) == 1
        with pytest.raises(ValidationError, match="is text, which takes no list"):
            await agent.query("User", {"displayName": eq(["a"])})
        with pytest.raises(ValidationError, match="compares one value, not a list"):
            await agent.query("User", {"tags": ["a"]})


async def test_a_document_equals_a_list(backend: BackEnd) -> None:
    """As JSON, where the schema says that the column is one."""
    async with backend.agent() as agent:
        await agent.batch_write(
            "User", [{"email": "a@x", "custom Data": [1, "a"]}, {"email": "b@x", "custom Data": {}}]
        )
        assert [row["email"] for row in await agent.query("User", {"custom Data": eq([1, "a"])})] == ["a@x"]
        assert await agent.count("User", {"custom Data": eq(["a", 1])}) == 0


def test_ranges_are_a_capability() -> None:
    assert "ranges" in CAPABILITIES
