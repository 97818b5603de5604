"""Operations: every call as an immutable value that knows what it reads and writes, and the Result that comes back.

Values in records and filters are already JSON (see `query.records`); filters and orders are in canonical form.
"""

from __future__ import annotations

from typing import Final, TypeAlias, get_args

from agent_persistence.exceptions import UnsupportedOperationError
from agent_persistence.operations.base import filtered_columns as filtered_columns
from agent_persistence.operations.including import (
    Include as Include,
    Related as Related,
    beside as beside,
    each_level as each_level,
    includes as includes,
    looks_elsewhere as looks_elsewhere,
    related as related,
    with_related as with_related,
)
from agent_persistence.operations.reading import (
    Call as Call,
    Count as Count,
    GetColumns as GetColumns,
    Query as Query,
    Read as Read,
    WritingCall as WritingCall,
)
from agent_persistence.operations.results import Page as Page, Result as Result
from agent_persistence.operations.scope import Scope as Scope
from agent_persistence.operations.units import (
    PartOperation as PartOperation,
    Require as Require,
    Unit as Unit,
    UnitPart as UnitPart,
)
from agent_persistence.operations.writing import (
    BatchWrite as BatchWrite,
    BulkWrite as BulkWrite,
    Delete as Delete,
    Update as Update,
    Upsert as Upsert,
    UpsertMany as UpsertMany,
    Write as Write,
    WriteNew as WriteNew,
)

Operation: TypeAlias = (
    Write
    | BatchWrite
    | BulkWrite
    | WriteNew
    | UpsertMany
    | Upsert
    | Update
    | Delete
    | Require
    | Read
    | Query
    | Count
    | GetColumns
    | Call
    | WritingCall
    | Unit
)
KNOWN: Final = frozenset(get_args(Operation)) - {Unit}
"""The classes above. Every layer that guards asks first whether an operation is of one of them, not of a subclass; a
Unit it refuses as well, for what is in one passes by itself."""


def unknown(operation: object) -> UnsupportedOperationError:
    """The refusal of an operation of any other class: what it reads and writes is not known. Nothing has been sent."""
    return UnsupportedOperationError(
        str(getattr(operation, "table", "")),
        type(operation).__name__,
        "it is no operation that this library knows, so that nobody can say what it reads and writes; build what the"
        " verbs build, or change it with dataclasses.replace",
    )
