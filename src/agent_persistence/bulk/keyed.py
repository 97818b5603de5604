"""Rows of an import that may have run before, anywhere: what is stored of them is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_persistence.bulk.keys import neighbours
from agent_persistence.bulk.rows import SourceError
from agent_persistence.bulk.sending import BatchWriter, StoredRows
from agent_persistence.bulk.writing import Writing
from agent_persistence.exceptions import AdapterError, ConfigurationError, FailureState
from agent_persistence.query.filters import all_of, gte, lte
from agent_persistence.query.records import Record
from agent_persistence.service import AsyncPersistenceService


@dataclass(slots=True)
class Keyed:
    """A BatchWriter for rows with keys of `named_keys`; `found` is how many of them were stored before.

    The keys that rows of these numbers can have are asked for before and after: one that is none of the rows' is that
    of a row that this source does not hold, and ends the import before anything of the chunk is written: SourceError,
    for it is not the rows that are at fault, and no half of them may go in.
    """

    target: Writing
    write: BatchWriter
    column: str
    found: int = 0

    async def __call__(
        self,
        table: str,
        records: Sequence[Record],
        on_conflict: Sequence[str] | None = None,
        *,
        generated_key: str | None = None,
        resent: bool = False,
    ) -> StoredRows:
        if generated_key is None:
            raise ConfigurationError(
                f"{table}: the rows have keys of their own, {self.column}; leave out key=, and give on_conflict="
            )
        before = await self._stored(table, records)
        left = [record for record in records if record[self.column] not in before]
        self.found += len(before)
        if not left:
            return StoredRows(len(records))
        written = (await self.write(table, left, generated_key=generated_key, resent=resent)).rows
        if len(await self._stored(table, records)) < len(before) + written:
            raise AdapterError(
                f"bulk_write on {table}: rows of this import were deleted while it ran, or another caller's import with"
                " this key has stored them where this one does not see them",
                state=FailureState.APPLIED,
            )
        return StoredRows(len(before) + written)

    async def _stored(self, table: str, records: Sequence[Record]) -> set[Any]:
        keys = [record[self.column] for record in records]
        low, high = neighbours(keys[0], keys[-1])
        within = {self.column: all_of(gte(low), lte(high))}
        rows = await self.target.query(table, within, order_by=self.column, select=[self.column])
        stored = {row[self.column] for row in rows}
        if not stored.issubset(keys):
            raise SourceError(
                "an import with this key has stored other rows at these places; its source has changed, or gives its"
                " rows in another order each time. Another key makes it another import"
            )
        return stored


def tenant_key(service: AsyncPersistenceService, table: str, key: str) -> str:
    """The key of an import, which names another one for each tenant."""
    tenant = service._identity.tenant
    return key if tenant is None or table in tenant.shared else f"{key}\0{tenant.value}"


def check_keyed(service: AsyncPersistenceService, table: str, column: str | None, *, others: bool) -> None:
    """ConfigurationError where an import cannot know its own rows again; `column` is that of the keys."""
    if others:
        raise ConfigurationError(
            "key= stands without resume=, on_conflict= and on_duplicate=, which know rows again in other ways"
        )
    if column is None:
        raise ConfigurationError(
            f"{table}: key= needs a uuid key that is made here. Declare one in the Schema or in client_keys=,"
            " or give on_conflict="
        )
    readable = service.policy.readable(table)
    if table not in service.policy.read or not (readable is None or column in readable):
        raise ConfigurationError(f"{table}: key= needs to read {column}, to see which rows are stored")
