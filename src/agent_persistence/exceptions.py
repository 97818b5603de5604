"""Every error this package raises.

    PersistenceError
    ├ ConfigurationError               refused at construction
    ├ PersistencePermissionError       refused by the policy; nothing was sent
    │  ├ TableNotAllowedError          .table .verb
    │  ├ ColumnNotAllowedError         .table .column
    │  └ ReadOnlyError                 also an AttributeError
    ├ ValidationError                  .table .problems
    │  └ UnsupportedOperationError     .capability
    └ AdapterError                     .state .status .code .hint
       ├ ConflictError                 an integrity rule of the database: .constraint
       ├ RowsDroppedError              a trigger or rule kept rows out: .sent .rows
       ├ BackendUnavailableError       not applied; retries are exhausted
       ├ OverloadedError               refused locally, nothing was sent
       └ OutcomeUnknownError           the write may have been applied: .key .attempts

A class exists where a caller would act differently. Messages carry names, codes and remedies,
never a credential or the content of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Any


class FailureState(StrEnum):
    """What a failed request says about the database."""

    NOT_SENT = "not_sent"
    """The request never left: nothing was applied, trying again is safe."""
    REJECTED = "rejected"
    """The server answered and applied nothing; the same request would be rejected again."""
    RETRYABLE = "retryable"
    """The server applied nothing and asked, in effect, to be tried again."""
    AMBIGUOUS = "ambiguous"
    """The request left and no trustworthy answer came back: it may have been applied."""
    APPLIED = "applied"
    """The server said that it was applied, in an answer that cannot be used."""


class PersistenceError(Exception):
    """The root: `except PersistenceError` catches whatever this package raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    error_class: type[PersistenceError], args: tuple[object, ...], state: dict[str, object]
) -> PersistenceError:
    error = error_class.__new__(error_class, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(PersistenceError):
    """Something was constructed from settings that cannot work."""


class PersistencePermissionError(PersistenceError):
    """The policy refuses the call; no request left."""


class TableNotAllowedError(PersistencePermissionError):
    """The policy does not let this verb touch this table."""

    def __init__(self, table: object, verb: str, allowed: Iterable[str] = ()) -> None:
        self.table = table
        self.verb = verb
        known = sorted(allowed)
        names = ", ".join(known) or "none"
        meant = get_close_matches(table.lower().rpartition(".")[2], known, n=1) if type(table) is str else []
        guess = f" (did you mean {meant[0]}?)" if meant else ""
        kind, remedy = _REMEDIES.get(verb, _READ)
        super().__init__(
            f"{verb} on {kind} {printable(table)} is not allowed{guess}; allowed here: {names}."
            f" To allow it, name it in {remedy}."
        )


_READ = ("table", "PERSIST_READ_TABLES, which replaces the whole list, or in policy=TablePolicy(read={…})")
_WRITE = ("table", "PERSIST_WRITE_TABLES, which replaces the whole list, or in policy=TablePolicy(write={…})")
_REMEDIES = {
    "write": _WRITE,
    "batch_write": _WRITE,
    "bulk_write": _WRITE,
    "upsert": _WRITE,
    "update": ("table", "policy=TablePolicy(write={…}, read={…}): update chooses rows by what they hold"),
    "delete": ("table", "policy=TablePolicy(delete={…}, read={…}): delete chooses rows by what they hold"),
    "call": ("function", "policy=TablePolicy(call={…}) or, for functions that write, call_write={…}"),
}


class ColumnNotAllowedError(PersistencePermissionError):
    """A name that was given as a column is not one this table may be asked for."""

    def __init__(self, table: str, column: object, reason: str) -> None:
        self.table = table
        self.column = column
        super().__init__(f"{printable(column)} is not allowed as a column of {table}: {reason}")


class ReadOnlyError(PersistencePermissionError, AttributeError):
    """A writing verb was looked up on a read-only façade."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        super().__init__(f"{verb!r} does not exist on a read-only façade; write through a PersistenceAgent")


class ValidationError(PersistenceError):
    """The call cannot be carried out as it stands; `problems` lists every one found."""

    def __init__(self, table: object, problems: str | Sequence[str]) -> None:
        self.table = table
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(f"{printable(table)}: " + "; ".join(self.problems))


class UnsupportedOperationError(ValidationError):
    """The adapter declares that it lacks a capability this call needs."""

    def __init__(self, table: object, capability: str, problem: str | None = None) -> None:
        self.capability = capability
        super().__init__(table, problem or f"this adapter does not support {capability!r}; its `capabilities` say so")


class AdapterError(PersistenceError):
    """The backend or the way to it failed.

    `state` says whether anything was applied, `status` and `code` are the server's (HTTP status; SQLSTATE or
    PostgREST code), `hint` is a remedy, `retry_after_s` the server's wish, `attempts` how often it was tried.
    """

    def __init__(
        self,
        message: str,
        *,
        state: FailureState | str = FailureState.REJECTED,
        status: int | None = None,
        code: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.state = FailureState(state)
        self.status = status
        self.code = code
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.attempts = 1
        super().__init__(f"{message} ({hint})" if hint else message)

    @property
    def may_be_retried(self) -> bool:
        """Whether the same call can succeed later without having been applied already."""
        return self.state in (FailureState.NOT_SENT, FailureState.RETRYABLE)


class ConflictError(AdapterError):
    """The database's own rules refused the row: unique, foreign key, not null or check."""

    def __init__(self, message: str, *, constraint: str | None = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.constraint = constraint


class RowsDroppedError(AdapterError):
    """The database confirmed the write and stored fewer rows than were sent.

    `rows` are those that it told it stored, with the columns that were asked for. Where it stored none the state is
    "rejected", else "applied". What a trigger that keeps a row out does with it elsewhere is its own affair.
    """

    def __init__(
        self, verb: str, table: str, *, sent: int, stored: int, rows: Iterable[dict[str, Any]] = (), **about: Any
    ) -> None:
        self.sent = sent
        self.stored = stored
        self.rows = tuple(rows)
        dropped = "it" if sent == 1 else "the others" if stored else "them"
        super().__init__(
            f"{verb} on {table}: the database stored {stored} of {sent} rows (a trigger or rule dropped {dropped})",
            **{"state": FailureState.APPLIED if stored else FailureState.REJECTED, **about},
        )


class BackendUnavailableError(AdapterError):
    """The backend could not be reached or kept refusing; nothing was applied."""


class OverloadedError(AdapterError):
    """Too many calls are already waiting in this process; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, state=FailureState.NOT_SENT)


class OutcomeUnknownError(AdapterError):
    """A write was sent and its fate could not be learned: it may or may not have been applied.

    `key` is the primary key to look for, where one is known, and a list of them for a batch. Sending the write again
    without one may double it.
    """

    def __init__(self, message: str, *, key: object = None, attempts: int = 1, **about: Any) -> None:
        super().__init__(message, **{"state": FailureState.AMBIGUOUS, **about})
        self.key = key
        self.attempts = attempts


def printable(name: object, limit: int = 80) -> str:
    """A name from an untrusted caller, quoted, in ASCII and cut to `limit` characters."""
    if type(name) is not str:
        return f"<{type(name).__name__}>"
    return ascii(name if len(name) <= limit else name[:limit] + "…")
