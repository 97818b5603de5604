"""The sample tables on a real server: the same prompts, over PostgREST and over PostgreSQL itself."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent_persistence import AsyncPersistenceService, PersistenceAdapter, PostgresAdapter, SupabaseAdapter
from agent_persistence.rag_context import PromptFormat, RAGContext, build_rag_context
from agent_persistence.schema_registry import Schema
from tests.rag.samples.test_samples import SUFFIXES, context
from tests.rag.samples.worlds import SAMPLES, Sample
from tests.server import LocalServer

pytestmark = pytest.mark.anyio


def _statements(schema: Schema) -> Iterator[str]:
    """What makes the tables, parents first or not: keys to other tables come last."""
    for name, table in schema.tables.items():
        columns = [f"{one} {told.type}{'' if told.nullable else ' not null'}" for one, told in table.columns.items()]
        yield f"create table {name} ({', '.join(columns)}, primary key ({', '.join(table.primary_key)}))"
        yield f"grant all on {name} to service_role"
    for name, table in schema.tables.items():
        for link in table.foreign_keys:
            yield f"alter table {name} add foreign key ({link.column}) references {link.table} ({link.references})"


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, local_server: LocalServer) -> Iterator[Sample]:
    """A sample whose tables the server has, empty."""
    found = SAMPLES[request.param]
    tables = ", ".join(found.schema.tables)
    for statement in _statements(found.schema):
        local_server.execute(statement)
    local_server.reload_schema()
    yield found
    local_server.execute(f"drop table {tables} cascade")
    local_server.reload_schema()


@pytest.fixture(params=["postgrest", "postgresql"])
def adapter(request: pytest.FixtureRequest, local_server: LocalServer) -> PersistenceAdapter:
    if request.param == "postgrest":
        return SupabaseAdapter(local_server.url, local_server.service_key)
    return PostgresAdapter(local_server.database_url)


async def _filled(sample: Sample, service: AsyncPersistenceService) -> RAGContext:
    for table in sample.schema.tables:
        if sample.rows[table]:
            await service.batch_write(table, sample.rows[table])
    return await build_rag_context(service, spec=sample.spec, filters=sample.filters, query=sample.query)


async def test_a_server_gives_the_same_prompts_as_memory(sample: Sample, adapter: PersistenceAdapter) -> None:
    """With natural keys, keys of several columns, pairs, and two relations to one table."""
    options = {"schema": sample.schema, "policy": sample.policy, "owns_adapter": True}
    async with AsyncPersistenceService(adapter, **options) as service:  # type: ignore[arg-type]
        found = await _filled(sample, service)
    expected = await context(sample)
    forms: list[PromptFormat] = [*SUFFIXES]
    assert [found.to_prompt(form) for form in forms] == [expected.to_prompt(form) for form in forms]
