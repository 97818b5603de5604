"""Laws of what a value is when it comes back."""

# persistence-guard: allow-file AP002 the laws are run on stores made for tests

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final
from uuid import UUID

from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.query.filters import all_of, any_of, in_, ne, not_
from agent_persistence.testing.contract.stage import as_json, equal, true


async def a_written_row_comes_back_with_generated_values(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("leads", {"email": "ada@a.example", "first_name": "Ada"})
    equal((row["email"], row["first_name"], row["status"]), ("ada@a.example", "Ada", "new"))
    equal(str(UUID(row["id"])), row["id"])
    true(datetime.fromisoformat(row["created_at"]).tzinfo is not None, "created_at has a time zone")
    equal(await adapter.read("leads", row["id"]), row)


async def identity_keys_count_upwards(adapter: PersistenceAdapter) -> None:
    rows = await adapter.batch_write("inquiries", [{"body": "one"}, {"body": "two"}])
    equal(rows[1]["id"] - rows[0]["id"], 1)


async def values_of_every_kind_come_back_usable(adapter: PersistenceAdapter) -> None:
    noon = datetime(2026, 1, 2, 12, 30, 0, 250000, tzinfo=timezone(timedelta(hours=2)))
    client = await adapter.write(
        "clients", as_json(name="Ünïcode 株式会社 🚀", budget=Decimal("1234.50"), tags=["a,b", '"c"', "\\"])
    )
    campaign = await adapter.write(
        "campaigns", as_json(client_id=UUID(client["id"]), name="n", starts_on=date(2026, 3, 4))
    )
    custom = {"nested": {"list": [1, 2.5, None, True, "x"], "ключ": "значение"}}
    lead = await adapter.write(
        "leads",
        as_json(email="v@a.example", score=Decimal("0.25"), last_contacted_at=noon, custom=custom, is_qualified=True),
    )
    equal((client["name"], client["tags"]), ("Ünïcode 株式会社 🚀", ["a,b", '"c"', "\\"]))
    equal(Decimal(str(client["budget"])), Decimal("1234.5"))
    equal((campaign["client_id"], campaign["starts_on"]), (client["id"], "2026-03-04"))
    equal(Decimal(str(lead["score"])), Decimal("0.25"))
    equal(datetime.fromisoformat(lead["last_contacted_at"]), noon)
    equal((lead["custom"], lead["is_qualified"]), (custom, True))


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
            equal([row["body"] for row in rows], [text], f"for {filters!r}")


async def a_megabyte_of_text_comes_back(adapter: PersistenceAdapter) -> None:
    text = 'a "long", (very) long text\n' * 40_000
    row = await adapter.write("inquiries", {"body": text})
    equal(((await adapter.read("inquiries", row["id"])) or {})["body"] == text, True)


async def an_explicit_null_is_stored(adapter: PersistenceAdapter) -> None:
    row = await adapter.write("clients", {"name": "n", "plan": None})
    equal(row["plan"], None)


LAWS: Final = (
    a_written_row_comes_back_with_generated_values,
    identity_keys_count_upwards,
    values_of_every_kind_come_back_usable,
    text_of_every_kind_equals_itself,
    a_megabyte_of_text_comes_back,
    an_explicit_null_is_stored,
)
