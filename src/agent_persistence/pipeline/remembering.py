"""Sends single writes that could be applied twice by way of the ledger, under which they cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agent_persistence.context import CallContext
from agent_persistence.operations import (
    BatchWrite,
    Delete,
    Operation,
    Result,
    Unit,
    UnitPart,
    Update,
    Upsert,
    Write,
    WriteNew,
    WritingCall,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.retry.lost import Recovery, lost
from agent_persistence.schema.client_keys import ClientKeys, uuid7


class Remembering:
    """Runs once per request of a call, right above the retries.

    A write of which nobody sees if it was applied (a table whose keys the database makes, a merge, a change of many
    rows, a function that writes) becomes a unit of one operation under a key of its own: sent again it is applied once.
    A write that a key of ours fences already goes as it is, and costs nothing; so does one that ignores duplicates,
    which no second try can double. Unless `every` such write was asked for, only changes that the database computes go
    this way.
    """

    def __init__(self, keys: ClientKeys, new_key: Callable[[], str] = uuid7, *, every: bool = True) -> None:
        self._keys = keys
        self._new_key = new_key
        self._every = every

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        kinds = (Write, BatchWrite, Upsert, Update, Delete, WritingCall)
        if isinstance(operation, kinds) and not isinstance(operation, WriteNew) and self._is_in_doubt(operation):
            return self._remembered(operation, context, call_next)
        return call_next(operation, context)

    def _is_in_doubt(self, operation: Operation) -> bool:
        if isinstance(operation, Update) and operation.computed:
            return True
        return self._every and lost(operation, self._keys).plan is not Recovery.RESEND

    async def _remembered(
        self,
        operation: Write | BatchWrite | Upsert | Update | Delete | WritingCall,
        context: CallContext,
        call_next: Rest,
    ) -> Result:
        result = await call_next(Unit(operation.table, (UnitPart(operation),), self._new_key()), context)
        return replace(result, value=result.value[0])
