"""Every error this package raises.

    PersistenceError
    ├ ConfigurationError               refused at construction
    │  └ AccessTokenError              a user's token that is none; nothing was sent
    ├ SpoolError                       the file of a spool cannot be used
    ├ NotStoredYetError                also a KeyError: a value of a row that waits on disk: .column
    ├ PersistencePermissionError       refused by the policy; nothing was sent
    │  ├ TableNotAllowedError          .table .verb
    │  ├ ColumnNotAllowedError         .table .column
    │  └ ReadOnlyError                 also an AttributeError
    ├ ValidationError                  .table .problems
    │  └ UnsupportedOperationError     .capability
    └ AdapterError                     .state .status .code .hint
       ├ AuthenticationError           the server does not accept the credentials; nothing was applied
       ├ RowSecurityError              a policy of row-level security refuses the row
       ├ ConflictError                 an integrity rule of the database: .constraint
       ├ ExpectationFailedError        a unit of work found other rows than it expects: .verb .table .found .expected
       ├ RowsDroppedError              a trigger or rule kept rows out: .sent .rows
       ├ BackendUnavailableError       not applied; retries are exhausted
       │  └ SpoolFullError             and the spool that would keep the write is full: .limit
       ├ OverloadedError               refused locally, nothing was sent
       └ OutcomeUnknownError           the write may have been applied: .key .attempts

A class exists where a caller would act differently. Messages carry names, codes and remedies,
never a credential or the content of a row. What a web service or a model is to get of an error is in `_MEANINGS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, TypeAlias


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

    @property
    def http_status(self) -> int:
        """The status with which a web service answers a request that met this error (RFC 9110, section 15)."""
        return self._meaning().http_status

    @property
    def caller_can_fix(self) -> bool:
        """Whether the same caller can succeed with another call: other names, values or bounds."""
        return self._meaning().caller_can_fix

    def for_model(self) -> str:
        """What a language model may read of it: what was wrong, and what would be allowed.

        It holds names of tables, columns, functions and rules, and nothing else of the database: no value, no text of a
        server, no host, no setting and no way to more rights. `str(error)` has these for developers.
        """
        return self._meaning().words

    def _meaning(self) -> _Meaning:
        return next(_MEANINGS[each] for each in type(self).__mro__ if each in _MEANINGS)

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


class AccessTokenError(ConfigurationError):
    """A user's access token is empty, or cannot stand in a header. Whoever sent it is to log in again."""


class SpoolError(PersistenceError):
    """The file of a spool cannot be opened, read or written, or belongs to another database."""


class NotStoredYetError(PersistenceError, KeyError):
    """A value was asked of a write that waits on disk, and only the database will know it. `column` may be None."""

    __str__ = Exception.__str__

    def __init__(self, column: str | None = None) -> None:
        self.column = column
        subject = "what this operation does" if column is None else f"{printable(column)} of this row"
        super().__init__(f"{subject} is not known yet: the write waits on disk until the database can be reached")


class PersistencePermissionError(PersistenceError):
    """The policy refuses the call; no request left."""


class TableNotAllowedError(PersistencePermissionError):
    """The policy does not let this verb touch this table."""

    def __init__(self, table: object, verb: str, allowed: Iterable[str] = ()) -> None:
        self.table = table
        self.verb = verb
        self.allowed = tuple(sorted(allowed))
        known = self.allowed
        names = ", ".join(known) or "none"
        meant = (
            get_close_matches(table[:_MOST_MEANT].lower().rpartition(".")[2], known, n=1) if type(table) is str else []
        )
        guess = f" (did you mean {meant[0]}?)" if meant else ""
        kind, remedy = _REMEDIES.get(verb, _READ)
        self._refusal = f"{verb} on {kind} {printable(table)} is not allowed{guess}; allowed here: {names}."
        super().__init__(f"{self._refusal} To allow it, name it in {remedy}.")

    @property
    def caller_can_fix(self) -> bool:
        """Whether there is a table or function of which the call would be allowed."""
        return bool(self.allowed)

    def for_model(self) -> str:
        """What was refused, and what is allowed."""
        return self._refusal


