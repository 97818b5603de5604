"""Laws of read, query and get_columns."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.exceptions import ValidationError
from agent_persistence.query.filters import (
    all_of,
    any_of,
    contained_by,
    contains,
    eq,
    gt,
    gte,
    ilike,
    imatch,
    in_,
    is_true,
    like,
    lt,
    match,
    ne,
    not_,
    not_in,
    not_null,
    overlaps,
    text_search,
)
from agent_persistence.query.ordering import asc, desc
from agent_persistence.testing.contract.stage import equal, raised, scored_leads, true


async def reading_what_is_not_there_gives_none(adapter: PersistenceAdapter) -> None:
    equal(await adapter.read("leads", str(uuid4())), None)
    equal(await adapter.read("leads", "nobody@a.example", "email"), None)
    equal(await adapter.query("leads", {"email": "nobody@a.example"}), [])


async def reading_by_a_column_that_several_rows_share_is_refused(adapter: PersistenceAdapter) -> None:
    await adapter.batch_write("leads", [{"email": "a@a.example"}, {"email": "b@a.example"}])
    await raised(ValidationError, adapter.read("leads", "new", "status"))


async def filters_select_as_sql_does(adapter: PersistenceAdapter) -> None:
    await scored_leads(adapter)
    for filters, expected in (
        (None, "abcd"),
        ({"score": 0.5}, "b"),
        ({"score": None}, "c"),
        ({"score": gt(0.1)}, "bd"),
        ({"score": gte(0.5), "is_qualified": True}, "d"),
        ({"score": lt(0.5)}, "a"),
        ({"score": ne(0.5)}, "ad"),
        ({"score": not_null()}, "abd"),
        ({"email": in_(["a@a.example", "d@a.example", "z@a.example"])}, "ad"),
        ({"email": in_([])}, ""),
        ({"email": not_in(["a@a.example"])}, "bcd"),
        ({"company": like("%cme%")}, "ab"),
        ({"company": ilike("ACME%")}, "ab"),
        ({"company": like("B\\_C")}, "c"),
        ({"company": like("B__")}, "c"),
        ({"is_qualified": is_true()}, "ad"),
        ({"score": all_of(gte(0.2), lt(0.9))}, "b"),
        (any_of({"score": lt(0.2)}, {"company": "B_C"}), "ac"),
        (not_({"score": 0.5}), "ad"),
        ({"score": not_(eq(0.5))}, "ad"),
        (any_of(all_of({"score": gt(0.4)}, {"is_qualified": is_true()}), {"company": 'x,")('}), "d"),
        (not_(any_of({"score": gt(0.4)}, {"company": "Acme"})), ""),
    ):
        rows = await adapter.query("leads", filters, order_by="email")
        equal("".join(row["email"][0] for row in rows), expected, f"for {filters!r}")


async def regular_expressions_match_as_in_postgresql(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("regex"):
        await scored_leads(adapter)
        for condition, expected in (
            (match("^B.C$"), "c"),
            (match("cm[ae]"), "ab"),
            (match("^(Acme|nobody)$"), "a"),
            (imatch("^acme"), "ab"),
            (match("me l?td?"), "b"),
            (match("\\."), ""),
            (not_(match("cme")), "c"),
        ):
            rows = await adapter.query("leads", {"company": condition}, order_by="email")
            equal("".join(row["email"][0] for row in rows), expected, f"for {condition!r}")


async def arrays_and_documents_contain_as_in_postgresql(adapter: PersistenceAdapter) -> None:
    if not (adapter.capabilities.get("arrays") and adapter.capabilities.get("json")):
        return
    document = {"a": [1, {"b": "x"}], "c": {"d": None, "e": 'f,"g}'}}
    await adapter.write("leads", {"email": "a@a.example", "tags": ["a,b", '"c"', "\\", "{d}"], "custom": document})
    await adapter.write("leads", {"email": "b@a.example", "tags": [], "custom": [1, "two", [3]]})
    await adapter.write("leads", {"email": "c@a.example"})
    for filters, expected in (
        ({"tags": contains(["a,b"])}, "a"),
        ({"tags": contains(["{d}", "\\", '"c"'])}, "a"),
        ({"tags": contains([])}, "ab"),
        ({"tags": contained_by(["a,b", '"c"', "\\", "{d}", "more"])}, "ab"),
        ({"tags": overlaps(["z", '"c"'])}, "a"),
        ({"tags": overlaps(["z"])}, ""),
        ({"tags": not_(contains(["z"]))}, "ab"),
        ({"tags": eq(["a,b", '"c"', "\\", "{d}"])}, "a"),
        ({"tags": eq(['"c"', "a,b", "\\", "{d}"])}, ""),
        ({"tags": eq([])}, "b"),
        (any_of({"tags": ne([])}, {"tags": None}), "ac"),
        ({"custom": contains({"a": [{"b": "x"}]})}, "a"),
        ({"custom": contains({"c": {"e": 'f,"g}'}})}, "a"),
        ({"custom": contains({"c": {"d": None}})}, "a"),
        ({"custom": contains({"a": [2]})}, ""),
        ({"custom": contains(["two"])}, "b"),
        ({"custom": contains([[3]])}, "b"),
        ({"custom": contained_by([1, "two", [3, 4], 5])}, "b"),
        (any_of({"tags": contains(["a,b"])}, {"custom": contains(["two"])}), "ab"),
        (any_of({"tags": contains(['"c"', "\\"])}, {"custom": contains({"none": 1})}), "a"),
    ):
        rows = await adapter.query("leads", filters, order_by="email")
        equal("".join(row["email"][0] for row in rows), expected, f"for {filters!r}")


async def full_text_search_finds_words(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("text_search"):
        for email, notes in (("a", "The quick brown foxes"), ("b", "quick, but not brown"), ("c", None)):
            await adapter.write("leads", {"email": f"{email}@a.example", "notes": notes})
        for condition, expected in (
            (text_search("quick brown", config="simple"), "ab"),
            (text_search("quick brown", kind="phrase", config="simple"), "a"),
            (text_search("fox or but", kind="websearch", config="simple"), "b"),
            (text_search("quick & !but", kind="tsquery", config="simple"), "a"),
            (not_(text_search("foxes", config="simple")), "b"),
        ):
            rows = await adapter.query("leads", {"notes": condition}, order_by="email")
            equal("".join(row["email"][0] for row in rows), expected, f"for {condition!r}")


async def order_puts_nulls_last_when_ascending_and_first_when_descending(adapter: PersistenceAdapter) -> None:
    await scored_leads(adapter)
    for order_by, descending, expected in (
        ("score", False, "abdc"),
        ("score", True, "cdba"),
        ([desc("is_qualified"), asc("score")], False, "cadb"),
        (asc("score", nulls="first"), False, "cabd"),
        (desc("score", nulls="last"), False, "dbac"),
        ([asc("is_qualified", nulls="first"), desc("score", nulls="first")], False, "cbda"),
    ):
        rows = await adapter.query("leads", None, None, order_by, descending)
        equal("".join(row["email"][0] for row in rows), expected, f"for {order_by!r}, descending={descending}")


async def limit_and_offset_cut_the_ordered_rows(adapter: PersistenceAdapter) -> None:
    await scored_leads(adapter)
    rows = await adapter.query("leads", order_by="email", limit=2, offset=1)
    equal([row["email"][0] for row in rows], ["b", "c"])
    equal(await adapter.query("leads", order_by="email", limit=2, offset=10), [])


async def select_returns_the_named_columns_only(adapter: PersistenceAdapter) -> None:
    await scored_leads(adapter)
    rows = await adapter.query("leads", {"score": 0.9}, select=["email", "company"])
    equal(rows, [{"email": "d@a.example", "company": None}])


async def columns_are_told_in_their_order_or_not_at_all(adapter: PersistenceAdapter) -> None:
    columns = await adapter.get_columns("conversations")
    true(columns in (None, ["id", "lead_id", "channel", "subject", "opened", "created_at"]), f"{columns}")


LAWS: Final = (
    reading_what_is_not_there_gives_none,
    reading_by_a_column_that_several_rows_share_is_refused,
    filters_select_as_sql_does,
    regular_expressions_match_as_in_postgresql,
    arrays_and_documents_contain_as_in_postgresql,
    full_text_search_finds_words,
    order_puts_nulls_last_when_ascending_and_first_when_descending,
    limit_and_offset_cut_the_ordered_rows,
    select_returns_the_named_columns_only,
    columns_are_told_in_their_order_or_not_at_all,
)
