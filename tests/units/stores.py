"""Where the rows of the cases are, seen past every proxy."""

from __future__ import annotations

import json
from typing import Any, Protocol

from agent_persistence.query.records import Row
from tests.server import LocalServer


class Store(Protocol):
    """What is there, and what a case begins with."""

    def count(self, table: str, **equal: Any) -> int: ...

    def seed(self, table: str, rows: list[Row]) -> None: ...

    def reset(self) -> None: ...


class SqlStore:
    """The real server, which SQL is asked about."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server

    def count(self, table: str, **equal: Any) -> int:
        conditions = " and ".join(f"{column} = %s" for column in equal)
        (row,) = self.server.execute(f"select count(*) as n from {table} where {conditions}", *equal.values())
        return int(row["n"])

    def seed(self, table: str, rows: list[Row]) -> None:
        names = ", ".join(rows[0])
        source = f"select {names} from json_populate_recordset(null::{table}, %s::json)"
        self.server.execute(f"insert into {table} ({names}) {source}", json.dumps(rows))

    def reset(self) -> None:
        """Empty tables, an empty ledger, and the function that is called."""
        self.server.reset()
        self.server.execute(
            "create or replace function noted_twice(text text) returns bigint language sql volatile as $$"
            " with made as (insert into inquiries (body) select $1 from generate_series(1, 2) returning 1)"
            " select count(*) from made $$"
        )
        self.server.reload_schema()
        self.server.execute("truncate agent_persistence.ledger")
