"""The real server of the suite as the store: what is there is asked of PostgreSQL itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from agent_persistence.query.records import Row
from tests.faults.backend import COLUMNS
from tests.faults.proxy import Relay
from tests.server import LocalServer


class SqlStore:
    """Rows past every proxy. With `insert_only` the role of the service key may not SELECT."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def rows(self, table: str) -> list[Row]:
        columns = ", ".join(f"{name}::text" for name in COLUMNS[table])
        return await asyncio.to_thread(self._server.execute, f"select {columns} from {table} order by id")

    async def reset(self, table: str, rows: list[Row], *, insert_only: bool = False) -> None:
        await asyncio.to_thread(self._replace, table, rows, insert_only)

    def _replace(self, table: str, rows: list[Row], insert_only: bool) -> None:
        self._server.execute("delete from conversations; delete from leads")
        self._server.execute(f"{_RIGHT[insert_only]} service_role")
        names = ", ".join(COLUMNS[table])
        insert = f"insert into {table} ({names}) select {names} from json_populate_recordset(null::{table}, %s::json)"
        self._server.execute(insert, json.dumps(rows))


_RIGHT: Final = {True: "revoke select on conversations from", False: "grant select on conversations to"}


def relay(base_url: str) -> Relay:
    url = urlsplit(base_url)
    return Relay(url.hostname or "", url.port or 0)


@contextmanager
def doubling(server: LocalServer) -> Iterator[None]:
    """The function that the cases call exists."""
    server.execute(
        "create or replace function double(n int) returns jsonb language sql stable"
        " as $$ select jsonb_build_object('doubled', 2 * n) $$"
    )
    server.reload_schema()
    try:
        yield
    finally:
        server.execute("drop function double(int)")
        server.reload_schema()
