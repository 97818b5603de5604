"""A PostgREST in this process that serves one function, `agent_persistence_apply`, over a few rows and a ledger.

It does what `unit_of_work.sql` does, as far as the cases need it; test_model.py compares the two. Before it a hundred
thousand faults take minutes.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from itertools import count
from typing import Any, Final
from uuid import uuid4

from agent_persistence.query.records import Row
from tests.backends.stub_server import answer
from tests.faults.backend import Fate

COLUMNS: Final[dict[str, Row]] = {
    "conversations": {"id": uuid4, "lead_id": None, "subject": None, "channel": "email"},
    "messages": {"id": int, "conversation_id": None, "role": None, "content": None, "tokens": None},
    "inquiries": {"id": int, "email": None, "body": None, "handled": False},
    "leads": {"id": uuid4, "email": None, "company": None, "score": None, "custom": None},
}
"""The columns with their defaults; of a key, what makes one."""
HOLD_S: Final = 0.2
Tables = dict[str, list[Row]]


class RefusedError(Exception):
    """The statement is rolled back."""

    def __init__(self, code: str, message: str, place: int | None = None, status: int = 400) -> None:
        super().__init__(message)
        hint = None if place is None else f"operation {place}"
        body = {"code": code, "message": message, "details": None, "hint": hint}
        self.answer = answer(json.dumps(body).encode(), status=status, headers={"Proxy-Status": f"PostgREST; {code=}"})


class Model:
    """The store, and the upstream of a proxy. Units under one key come one after the other, as in PostgreSQL."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.reset()

    # --- a store ------------------------------------------------------------------------------------------------------

    def count(self, table: str, **equal: Any) -> int:
        return sum(equal.items() <= row.items() for row in map(_plain, self._tables[table]))

    def rows(self, table: str) -> list[Row]:
        return copy.deepcopy(self._tables[table])

    def seed(self, table: str, rows: list[Row]) -> None:
        self._tables[table] += [self._row(table, row) for row in rows]

    def reset(self) -> None:
        self._tables: Tables = {name: [] for name in COLUMNS}
        self._ledger: dict[str, tuple[str, Any]] = {}
        self._held: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    # --- an upstream --------------------------------------------------------------------------------------------------

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        """Carry out the request. With a `fate` it is uncommitted until another with its key waits, or nobody comes."""
        head, _, body = raw.partition(b"\r\n\r\n")
        if b"/rpc/agent_persistence_apply " not in head.partition(b"\r\n")[0]:
            raise AssertionError("the cases make no other request")
        unit = json.loads(body)["unit"]
        key = unit.get("key") or str(uuid4())
        while (holding := self._held.get(key)) is not None:
            holding[0].set()
            await holding[1].wait()
        if fate is not None:
            await self._hold(key)
        if fate == "rolls back":
            return RefusedError("40001", "could not serialize", status=500).answer
        try:
            return answer(json.dumps(self.applied_once(key, unit)).encode())
        except RefusedError as refused:
            return refused.answer

    async def _hold(self, key: str) -> None:
        rival, ended = self._held[key] = asyncio.Event(), asyncio.Event()
        try:
            async with asyncio.timeout(HOLD_S):
                await rival.wait()
        except TimeoutError:
            pass
        del self._held[key]
        ended.set()

    # --- the function -------------------------------------------------------------------------------------------------

    def applied_once(self, key: str, unit: Row) -> Any:
        if key in self._ledger:
            digest, told = self._ledger[key]
            if digest != unit["digest"]:
                raise RefusedError("AP002", "this key was applied with another content")
            return told
        tables = copy.deepcopy(self._tables)
        results: list[list[Any]] = []
        counts: list[int] = []
        for place, operation in enumerate(unit["operations"]):
            rows, affected = self._applied(tables, operation, results)
            bounds = [operation.get(name, affected) for name in ("expect", "at_least", "at_most")]
            if affected != bounds[0] or affected < bounds[1] or affected > bounds[2]:
                raise RefusedError("AP001", f"{affected} rows were found", place)
            results.append(copy.deepcopy(rows) if operation.get("returning") != [] else [])
            counts.append(affected)
        self._tables = tables
        told = {"key": unit.get("key"), "results": results, "counts": counts}
        if "key" in unit:
            self._ledger[key] = unit["digest"], told
        return told

    def _applied(self, tables: Tables, operation: Row, results: list[list[Any]]) -> tuple[list[Any], int]:
        table = tables.get(operation["table"], [])
        match operation["verb"]:
            case "call":
                words = [{"body": operation["arguments"]["text"]}] * 2
                tables["inquiries"] += [self._row("inquiries", row) for row in words]
                return [len(words)], 1
            case "insert":
                records = _filled(operation, results)
                rows = [self._inserted(operation["table"], table, record, operation) for record in records]
            case "update" | "compute":
                (changes,) = _filled(operation, results)
                rows = [row for row in table if _holds(operation["where"], row, results)]
                for row in rows:
                    row.update({name: _new(operation, name, row[name], value) for name, value in changes.items()})
            case "delete":
                rows = [row for row in table if _holds(operation["where"], row, results)]
                tables[operation["table"]] = [row for row in table if row not in rows]
            case verb:
                raise RefusedError("AP003", f"{verb} is not understood")
        return rows, len(rows)

    def _inserted(self, name: str, table: list[Row], record: Row, operation: Row) -> Row:
        """The row after inserting it, or after merging it into the one with its values in `on_conflict`."""
        target = operation.get("on_conflict")
        same = {column: record[column] for column in target or () if column in record}
        found = next((row for row in table if same and same.items() <= _plain(row).items()), None)
        if found is not None:
            found.update(record)
            return found
        row = self._row(name, record)
        table.append(row)
        return row

    def _row(self, table: str, record: Row) -> Row:
        makers: dict[Any, Callable[[], Any]] = {uuid4: lambda: str(uuid4()), int: lambda: next(self._numbers)}
        defaults = {
            name: makers[default]() if default in makers else default for name, default in COLUMNS[table].items()
        }
        return defaults | record


def _plain(row: Row) -> Row:
    """The columns whose values can be compared by a set of pairs."""
    return {name: value for name, value in row.items() if not isinstance(value, (dict, list))}


def _filled(operation: Row, results: list[list[Any]]) -> list[Row]:
    records = [dict(record) for record in operation["records"]]
    for index, column, (part, row, source) in operation.get("refer", ()):
        records[index][column] = results[part][row][source]
    return records


def _new(operation: Row, column: str, old: Any, given: Any) -> Any:
    match operation.get("compute", {}).get(column):
        case "+":
            return None if old is None else old + given
        case "||":
            return (old or {}) | given
    return given


def _holds(term: Row, row: Row, results: list[list[Any]]) -> bool:
    if "all" in term:
        return all(_holds(one, row, results) for one in term["all"])
    assert term["is"] == "eq", term
    value = row[term["column"]]
    if "from" in term:
        part, number, column = term["from"]
        return bool(value == results[part][number][column])
    return bool(_text(value) == term["value"])


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int, float)) else str(value)
