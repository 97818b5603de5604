"""A small PostgREST in this process that counts what it applies: one statement is all or nothing, in order of arrival.

It knows two tables with a uuid key, one of them with a unique column, and one function. What it says was compared
with the real server of the suite, which `test_real_server.py` puts in its place.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from agent_persistence.query.records import Row
from tests.backends.stub_server import answer

Fate: TypeAlias = Literal["commits", "rolls back"]

COLUMNS: Final = {
    "conversations": ("id", "subject", "channel"),
    "leads": ("id", "email", "company"),
}
UNIQUE: Final = {"leads": "email"}
HOLD_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request in PostgREST's terms; `filters` and `options` are its parameters."""

    method: str
    name: str
    filters: dict[str, str]
    options: dict[str, str]
    prefer: frozenset[str]
    body: Any

    @classmethod
    def parse(cls, raw: bytes) -> Request:
        head, _, body = raw.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = start.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        url = urlsplit(target)
        parameters = dict(parse_qsl(url.query, keep_blank_values=True))
        reserved = ("select", "order", "limit", "offset", "columns", "on_conflict")
        options = {name: parameters.pop(name) for name in reserved if name in parameters}
        prefer = frozenset(item.strip() for item in headers.get("prefer", "").split(","))
        name = unquote(url.path.rpartition("/")[2])
        return cls(method, name, parameters, options, prefer, json.loads(body) if body else None)

    @property
    def records(self) -> list[Row]:
        return self.body if isinstance(self.body, list) else [self.body]

    def inserts(self) -> Iterator[tuple[str, str]]:
        """The keys that the request would insert, as far as it names them."""
        if self.method == "POST" and self.name in COLUMNS:
            yield from ((self.name, record["id"]) for record in self.records if "id" in record)


class RefusedError(Exception):
    """The statement is rolled back."""

    def __init__(self, status: int, code: str, message: str, details: str | None = None) -> None:
        super().__init__(message)
        body = {"code": code, "message": message, "details": details, "hint": None}
        self.answer = answer(json.dumps(body).encode(), status=status, headers={"Proxy-Status": f"PostgREST; {code=}"})


