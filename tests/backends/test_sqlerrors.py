"""What a failure over a PostgreSQL connection says about the database: the whole table."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from agent_persistence import SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres.errors import (
    Moment,
    Refusal,
    as_lost,
    as_refused,
    as_unreached,
    as_unset,
    state_of,
)
from agent_persistence.backends.postgres.transactions import Transaction
from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.transport.messages import Response
from agent_persistence.exceptions import (
    AdapterError,
    AuthenticationError,
    ConflictError,
    FailureState,
    RowSecurityError,
)
from agent_persistence.operations import Write
from tests.backends.doubles import done
from tests.server import LocalServer

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


def over_both(code: str, message: str, verb: str = "write", *, error_texts: bool = False) -> list[AdapterError]:
    """The errors that both servers' answers become: PostgREST passes on PostgreSQL's code and message."""
    body = json.dumps({"code": code, "message": message, "details": None, "hint": None}).encode()
    response = Response(400, {"content-type": "application/json"}, body, error_texts)
    asked = Transaction(verb, "leads", writes=True, error_texts=error_texts)
    return [parse_error(response, verb, "leads"), as_refused(Refusal(code, message), SENT, asked)]


FIXED = [
    ("25006", "cannot execute INSERT in a read-only transaction", None),
    ("25006", "cannot execute CREATE TABLE AS in a read-only transaction", None),
    ("25006", "cannot execute nextval() in a read-only transaction", None),
    ("428C9", 'cannot insert a non-DEFAULT value into column "id"', "id"),
    ("428C9", 'column "id" can only be updated to DEFAULT', "id"),
    ("42804", 'column "score" is of type numeric but expression is of type boolean', "score"),
    ("42804", 'column "at" is of type timestamp with time zone but default expression is of type text[]', "at"),
    ("42804", "argument of IS TRUE must be type boolean, not type integer", None),
    ("22008", "timestamp out of range", None),
    ("22008", "date out of range for timestamp", None),
    ("2201B", "invalid regular expression: parentheses () not balanced", None),
    ("2201B", "invalid regular expression: invalid escape \\ sequence", None),
    ("22P05", "unsupported Unicode escape sequence", None),
    ("22000", "expected 3 dimensions, not 2", None),
    ("22000", "different vector dimensions 3 and 2", None),
    ("55000", 'cannot insert into view "happy"', None),
    ("55000", 'materialized view "sums" has not been populated', None),
    ("22P02", "invalid input value for enum mood", None),
    ("23502", 'null value in column "email" of relation "leads" violates not-null constraint', "email"),
    ("42703", "column leads.emial does not exist", "emial"),
    ("PGRST204", "Could not find the 'emial' column of 'leads' in the schema cache", "emial"),
    (
        "PGRST203",
        "Could not choose the best candidate function between: public.f(a => integer), public.f(a => text)",
        None,
    ),
]


@pytest.mark.parametrize(("code", "message", "column"), FIXED, ids=[f"{code} {text[:30]}" for code, text, _ in FIXED])
def test_a_text_of_known_form_is_passed_on_and_names_its_column(code: str, message: str, column: str | None) -> None:
    """It holds names of types and columns alone; what follows its colon may be a value, and is left out."""
    for error in over_both(code, message):
        assert f"write on leads: {message} (" in str(error)
        assert error.column == column
    for error in over_both(code, f'{message}: "SECRET"'):
        assert "SECRET" not in f"{error} {vars(error)} {error.for_model()}"
        assert message in str(error)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("25006", "cannot execute SECRET's plan in a read-only transaction"),
        ("428C9", 'cannot insert a non-DEFAULT value into column "a SECRET one"'),
        ("42804", 'column "score" is of type numeric but SECRET'),
        ("22008", "date/time field value out of range SECRET"),
        ("2201B", "invalid regular expression: SECRET"),
        ("22P05", 'character with byte sequence 0xSECRET in encoding "UTF8" has no equivalent in encoding "LATIN1"'),
        ("22000", "expected 3 dimensions, not SECRET"),
        ("22000", "SECRET expected 3 dimensions, not 2"),
        ("55000", "lead SECRET is not ready"),
        ("22P02", "invalid input value for enum mood SECRET"),
        ("PGRST203", "Could not choose the best candidate function between: SECRET; drop"),
        ("P0001", "lead SECRET is blocked"),
        ("PT402", "SECRET"),
    ],
)
def test_a_text_that_is_not_of_the_known_form_to_its_end_is_left_out(code: str, message: str) -> None:
    """A trigger may raise any text under any code; the end, and what precedes it, is checked too."""
    for error in over_both(code, message):
        assert "SECRET" not in f"{error} {vars(error)} {error.for_model()}"


@pytest.mark.parametrize("code", ["P0001", "PT402"])
def test_an_authors_own_text_is_repeated_where_that_is_wanted(code: str) -> None:
    """Those of RAISE, cut and without characters that a terminal obeys; no other code's, and never to a model."""
    for error in over_both(code, "lead \x1b[2J is blocked" + "x" * 9_999, error_texts=True):
        assert "write on leads: lead \\x1b[2J is blockedxxx" in str(error)
        assert len(str(error)) < 700
        assert "blocked" not in error.for_model()
    for error in over_both("XX000", "SECRET", error_texts=True):
        assert "SECRET" not in str(error)


