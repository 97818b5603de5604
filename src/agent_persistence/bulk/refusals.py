"""Which failures of a chunk are about its rows, so that the others may still go in. Pure."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.exceptions import (
    AdapterError,
    ColumnNotAllowedError,
    ConflictError,
    FailureState,
    OutcomeUnknownError,
    PersistenceError,
    UnsupportedOperationError,
    ValidationError,
)

_CLASSES: Final = frozenset({"22", "23", "44", "54", "P0"})
"""SQLSTATE classes of what a row holds: data exceptions, integrity rules, WITH CHECK OPTION, limits, RAISE."""
_CODES: Final = frozenset({"21000", "42501", "57014"})
"""A row merged twice, one that row-level security refuses, and a statement that takes too long."""
_TOO_LARGE: Final = 413


def is_about_rows(error: PersistenceError, rows: int) -> bool:
    """Whether the database, or a layer before it, refused the content of these rows, and none of them is in."""
    if isinstance(error, UnsupportedOperationError):
        return error.capability == "types"  # a value that the in-memory adapter does not follow
    if isinstance(error, (ValidationError, ColumnNotAllowedError)):
        return True
    if not isinstance(error, AdapterError) or isinstance(error, OutcomeUnknownError):
        return False
    if isinstance(error, ConflictError):
        return True
    code = error.code or ""
    if code == "57014":
        return rows > 1
    if code == "42501" and "permission denied for" in str(error):  # of the table, and so of every row
        return False
    by_code = code[:2] in _CLASSES or code in _CODES
    return error.state is FailureState.REJECTED and (by_code or error.status == _TOO_LARGE)


def is_open(error: PersistenceError) -> bool:
    """Whether some of the rows may be in nevertheless, put there by an earlier try."""
    return isinstance(error, AdapterError) and error.state is FailureState.AMBIGUOUS


def reason(error: PersistenceError, table: str) -> str:
    """Why a single row was refused, without what the reader of a rejects file knows."""
    text = str(error)
    if isinstance(error, ValidationError) and not isinstance(error, UnsupportedOperationError):
        text = "; ".join(error.problems)
    text = text.removeprefix(f"bulk_write on {table}: ").removeprefix(f"batch_write on {table}: ")
    return re.sub(r"\brecords\[0\](?:\.|: )", "", text)
