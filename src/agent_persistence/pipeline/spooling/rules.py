"""Which failures and which writes a spool is for. Pure."""

from __future__ import annotations

from typing import Any, Final

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    FailureState,
    OutcomeUnknownError,
)
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Delete,
    Operation,
    Unit,
    Update,
    Upsert,
    UpsertMany,
    Write,
    WriteNew,
    WritingCall,
)
from agent_persistence.pipeline.retry.lost import Recovery, lost, resent
from agent_persistence.query.references import Reference
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.spool.entry import Kept, parts_of

_REACHED: Final = frozenset({"40001", "40P01", "55P03"})
"""Codes of a server that works: the call lost to others."""
_THROTTLED: Final = 429


def is_unreachable(error: AdapterError) -> bool:
    """Whether the call ended because the database could not be reached, or its answer was lost on the way."""
    if isinstance(error, OutcomeUnknownError):
        last = error.__cause__
        is_lost = error.state is FailureState.AMBIGUOUS and isinstance(last, AdapterError)
        return is_lost and getattr(last, "state", None) is not FailureState.REJECTED
    if not isinstance(error, BackendUnavailableError):
        return False
    if error.state is FailureState.NOT_SENT:
        return True
    is_busy = error.status == _THROTTLED or error.code in _REACHED
    return error.state is FailureState.RETRYABLE and not is_busy


def kept(operation: Operation, context: CallContext, keys: ClientKeys) -> Kept | str:
    """What is kept of a write; or why none of it may be."""
    if context.identity.access_token is not None:
        return "it runs under a user's access token, and no token is written to disk"
    if any(isinstance(each, BulkWrite) for each in parts_of(operation)):
        return "bulk_write says how many rows are stored"
    if isinstance(operation, Unit):
        return _kept_unit(operation, context)
    sent = resent(operation)
    if isinstance(sent, WriteNew):
        return "only the database knows which of its rows are duplicates"
    if isinstance(sent, (Write, BatchWrite)) and not isinstance(sent, UpsertMany):
        if lost(sent, keys).plan is Recovery.RESEND:
            return sent
        return "nothing in its rows keeps it from being applied twice; with ledger=True it could wait"
    if isinstance(sent, (Upsert, UpsertMany)):
        return "a merge that comes late may overwrite others; with ledger=True, or in a unit of work, it could wait"
    return _ANSWERED


_ANSWERED: Final = "only the database knows what it changes; in a unit of work it could wait"


def _kept_unit(unit: Unit, context: CallContext) -> Kept | str:
    if unit.key is None:
        return "the unit has no key under which it is applied once"
    is_single_call = context.gathered is None
    if is_single_call and any(isinstance(each, (Update, Delete, WritingCall)) for each in parts_of(unit)):
        return _ANSWERED
    return unit


def as_sent(operation: Operation) -> Any:
    """The value of a write that waits: what was sent; of an update or a deletion no rows, of a check none counted."""
    if isinstance(operation, Unit):
        return [as_sent(each) for each in parts_of(operation)]
    if operation.returns == "count":
        return 0
    rows = [
        {name: value for name, value in record.items() if not isinstance(value, Reference)}
        for record in operation.inserted
    ]
    return rows[0] if operation.returns == "row" else rows
