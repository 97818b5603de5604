"""The error tree."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

from agent_persistence import exceptions
from agent_persistence.exceptions import (
    AdapterError,
    BackendUnavailableError,
    ColumnNotAllowedError,
    ConfigurationError,
    ConflictError,
    FailureState,
    OutcomeUnknownError,
    OverloadedError,
    PersistenceError,
    PersistencePermissionError,
    ReadOnlyError,
    RowsDroppedError,
    TableNotAllowedError,
    UnsupportedOperationError,
    ValidationError,
    printable,
)
from tests.doubles import shown

EXAMPLES: list[tuple[PersistenceError, dict[str, Any]]] = [
    (PersistenceError("p"), {}),
    (ConfigurationError("c"), {}),
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
    (ConflictError("m", constraint="leads_email_key", code="23505"), {"constraint": "leads_email_key"}),
    (
        RowsDroppedError("write", "leads", sent=2, stored=1, rows=[{"id": 1}]),
        {"sent": 2, "stored": 1, "rows": ({"id": 1},), "state": FailureState.APPLIED},
    ),
    (BackendUnavailableError("m", state=FailureState.NOT_SENT), {"state": FailureState.NOT_SENT}),
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


def test_a_read_only_error_is_an_attribute_error() -> None:
    """So that `hasattr(facade, "write")` is False."""
    assert isinstance(ReadOnlyError("write"), AttributeError)


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
