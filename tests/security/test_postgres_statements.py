"""Whatever is asked for, every statement is made of words of SQL, of names that the policy allows, and of parameters.

The strangers are those of `test_fuzzing`; the statements are judged by `sql_model`, which knows nothing of the package.
"""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, find, given

from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres import filters, sql
from agent_persistence.backends.postgres.statements import Parameters
from agent_persistence.backends.postgres.transactions import Transaction, TransactionResult
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.service import AsyncPersistenceService
from tests.differential.examples import examples
from tests.security import sql_model
from tests.security.fuzzed import SEARCH, Call, Fuzzed
from tests.security.test_fuzzing import POLICY, SCHEMA, anywhere, called, reading, writing

ROW = json.dumps([{"id": "1", "email": "a", "score": "2", "custom": None, "ssn": "secret", "content": "c"}]).encode()
NAMES = ("id", "email", "phone", "score", "ssn", "conversation_id", "role", "content")
COLUMNS = [[name, "text", "S", None] for name in NAMES]
TABLE = json.dumps(
    {
        "columns": [*COLUMNS, ["custom", "jsonb", "U", None]],
        "primary_key": ["id"],
        "given_by_server": [],
        "takes_copy": True,
    }
)
FUNCTION = {"arguments": [["word", "text", "S", None], ["most", "integer", "N", None]], "defaults": 2}
FUNCTIONS = json.dumps([{**FUNCTION, "returns_set": True, "returns_rows": True, "returns_nothing": False}])


class Recording:
    """In the place of the connections: every statement is kept, but the questions to the catalogue, and answered."""

    def __init__(self) -> None:
        self.sent: list[Transaction] = []

    async def send(self, transaction: Transaction) -> TransactionResult:
        assert transaction.statement
        if "pg_catalog" in transaction.statement.text:
            return TransactionResult((FUNCTIONS if transaction.verb == "call" else TABLE).encode())
        self.sent.append(transaction)
        if transaction.statement.text.startswith("explain"):
            return TransactionResult(b'[{"Plan": {"Plan Rows": 1}}]', 1)
        return TransactionResult(b"1" if transaction.verb == "count" else ROW, 1)


def judge(asked: Transaction) -> None:
    """LeakError if a statement is more than the policy allows."""
    for statement in (asked.check, asked.statement):
        if statement is not None:
            sql_model.check(asked.table, asked.writes, statement.text, statement.parameters)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed[Transaction]]:
    recording = Recording()
    adapter: Any = PostgresAdapter("postgresql://me@127.0.0.1:9/crm")
    adapter._pool = recording
    service = AsyncPersistenceService(
        adapter, policy=POLICY, schema=SCHEMA, client_keys=False, row_cap=1000, retry=False
    )
    with Fuzzed(service, called, recording.sent, judge).running() as made:
        yield made


@example(call=("upsert", ("inquiries", {"email": ""}, None), False))
@given(call=reading | writing | anywhere)
@examples(600)
def test_a_statement_says_what_the_policy_allows(fuzzed: Fuzzed[Transaction], call: Call) -> None:
    """Tables, functions, projections, filters, orders, records, targets and values of the stranger's making."""
    fuzzed.attack(call)


# --- controls ---------------------------------------------------------------------------------------------------------

WEAKENED: dict[str, tuple[Any, str, Any]] = {
    "no guard": (Guard, "__call__", lambda self, operation, context, call_next: call_next(operation, context)),
    "no column rules": (Guard, "_check_columns", lambda self, operation, rules: None),
    "no narrowing": (Guard, "_within", lambda self, operation, rules: operation),
    "no related tables": (Guard, "_held_elsewhere", lambda self, operation: operation),
    "no related rows": (Guard, "_held", lambda self, query: query),
    "no quotes": (filters, "quoted", lambda name: name),
    "no quotes in writes": (sql, "names", ", ".join),
    "values in the text": (Parameters, "add", lambda self, value: f"'{value}'"),
}


@pytest.mark.parametrize("weakness", WEAKENED)
def test_the_fuzzers_find_each_weakness(
    weakness: str, fuzzed: Fuzzed[Transaction], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with a part of the guard or of the renderer taken out, a statement leaves that should not."""
    monkeypatch.setattr(*WEAKENED[weakness])
    assert find(reading | writing, fuzzed.leaks, settings=SEARCH)


def test_the_calls_are_not_all_refused(fuzzed: Fuzzed[Transaction]) -> None:
    """Control: an adversary that is always refused, or never, would prove nothing."""
    assert 0.1 < fuzzed.share_sent(reading | writing) < 0.9