def test_a_row_that_a_policy_refuses_may_only_not_be_returned() -> None:
    """`return=representation` needs a SELECT policy beside the one for INSERT; other verbs need it anyway."""
    message = 'new row violates row-level security policy for table "leads"'
    for verb, has_way_out in (("write", True), ("batch_write", True), ("upsert", False), ("bulk_write", False)):
        for error in over_both("42501", message, verb):
            assert ("use bulk_write" in str(error), "read list" in str(error)) == (has_way_out, has_way_out)
            assert "row-level security policy of leads refuses" in str(error)
            assert type(error) is RowSecurityError


@pytest.mark.parametrize(
    ("message", "blamed"),
    [
        ("canceling statement due to statement timeout", "ran into a statement_timeout"),
        ("canceling statement due to user request", "by an administrator, by a caller that went away"),
        ("SECRET", "by an administrator, by a caller that went away"),
    ],
)
def test_a_stopped_statement_is_blamed_on_what_stopped_it(message: str, blamed: str) -> None:
    """57014 is also what a cancelled statement gets."""
    for error in over_both("57014", message):
        assert blamed in (error.hint or "")
        assert "SECRET" not in str(error)


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
    assert isinstance(error, AuthenticationError) is (code in ("28P01", "28000"))
    assert "db.example:5432" in str(error)
    assert "nothing was sent" in str(error)
    assert "SECRET" not in str(error)


# --- the same from real servers ---------------------------------------------------------------------------------------

RAISES = """
create function f_raises(code text) returns void language plpgsql stable as $$
  begin raise exception 'order 17 is closed' using errcode = code; end $$;
create table drops (id integer generated always as identity primary key, body text);
alter table drops enable row level security;
create policy dropping on drops for insert to authenticated with check (body = 'mine');
grant insert, select on drops to authenticated;
"""
DROP = "drop function if exists f_raises; drop table if exists drops"


@pytest.fixture
def raising(server: LocalServer) -> Iterator[LocalServer]:
    server.execute(DROP)
    server.execute(RAISES)
    server.reload_schema()
    yield server
    server.execute(DROP)
    server.reload_schema()


@pytest.fixture(params=["postgres", "server"])
def over(request: pytest.FixtureRequest, raising: LocalServer) -> Callable[..., Any]:
    """Makes an adapter for the role authenticated, over SQL or over PostgREST."""

    def made(**options: Any) -> Any:
        if request.param == "postgres":
            return PostgresAdapter(raising.database_url, role="authenticated", **options)
        return SupabaseAdapter(raising.url, raising.anon_key, access_token=raising.token(), **options)

    return made


async def refused(adapter: Any, call: Callable[[Any], Awaitable[Any]]) -> AdapterError:
    try:
        with pytest.raises(AdapterError) as caught:
            await call(adapter)
    finally:
        await adapter.aclose()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["P0001", "PT402"])
async def test_what_a_function_raises_is_told_to_those_who_ask_for_it(over: Callable[..., Any], code: str) -> None:
    """Otherwise its code alone: it may hold the content of a row."""
    for error_texts in (False, True):
        error = await refused(over(error_texts=error_texts), lambda adapter: adapter.call("f_raises", {"code": code}))
        assert error.code == code
        assert ("order 17 is closed" in str(error)) is error_texts


@pytest.mark.anyio
async def test_a_row_that_may_be_inserted_and_not_seen_has_a_way_in(over: Callable[..., Any]) -> None:
    """The one that the refusal names: a write that returns nothing."""
    row = {"body": "mine"}
    error = await refused(over(), lambda adapter: adapter.write("drops", row))
    assert (error.code, "use bulk_write" in (error.hint or "")) == ("42501", True)
    adapter = over()
    try:
        assert await adapter.bulk_write("drops", [row]) == 1
        assert await done(adapter, Write("drops", row, returning=())) == row
    finally:
        await adapter.aclose()


@pytest.mark.anyio
async def test_a_column_that_the_database_fills_is_named(over: Callable[..., Any]) -> None:
    """With what to do about it."""
    error = await refused(over(), lambda adapter: adapter.write("drops", {"id": 5, "body": "mine"}))
    assert (error.code, error.column) == ("428C9", "id")
    assert "leave the column out" in str(error)
