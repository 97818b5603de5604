"""What a failure over a PostgreSQL connection says about the database, and the error that it becomes. Pure.

A transaction has two moments: until its statement has been answered nothing of it is applied, whatever happens; once
its end may have arrived, only an answer says whether it is.
Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from agent_persistence.backends.postgres.transactions import Transaction
from agent_persistence.backends.server_texts import described, error_class, named_column, remedy_of
from agent_persistence.exceptions import AdapterError, ConflictError, FailureState, printable


class Moment(Enum):
    """How far a transaction had come."""

    RUNNING = "running"
    """The answer to a statement before COMMIT was outstanding, and COMMIT had not been sent."""
    SENT = "sent"
    """The same, with the end of the transaction on its way behind the statement."""
    COMMITTING = "committing"
    """The statement had been answered, and the answer to the commit was outstanding."""


_TRANSIENT: Final = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53", "08")
"""By SQLSTATE or its class: the server rolled back, or never began, for a reason that passes."""
_HEARSAY: Final = ("08", "58")
"""A pooler's words for a server that it lost: what that server did before is not known."""
_ENDING: Final = ("57P01", "57P02", "57P05")
"""The server ends the connection, perhaps between the commit and its answer."""


def state_of(code: str | None, moment: Moment, *, writes: bool) -> FailureState:
    """What is known after an error with this SQLSTATE, or after the loss of the connection (None).

    A transaction that cannot write has applied nothing, and may be tried again.
    """
    open_to_doubt = writes and moment is not Moment.RUNNING
    if code is None:
        return FailureState.AMBIGUOUS if open_to_doubt else FailureState.RETRYABLE
    if open_to_doubt and _is_one_of(code, _HEARSAY):
        return FailureState.AMBIGUOUS
    if writes and moment is Moment.COMMITTING and _is_one_of(code, _ENDING):
        return FailureState.AMBIGUOUS
    return FailureState.RETRYABLE if _is_one_of(code, _TRANSIENT) else FailureState.REJECTED


def _is_one_of(code: str, known: tuple[str, ...]) -> bool:
    return code in known or code[:2] in known


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that was reported: its code and what names the constraint. `message` may hold row content.

    `is_hearsay` where a pooler made it up: PostgreSQL itself names the place in its source.
    """

    code: str
    message: str = field(default="", repr=False)
    constraint: str | None = None
    is_hearsay: bool = False


def as_refused(refusal: Refusal, moment: Moment, asked: Transaction) -> AdapterError:
    """The error of a call that the server refused. Its details, which hold values, are left out."""
    code = refusal.code
    if refusal.is_hearsay and moment is Moment.SENT:
        moment = Moment.COMMITTING  # the server, of which this is said, may have come that far
    description = _without_key(described(code, refusal.message, error_texts=asked.error_texts))
    about: dict[str, Any] = {
        "state": state_of(code, moment, writes=asked.writes),
        "code": code,
        "hint": _without_key(remedy_of(code, refusal.message, asked.verb, asked.table) or ""),
        "column": named_column(description),
    }
    text = f"{asked} {description} ({code})"
    if code.startswith("23"):
        return ConflictError(text, constraint=refusal.constraint, **about)
    return error_class(code, None, refusal.message)(text, **about)


def _without_key(text: str) -> str:
    """Words that are said over HTTP too, where a key stands for a role."""
    return text.replace(" of the key", "")


def as_unset(refusal: Refusal, asked: Transaction) -> AdapterError:
    """The error of a call whose role could not be taken on; nothing was run."""
    state = state_of(refusal.code, Moment.RUNNING, writes=True)
    text = f"{asked} the role {printable(asked.role)} could not be set ({refusal.code}); nothing was run"
    hint = (
        "the database user must be a member of it: GRANT <role> TO <user>;" if state is FailureState.REJECTED else None
    )
    return AdapterError(text, state=state, code=refusal.code, hint=hint)


def as_lost(moment: Moment, asked: Transaction) -> AdapterError:
    """The error of a call whose connection ended before its answer had come."""
    state = state_of(None, moment, writes=asked.writes)
    known = "it may have been applied" if state is FailureState.AMBIGUOUS else "nothing was applied"
    return AdapterError(f"{asked} the connection to PostgreSQL was lost; {known}", state=state)


def as_too_many(asked: Transaction) -> AdapterError:
    """The error of a change that would have affected more rows than it may, and was rolled back."""
    return AdapterError(f"{asked} more rows than max_affected={asked.at_most}; nothing was changed", code="PGRST124")


_UNREACHED: Final[Mapping[str, tuple[str, FailureState, str | None]]] = {
    "password authentication failed|no password supplied|SASL": (
        "the user or the password was refused",
        FailureState.REJECTED,
        "28P01",
    ),
    r"no pg_hba\.conf entry": (
        "the server's pg_hba.conf has no entry for this connection",
        FailureState.REJECTED,
        "28000",
    ),
    r'(?:role|user) "[^"]*" (?:does not exist|is not permitted)': (
        "the user was refused",
        FailureState.REJECTED,
        "28000",
    ),
    'database "[^"]*" does not exist': ("there is no such database", FailureState.REJECTED, "3D000"),
    "permission denied for database": ("the user may not connect to this database", FailureState.REJECTED, "42501"),
    "certificate|hostname": ("its TLS certificate was not accepted", FailureState.REJECTED, None),
    "does not support SSL": ("it does not offer TLS, which sslmode demands", FailureState.REJECTED, None),
    "too many (?:connections|clients)|remaining connection slots": (
        "it has no connections left",
        FailureState.NOT_SENT,
        "53300",
    ),
    "(?:starting up|shutting down|recovery mode)": ("it is starting or stopping", FailureState.NOT_SENT, "57P03"),
}
"""What libpq's text says of an attempt to connect, which has no code: our words, the state and the code."""


def as_unreached(message: str, place: str) -> AdapterError:
    """The error of a call for which no connection could be made. libpq's text is matched and not repeated."""
    for form, (words, state, code) in _UNREACHED.items():
        if re.search(form, message):
            refused = error_class(code, None, "")
            return refused(f"PostgreSQL at {place}: {words}; nothing was sent", state=state, code=code)
    return AdapterError(f"PostgreSQL at {place} was not reached; nothing was sent", state=FailureState.NOT_SENT)
