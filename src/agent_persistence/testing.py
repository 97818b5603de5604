"""For tests of code that uses this package, and for adapters that others write.

    from agent_persistence.testing import CONTRACT

    @pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
    async def test_my_adapter_keeps_the_contract(law):
        await law(MyAdapter())

Each law is a coroutine function that takes an adapter over empty tables of the default schema and raises
AssertionError where the adapter breaks it. They need no test framework and run on asyncio and trio.
"""

# persistence-guard: allow-file AP002 the laws are run on stores made for tests

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID, uuid4

import anyio

from agent_persistence.adapter import BulkWrites, Counts, Deletes, PersistenceAdapter, Updates
from agent_persistence.adapters.memory import reset_shared_memory
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState, PersistenceError, ValidationError
from agent_persistence.filters import (
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
from agent_persistence.ordering import asc, desc
from agent_persistence.records import Row, encode_record

Law: TypeAlias = Callable[[PersistenceAdapter], Awaitable[None]]


def reset_memory() -> None:
    """Empty the store that kind="memory" shares in this process, and let the next user choose its schema."""
    reset_shared_memory()


async def a_written_row_comes_back_with_generated_values(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("leads", {"email": "ada@a.example", "first_name": "Ada"})
    _equal((row["email"], row["first_name"], row["status"]), ("ada@a.example", "Ada", "new"))
    _equal(str(UUID(row["id"])), row["id"])
    _true(datetime.fromisoformat(row["created_at"]).tzinfo is not None, "created_at has a time zone")
    _equal(await adapter.read("leads", row["id"]), row)


async def identity_keys_count_upwards(adapter: PersistenceAdapter) -> None:
    rows = await adapter.batch_write("inquiries", [{"body": "one"}, {"body": "two"}])
    _equal(rows[1]["id"] - rows[0]["id"], 1)


async def values_of_every_kind_come_back_usable(adapter: PersistenceAdapter) -> None:
    noon = datetime(2026, 1, 2, 12, 30, 0, 250000, tzinfo=timezone(timedelta(hours=2)))
    client = await adapter.write(
        "clients", _json(name="Ünïcode 株式会社 🚀", budget=Decimal("1234.50"), tags=["a,b", '"c"', "\\"])
    )
    campaign = await adapter.write(
        "campaigns", _json(client_id=UUID(client["id"]), name="n", starts_on=date(2026, 3, 4))
    )
    custom = {"nested": {"list": [1, 2.5, None, True, "x"], "ключ": "значение"}}
    lead = await adapter.write(
        "leads",
        _json(email="v@a.example", score=Decimal("0.25"), last_contacted_at=noon, custom=custom, is_qualified=True),
    )
    _equal((client["name"], client["tags"]), ("Ünïcode 株式会社 🚀", ["a,b", '"c"', "\\"]))
    _equal(Decimal(str(client["budget"])), Decimal("1234.5"))
    _equal((campaign["client_id"], campaign["starts_on"]), (client["id"], "2026-03-04"))
    _equal(Decimal(str(lead["score"])), Decimal("0.25"))
    _equal(datetime.fromisoformat(lead["last_contacted_at"]), noon)
    _equal((lead["custom"], lead["is_qualified"]), (custom, True))


_TEXTS: Final = (
    *(
        "a,b",
        'say "hi"',
        "(x)",
        "back\\slash",
        "100%",
        "under_score",
        "line\nend",
        "tab\t",
        " blank ",
        "a.b:c",
        "*",
        "{x}",
    ),
    *(
        "true",
        "null",
        "not.eq.1",
        "1.50",
        "007",
        '"quoted"',
        "\\",
        "')--",
        "ß漢字🚀",
        "e\u0301",
        "\u05e9\u05dc\u05d5\u05dd",
        "",
    ),
)


async def text_of_every_kind_equals_itself(adapter: PersistenceAdapter) -> None:
    await adapter.batch_write("inquiries", [{"email": "t@a.example", "body": text} for text in _TEXTS])
    for text in _TEXTS:
        for filters in (
            {"body": text},
            {"body": in_([text])},
            {"body": in_([text, "no such text"])},
            any_of({"body": text}, {"body": "no such text"}),
            any_of(all_of({"body": in_([text, "no, such"])}, {"email": "t@a.example"}), {"email": "nobody"}),
            not_(any_of({"body": ne(text)}, {"email": "nobody"})),
        ):
            rows = await adapter.query("inquiries", filters)
            _equal([row["body"] for row in rows], [text], f"for {filters!r}")


async def a_megabyte_of_text_comes_back(adapter: PersistenceAdapter) -> None:
    text = 'a "long", (very) long text\n' * 40_000
    row = await adapter.write("inquiries", {"body": text})
    _equal(((await adapter.read("inquiries", row["id"])) or {})["body"] == text, True)


async def a_batch_keeps_its_order(adapter: PersistenceAdapter) -> None:
    emails = [f"{number}@a.example" for number in (3, 1, 2)]
    rows = await adapter.batch_write("leads", [{"email": email} for email in emails])
    _equal([row["email"] for row in rows], emails)
    _equal(await adapter.batch_write("leads", []), [])


async def a_batch_is_all_or_nothing(adapter: PersistenceAdapter) -> None:
    await adapter.write("leads", {"email": "taken@a.example"})
    error = await _raised(
        ConflictError, adapter.batch_write("leads", [{"email": "new@a.example"}, {"email": "taken@a.example"}])
    )
    _equal((error.code, error.constraint, error.state), ("23505", "leads_email_key", FailureState.REJECTED))
    _equal(await adapter.query("leads", {"email": "new@a.example"}), [])


async def columns_absent_from_one_record_of_a_batch_take_their_default(adapter: PersistenceAdapter) -> None:
    rows = await adapter.batch_write(
        "leads", [{"email": "a@a.example", "status": "won"}, {"email": "b@a.example", "company": "B"}]
    )
    _equal([(row["status"], row["company"]) for row in rows], [("won", None), ("new", "B")])


async def a_bulk_write_stores_all_rows_or_none(adapter: PersistenceAdapter) -> None:
    bulk = cast("BulkWrites", adapter)
    emails = [f"{number}@a.example" for number in range(50)]
    _equal(await bulk.bulk_write("leads", [{"email": email, "status": "won"} for email in emails]), 50)
    _equal(await cast("Counts", adapter).count("leads", {"status": "won"}), 50)
    _equal(await bulk.bulk_write("leads", []), 0)
    error = await _raised(
        ConflictError, bulk.bulk_write("leads", [{"email": "new@a.example"}, {"email": "7@a.example"}])
    )
    _equal((error.code, error.constraint, error.state), ("23505", "leads_email_key", FailureState.REJECTED))
    _equal(await adapter.query("leads", {"email": "new@a.example"}), [])


async def a_bulk_write_merges_by_the_columns_named(adapter: PersistenceAdapter) -> None:
    bulk = cast("BulkWrites", adapter)
    there = await adapter.write("leads", {"email": "old@a.example", "company": "A", "first_name": "Ada"})
    records = [{"email": "old@a.example", "company": "B"}, {"email": "new@a.example", "company": "C"}]
    _equal(await bulk.bulk_write("leads", records, on_conflict=["email"]), 2)
    merged = await adapter.read("leads", there["id"])
    _equal(merged and (merged["company"], merged["first_name"]), ("B", "Ada"))
    _equal(len(await adapter.query("leads", {"company": "C"})), 1)
    moved = [{"id": there["id"], "email": "moved@a.example"}]
    _equal(await bulk.bulk_write("leads", moved, on_conflict=[]), 1)
    _equal([row["company"] for row in await adapter.query("leads", {"email": "moved@a.example"})], ["B"])


async def a_bulk_write_merges_no_row_twice(adapter: PersistenceAdapter) -> None:
    same = [{"email": "a@a.example", "company": "A"}, {"email": "a@a.example", "company": "B"}]
    error = await _raised(AdapterError, cast("BulkWrites", adapter).bulk_write("leads", same, on_conflict=["email"]))
    _equal((error.code, error.state), ("21000", FailureState.REJECTED))
    _equal(await adapter.query("leads"), [])


async def an_explicit_null_is_stored(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("clients", {"name": "n", "plan": None})
    _equal(row["plan"], None)


async def upsert_inserts_then_merges(adapter: PersistenceAdapter) -> None:
    first = await adapter.upsert("leads", {"email": "u@a.example", "company": "A"}, ["email"])
    second = await adapter.upsert("leads", {"email": "u@a.example", "status": "won"}, ["email"])
    _equal((second["id"], second["company"], second["status"]), (first["id"], "A", "won"))
    _equal(len(await adapter.query("leads")), 1)


async def upsert_without_target_merges_by_primary_key(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("conversations", {"subject": "a", "channel": "chat"})
    merged = await adapter.upsert("conversations", {"id": row["id"], "subject": "b"})
    _equal(merged, {**row, "subject": "b"})


async def upsert_on_several_columns(adapter: PersistenceAdapter) -> None:
    campaign = (await adapter.write("campaigns", {"name": "c"}))["id"]
    first = await adapter.upsert(
        "sequences", {"campaign_id": campaign, "step": 1, "template": "a"}, ["campaign_id", "step"]
    )
    second = await adapter.upsert(
        "sequences", {"campaign_id": campaign, "step": 1, "template": "b"}, ["campaign_id", "step"]
    )
    _equal((first["id"], second["template"]), (second["id"], "b"))


async def reading_what_is_not_there_gives_none(adapter: PersistenceAdapter) -> None:
    _equal(await adapter.read("leads", str(uuid4())), None)
    _equal(await adapter.read("leads", "nobody@a.example", "email"), None)
    _equal(await adapter.query("leads", {"email": "nobody@a.example"}), [])


async def reading_by_a_column_that_several_rows_share_is_refused(adapter: PersistenceAdapter) -> None:
    await adapter.batch_write("leads", [{"email": "a@a.example"}, {"email": "b@a.example"}])
    await _raised(ValidationError, adapter.read("leads", "new", "status"))


async def _scores(adapter: PersistenceAdapter) -> None:
    await adapter.batch_write(
        "leads",
        [
            {"email": f"{name}@a.example", "score": score, "is_qualified": qualified, "company": company}
            for name, score, qualified, company in (
                ("a", 0.1, True, "Acme"),
                ("b", 0.5, False, "acme ltd"),
                ("c", None, None, "B_C"),
                ("d", 0.9, True, None),
            )
        ],
    )


async def filters_select_as_sql_does(adapter: PersistenceAdapter) -> None:
    await _scores(adapter)
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
        _equal("".join(row["email"][0] for row in rows), expected, f"for {filters!r}")


async def regular_expressions_match_as_in_postgresql(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("regex"):
        await _scores(adapter)
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
            _equal("".join(row["email"][0] for row in rows), expected, f"for {condition!r}")


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
        _equal("".join(row["email"][0] for row in rows), expected, f"for {filters!r}")


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
            _equal("".join(row["email"][0] for row in rows), expected, f"for {condition!r}")


async def order_puts_nulls_last_when_ascending_and_first_when_descending(adapter: PersistenceAdapter) -> None:
    await _scores(adapter)
    for order_by, descending, expected in (
        ("score", False, "abdc"),
        ("score", True, "cdba"),
        ([desc("is_qualified"), asc("score")], False, "cadb"),
        (asc("score", nulls="first"), False, "cabd"),
        (desc("score", nulls="last"), False, "dbac"),
        ([asc("is_qualified", nulls="first"), desc("score", nulls="first")], False, "cbda"),
    ):
        rows = await adapter.query("leads", None, None, order_by, descending)
        _equal("".join(row["email"][0] for row in rows), expected, f"for {order_by!r}, descending={descending}")


async def limit_and_offset_cut_the_ordered_rows(adapter: PersistenceAdapter) -> None:
    await _scores(adapter)
    rows = await adapter.query("leads", order_by="email", limit=2, offset=1)
    _equal([row["email"][0] for row in rows], ["b", "c"])
    _equal(await adapter.query("leads", order_by="email", limit=2, offset=10), [])


async def select_returns_the_named_columns_only(adapter: PersistenceAdapter) -> None:
    await _scores(adapter)
    rows = await adapter.query("leads", {"score": 0.9}, select=["email", "company"])
    _equal(rows, [{"email": "d@a.example", "company": None}])


async def integrity_rules_are_conflicts_that_name_their_constraint(adapter: PersistenceAdapter) -> None:
    for table, record, code, constraint in (
        ("leads", {"first_name": "no e-mail"}, "23502", None),
        ("conversations", {"lead_id": str(uuid4())}, "23503", "conversations_lead_id_fkey"),
        ("campaigns", {"name": "n", "status": "no such"}, "23514", "campaigns_status_check"),
    ):
        error = await _raised(ConflictError, adapter.write(table, record))
        _equal((error.code, error.constraint, error.state), (code, constraint, FailureState.REJECTED))


async def values_of_the_wrong_type_are_rejected(adapter: PersistenceAdapter) -> None:
    for call, code in (
        (adapter.read("leads", "no-uuid"), "22P02"),
        (adapter.write("leads", {"email": "e@a.example", "score": "much"}), "22P02"),
        (adapter.query("leads", {"created_at": gt("yesterday-ish")}), "22007"),
    ):
        error = await _raised(AdapterError, call)
        _equal((error.code, error.state), (code, FailureState.REJECTED))


async def a_column_that_does_not_exist_is_rejected(adapter: PersistenceAdapter) -> None:
    for call in (
        adapter.write("leads", {"email": "e@a.example", "no_such_column": 1}),
        adapter.query("leads", {"no_such_column": 1}),
        adapter.query("leads", select=["no_such_column"]),
        adapter.query("leads", order_by="no_such_column"),
    ):
        error = await _raised(AdapterError, call)
        _equal(error.state, FailureState.REJECTED)


async def count_is_exact(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("count"):
        await _scores(adapter)
        counts = cast("Counts", adapter).count
        _equal(
            (
                await counts("leads"),
                await counts("leads", {"score": gt(0.1)}),
                await counts("leads", {"email": in_([])}),
            ),
            (4, 2, 0),
        )


async def update_sets_the_named_columns_of_the_selected_rows(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("update"):
        await _scores(adapter)
        update = cast("Updates", adapter).update
        rows = await update("leads", {"status": "won", "company": None}, {"is_qualified": True})
        _equal(
            sorted((row["email"][0], row["status"], row["company"]) for row in rows),
            [("a", "won", None), ("d", "won", None)],
        )
        _equal(len(await adapter.query("leads", {"status": "won", "company": None})), 2)
        _equal(await update("leads", {"status": "lost"}, {"email": "nobody@a.example"}), [])


async def a_refused_update_changes_nothing(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("update"):
        await _scores(adapter)
        update = cast("Updates", adapter).update
        before = await adapter.query("leads", order_by="email")
        for changes, error_class, code in (
            ({"email": "same@a.example"}, ConflictError, "23505"),
            ({"email": None}, ConflictError, "23502"),
            ({"client_id": str(uuid4())}, ConflictError, "23503"),
            ({"score": "much"}, AdapterError, "22P02"),
        ):
            error = await _raised(error_class, update("leads", changes, {"is_qualified": True}))
            _equal((error.code, error.state), (code, FailureState.REJECTED))
        error = await _raised(AdapterError, update("leads", {"status": "won"}, {"is_qualified": True}, max_affected=1))
        _equal((error.code, error.state), ("PGRST124", FailureState.REJECTED))
        _equal(await adapter.query("leads", order_by="email"), before)


async def delete_removes_the_selected_rows_and_what_cascades(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("delete"):
        await _scores(adapter)
        leads = await adapter.query("leads", order_by="email")
        talk = await adapter.write("conversations", {"lead_id": leads[0]["id"]})
        await adapter.write("messages", {"conversation_id": talk["id"], "role": "user"})
        delete = cast("Deletes", adapter).delete
        _equal(await delete("leads", {"id": leads[0]["id"]}), [leads[0]])
        _equal((await adapter.query("conversations"), await adapter.query("messages")), ([], []))
        _equal(await delete("leads", {"id": leads[0]["id"]}), [])
        _equal(await adapter.query("leads", order_by="email"), leads[1:])


async def a_refused_delete_removes_nothing(adapter: PersistenceAdapter) -> None:
    if adapter.capabilities.get("delete"):
        client = await adapter.write("clients", {"name": "n"})
        await adapter.batch_write("leads", [{"email": f"{n}@a.example", "client_id": client["id"]} for n in range(2)])
        delete = cast("Deletes", adapter).delete
        error: AdapterError = await _raised(ConflictError, delete("clients", {"id": client["id"]}))
        _equal((error.code, error.state), ("23503", FailureState.REJECTED))
        error = await _raised(AdapterError, delete("leads", {"client_id": client["id"]}, max_affected=1))
        _equal((error.code, error.state), ("PGRST124", FailureState.REJECTED))
        _equal((len(await adapter.query("clients")), len(await adapter.query("leads"))), (1, 2))


async def columns_are_told_in_their_order_or_not_at_all(adapter: PersistenceAdapter) -> None:
    columns = await adapter.get_columns("conversations")
    _true(columns in (None, ["id", "lead_id", "channel", "subject", "opened", "created_at"]), f"{columns}")


async def nobody_can_reach_into_the_store(adapter: PersistenceAdapter) -> None:
    custom: dict[str, Any] = {"tags": ["a"]}
    row = await adapter.write("leads", {"email": "c@a.example", "custom": custom})
    custom["tags"].append("b")
    row["custom"]["tags"].append("c")
    stored = await adapter.read("leads", row["id"])
    _equal((stored or {})["custom"], {"tags": ["a"]})


async def concurrent_writes_are_all_kept(adapter: PersistenceAdapter) -> None:
    async def write(number: int) -> None:
        await adapter.write("leads", {"email": f"{number}@a.example"})

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(write, number)
    _equal(len({row["email"] for row in await adapter.query("leads")}), 20)


async def after_a_cancelled_call_the_next_one_works(adapter: PersistenceAdapter) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await adapter.write("leads", {"email": "cancelled@a.example"})
    _true(
        len(await adapter.query("leads", {"email": "cancelled@a.example"})) <= 1,
        "a cancelled write is applied once at most",
    )
    await adapter.write("leads", {"email": "next@a.example"})


async def closing_twice_changes_nothing(adapter: PersistenceAdapter) -> None:
    await adapter.aclose()
    await adapter.aclose()


CONTRACT: Final[tuple[Law, ...]] = (
    a_written_row_comes_back_with_generated_values,
    identity_keys_count_upwards,
    values_of_every_kind_come_back_usable,
    text_of_every_kind_equals_itself,
    a_megabyte_of_text_comes_back,
    a_batch_keeps_its_order,
    a_batch_is_all_or_nothing,
    columns_absent_from_one_record_of_a_batch_take_their_default,
    a_bulk_write_stores_all_rows_or_none,
    a_bulk_write_merges_by_the_columns_named,
    a_bulk_write_merges_no_row_twice,
    an_explicit_null_is_stored,
    upsert_inserts_then_merges,
    upsert_without_target_merges_by_primary_key,
    upsert_on_several_columns,
    reading_what_is_not_there_gives_none,
    reading_by_a_column_that_several_rows_share_is_refused,
    filters_select_as_sql_does,
    regular_expressions_match_as_in_postgresql,
    arrays_and_documents_contain_as_in_postgresql,
    full_text_search_finds_words,
    order_puts_nulls_last_when_ascending_and_first_when_descending,
    limit_and_offset_cut_the_ordered_rows,
    select_returns_the_named_columns_only,
    integrity_rules_are_conflicts_that_name_their_constraint,
    values_of_the_wrong_type_are_rejected,
    a_column_that_does_not_exist_is_rejected,
    columns_are_told_in_their_order_or_not_at_all,
    count_is_exact,
    update_sets_the_named_columns_of_the_selected_rows,
    a_refused_update_changes_nothing,
    delete_removes_the_selected_rows_and_what_cascades,
    a_refused_delete_removes_nothing,
    nobody_can_reach_into_the_store,
    concurrent_writes_are_all_kept,
    after_a_cancelled_call_the_next_one_works,
    closing_twice_changes_nothing,
)
"""The laws of `agent_persistence.adapter`, in the order of its verbs."""


def _json(**values: Any) -> dict[str, Any]:
    return encode_record("contract", values)


def _equal(actual: object, expected: object, about: str = "") -> None:
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r} {about}".rstrip())


def _true(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)


Error = TypeVar("Error", bound=PersistenceError)


async def _raised(error_class: type[Error], call: Awaitable[Row | list[Row] | int | None]) -> Error:
    try:
        returned = await call
    except error_class as error:
        return error
    raise AssertionError(f"expected {error_class.__name__}, got {returned!r}")


__all__ = ["CONTRACT", "Law", "reset_memory"]