_READ = ("table", "PERSIST_READ_TABLES, which replaces the whole list, or in policy=TablePolicy(read={…})")
_WRITE = ("table", "PERSIST_WRITE_TABLES, which replaces the whole list, or in policy=TablePolicy(write={…})")
_REMEDIES = {
    "write": _WRITE,
    "batch_write": _WRITE,
    "bulk_write": _WRITE,
    "upsert": _WRITE,
    "upsert_many": _WRITE,
    "update": ("table", "policy=TablePolicy(write={…}, read={…}): update chooses rows by what they hold"),
    "delete": ("table", "policy=TablePolicy(delete={…}, read={…}): delete chooses rows by what they hold"),
    "call": ("function", "policy=TablePolicy(call={…}) or, for functions that write, call_write={…}"),
}


class ColumnNotAllowedError(PersistencePermissionError):
    """A name that was given as a column is not one this table may be asked for.

    `remedy` is for who configures the service, and no part of `for_model`.
    """

    def __init__(self, table: str, column: object, reason: str, remedy: str = "") -> None:
        self.table = table
        self.column = column
        self._refusal = f"{printable(column)} is not allowed as a column of {printable(table)[1:-1]}: {reason}"
        super().__init__(f"{self._refusal}; {remedy}" if remedy else self._refusal)

    def for_model(self) -> str:
        """What was refused, and why."""
        return self._refusal


class ReadOnlyError(PersistencePermissionError, AttributeError):
    """A writing verb was looked up on a read-only façade."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        super().__init__(f"{verb!r} does not exist on a read-only façade; write through a PersistenceAgent")


class ValidationError(PersistenceError):
    """The call cannot be carried out as it stands; `problems` lists every one found.

    `remedy` is for who configures the service, and no part of `for_model`.
    """

    def __init__(self, table: object, problems: str | Sequence[str], remedy: str = "") -> None:
        self.table = table
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(f"{self.for_model()}; {remedy}" if remedy else self.for_model())

    def for_model(self) -> str:
        """Every problem found."""
        return f"{printable(self.table)}: " + "; ".join(self.problems)


class UnsupportedOperationError(ValidationError):
    """The adapter declares that it lacks a capability this call needs."""

    def __init__(self, table: object, capability: str, problem: str | None = None, remedy: str = "") -> None:
        self.capability = capability
        lacking = f"this adapter does not support {capability!r}; its `capabilities` say so"
        super().__init__(table, problem or lacking, remedy)


class AdapterError(PersistenceError):
    """The backend or the way to it failed.

    `state` says whether anything was applied, `status` and `code` are the server's (HTTP status; SQLSTATE or
    PostgREST code), `hint` is a remedy, `retry_after_s` the server's wish, `attempts` how often it was tried, `column`
    the column that is at fault, where the server names it, `part` the operation of a unit of work that failed, from 0.
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
        column: str | None = None,
    ) -> None:
        self.state = FailureState(state)
        self.status = status
        self.code = code
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.attempts = 1
        self.column = column
        self.part: int | None = None
        super().__init__(f"{message} ({hint})" if hint else message)

    def for_model(self) -> str:
        """What the database made of the call in words of this package, and whether anything was changed."""
        words = self._meaning().words
        return f"{words}{'' if self.column is None else f' (column {self.column})'}. {_CHANGED[self.state]}"

    def _meaning(self) -> _Meaning:
        keys = (self.status, self.code, (self.code or "")[:2])
        return next((_MEANINGS[key] for key in keys if key in _MEANINGS), super()._meaning())

    @property
    def may_be_retried(self) -> bool:
        """Whether the same call can succeed later without having been applied already."""
        return self.state in (FailureState.NOT_SENT, FailureState.RETRYABLE)


