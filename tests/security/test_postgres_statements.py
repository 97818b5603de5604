"""Whatever is asked for, every statement is made of words of SQL, of names that the policy allows, and of parameters.

The strangers are those of `test_fuzzing`; the statements are judged by `sql_model`, which knows nothing of the package.
"""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings, strategies as st

from agent_persistence import PersistenceError
from agent_persistence.adapters import _sql, _sqlfilters
from agent_persistence.adapters._sqltext import Parameters
from agent_persistence.adapters._transactions import Answer, Transaction
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.middleware.guard import Guard
from agent_persistence.service import AsyncPersistenceService
from tests.differential.examples import examples
from tests.security import sql_model
from tests.security.test_fuzzing import POLICY, SCHEMA, Call, _called, anywhere, reading, writing
from tests.security.wire_model import LeakError

ROW = json.dumps([{"id": "1", "email": "a", "score": "2", "custom": None, "ssn": "secret", "content": "c"}]).encode()
COLUMNS = [[name, "text", "S", None] for name in ("id", "email", "phone", "score", "ssn")]
TABLE = json.dumps({"columns": [*COLUMNS, ["custom", "jsonb", "U", None]], "primary_key": ["id"], "takes_copy": True})
FUNCTION = {"arguments": [["word", "text", "S", None], ["most", "integer", "N", None]], "defaults": 2}
FUNCTIONS = json.dumps([{**FUNCTION, "returns_set": True, "returns_rows": True, "returns_nothing": False}])


class Recording:
    """In the place of the connections: every statement is kept, but the questions to the catalogue, and answered."""

    def __init__(self) -> None:
        self.sent: list[Transaction] = []

    async def send(self, transaction: Transaction) -> Answer:
        assert transaction.statement
        if "pg_catalog" in transaction.statement.text:
            return Answer((FUNCTIONS if transaction.verb == "call" else TABLE).encode())
        self.sent.append(transaction)
        return Answer(b"1" if transaction.verb == "count" else ROW, 1)


class Fuzzed:
    """A service over connections that record, and counts of what became of the calls."""

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.recording = Recording()
        adapter: Any = PostgresAdapter("postgresql://me@127.0.0.1:9/crm")
        adapter._lanes = self.recording
        self.service = AsyncPersistenceService(
            adapter, policy=POLICY, schema=SCHEMA, client_keys=False, row_cap=1000, retry=False
        )
        self.sent = self.refused = 0

    def attack(self, call: Call) -> None:
        """LeakError if a statement, or what comes back, is more than the policy allows."""
        self.recording.sent.clear()
        try:
            told = self.loop.run(_called(self.service, call))
        except PersistenceError:
            self.refused += 1
        else:
            if call[1][0] == "leads" and "secret" in repr(told):
                raise LeakError(f"came back: {told!r}")
        self.sent += bool(self.recording.sent)
        for asked in self.recording.sent:
            for statement in (asked.check, asked.statement):
                if statement is not None:
                    sql_model.check(asked.table, asked.writes, statement.text, statement.parameters)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    made = Fuzzed()
    with made.loop:
        yield made
    print(f"{made.sent} calls were sent, {made.refused} refused")


@given(call=reading | writing | anywhere)
@examples(600)
def test_a_statement_says_what_the_policy_allows(fuzzed: Fuzzed, call: Call) -> None:
    """Tables, functions, projections, filters, orders, records, targets and values of the stranger's making."""
    fuzzed.attack(call)


# --- controls ---------------------------------------------------------------------------------------------------------

WEAKENED: dict[str, tuple[Any, str, Any]] = {
    "no guard": (Guard, "__call__", lambda self, operation, call_next: call_next(operation)),
    "no column rules": (Guard, "_check_columns", lambda self, operation, rules: None),
    "no narrowing": (Guard, "_within", lambda self, operation, rules: operation),
    "no quotes": (_sqlfilters, "quoted", lambda name: name),
    "no quotes in writes": (_sql, "names", ", ".join),
    "values in the text": (Parameters, "add", lambda self, value: f"'{value}'"),
}


@pytest.mark.parametrize("weakness", WEAKENED)
def test_the_fuzzers_find_each_weakness(weakness: str, fuzzed: Fuzzed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a part of the guard or of the renderer taken out, a statement leaves that should not."""
    monkeypatch.setattr(*WEAKENED[weakness])
    search = settings(max_examples=5000, deadline=None, database=None, phases=[Phase.generate])
    assert find(reading | writing, lambda call: _leaks(fuzzed, call), settings=search)


def _leaks(fuzzed: Fuzzed, call: Call) -> bool:
    try:
        fuzzed.attack(call)
    except LeakError:
        return True
    except Exception:
        return False
    return False


def test_the_calls_are_not_all_refused(fuzzed: Fuzzed) -> None:
    """Control: an adversary that is always refused, or never, would prove nothing."""
    made, sent = 0, 0

    @given(call=st.one_of(reading, writing))
    @examples(200)
    def attack(call: Call) -> None:
        nonlocal made, sent
        made += 1
        before = fuzzed.sent
        fuzzed.attack(call)
        sent += fuzzed.sent - before

    attack()
    print(f"{sent} of {made} calls were sent")
    assert made / 10 < sent < made * 9 / 10
