"""What is called under faults: each verb, the rows it begins with, and how often its effect is there afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from agent_persistence import TablePolicy
from agent_persistence.query.records import Row

KEY: Final = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"
EMAIL: Final = "a@a.example"
MARKS: Final = ("one", "two", "three")
OLD: Final[Row] = {"id": KEY, "subject": "old", "channel": "sms"}
ANOTHER: Final[Row] = OLD | {"id": KEY[:-1] + "f", "subject": "another"}
OLD_LEAD: Final[Row] = {"id": KEY, "email": EMAIL, "company": "old"}

_TABLES: Final = frozenset({"conversations", "leads"})
POLICY: Final = TablePolicy(read=_TABLES, write=_TABLES, delete=_TABLES, call=frozenset({"double"}))
INSERT_ONLY: Final = TablePolicy(read=frozenset(), write=_TABLES)

Kind: TypeAlias = Literal["insert", "merge", "change", "read"]


class Client(Protocol):
    """The verbs of a service, as far as they are called here."""

    async def write(self, table: str, record: Row) -> Row: ...
    async def batch_write(self, table: str, records: Sequence[Row]) -> list[Row]: ...
    async def upsert(self, table: str, record: Row, on_conflict: Sequence[str] | None = None) -> Row: ...
    async def update(self, table: str, changes: Row, filters: Row) -> list[Row]: ...
    async def delete(self, table: str, filters: Row) -> list[Row]: ...
    async def read(self, table: str, id_value: object) -> Row | None: ...
    async def query(self, table: str, filters: Row) -> list[Row]: ...
    async def count(self, table: str, filters: Row) -> int: ...
    async def call(self, function: str, arguments: Row) -> Any: ...


def _is_part_of_a_row(value: Any, rows: list[Row]) -> bool:
    """A write whose answer was lost may return what was sent, with the key, where the row cannot be read any more."""
    return "id" in value and any(value.items() <= row.items() for row in rows)


@dataclass(frozen=True, slots=True)
class Verb:
    """`effect` counts, in the rows that are there afterwards, how often the call was applied; a part of it is TORN."""

    name: str
    kind: Kind
    call: Callable[[Client], Awaitable[Any]]
    effect: Callable[[list[Row]], int]
    table: str = "conversations"
    seed: tuple[Row, ...] = ()
    insert_only: bool = False
    succeeds: bool = True
    """Whether the call succeeds where there is no fault."""
    names_rows: bool = True
    """Whether the answer tells whose it is: by the keys of its rows, or as one that no other call can have."""
    cautious: bool = False
    """Whether what others may have written meanwhile must not be overwritten by sending the call again."""
    right: Callable[[Any, list[Row]], bool] = _is_part_of_a_row
    """Whether the value that was returned is right, given the rows that are there."""
    each: tuple[Verb, ...] = ()
    """What is called at once, where it is more than one call; the value is then what each of them returned or raised,
    and each is judged by itself."""


TORN: Final = -1


def _marked(rows: list[Row]) -> int:
    return sum(row["subject"] == MARKS[0] for row in rows)


def _batches(rows: list[Row]) -> int:
    found = Counter(row["subject"] for row in rows)
    counts = {found[mark] for mark in MARKS}
    return counts.pop() if len(counts) == 1 else TORN


def _merged(rows: list[Row]) -> int:
    return 2 if len(rows) > 1 else sum(row["company"] == "new" for row in rows)


def _changed(rows: list[Row]) -> int:
    return sum(row == OLD | {"channel": "post"} for row in rows)


def _deleted(rows: list[Row]) -> int:
    return int(not rows)


def _no_effect(rows: list[Row]) -> int:
    return TORN if rows != [OLD] else 0


def _taken(rows: list[Row]) -> int:
    return TORN if rows != [OLD_LEAD] else 0


def _in_order(value: Any, rows: list[Row]) -> bool:
    return [row["subject"] for row in value] == list(MARKS) and all(_is_part_of_a_row(row, rows) for row in value)


async def _doubled(client: Client) -> object:
    return (await client.call("double", {"n": 21}) or {}).get("doubled")


NEW_LEAD: Final[Row] = {"email": EMAIL, "company": "new"}
BATCH: Final[list[Row]] = [{"subject": mark} for mark in MARKS]

VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb("write", "insert", lambda c: c.write("conversations", {"subject": "one"}), _marked),
        Verb("write, key given", "insert", lambda c: c.write("conversations", {"id": KEY, "subject": "one"}), _marked),
        Verb(
            "write, unreadable table",
            "insert",
            lambda c: c.write("conversations", {"subject": "one"}),
            _marked,
            insert_only=True,
        ),
        Verb(
            "write, value taken",
            "insert",
            lambda c: c.write("leads", NEW_LEAD),
            _taken,
            table="leads",
            seed=(OLD_LEAD,),
            succeeds=False,
            names_rows=False,
        ),
        Verb("batch_write", "insert", lambda c: c.batch_write("conversations", BATCH), _batches, right=_in_order),
        Verb("upsert, new", "merge", lambda c: c.upsert("leads", NEW_LEAD, ["email"]), _merged, table="leads"),
        Verb(
            "upsert, merging",
            "merge",
            lambda c: c.upsert("leads", NEW_LEAD, ["email"]),
            _merged,
            table="leads",
            seed=(OLD_LEAD,),
        ),
        Verb(
            "upsert by key",
            "merge",
            lambda c: c.upsert("leads", {"id": KEY, **NEW_LEAD}),
            _merged,
            table="leads",
            seed=(OLD_LEAD,),
            cautious=True,
        ),
        Verb("upsert, key generated", "merge", lambda c: c.upsert("conversations", {"subject": "one"}), _marked),
        Verb(
            "update by key",
            "change",
            lambda c: c.update("conversations", {"channel": "post"}, {"id": KEY}),
            _changed,
            seed=(OLD,),
            cautious=True,
            right=lambda value, rows: value == rows,
        ),
        Verb(
            "delete by key",
            "change",
            lambda c: c.delete("conversations", {"id": KEY}),
            _deleted,
            seed=(OLD,),
            right=lambda value, rows: value in ([], [OLD]),
        ),
        Verb(
            "read",
            "read",
            lambda c: c.read("conversations", KEY),
            _no_effect,
            seed=(OLD,),
        ),
        Verb(
            "query",
            "read",
            lambda c: c.query("conversations", {"channel": "sms"}),
            _no_effect,
            seed=(OLD,),
            right=lambda value, rows: value == rows,
        ),
        Verb(
            "count",
            "read",
            lambda c: c.count("conversations", {"channel": "sms"}),
            _no_effect,
            seed=(OLD,),
            right=lambda value, rows: value == 1,
            names_rows=False,
        ),
        Verb(
            "call",
            "read",
            _doubled,
            _no_effect,
            seed=(OLD,),
            right=lambda value, rows: value == 42,
            names_rows=False,
        ),
    )
}

ALL_OLD: Final[tuple[Row, ...]] = tuple(
    {"id": KEY[:-1] + str(number), "subject": mark, "channel": "sms"} for number, mark in enumerate(MARKS)
)


def _at_once(name: str, *verbs: Verb) -> Verb:
    async def call(client: Client) -> list[Any]:
        return await asyncio.gather(*(verb.call(client) for verb in verbs), return_exceptions=True)

    return Verb(name, verbs[0].kind, call, lambda rows: 0, seed=verbs[0].seed, each=verbs)


def _one_write(mark: str) -> Verb:
    return Verb(
        f"write {mark}",
        "insert",
        lambda c: c.write("conversations", {"subject": mark}),
        lambda rows: sum(row["subject"] == mark for row in rows),
        right=lambda value, rows: value["subject"] == mark and _is_part_of_a_row(value, rows),
    )


NEXT_WRITE: Final = _one_write("next")


def _untouched(rows: list[Row]) -> int:
    return 0 if rows == list(ALL_OLD) else TORN


def _one_read(key: str, found: Row | None) -> Verb:
    return Verb(
        f"read {key}",
        "read",
        lambda c: c.read("conversations", key),
        _untouched,
        seed=ALL_OLD,
        right=lambda value, rows: value == found,
    )


_SAME_QUERY: Final = Verb(
    "query",
    "read",
    lambda c: c.query("conversations", {"channel": "sms"}),
    _untouched,
    seed=ALL_OLD,
    right=lambda value, rows: value == rows,
)

CROWDS: Final = {
    verb.name: verb
    for verb in (
        _at_once("writes at once", *map(_one_write, MARKS)),
        _at_once("reads at once", *(_one_read(row["id"], row) for row in ALL_OLD), _one_read(KEY[:-1] + "9", None)),
        _at_once("queries at once", *[_SAME_QUERY] * 3),
    )
}
"""Calls that share a request where the service coalesces."""
EVERY: Final = VERBS | CROWDS
