"""What the exit status of a command says."""

from __future__ import annotations

from enum import IntEnum

from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    ConflictError,
    FailureState,
    OutcomeUnknownError,
    PersistenceError,
    PersistencePermissionError,
    RowsDroppedError,
    SpoolError,
    ValidationError,
)


class Status(IntEnum):
    """The exit status; the same for every command."""

    FINE = 0
    FINDINGS = 1
    USAGE = 2
    CONFIGURATION = 3
    UNREACHABLE = 4
    NOT_ALLOWED = 5
    REFUSED = 6
    UNKNOWN = 7
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.FINE: "done, nothing to report",
    Status.FINDINGS: "done, and something was found: see the output",
    Status.USAGE: "the command line is wrong",
    Status.CONFIGURATION: "a setting, a file or an extra is missing or wrong",
    Status.UNREACHABLE: "the backend was not reached, or had no answer",
    Status.NOT_ALLOWED: "the policy or the schema refuses it; nothing was sent",
    Status.REFUSED: "the backend refuses it",
    Status.UNKNOWN: "a write was sent, and what became of it is not known",
    Status.BUG: "a failure that none of the others names",
    Status.INTERRUPTED: "interrupted with Ctrl-C",
    Status.PIPE_CLOSED: "whoever read the output has gone",
}


def status_of(error: PersistenceError) -> Status:
    """The status that a command ends with when the error stops it."""
    match error:
        case ConfigurationError() | SpoolError():
            return Status.CONFIGURATION
        case PersistencePermissionError() | ValidationError():
            return Status.NOT_ALLOWED
        case OutcomeUnknownError():
            return Status.UNKNOWN
        case ConflictError() | RowsDroppedError():
            return Status.REFUSED
        case AdapterError(state=FailureState.REJECTED) if error.status is not None or error.code is not None:
            return Status.REFUSED
        case AdapterError():
            return Status.UNREACHABLE
    return Status.BUG