@dataclass(slots=True)
class _Uncommitted:
    """A statement that has inserted and not ended: others with its key wait for it, as in PostgreSQL."""

    rival: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Backend:
    """`applied` counts, by table and key, the statements that changed the row.

    With `insert_only` the role has no right to SELECT: what returns or compares rows is refused with 42501.
    """

    def __init__(self) -> None:
        self.insert_only = False
        self.applied: Counter[tuple[str, str]] = Counter()
        self._tables: dict[str, dict[str, Row]] = {name: {} for name in COLUMNS}
        self._uncommitted: dict[tuple[str, str], _Uncommitted] = {}

    async def rows(self, table: str) -> list[Row]:
        return copy.deepcopy(list(self._tables[table].values()))

    async def reset(self, table: str, rows: list[Row], *, insert_only: bool = False) -> None:
        """Hold these rows of the table and no others anywhere, and begin to count again."""
        self.insert_only = insert_only
        self._tables = {name: {} for name in COLUMNS}
        self._tables[table] = {row["id"]: dict.fromkeys(COLUMNS[table]) | row for row in rows}
        self.applied.clear()

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        """Carry out the request. With a `fate` it is uncommitted until another with its key waits, or nobody comes."""
        request = Request.parse(raw)
        keys = list(request.inserts())
        for key in keys:
            while (first := self._uncommitted.get(key)) is not None:
                first.rival.set()
                await first.ended.wait()
        if fate is None or not keys:
            return self._answer(request)
        held = _Uncommitted()
        self._uncommitted |= dict.fromkeys(keys, held)
        try:
            async with asyncio.timeout(HOLD_S):
                await held.rival.wait()
        except TimeoutError:
            pass
        for key in keys:
            del self._uncommitted[key]
        held.ended.set()
        return self._answer(request) if fate == "commits" else RefusedError(500, "40001", "could not serialize").answer

    def _answer(self, request: Request) -> bytes:
        try:
            rows = self._carry_out(request)
        except RefusedError as refused:
            return refused.answer
        if request.name == "double":
            return answer(json.dumps(rows).encode())
        status = 201 if request.method == "POST" else 200
        if request.method != "GET" and "return=representation" not in request.prefer:
            return answer(b"", status=status if status == 201 else 204)
        total = len(rows) if "count=exact" in request.prefer else "*"
        page = rows[int(request.options.get("offset", 0)) :][: int(request.options.get("limit", 10**9))]
        span = f"0-{len(page) - 1}/{total}" if page else f"*/{total}"
        if (names := request.options.get("select", "*")) != "*":
            page = [{name: row[name] for name in names.split(",")} for row in page]
        return answer(json.dumps(page).encode(), status=status, headers={"Content-Range": span})

    def _carry_out(self, request: Request) -> Any:
        if request.name == "double":
            return {"doubled": 2 * int(request.filters["n"])}
        if request.name not in COLUMNS:
            raise RefusedError(404, "PGRST205", f"Could not find the table 'public.{request.name}' in the schema cache")
        merges = "resolution=merge-duplicates" in request.prefer
        if self.insert_only and (request.method != "POST" or merges or "return=representation" in request.prefer):
            raise RefusedError(403, "42501", f"permission denied for table {request.name}")
        match request.method:
            case "GET":
                return self._selected(request)
            case "POST":
                return self._insert(request, merges)
            case "PATCH":
                return self._change(request, request.body)
            case _:
                return self._change(request, None)

    def _selected(self, request: Request) -> list[Row]:
        conditions = [(name, _operands(text)) for name, text in request.filters.items()]
        rows = self._tables[request.name].values()
        return [row for row in rows if all(row[name] in operands for name, operands in conditions)]

    def _insert(self, request: Request, merges: bool) -> list[Row]:
        table = dict(self._tables[request.name])
        target = request.options.get("on_conflict", "id") if merges else None
        changed = [_inserted(request, table, record, target) for record in request.records]
        if len({row["id"] for row in changed}) < len(changed):
            raise RefusedError(500, "21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
        self._commit(request.name, table, changed)
        return changed

    def _change(self, request: Request, changes: Row | None) -> list[Row]:
        table = dict(self._tables[request.name])
        rows = self._selected(request)
        changed = rows if changes is None else [row | changes for row in rows]
        for row in changed:
            if changes is None:
                del table[row["id"]]
            else:
                table[row["id"]] = row
        self._commit(request.name, table, changed)
        return changed

    def _commit(self, name: str, table: dict[str, Row], changed: list[Row]) -> None:
        self._tables[name] = table
        self.applied.update((name, row["id"]) for row in changed)


def _inserted(request: Request, table: dict[str, Row], record: Row, target: str | None) -> Row:
    """The row after inserting it into `table`, or after merging it into the one with its value in `target`."""
    row = dict.fromkeys(COLUMNS[request.name]) | {"id": str(uuid4())} | record
    unique = UNIQUE.get(request.name)
    for column in ("id", unique) if unique else ("id",):
        found = next((old for old in table.values() if old[column] == row[column]), None)
        if found is None:
            continue
        if column != target:
            name = f"{request.name}_{'pkey' if column == 'id' else f'{column}_key'}"
            raise RefusedError(409, "23505", f'duplicate key value violates unique constraint "{name}"')
        row = found | record
        table.pop(str(found["id"]))
        break
    table[str(row["id"])] = row
    return row


_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')


def _operands(condition: str) -> list[str | None]:
    """The values that satisfy `eq.…`, `in.(…)` or `is.null`."""
    operator, _, text = condition.partition(".")
    if operator == "eq":
        return [text]
    if operator == "in":
        return [quoted or plain for quoted, plain in _QUOTED.findall(text[1:-1])]
    if condition == "is.null":
        return [None]
    raise RefusedError(400, "PGRST100", "this backend knows eq, in and is.null")
