"""Tests against a Supabase project of your own, with the tables of tests/server/schema.sql.

They read, and they write one row into `inquiries`; nothing is deleted. They exist only where both variables are set:

    PERSIST_TEST_SUPABASE_URL=https://<project>.supabase.co PERSIST_TEST_SUPABASE_KEY=sb_secret_… \\
        pytest tests/integration
"""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import uuid4

import pytest
import pytest_asyncio

from agent_persistence import SupabaseAdapter
from agent_persistence.exceptions import AdapterError
from agent_persistence.filters import in_, like
from agent_persistence.policy import BUSINESS_TABLES

URL = os.environ.get("PERSIST_TEST_SUPABASE_URL", "")
KEY = os.environ.get("PERSIST_TEST_SUPABASE_KEY", "")

if URL and KEY:

    @pytest_asyncio.fixture
    async def project() -> AsyncIterator[SupabaseAdapter]:
        """The project that the variables name."""
        adapter = SupabaseAdapter(URL, KEY)
        yield adapter
        await adapter.aclose()

    @pytest.mark.asyncio
    @pytest.mark.parametrize("table", sorted(BUSINESS_TABLES))
    async def test_every_business_table_can_be_read(project: SupabaseAdapter, table: str) -> None:
        """At most one row is asked for."""
        assert len(await project.query(table, limit=1)) <= 1

    @pytest.mark.asyncio
    @pytest.mark.parametrize("table", sorted(BUSINESS_TABLES))
    async def test_every_business_table_tells_its_columns(project: SupabaseAdapter, table: str) -> None:
        """From the server where the key may see them, else from the schema."""
        assert "id" in (await project.get_columns(table) or [])

    @pytest.mark.asyncio
    async def test_what_is_written_can_be_read_and_found(project: SupabaseAdapter) -> None:
        """One inquiry, with characters that a URL would take for something else."""
        body = f'test {uuid4()}: "a,b" (c) \\ 100% & ü 株式会社 🚀'
        row = await project.write("inquiries", {"email": "test@agent-persistence.example", "body": body})
        assert row["body"] == body
        assert datetime.fromisoformat(row["created_at"]).utcoffset() is not None
        assert await project.read("inquiries", row["id"]) == row
        assert await project.query("inquiries", {"body": body}) == [row]
        assert await project.query("inquiries", {"body": in_([body, "x,y"]), "id": row["id"]}) == [row]
        assert await project.query("inquiries", {"body": like("test%株式会社%"), "id": row["id"]}) == [row]

    @pytest.mark.asyncio
    async def test_a_refusal_says_why_without_the_value(project: SupabaseAdapter) -> None:
        """The code is PostgreSQL's."""
        with pytest.raises(AdapterError) as caught:
            await project.read("leads", "no-uuid-at-all")
        assert caught.value.code == "22P02"
        assert "no-uuid-at-all" not in str(caught.value)
