"""The error tree."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_persistence import exceptions
from agent_persistence.exceptions import (
    AccessTokenError,
    AdapterError,
    AuthenticationError,
    BackendUnavailableError,
    ColumnNotAllowedError,
    ConfigurationError,
    ConflictError,
    ExpectationFailedError,
    FailureState,
    NotStoredYetError,
    OutcomeUnknownError,
    OverloadedError,
    PersistenceError,
    PersistencePermissionError,
    ReadOnlyError,
    RowsDroppedError,
    RowSecurityError,
    SpoolError,
    SpoolFullError,
    TableNotAllowedError,
    UnsupportedOperationError,
    ValidationError,
    printable,
)
from tests.doubles import shown
from tests.security.said import for_developers_in

EXAMPLES: list[tuple[PersistenceError, dict[str, Any]]] = [
    (PersistenceError("p"), {}),
    (ConfigurationError("c"), {}),
    (AccessTokenError("c"), {}),
    (SpoolError("c"), {}),
    (NotStoredYetError("score"), {"column": "score"}),
    (PersistencePermissionError("d"), {}),
    (TableNotAllowedError("clients", "write", {"leads"}), {"table": "clients", "verb": "write"}),
    (ColumnNotAllowedError("leads", "clients(*)", "no"), {"table": "leads", "column": "clients(*)"}),
    (ReadOnlyError("write"), {"verb": "write"}),
    (ValidationError("leads", ["a", "b"]), {"table": "leads", "problems": ("a", "b")}),
    (UnsupportedOperationError("leads", "ilike"), {"capability": "ilike", "table": "leads"}),
    (
        AdapterError("m", state=FailureState.RETRYABLE, status=503, code="X", hint="h", retry_after_s=2.0),
        {"state": FailureState.RETRYABLE, "status": 503, "code": "X", "hint": "h", "retry_after_s": 2.0, "attempts": 1},
    ),
    (AuthenticationError("m", status=401), {"status": 401, "state": FailureState.REJECTED}),
    (RowSecurityError("m", code="42501"), {"code": "42501", "state": FailureState.REJECTED}),
    (ConflictError("m", constraint="leads_email_key", code="23505"), {"constraint": "leads_email_key"}),
    (
        RowsDroppedError("write", "leads", sent=2, stored=1, rows=[{"id": 1}]),
        {"sent": 2, "stored": 1, "rows": ({"id": 1},), "state": FailureState.APPLIED},
    ),
    (
        ExpectationFailedError("update", "leads", expected=1, found=0),
        {"verb": "update", "table": "leads", "expected": 1, "found": 0, "state": FailureState.REJECTED},
    ),
    (BackendUnavailableError("m", state=FailureState.NOT_SENT), {"state": FailureState.NOT_SENT}),
    (SpoolFullError("m", limit="max_rows"), {"limit": "max_rows", "state": FailureState.NOT_SENT}),
    (OverloadedError("m"), {"state": FailureState.NOT_SENT}),
    (OutcomeUnknownError("m", key="k", attempts=3), {"key": "k", "attempts": 3, "state": FailureState.AMBIGUOUS}),
]
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


def _drawn_tree() -> dict[str, str | None]:
    """Class name to the name of its parent, read from the drawing in the module's docstring."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (exceptions.__doc__ or "").splitlines():
        drawn = re.match(r"^    ((?:[│ ]  )*(?:[├└] )?)([A-Z]\w+Error)\b", line)
        if drawn:
            depth = (len(drawn[1]) + 1) // 3 if drawn[1] else 0
            del path[depth:]
            parents[drawn[2]] = path[-1] if path else None
            path.append(drawn[2])
    return parents


def test_the_tree_is_the_one_drawn_in_the_docstring() -> None:
    """Every class of the module is in the drawing, under its first base."""
    classes = {
        name: cls
        for name, cls in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(cls, BaseException) and cls.__module__ == exceptions.__name__
    }
    assert _drawn_tree() == {
        name: None if cls is PersistenceError else cls.__bases__[0].__name__ for name, cls in classes.items()
    }


def test_every_class_has_an_example_here() -> None:
    """Control: the rules below are shown for the whole tree."""
    assert {type(error).__name__ for error, _ in EXAMPLES} == set(_drawn_tree())


