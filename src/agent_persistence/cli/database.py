"""A look into PostgreSQL's catalogues over DATABASE_URL: read only, and never at a row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import anyio

from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import AdapterError, FailureState
from agent_persistence.factory import adapter_of

if TYPE_CHECKING:
    from agent_persistence.backends.postgres.adapter import PostgresAdapter

Found: TypeAlias = list[dict[str, Any]]
TIMEOUT_S: Final = 30.0
_AS_JSON: Final = "select coalesce(json_agg(to_json(each_row)), '[]')::text from ({sql}) as each_row"


class Database:
    """A database of which the catalogues are asked, each question in a transaction that cannot write."""

    def __init__(self, adapter: PostgresAdapter) -> None:
        self._adapter = adapter

    async def rows(self, sql: str, *parameters: str | None) -> Found:
        """The rows of a SELECT, as JSON values; `$1` in it stands for the first parameter, a text."""
        asked = Statement(_AS_JSON.format(sql=sql), parameters)
        try:
            with anyio.fail_after(TIMEOUT_S):
                answer = await self._adapter.ask(asked)
        except TimeoutError:
            message = f"the database had no answer within {TIMEOUT_S:g} s"
            raise AdapterError(message, state=FailureState.AMBIGUOUS) from None
        found: Found = read_json(answer or b"[]")
        return found


def listed(names: Collection[str]) -> str:
    """The names as a parameter, for `jsonb_array_elements_text($1::jsonb)` to take apart."""
    return json.dumps(sorted(names))


@asynccontextmanager
async def database_of(target: Target) -> AsyncIterator[Database]:
    """The local database, or else the one that DATABASE_URL names, with its connections closed at the end."""
    kind = "local" if target.kind == "local" else "postgres"
    adapter = adapter_of(kind, target.config, target.schema)
    try:
        yield Database(cast("PostgresAdapter", adapter))
    finally:
        await adapter.aclose()
