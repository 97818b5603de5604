"""What a question finds in contexts of any tables: turns, their talks and pairs are told by the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent_persistence import InMemoryAdapter, RAGContext, TablePolicy, build_rag_context
from agent_persistence.backends.backend import Capabilities
from agent_persistence.query.records import Row
from agent_persistence.rag_context import ContextSpec, Entity, Parent
from tests.rag.contexts.desk import ROWS, SCHEMA, SPEC, at, comment, desk

pytestmark = pytest.mark.anyio
CHAT = [comment(300 + number, 20 + number % 2, f"Nothing new on day {number}") for number in range(600)]
OLD = comment(100, 10, "The toner of the printer is magenta")
MANY = {**ROWS, "comments": [OLD, comment(101, 10, "Thank you"), *CHAT]}
MANY["tickets"] = [*ROWS["tickets"], {**ROWS["tickets"][2], "id": 21, "subject": "Talk"}]


class Scanned(InMemoryAdapter):
    """A search reads no more than fifty rows of a table."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, scan_rows=50)


def _keys(context: RAGContext, table: str) -> list[Any]:
    return [row["id"] for row in context.rows[table]]


async def test_an_old_row_is_found_among_many_with_what_it_belongs_to() -> None:
    """The newest fifty comments do not have it."""
    context = await build_rag_context(desk(MANY), spec=SPEC, query="Which toner?", max_tokens=400)
    prompt = context.to_prompt()
    assert "The toner of the printer is magenta" in prompt
    assert "Printer is on fire" in prompt
    assert "Ada" in prompt


async def test_beyond_what_a_search_reads_the_back_end_is_asked_for_the_words() -> None:
    """With the turns around what it finds, and a warning."""
    scanned = Scanned({table: list(rows) for table, rows in MANY.items()}, schema=SCHEMA)
    context = await build_rag_context(desk(adapter=scanned), spec=SPEC, query="Which toner?", max_tokens=400)
    assert {100, 101} <= {key for table, key in context.sources.values() if table == "comments"}
    assert "The toner of the printer is magenta" in context.to_prompt()
    [warning] = context.warnings
    assert warning.startswith("comments: more rows belong than were searched")
    assert "the newest 50 and 1 with its words" in warning


async def test_the_turn_after_a_match_counts_and_one_of_another_talk_does_not() -> None:
    """Rows with the same first parent are a talk, in the order of time."""
    context = await build_rag_context(desk(MANY), spec=SPEC, query="Which toner?")
    matches = {score.key: score.match for score in context.explain() if score.table == "comments"}
    assert matches[100] is not None
    assert matches[100].words > 0
    assert matches[101] is not None
    assert matches[101].turns > 0
    assert not any(match for key, match in matches.items() if key >= 300)


async def test_a_title_is_searched_and_a_record_brings_its_pairs() -> None:
    """The tags of the ticket that is found, and no others."""
    context = await build_rag_context(
        desk(), spec=SPEC, query="Which printer?", limits={"tickets": 1, "comments": 1, "kb_articles": 1}
    )
    assert _keys(context, "tickets") == [10]
    assert sorted(_keys(context, "tags")) == [1, 2]
    assert 'tag="' in context.to_prompt("xml")


async def test_a_question_finds_nobody_elses_rows() -> None:
    """A filter on a table far above holds for what words find."""
    context = await build_rag_context(
        desk(MANY),
        spec=SPEC,
        filters={"customers": {"email": "ben@desk.example"}},
        query="Which toner?",
        max_tokens=2_000,
    )
    assert "magenta" not in context.to_prompt()
    assert 100 not in _keys(context, "comments")


async def test_columns_that_the_spec_leaves_out_find_nothing() -> None:
    """What is not told is not searched."""
    context = await build_rag_context(desk(), spec=SPEC, query="$2b$ 2b", max_tokens=400)
    assert not any(score.match for score in context.explain())


ORDERS = ContextSpec(
    [
        Entity("orders", key=["year", "number"], parent=(), title="label", time="placed_at"),
        Entity(
            "notes",
            parent=[Parent(("order_year", "order_number"), "orders"), Parent("user_id", "users", shown_as="author")],
            body="text",
            time="written_at",
            in_time_order=True,
        ),
        Entity("users", parent=(), title="name"),
    ],
    root="orders",
    name="shop",
)


def _notes() -> list[Row]:
    told = [(number, 2020 + number // 50, number % 50, f"parcel {number} left") for number in range(400)]
    told[3] = (3, 2020, 3, "The glass arrived broken")
    told[4] = (4, 2020, 3, "We send a new one")
    return [
        {"id": key, "order_year": year, "order_number": number, "user_id": key % 2, "text": text, "written_at": at(key)}
        for key, year, number, text in told
    ]


@pytest.mark.parametrize("adapter", [InMemoryAdapter, Scanned])
async def test_parents_with_keys_of_several_columns_are_talks_too(adapter: type[InMemoryAdapter]) -> None:
    """Whether all is read or the back end is asked."""
    tables: dict[str, Sequence[Row]] = {
        "orders": [
            {
                "id": f"{year}-{number}",
                "year": year,
                "number": number,
                "label": f"{year}/{number}",
                "placed_at": at(number),
            }
            for year in range(2020, 2028)
            for number in range(50)
        ],
        "notes": _notes(),
        "users": [{"id": 0, "name": "Ada"}, {"id": 1, "name": "Ben"}],
    }
    service = desk(adapter=adapter(tables), schema=None, policy=_all("orders", "notes", "users"))
    context = await build_rag_context(service, spec=ORDERS, query="What was broken?", max_tokens=300)
    lines = context.to_prompt("compact").splitlines()
    found = next(place for place, line in enumerate(lines) if "The glass arrived broken" in line)
    assert "We send a new one" in lines[found + 1]
    assert "2020/3" in lines[found - 1]
    assert context.sources[lines[found - 1].split(" ")[0]] == ("orders", (2020, 3))


async def test_a_reply_tells_in_one_line_what_it_replies_to() -> None:
    """Lines stand one below the other, however deep their records."""
    context = await build_rag_context(desk(), spec=SPEC, query="What burns?")
    told = [line for line in context.to_prompt("compact").splitlines() if "Have you tried water?" in line]
    above = next(ref for ref, named in context.sources.items() if named == ("comments", 30))
    assert len(told) == 1
    assert f"={above} " in told[0]


def _all(*tables: str) -> Any:
    return TablePolicy(read=set(tables))