@pytest.mark.parametrize(("error", "attributes"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_carries_its_values_as_attributes(error: PersistenceError, attributes: dict[str, Any]) -> None:
    """Callers compare attributes, never texts."""
    assert {name: getattr(error, name) for name in attributes} == attributes


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=lambda error: type(error).__name__)
def test_an_error_survives_copy_and_pickle(error: PersistenceError, copied: Callable[[Any], Any]) -> None:
    """Class, text, arguments, attributes and notes arrive on the other side of a process boundary."""
    original = copy.copy(error)
    original.add_note("seen in worker 3")
    twin = copied(original)
    assert twin is not original
    assert (type(twin), twin.args, str(twin), vars(twin)) == (
        type(original),
        original.args,
        str(original),
        vars(original),
    )


HTTP: list[tuple[PersistenceError, int, bool]] = [
    (PersistenceError("p"), 500, False),
    (ConfigurationError("c"), 500, False),
    (AccessTokenError("c"), 401, False),
    (PersistencePermissionError("d"), 403, True),
    (TableNotAllowedError("clients", "write", {"leads"}), 403, True),
    (TableNotAllowedError("clients", "delete", ()), 403, False),
    (ColumnNotAllowedError("leads", "clients(*)", "no"), 403, True),
    (ReadOnlyError("write"), 403, False),
    (ValidationError("leads", "a"), 422, True),
    (UnsupportedOperationError("leads", "ilike"), 422, True),
    (AdapterError("m"), 502, False),
    (AdapterError("m", status=500, code="P0001"), 502, False),
    (AdapterError("m", status=403), 403, True),
    (AdapterError("m", code="42501"), 403, True),
    (AdapterError("m", status=429), 429, False),
    (AdapterError("m", status=400, code="22P02"), 422, True),
    (AdapterError("m", code="22003"), 422, True),
    (AdapterError("m", status=400, code="42703"), 422, True),
    (AdapterError("m", status=404, code="PGRST202"), 422, True),
    (AdapterError("m", status=400, code="PGRST124"), 422, True),
    (AuthenticationError("m", status=401, code="PGRST303"), 401, False),
    (AuthenticationError("m", code="28P01"), 401, False),
    (RowSecurityError("m", status=401, code="42501"), 403, True),
    (ConflictError("m"), 409, True),
    (ConflictError("m", status=400, code="23502"), 409, True),
    (RowsDroppedError("write", "leads", sent=1, stored=0, status=201), 409, True),
    (ExpectationFailedError("update", "leads", expected=1, found=0, status=400, code="AP001"), 409, True),
    (BackendUnavailableError("m", status=429), 503, False),
    (SpoolError("m"), 500, False),
    (SpoolFullError("m", limit="max_bytes"), 503, False),
    (NotStoredYetError(), 503, False),
    (OverloadedError("m"), 503, False),
    (OutcomeUnknownError("m", status=500, code="22P02"), 504, False),
]


@pytest.mark.parametrize(("error", "status", "fixable"), HTTP, ids=lambda value: type(value).__name__)
def test_a_web_service_answers_with_the_status_of_the_error(
    error: PersistenceError, status: int, fixable: bool
) -> None:
    """And tells its caller whether another call can succeed, which is only so where the status is 4xx."""
    assert (error.http_status, error.caller_can_fix) == (status, fixable)
    assert not fixable or 400 <= status < 500


def test_every_class_has_a_status_here() -> None:
    """Control: the rule above is shown for the whole tree."""
    assert {type(error).__name__ for error, _, _ in HTTP} == set(_drawn_tree())


SECRETS = (
    "SUPABASE_KEY sb_secret_x eyJhbGciOi PERSIST_READ_TABLES postgresql://u:p@db.example.org/x GRANT ALL ON x;"
    " policy=TablePolicy(read={…}) row_cap=5 10.0.0.1 Redaction"
)
DIRTY: list[PersistenceError] = [
    PersistenceError(SECRETS),
    ConfigurationError(SECRETS),
    AccessTokenError(SECRETS),
    SpoolError(SECRETS),
    SpoolFullError(SECRETS, limit="max_rows"),
    NotStoredYetError(SECRETS),
    PersistencePermissionError(SECRETS),
    *(TableNotAllowedError("clients", verb, {"leads"}) for verb in ("query", "write", "update", "delete", "call")),
    ColumnNotAllowedError("leads", "x", "it is masked", SECRETS),
    ReadOnlyError("write"),
    ValidationError("leads", "a", SECRETS),
    UnsupportedOperationError("leads", "ilike"),
    *(AdapterError(SECRETS, hint=SECRETS, state=state) for state in FailureState),
    AdapterError(SECRETS, hint=SECRETS, code="22P02"),
    AuthenticationError(SECRETS, hint=SECRETS, status=401),
    RowSecurityError(SECRETS, hint=SECRETS, code="42501"),
    ConflictError(SECRETS, hint=SECRETS, code="23505", constraint="leads_email_key"),
    ExpectationFailedError("update", "leads", expected=1, found=0, hint=SECRETS),
    RowsDroppedError("write", "leads", sent=2, stored=1, rows=[{"id": "SENTINELWRITTEN"}]),
    BackendUnavailableError(SECRETS, hint=SECRETS, status=500),
    OverloadedError(SECRETS),
    *(OutcomeUnknownError(SECRETS, key="SENTINELWRITTEN", state=state) for state in ("ambiguous", "applied")),
]


@pytest.mark.parametrize("error", DIRTY, ids=lambda error: type(error).__name__)
def test_a_model_reads_nothing_that_leads_to_more_rights_or_to_the_server(error: PersistenceError) -> None:
    """Neither variables nor options, keys, hosts, the text of a server or the key of a row."""
    told = error.for_model()
    assert (for_developers_in(told), told.strip() == told, bool(told)) == ([], True, True)


def test_every_class_is_shown_to_a_model_here() -> None:
    """Control: of the whole tree, and the texts above would be found."""
    assert {type(error).__name__ for error in DIRTY} == set(_drawn_tree())
    assert len(for_developers_in(SECRETS)) > 8


TEXTS = {"ValidationError": 2, "ColumnNotAllowedError": 3, "UnsupportedOperationError": 3}
"""How many of their arguments a model reads."""


def _texts_for_models() -> list[tuple[str, str]]:
    """Where in the package they are written, and each part of a text of such an error."""
    return [
        (f"{path.name}:{node.lineno}", part.value)
        for path in Path(exceptions.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TEXTS
        for argument in node.args[: TEXTS[node.func.id]]
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_no_text_that_a_model_reads_is_written_for_developers() -> None:
    """Of all the places that make an error whose reason a model reads; remedies are an argument of their own."""
    texts = _texts_for_models()
    assert len(texts) > 100
    assert [(place, text) for place, text in texts if for_developers_in(text)] == []


def test_a_model_learns_what_is_allowed() -> None:
    """And which name may have been meant; for developers there is the way to allow more."""
    told = TableNotAllowedError("laeds", "query", {"messages", "leads"}).for_model()
    assert told == "query on table 'laeds' is not allowed (did you mean leads?); allowed here: leads, messages."
    told = ColumnNotAllowedError("leads", "email", "it is masked", "say allow() for it").for_model()
    assert told == "'email' is not allowed as a column of leads: it is masked"
    told = AdapterError("x", code="22P02", column="score").for_model()
    assert told == "A value is not valid for its column or argument (column score). Nothing was changed."


def test_a_read_only_error_is_an_attribute_error() -> None:
    """So that `hasattr(facade, "write")` is False."""
    assert isinstance(ReadOnlyError("write"), AttributeError)
    assert isinstance(NotStoredYetError("score"), KeyError)


@pytest.mark.parametrize(
    ("state", "may"),
    [
        (FailureState.NOT_SENT, True),
        (FailureState.RETRYABLE, True),
        (FailureState.REJECTED, False),
        (FailureState.AMBIGUOUS, False),
    ],
)
def test_what_was_certainly_not_applied_may_be_retried(state: FailureState, may: bool) -> None:
    """`may_be_retried` is true where the same call can succeed later without having been applied already."""
    assert AdapterError("m", state=state).may_be_retried is may


@pytest.mark.parametrize(
    ("verb", "variable"),
    [
        ("query", "PERSIST_READ_TABLES"),
        ("write", "PERSIST_WRITE_TABLES"),
        ("batch_write", "PERSIST_WRITE_TABLES"),
        ("bulk_write", "PERSIST_WRITE_TABLES"),
        ("upsert", "PERSIST_WRITE_TABLES"),
    ],
)
def test_a_refused_table_says_what_would_be_allowed_and_how(verb: str, variable: str) -> None:
    """The message names the refused table, the allowed ones, and the variable that widens the verb's list."""
    message = str(TableNotAllowedError("clients", verb, {"messages", "leads"}))
    for part in (f"{verb} on table 'clients'", "leads, messages", variable, "policy="):
        assert part in message


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("leads", "'leads'"),
        ("a\n[persistence] op=x", r"'a\n[persistence] op=x'"),
        ("\x1b[31m\u202e", r"'\x1b[31m\u202e'"),
        ("x" * 100, "'" + "x" * 80 + "\\u2026'"),
        (5, "<int>"),
        (None, "<NoneType>"),
    ],
    ids=shown,
)
def test_an_untrusted_name_is_shown_quoted_in_ascii_and_cut(name: object, shown: str) -> None:
    """A name cannot forge a line of a log or colour a terminal."""
    assert printable(name) == shown
