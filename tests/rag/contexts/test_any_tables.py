"""Building a context of tables that are not the CRM's: which rows are read, and how they hang together in a prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args
from xml.etree import ElementTree

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    InMemoryAdapter,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    build_rag_context,
    create_persistence_agent,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Row
from agent_persistence.rag_context import (
    ContextSpec,
    Entity,
    Parent,
    PromptFormat,
    RAGContext,
    Relevance,
    Scoring,
    TokenBudget,
)
from agent_persistence.redaction import Redaction
from agent_persistence.schema_registry import Schema
from tests.rag.contexts.desk import ALL, BY_HAND, ROWS, SCHEMA, SPEC, at, comment, desk

pytestmark = pytest.mark.anyio
FORMATS: tuple[PromptFormat, ...] = get_args(PromptFormat)
ADA: Mapping[str, Any] = {"customers": {"name": "Ada"}}


class Counting(InMemoryAdapter):
    """Notes the tables that are queried; fails where told, and lets no query end before all of a set have begun."""

    def __init__(self, rows: Mapping[str, Sequence[Row]] = ROWS, *, schema: Schema = SCHEMA) -> None:
        super().__init__({table: list(held) for table, held in rows.items()}, schema=schema)
        self.queries: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.at_once: frozenset[str] = frozenset()
        self._began = anyio.Event()

    async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
        self.queries.append(table)
        if table in self.fails:
            raise self.fails[table]
        if self.at_once and self.at_once <= set(self.queries):
            self._began.set()
        if table in self.at_once:
            await self._began.wait()
        return await super().query(table, *args, **options)


def _keys(context: RAGContext, table: str) -> list[Any]:
    return [row["id"] for row in context.rows[table]]


async def test_the_world_of_one_customer_holds_nobody_elses_rows() -> None:
    """Her tickets, their comments and tags, and the agents that these name; one query for each table."""
    adapter = Counting()
    context = await build_rag_context(desk(adapter=adapter), spec=SPEC, filters=ADA)
    assert _keys(context, "customers") == [1]
    assert _keys(context, "tickets") == [11, 10]
    assert _keys(context, "comments") == [32, 31, 30]
    assert _keys(context, "agents") == [1]
    assert _keys(context, "tags") == [2, 1]
    assert _keys(context, "kb_articles") == [1]
    assert sorted(adapter.queries) == sorted(SPEC.shape(SCHEMA).tables)
    assert "secret" not in context.to_prompt()
    assert (context.complete, context.warnings) == (True, [])


async def test_a_filter_that_finds_nothing_finds_nothing_below_or_above() -> None:
    """And no table of its group is asked for; others are read as ever."""
    adapter = Counting()
    context = await build_rag_context(desk(adapter=adapter), spec=SPEC, filters={"customers": {"name": "Eve"}})
    assert sorted(adapter.queries) == ["customers", "kb_articles"]
    assert {table for table, rows in context.rows.items() if rows} == {"kb_articles"}


async def test_without_a_filter_reading_begins_at_the_roots() -> None:
    """The newest tickets, and the customers and agents of these."""
    context = await build_rag_context(desk(), spec=SPEC, limits={"tickets": 1})
    assert _keys(context, "tickets") == [20]
    assert (_keys(context, "customers"), _keys(context, "agents")) == ([2], [2])
    assert _keys(context, "comments") == [33]
    assert "<note>More tickets exist than are shown.</note>" in context.to_prompt()


async def test_parents_that_several_tables_name_are_those_that_any_of_them_names() -> None:
    """In one query: the agent of the ticket, and the author of the comment."""
    rows = {**ROWS, "comments": [comment(30, 10, "Hm.", author_id=2)]}
    adapter = Counting(rows)
    context = await build_rag_context(desk(adapter=adapter), spec=SPEC, filters={"tickets": {"id": 10}})
    assert _keys(context, "agents") == [2, 1]
    assert adapter.queries.count("agents") == 1
    [told] = ElementTree.fromstring(context.to_prompt()).iter("comment")
    assert told.get("author") == "a1 Dag Holm"


async def test_a_filter_on_what_a_root_refers_to_finds_the_rows_that_refer_to_it() -> None:
    """The tickets of an agent, and whose they are."""
    context = await build_rag_context(desk(), spec=SPEC, filters={"agents": {"full_name": "Dag Holm"}})
    assert _keys(context, "tickets") == [20]
    assert _keys(context, "customers") == [2]
    assert _keys(context, "comments") == [33]


async def test_a_filter_far_below_finds_what_stands_beside_its_parents() -> None:
    """The ticket of a comment, and the tags of that ticket; of comments only the one that was asked for."""
    context = await build_rag_context(desk(), spec=SPEC, filters={"comments": {"id": 31}})
    assert (_keys(context, "comments"), _keys(context, "tickets")) == ([31], [10])
    assert (_keys(context, "customers"), _keys(context, "tags")) == ([1], [2, 1])


async def test_filters_of_several_tables_must_all_hold() -> None:
    """The open tickets of one customer, and what one agent wrote there."""
    filters = {**ADA, "tickets": {"status": "open"}, "agents": {"full_name": "Cleo Marsh"}}
    context = await build_rag_context(desk(), spec=SPEC, filters=filters)
    assert (_keys(context, "customers"), _keys(context, "tickets")) == ([1], [10])
    assert _keys(context, "comments") == [31]


async def test_where_the_root_is_not_read_reading_begins_below_it() -> None:
    """Without the tickets at the comments, whose authors are found."""
    context = await build_rag_context(desk(), spec=SPEC, limits={"tickets": 0, "comments": 1})
    assert (_keys(context, "comments"), _keys(context, "agents")) == ([33], [2])
    assert context.rows["customers"] == []
    assert "customers: left out, because tickets is not read and would say which rows belong" in context.warnings


async def test_either_of_two_columns_that_name_the_same_table_will_do() -> None:
    """Tickets that somebody wrote, or is to answer; each is told by its own name."""
    spec = ContextSpec(
        [
            Entity("people", parent=(), title="name"),
            Entity(
                "tickets",
                parent=[Parent("writer_id", "people"), Parent("helper_id", "people")],
                title="subject",
            ),
        ]
    )
    rows: dict[str, list[Row]] = {
        "people": [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Ben"}],
        "tickets": [
            {"id": 1, "writer_id": 1, "helper_id": 2, "subject": "one"},
            {"id": 2, "writer_id": 2, "helper_id": 1, "subject": "two"},
            {"id": 3, "writer_id": 2, "helper_id": 2, "subject": "three"},
        ],
    }
    policy = TablePolicy(read={"people", "tickets"})
    agent = create_persistence_agent(adapter=Counting(rows, schema=Schema()), policy=policy)
    context = await build_rag_context(agent, spec=spec, filters={"people": {"name": "Ada"}})
    assert _keys(context, "tickets") == [2, 1]
    assert '<ticket ref="t2" subject="one">' in context.to_prompt()
    everybody = await build_rag_context(agent, spec=spec)
    assert '<ticket ref="t3" subject="one" helper="p1 Ben">' in everybody.to_prompt()


async def test_tables_of_one_level_are_read_at_the_same_time() -> None:
    """What depends on the tickets alone does not wait for anything else."""
    adapter = Counting()
    adapter.at_once = frozenset({"customers", "comments", "ticket_tags"})
    with anyio.fail_after(60):
        await build_rag_context(desk(adapter=adapter), spec=SPEC, filters={"tickets": {"id": 10}})


async def test_a_reply_stands_under_what_it_replies_to() -> None:
    """In every format; the thread stands under its ticket."""
    context = await build_rag_context(desk(), spec=SPEC, filters=ADA)
    [ticket] = [told for told in ElementTree.fromstring(context.to_prompt()).iter("ticket") if told.get("ref") == "t2"]
    [question] = ticket.findall("comment/comment/comment")
    assert question.text == "Yes."
    told = json.loads(context.to_prompt("json"))["desk"]["customers"][0]["tickets"][1]["comments"][0]
    assert told["comments"][0]["comments"][0]["body"] == "Yes."
    assert "- o3, reply_to `o2`, at `2026-05-01T00:32Z`: `Yes.`" in context.to_prompt("markdown")


def _thread(count: int) -> RAGContext:
    comments = [comment(n, 10, f"comment {n}", reply_to=n - 1 if n else None) for n in range(count)]
    return RAGContext(rows={"tickets": [dict(ROWS["tickets"][0])], "comments": comments}, spec=SPEC)


def test_a_thread_of_a_thousand_replies_is_told_to_its_end() -> None:
    """What lies too deep stands beside what it replies to, and says so; no stack overflows."""
    context = _thread(1_000)
    found = ElementTree.fromstring(context.to_prompt())
    assert len(list(found.iter("comment"))) == 1_000
    assert found.find("ticket" + "/comment" * 7) is not None
    assert found.find("ticket" + "/comment" * 8) is None
    [last] = [told for told in found.iter("comment") if told.text == "comment 999"]
    assert last.get("reply_to") == "o999"
    for form in FORMATS:
        assert context.to_prompt(form, max_tokens=2_000)


def test_rows_that_reply_to_each_other_in_a_circle_are_told_once() -> None:
    """Nothing forbids such rows; one to itself replies to nothing."""
    comments = [comment(n, 10, f"comment {n}", reply_to=(n + 1) % 3) for n in range(3)]
    comments.append(comment(9, 10, "comment 9", reply_to=9))
    context = RAGContext(rows={"tickets": [dict(ROWS["tickets"][0])], "comments": comments}, spec=SPEC)
    told = list(ElementTree.fromstring(context.to_prompt()).iter("comment"))
    assert sorted(one.get("ref") or "" for one in told) == ["o1", "o2", "o3", "o4"]


async def test_pairs_are_told_by_the_records_they_lead_from() -> None:
    """By reference and title; the pairs themselves are no records."""
    context = await build_rag_context(desk(), spec=SPEC, filters={"tickets": {"id": 10}})
    assert 'tag="g1 urgent, g2 fire"' in context.to_prompt()
    assert "ticket_tag" not in context.to_prompt()
    assert "ticket_tags" not in {table for table, _ in context.sources.values()}
    assert context.report["ticket_tags"]["kept"] == 2
    assert context.rows["ticket_tags"][0] == {"ticket_id": 10, "tag_id": 2}


ORDERS = ContextSpec(
    [
        Entity("orders", parent=(), key=["year", "number"], title="buyer"),
        Entity("lines", parent={("order_year", "order_number"): "orders"}, key=["order_year", "order_number", "line"]),
    ]
)


@pytest.mark.parametrize("count", [2, 250])
async def test_a_parent_may_have_a_key_of_several_columns(count: int) -> None:
    """Both must match, however many there are; the key of a record is all of its values."""
    years = range(2000, 2000 + count)
    rows: dict[str, list[Row]] = {
        "orders": [{"year": year, "number": 7, "buyer": f"b{year}"} for year in years],
        "lines": [
            {"order_year": year, "order_number": number, "line": 1, "text": f"{year}/{number}"}
            for year in years
            for number in (7, 8)
        ],
    }
    document = {
        "orders": {"columns": {"year": "int", "number": "int", "buyer": "text"}, "primary_key": ["year", "number"]},
        "lines": {
            "columns": {"order_year": "int", "order_number": "int", "line": "int", "text": "text"},
            "primary_key": ["order_year", "order_number", "line"],
        },
    }
    adapter = Counting(rows, schema=Schema.from_document({"tables": document}))
    agent = create_persistence_agent(adapter=adapter, policy=TablePolicy(read={"orders", "lines"}))
    context = await build_rag_context(agent, spec=ORDERS, limits=dict.fromkeys(("orders", "lines"), 1_000))
    assert [row["text"] for row in context.rows["lines"]] == [f"{year}/7" for year in reversed(years)]
    assert context.sources["l1"] == ("lines", (years[-1], 7, 1))
    assert f'<order ref="o1" buyer="b{years[-1]}">\n    <line ref="l1">' in context.to_prompt()
    assert adapter.queries.count("lines") == -(-count // 100)


async def test_secrets_and_keys_of_other_tables_are_not_asked_for() -> None:
    """A draft leaves out what no model should see."""
    context = await build_rag_context(desk(), spec=SPEC)
    assert {column for row in context.rows["agents"] for column in row} == {"id", "full_name"}


# --- what cannot be read ----------------------------------------------------------------------------------------------


async def test_a_source_that_can_read_none_of_the_tables_is_refused() -> None:
    """It would say that nothing was found; the message says which tables there are, and how to name them."""
    with pytest.raises(ValidationError, match=r"clients, .*those that may be: agents, .*spec="):
        await build_rag_context(desk())
    with pytest.raises(ValidationError, match="those that may be: none"):
        await build_rag_context(desk(policy=TablePolicy()), spec=SPEC)


async def test_a_source_that_can_read_some_of_the_tables_says_which_are_missing() -> None:
    """And the prompt says nothing of what was not looked for."""
    policy = TablePolicy(read={"tickets", "comments"})
    context = await build_rag_context(desk(policy=policy), spec=SPEC, filters={"tickets": {"id": 99}})
    assert [warning.partition(":")[0] for warning in context.warnings] == [
        "customers",
        "kb_articles",
        "ticket_tags",
        "agents",
        "tags",
    ]
    assert (
        "<note>No matching tickets and comments were found, and nothing else was looked for."
        " Say so instead of guessing.</note>" in context.to_prompt()
    )
    assert "No matching records" not in context.to_prompt()


async def test_a_context_that_asks_for_no_rows_says_that_nothing_was_looked_for() -> None:
    """Limits of 0 leave every table out."""
    limits = dict.fromkeys(SPEC.shape(SCHEMA).tables, 0)
    prompt = (await build_rag_context(desk(), spec=SPEC, limits=limits)).to_prompt()
    assert "Nothing was looked for: records may exist." in prompt
    assert "found" not in prompt


async def test_a_filter_or_limit_on_a_table_that_the_context_does_not_have_is_refused() -> None:
    """Before any query, also for the arguments of the five tables."""
    adapter = Counting()
    for wrong in (
        {"filters": {"ticket": {"id": 1}}},
        {"limits": {"ticket": 1}},
        {"lead_filters": {"email": "a@x.io"}},
        {"filters": [("tickets", {"id": 1})]},
    ):
        with pytest.raises(ValidationError):
            await build_rag_context(desk(adapter=adapter), spec=SPEC, **wrong)
    assert adapter.queries == []


async def test_a_filter_on_a_table_that_may_not_be_read_is_refused() -> None:
    """Leaving it out would answer another question."""
    with pytest.raises(TableNotAllowedError):
        await build_rag_context(desk(policy=TablePolicy(read={"tickets"})), spec=SPEC, filters=ADA)


async def test_two_filters_for_one_table_are_refused() -> None:
    """By its own argument and by the mapping."""
    with pytest.raises(ValidationError, match="two filters"):
        await build_rag_context(
            create_persistence_agent("memory"),
            lead_filters={"email": "a@x.io"},
            filters={"leads": {"email": "a@x.io"}},
        )


async def test_parents_that_one_table_names_are_found_although_another_is_not_read() -> None:
    """Without the tickets the authors of comments are told all the same."""
    policy = TablePolicy(read=ALL.read - {"tickets"})
    spec = ContextSpec.from_schema(SCHEMA, "comments")
    context = await build_rag_context(desk(policy=policy), spec=spec)
    assert _keys(context, "agents") == [2, 1]
    assert [warning.partition(":")[0] for warning in context.warnings] == ["tickets", "customers"]


async def test_a_table_that_fails_costs_those_that_depend_on_it() -> None:
    """With partial results; the model is told, and the rest is there."""
    adapter = Counting()
    adapter.fails = {"tickets": AdapterError("locked", state=FailureState.REJECTED)}
    context = await build_rag_context(desk(adapter=adapter), spec=SPEC, filters=ADA, on_error="partial")
    assert not context.complete
    assert _keys(context, "customers") == [1]
    told = "The tickets, comments, ticket_tags, agents and tags could not be read: they may exist."
    assert told in context.to_prompt()
    with pytest.raises(AdapterError, match="locked"):
        await build_rag_context(desk(adapter=adapter), spec=SPEC, filters=ADA)


# --- what else a context can do ---------------------------------------------------------------------------------------


class Naming:
    """A retriever that names what it is told to."""

    def __init__(self, *named: Relevance) -> None:
        self.named = named
        self.searched: Sequence[str] = ()

    async def retrieve(self, source: Any, query: str, *, tables: Sequence[str], limit: int) -> Sequence[Relevance]:
        self.searched = tables
        return self.named


async def test_a_retriever_finds_rows_of_the_chosen_world_and_no_others() -> None:
    """On top of the limits, with what they belong to; pairs and references are not searched."""
    named = Naming(Relevance("comments", 30, 1.0), Relevance("comments", 33, 1.0), Relevance("tickets", 20, 1.0))
    context = await build_rag_context(
        desk(), spec=SPEC, filters=ADA, limits={"comments": 1, "tickets": 1}, query="fire?", retriever=named
    )
    assert set(named.searched) == {"customers", "tickets", "comments", "kb_articles"}
    assert _keys(context, "comments") == [31, 30]  # 31 is the turn after 30
    assert _keys(context, "tickets") == [10]
    everybody = await build_rag_context(desk(), spec=SPEC, limits={"tickets": 1}, query="fire?", retriever=named)
    assert _keys(everybody, "tickets") == [20, 10]
    assert _keys(everybody, "customers") == [2, 1]


async def test_what_a_named_row_belongs_to_stays_out_with_it() -> None:
    """A ticket of another agent is not shown, and nor is its customer."""
    named = Naming(Relevance("tickets", 20, 1.0), Relevance("comments", 33, 1.0))
    filters = {"agents": {"full_name": "Cleo Marsh"}}
    context = await build_rag_context(desk(), spec=SPEC, filters=filters, query="fire?", retriever=named)
    assert (_keys(context, "tickets"), _keys(context, "customers")) == ([10], [1])


async def test_scores_budgets_and_pins_know_the_tables_of_the_context() -> None:
    """The words of the question decide; a pinned record stays."""
    context = await build_rag_context(
        desk(), spec=SPEC, query="What burns?", scoring=Scoring(pins=[("kb_articles", 1)]), max_tokens=150
    )
    assert "Leave the room." in context.to_prompt()
    assert context.explain()[0].table == "kb_articles"
    assert context.explain()[1].key == 30
    floored = context.prompt(max_tokens=TokenBudget(300, floors={"tags": 90}))
    assert floored.report["tags"]["kept"] == 3
    assert floored.tokens.used <= 300


@pytest.mark.parametrize("format", FORMATS)
async def test_a_redacted_context_tells_no_name_in_titles_or_references(format: PromptFormat) -> None:
    """Titles of others are told redacted too, by the same labels."""
    context = await build_rag_context(desk(), spec=SPEC, filters=ADA, redaction=Redaction.default(SCHEMA))
    prompt = context.to_prompt(format)
    for value in ("Ada", "ada@desk.example", "Cleo", "Marsh"):
        assert value not in prompt
    assert "[PERSON_2]" in prompt
    assert context.restore("Ask [PERSON_2].") == "Ask Cleo Marsh."
    assert _keys(context, "customers") == [1]


async def test_a_column_that_is_no_key_stays_redacted_although_others_refer_to_it() -> None:
    """Records find each other by equal labels."""
    spec = ContextSpec(
        [
            Entity("customers", parent=(), title="name"),
            Entity("mails", parent=[Parent("sender", "customers", references="email")], body="text"),
        ]
    )
    document = SCHEMA.to_document()
    document["tables"]["mails"] = {
        "columns": {"id": "bigint", "sender": {"type": "text", "pii": "email"}, "text": "text"},
        "primary_key": ["id"],
    }
    schema = Schema.from_document(document)
    rows = {"customers": ROWS["customers"], "mails": [{"id": 1, "sender": "ada@desk.example", "text": "Hello"}]}
    adapter = Counting(rows, schema=schema)
    service = desk(adapter=adapter, schema=schema, policy=TablePolicy(read={"customers", "mails"}))
    context = await build_rag_context(service, spec=spec, redaction=Redaction.default(schema))
    assert "ada@desk.example" not in context.to_prompt()
    assert '<mail ref="m1">Hello</mail>\n  </customer>' in context.to_prompt()


async def test_without_relations_every_table_is_read_by_itself() -> None:
    """Pairs and threads are told as far as both ends are there."""
    context = await build_rag_context(desk(), spec=SPEC, follow_relations=False, filters={"tickets": {"id": 10}})
    assert _keys(context, "customers") == [2, 1]
    assert len(context.rows["comments"]) == 4


async def test_the_rows_of_the_five_tables_are_attributes_of_their_context_alone() -> None:
    """Others are in `rows`."""
    context = await build_rag_context(desk(), spec=SPEC)
    assert not hasattr(context, "leads")
    five = RAGContext(leads=[{"id": 1}])
    assert five.leads == five.rows["leads"] == [{"id": 1}]
    five.messages = [{"id": 2}]
    assert five.rows["messages"] == [{"id": 2}]
    with pytest.raises(Exception, match="rows: 'tickets' is none of"):
        RAGContext(rows={"tickets": []})


def test_rows_given_by_hand_are_told_by_any_spec() -> None:
    """Without a schema where the spec says everything."""
    rows = {
        "customers": [{"id": 1, "name": "Ada", "created_at": at(1)}],
        "tickets": [{"id": 2, "customer_id": 1, "subject": "Fire", "created_at": at(2)}],
        "comments": [comment(3, 2, "Hot.")],
    }
    prompt = RAGContext(rows=rows, spec=BY_HAND).to_prompt()
    assert prompt.startswith("<context>")
    [told] = ElementTree.fromstring(prompt).findall("customer/ticket/comment")
    assert told.text == "Hot."


def test_a_table_or_column_with_a_name_of_ours_changes_no_prompt() -> None:
    """Of tables `notes` and `fields` and a label `at`, every record is told once, in every format."""
    spec = ContextSpec(
        [
            Entity("notes", parent=(), labels=["at", "ref", "Größe in cm"]),
            Entity("fields", parent={"note_id": "notes"}, title="end"),
            Entity("begin", parent=()),
        ]
    )
    rows: dict[str, list[Row]] = {
        "notes": [{"id": 1, "at": "x", "ref": "y", "Größe in cm": 3, "note": "<n>"}],
        "fields": [{"id": 2, "note_id": 1, "end": "e"}, {"id": 3, "note_id": None, "end": "f"}],
        "begin": [{"id": 4, "begin": "b"}],
    }
    context = RAGContext(rows=rows, spec=spec)
    found = ElementTree.fromstring(context.to_prompt())
    assert [told.get("ref") for told in found.iter() if told.get("ref")] == ["n1", "f1", "f2", "b1"]
    told = json.loads(context.to_prompt("json"), object_pairs_hook=_without_twins)["context"]
    assert told["notes_"][0]["fields"][0]["end"] == "e"
    assert told["begin_"][0]["ref"] == "b1"


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