class AuthenticationError(AdapterError):
    """The server does not accept the credentials: a token that has expired, a key that was revoked, no login.

    Nothing was applied. A caller signs in again; the same credentials would be refused again.
    """

    _meaning = PersistenceError._meaning


class RowSecurityError(AdapterError):
    """A policy of row-level security refuses the row: this user may not write it, and nothing was applied."""

    _meaning = PersistenceError._meaning


class ConflictError(AdapterError):
    """The database's own rules refused the row: unique, foreign key, not null or check."""

    def __init__(self, message: str, *, constraint: str | None = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.constraint = constraint

    def for_model(self) -> str:
        """Which rule refused the row."""
        return super().for_model() + (f" The rule is {printable(self.constraint)}." if self.constraint else "")


class ExpectationFailedError(AdapterError):
    """An update, a delete or a unit of work met another number of rows than it expects, and nothing was applied.

    `found` is how many there were, None where the backend does not say; `expected` is a number, or "at least 1".
    Read again, and decide anew.
    """

    _meaning = PersistenceError._meaning

    def __init__(self, verb: str, table: str, *, expected: int | str, found: int | None, **about: Any) -> None:
        self.verb = verb
        self.table = table
        self.expected = expected
        self.found = found
        rows = "another number of rows was" if found is None else f"{found} row{' was' if found == 1 else 's were'}"
        super().__init__(f"{verb} on {table}: {rows} found, expected {expected}; nothing was applied", **about)


class RowsDroppedError(AdapterError):
    """The database confirmed the write and stored fewer rows than were sent.

    `rows` are those that it reported as stored, with the columns that were asked for. Where it stored none the state is
    "rejected", else "applied". What a trigger that keeps a row out does with it elsewhere is its own affair.
    """

    _meaning = PersistenceError._meaning

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

    _meaning = PersistenceError._meaning


class SpoolFullError(BackendUnavailableError):
    """The database cannot be reached, and the spool holds as much as it may; nothing was applied or kept.

    `limit` is the bound that is reached: "max_rows" or "max_bytes".
    """

    def __init__(self, message: str, *, limit: str, **about: Any) -> None:
        super().__init__(message, **{"state": FailureState.NOT_SENT, **about})
        self.limit = limit


class OverloadedError(AdapterError):
    """Too many calls are already waiting in this process; nothing was sent."""

    _meaning = PersistenceError._meaning

    def __init__(self, message: str) -> None:
        super().__init__(message, state=FailureState.NOT_SENT)


class OutcomeUnknownError(AdapterError):
    """A write was sent and its fate could not be learned: it may or may not have been applied.

    `key` is the primary key to look for, where one is known, and a list of them for a batch. Sending the write again
    without one may double it.
    """

    _meaning = PersistenceError._meaning

    def __init__(self, message: str, *, key: object = None, attempts: int = 1, **about: Any) -> None:
        super().__init__(message, **{"state": FailureState.AMBIGUOUS, **about})
        self.key = key
        self.attempts = attempts


@dataclass(frozen=True, slots=True)
class _Meaning:
    """An error for those who do not see its class: an HTTP status, whether another call helps, and plain words."""

    http_status: int
    caller_can_fix: bool
    words: str


_Key: TypeAlias = type[PersistenceError] | str | int | None
_VALUE: Final = _Meaning(422, True, "A value is not valid for its column or argument")
_COLUMN: Final = _Meaning(422, True, "A column does not exist, or cannot be used like this")
_TABLE: Final = _Meaning(422, True, "A table does not exist in the database")
_FUNCTION: Final = _Meaning(422, True, "There is no function with these arguments, or no operator for these types")
_MEANINGS: Final[Mapping[_Key, _Meaning]] = {
    PersistenceError: _Meaning(500, False, "The call failed."),
    ConfigurationError: _Meaning(500, False, "The service is not set up for this call; another call does not help."),
    AccessTokenError: _Meaning(401, False, "The access token is not valid."),
    PersistencePermissionError: _Meaning(403, True, "The call is not allowed."),
    ReadOnlyError: _Meaning(403, False, "Nothing can be changed here; only reading is allowed."),
    SpoolError: _Meaning(500, False, "The change could not be kept; another call does not help."),
    NotStoredYetError: _Meaning(503, False, "The change is kept and not stored yet; what it made is known later."),
    ValidationError: _Meaning(422, True, ""),
    AdapterError: _Meaning(502, False, "The database could not carry out the call"),
    AuthenticationError: _Meaning(401, False, "The database does not accept the credentials of this call"),
    RowSecurityError: _Meaning(403, True, "A rule of the database does not let this user write the row"),
    ConflictError: _Meaning(409, True, "A rule of the database refuses the row"),
    ExpectationFailedError: _Meaning(409, True, "The rows are not as the change expects them; read them again"),
    RowsDroppedError: _Meaning(409, True, "A rule of the database kept rows out"),
    BackendUnavailableError: _Meaning(503, False, "The database is not available; the same call may succeed later"),
    OverloadedError: _Meaning(503, False, "Too many calls are waiting; the same call may succeed later"),
    OutcomeUnknownError: _Meaning(504, False, "The change was sent; look at the rows before making it again"),
    403: _Meaning(403, True, "The database does not allow this call"),
    429: _Meaning(429, False, "Too many calls were made; the same call may succeed later"),
    "42501": _Meaning(403, True, "The database does not allow this call"),
    "23502": _Meaning(409, True, "A column that needs a value has none"),
    "23503": _Meaning(409, True, "A row refers to one that does not exist, or is itself referred to"),
    "23505": _Meaning(409, True, "A row with this unique value exists already"),
    "23514": _Meaning(409, True, "A value breaks a check of the table"),
    "22": _VALUE,
    "42804": _VALUE,
    "42703": _COLUMN,
    "428C9": _COLUMN,
    "PGRST204": _COLUMN,
    "42P01": _TABLE,
    "PGRST205": _TABLE,
    "42883": _FUNCTION,
    "PGRST202": _FUNCTION,
    "PGRST203": _FUNCTION,
    "42P10": _Meaning(422, True, "No unique rule covers the columns by which rows are merged"),
    "21000": _Meaning(422, True, "Two rows of one batch are the same by the columns by which they are merged"),
    "PGRST124": _Meaning(422, True, "More rows match than may be changed"),
}
"""By class, and for an AdapterError by its HTTP status, its code or the code's first two characters.

A call that another one of the caller's can replace is 4xx, also where the adapter lacks what it needs: RFC 9110 keeps
501 for methods that a server knows for no resource. The database is a server behind this one: what it cannot do is 502,
what is not known of it 504. 503 says that nothing was applied and that the same call may succeed later, after
`retry_after_s` where that is known.
"""

_NOTHING_CHANGED: Final = "Nothing was changed."
_CHANGED: Final = {
    FailureState.NOT_SENT: _NOTHING_CHANGED,
    FailureState.REJECTED: _NOTHING_CHANGED,
    FailureState.RETRYABLE: _NOTHING_CHANGED,
    FailureState.AMBIGUOUS: "Whether anything was changed is not known.",
    FailureState.APPLIED: "The change was made, and what came back cannot be read.",
}


_MOST_MEANT: Final = 200
"""Characters of a name that is not known in which a known one is looked for: looking takes time with its length."""


def printable(name: object, limit: int = 80) -> str:
    """A name from an untrusted caller, quoted, in ASCII and cut to `limit` characters."""
    if type(name) is not str:
        return f"<{type(name).__name__}>"
    return ascii(name if len(name) <= limit else name[:limit] + "…")
