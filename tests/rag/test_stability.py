"""The same rows give the same bytes: prompt caches and reviews rely on it."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, SupabaseAdapter, build_rag_context
from agent_persistence.query.records import Row
from agent_persistence.rag_context import PromptFormat, RAGContext, ReadableSource
from agent_persistence.redaction import Redaction
from agent_persistence.schema_registry import default_schema
from examples import crm_data
from tests.rag.crm import CRM_TABLES, crm_service
from tests.server import LocalServer

pytestmark = pytest.mark.anyio
MAYA: Final = "maya.okafor@brightwater.example"
PROMPTS: Final[Sequence[tuple[PromptFormat, int | None]]] = [
    ("xml", None),
    ("markdown", None),
    ("json", None),
    ("xml", 900),
    ("markdown", 900),
    ("json", 900),
]


async def _context(source: ReadableSource) -> RAGContext:
    return await build_rag_context(
        source, lead_filters={"email": MAYA}, query="What does Declan object to?", redaction=Redaction.default()
    )


def _prompts(context: RAGContext) -> list[str]:
    return [context.to_prompt(form, max_tokens=budget) for form, budget in PROMPTS]


def _digest(prompts: Sequence[str]) -> str:
    return hashlib.sha256("\f".join(prompts).encode()).hexdigest()


async def digest() -> str:
    """What another process has to find as well."""
    return _digest(_prompts(await _context(crm_service())))


async def test_a_second_run_gives_the_same_bytes() -> None:
    """In the same process, from new rows."""
    assert await digest() == await digest()


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_gives_the_same_bytes_whatever_its_hash_seed(seed: str) -> None:
    """No set, no dict of objects and no id decides about anything."""
    program = "import anyio; from tests.rag.test_stability import digest; print(anyio.run(digest))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.strip() == anyio.run(digest)


class Ordered(InMemoryAdapter):
    """Answers the queries under way in a given order of tables, whichever came first."""

    def __init__(self, order: Sequence[str]) -> None:
        super().__init__({table: crm_data.rows(table) for table in crm_data.PARENTS_FIRST}, schema=default_schema())
        self._patience = {table: place for place, table in enumerate(order)}

    async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
        for _ in range(20 * self._patience[table]):
            await anyio.lowlevel.checkpoint()
        return await super().query(table, *args, **options)


@given(st.permutations(CRM_TABLES))
@settings(deadline=None, max_examples=6)
async def test_the_order_in_which_tables_answer_does_not_matter(order: list[str]) -> None:
    """Assembled in a fixed order, not in the order of completion."""
    service = AsyncPersistenceService(Ordered(order), retry=False)
    context = await build_rag_context(service, follow_relations=False, redaction=Redaction.default(), query="price")
    plain = await build_rag_context(crm_service(), follow_relations=False, redaction=Redaction.default(), query="price")
    assert _prompts(context) == _prompts(plain)


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=6)
async def test_the_order_in_which_rows_are_stored_does_not_matter(random: Any) -> None:
    """Rows of the same time are told apart by key, on every server."""
    rows = {table: crm_data.rows(table) for table in crm_data.PARENTS_FIRST}
    for number, row in enumerate(rows["messages"], 1):
        row["id"] = number
    for stored in rows.values():
        random.shuffle(stored)
    service = AsyncPersistenceService(InMemoryAdapter(rows, schema=default_schema()), retry=False)
    assert _prompts(await _context(service)) == _prompts(await _context(crm_service()))


async def test_both_adapters_give_the_same_bytes(server: LocalServer) -> None:
    """The prompt does not tell whether it was built from memory or from a real server."""
    remote = SupabaseAdapter(server.url, server.service_key)
    async with AsyncPersistenceService(remote, policy=crm_data.LOADER, owns_adapter=True) as service:
        for table in CRM_TABLES:
            await service.batch_write(table, crm_data.rows(table))
        assert _prompts(await _context(service)) == _prompts(await _context(crm_service()))


async def test_a_changed_row_changes_the_bytes() -> None:
    """Control: the digest sees the rows."""
    before = await _context(crm_service())
    changed = await _context(crm_service())
    changed.messages[0]["content"] += "!"
    assert _digest(_prompts(before)) != _digest(_prompts(changed))
