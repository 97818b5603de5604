"""The server of examples/mcp_server.py as a client starts it."""

from __future__ import annotations

import sys

import pytest
from mcp import StdioServerParameters

from examples.mcp_server import make_server
from tests.ext.served import served

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_a_model_reads_tickets_and_changes_their_status() -> None:
    """And sees neither e-mail addresses nor internal notes."""
    async with served(make_server()) as client:
        (ticket,) = (await client.call("query_rows", table="tickets", filters={"status": "open"})).rows
        assert ticket == {"id": 1, "customer_id": 1, "title": "Invoices arrive twice", "status": "open"}
        changed = await client.call("update_rows", table="tickets", changes={"status": "closed"}, filters={"id": 1})
        assert changed.rows[0]["status"] == "closed"
        for table, column in (("customers", "email"), ("tickets", "internal_notes")):
            assert (await client.call("query_rows", table=table, select=[column])).failed
        assert (await client.call("update_rows", table="tickets", changes={"title": "x"}, filters={"id": 1})).failed


async def test_it_is_served_over_stdin_and_stdout() -> None:
    """As the configuration of a client has it."""
    command = StdioServerParameters(command=sys.executable, args=["-m", "examples.mcp_server"])
    async with served(command) as client:
        assert (await client.call("count_rows", table="tickets")).document == {"count": 2}
