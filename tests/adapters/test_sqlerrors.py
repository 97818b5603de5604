"""What a failure over a PostgreSQL connection says about the database: the whole table."""

from __future__ import annotations

import pytest

from agent_persistence.adapters._sqlerrors import (
    Moment,
    Refusal,
    as_lost,
    as_refused,
    as_unreached,
    as_unset,
    state_of,
)
from agent_persistence.adapters._transactions import Transaction
from agent_persistence.exceptions import ConflictError, FailureState

REJECTED, RETRYABLE, AMBIGUOUS = FailureState.REJECTED, FailureState.RETRYABLE, FailureState.AMBIGUOUS
RUNNING, SENT, COMMITTING = Moment

TABLE = [
    # code, while the statement runs, with COMMIT behind it, while committing
    (None, RETRYABLE, AMBIGUOUS, AMBIGUOUS),
    ("08006", RETRYABLE, AMBIGUOUS, AMBIGUOUS),
    ("08P01", RETRYABLE, AMBIGUOUS, AMBIGUOUS),
    ("58000", REJECTED, AMBIGUOUS, AMBIGUOUS),
    ("57P01", RETRYABLE, RETRYABLE, AMBIGUOUS),
    ("57P02", RETRYABLE, RETRYABLE, AMBIGUOUS),
    ("57P03", RETRYABLE, RETRYABLE, RETRYABLE),
    ("57014", REJECTED, REJECTED, REJECTED),
    ("40001", RETRYABLE, RETRYABLE, RETRYABLE),
    ("40P01", RETRYABLE, RETRYABLE, RETRYABLE),
    ("55P03", RETRYABLE, RETRYABLE, RETRYABLE),
    ("53300", RETRYABLE, RETRYABLE, RETRYABLE),
    ("53100", RETRYABLE, RETRYABLE, RETRYABLE),
    ("25P03", RETRYABLE, RETRYABLE, RETRYABLE),
    ("23505", REJECTED, REJECTED, REJECTED),
    ("23503", REJECTED, REJECTED, REJECTED),
    ("22P02", REJECTED, REJECTED, REJECTED),
    ("42501", REJECTED, REJECTED, REJECTED),
    ("P0001", REJECTED, REJECTED, REJECTED),
    ("XX000", REJECTED, REJECTED, REJECTED),
]


@pytest.mark.parametrize(("code", "running", "sent", "committing"), TABLE, ids=lambda given: str(given))
def test_a_failure_of_a_write_says_what_is_known_at_its_moment(
    code: str | None, running: FailureState, sent: FailureState, committing: FailureState
) -> None:
    """Before COMMIT nothing is applied; behind it only the server's own word counts."""
    told = [state_of(code, moment, writes=True) for moment in (RUNNING, SENT, COMMITTING)]
    assert told == [running, sent, committing]


@pytest.mark.parametrize("code", [row[0] for row in TABLE])
@pytest.mark.parametrize("moment", Moment)
def test_a_failure_of_a_reading_transaction_is_never_ambiguous(code: str | None, moment: Moment) -> None:
    """It cannot have applied anything."""
    assert state_of(code, moment, writes=False) is not AMBIGUOUS


def test_the_loss_of_a_connection_says_whether_it_may_have_been_applied() -> None:
    """In words as in the state."""
    writing = Transaction("write", "leads", writes=True)
    assert "it may have been applied" in str(as_lost(SENT, writing))
    assert "nothing was applied" in str(as_lost(RUNNING, writing))
    assert "nothing was applied" in str(as_lost(SENT, Transaction("query", "leads")))


def test_a_refusal_says_its_code_and_what_helps() -> None:
    """In PostgreSQL's words where they hold names alone, else in ours."""
    writing = Transaction("write", "leads", writes=True)
    unique = Refusal("23505", 'duplicate key value violates unique constraint "leads_email_key"', "leads_email_key")
    error = as_refused(unique, SENT, writing)
    assert isinstance(error, ConflictError)
    assert (error.constraint, error.code, error.status) == ("leads_email_key", "23505", None)
    assert str(error) == (
        'write on leads: duplicate key value violates unique constraint "leads_email_key" (23505)'
        " (to change the row that exists, use upsert with on_conflict)"
    )
    told = as_refused(Refusal("22P02", 'invalid input syntax for type uuid: "SECRET"'), SENT, writing)
    assert str(told) == "write on leads: invalid input syntax for type uuid (22P02)"
    denied = as_refused(Refusal("42501", "permission denied for table leads"), SENT, writing)
    assert str(denied) == (
        "write on leads: permission denied for table leads (42501)"
        " (the role lacks a right; grant it with: GRANT SELECT, INSERT ON leads TO <role>;)"
    )
    assert "SECRET" not in str(as_refused(Refusal("P0001", "SECRET"), SENT, writing))


@pytest.mark.parametrize(("moment", "state"), [(RUNNING, RETRYABLE), (SENT, AMBIGUOUS), (COMMITTING, AMBIGUOUS)])
def test_a_pooler_that_ends_the_connection_knows_nothing_of_the_commit(moment: Moment, state: FailureState) -> None:
    """Its words for it may be PostgreSQL's own; the same from PostgreSQL say that nothing was applied."""
    writing = Transaction("write", "leads", writes=True)
    assert as_refused(Refusal("57P01", is_hearsay=True), moment, writing).state is state
    assert as_refused(Refusal("57P01", is_hearsay=True), moment, Transaction("query", "leads")).state is RETRYABLE


def test_a_role_that_is_not_taken_on_is_told_by_its_name() -> None:
    """Cut and quoted, for it may come out of a token."""
    error = as_unset(Refusal("22023", 'role "x" does not exist'), Transaction("query", "leads", role="x" * 99))
    assert (error.state, error.code) == (REJECTED, "22023")
    assert "x" * 81 not in str(error)
    assert as_unset(Refusal("57P01"), Transaction("query", "leads", role="x")).state is RETRYABLE


@pytest.mark.parametrize(
    ("message", "state", "code"),
    [
        ('FATAL:  password authentication failed for user "me"', REJECTED, "28P01"),
        ("fe_sendauth: no password supplied", REJECTED, "28P01"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me"', REJECTED, "28000"),
        ('FATAL:  role "me" does not exist', REJECTED, "28000"),
        ('FATAL:  database "crm" does not exist', REJECTED, "3D000"),
        ("server does not support SSL, but SSL was required", REJECTED, None),
        ("SSL error: certificate verify failed", REJECTED, None),
        ('server certificate for "a" does not match host name "b"', REJECTED, None),
        ("FATAL:  sorry, too many clients already", FailureState.NOT_SENT, "53300"),
        ("FATAL:  the database system is starting up", FailureState.NOT_SENT, "57P03"),
        ("Connection refused", FailureState.NOT_SENT, None),
        ("SECRET nonsense", FailureState.NOT_SENT, None),
    ],
)
def test_a_server_that_is_not_reached_was_sent_nothing(message: str, state: FailureState, code: str | None) -> None:
    """What would fail again is rejected; libpq's text is not repeated."""
    error = as_unreached(message, "db.example:5432")
    assert (error.state, error.code) == (state, code)
    assert "db.example:5432" in str(error)
    assert "nothing was sent" in str(error)
    assert "SECRET" not in str(error)
