"""A unit of work as one transaction: its statements, and what they returned as values. Pure.

The statements leave in one round trip, so that none can wait for what another returned: rows that later statements
refer to are kept by the server, in settings that end with the transaction.
"""

# ruff: noqa: S608  every name is quoted by `quoted`, every value is a parameter

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.postgres import sql
from agent_persistence.backends.postgres.filters import FilterFacts, simplified, where
from agent_persistence.backends.postgres.statements import SETTING, Parameters, Statement, names, quoted
from agent_persistence.backends.postgres.transactions import Transaction, TransactionResult
from agent_persistence.backends.units import (
    Applied,
    digest_of,
    expectation,
    other_content,
    unmet,
    unreadable,
)
from agent_persistence.exceptions import AdapterError
from agent_persistence.operations import (
    BatchWrite,
    Call,
    Delete,
    Require,
    Unit,
    UnitPart,
    Update,
    Upsert,
    Write,
    unknown,
)
from agent_persistence.query.records import differ_in_keys

_COMPARED: Final = {"expect": "=", "at_least": ">=", "at_most": "<="}


class WritingUnit:
    """The transaction of one unit, under `named` tables of known `types` and merged by known `targets`.

    `calls` are the statements of parts that call a function, by their number. `ledger` is the quoted table that keeps
    keys; a unit without a key leaves it alone.
    """

    def __init__(
        self,
        unit: Unit,
        *,
        named: Callable[[str], str],
        known: Sequence[FilterFacts],
        targets: Sequence[Sequence[str] | None],
        ledger: str,
        calls: Mapping[int, Statement],
    ) -> None:
        self._unit = unit
        self._named = named
        self._known = known
        self._targets = targets
        self._ledger = ledger
        self._calls = calls
        self._marker = uuid4().hex
        self._referred = {reference.part for part in unit.parts for reference in part.references()}

    def transaction(self, settings: Statement | None, role: str | None, *, error_texts: bool) -> Transaction:
        """All of it but COMMIT. Where the key was applied, its last word is `applied_before`."""
        entry = () if self._unit.key is None else (self._locked(), self._looked_up())
        closing = () if self._unit.key is None else (self._entered(), self._pruned())
        parts = tuple(
            replace(one, error_texts=error_texts)
            for one in (*entry, *(self._part(index) for index in range(len(self._unit.parts))), *closing)
        )
        unit = self._unit
        return Transaction(unit.verb, unit.table, None, settings, role, True, parts=parts, error_texts=error_texts)

    def applied(self, result: TransactionResult) -> Applied:
        parts = result.parts if self._unit.key is None else result.parts[2:-2]
        try:
            rows = [[] if value is None else read_json(value) for value, _ in parts]
        except ValueError:
            raise unreadable(self._unit) from None
        return Applied(rows, [affected for _, affected in parts])

    # --- parts --------------------------------------------------------------------------------------------------------

    def _part(self, index: int) -> Transaction:
        part = self._unit.parts[index]
        operation = part.operation
        if isinstance(operation, Call):
            return self._call(index, operation)
        text, parameters = self._text(index)
        return Transaction(
            operation.verb,
            operation.table,
            self._returning(index, text, parameters),
            check=self._check(part),
            writes=True,
            place=index,
            refused=partial(self._unmet, index),
        )

    def _call(self, index: int, call: Call) -> Transaction:
        """The function's value as the only one of a list."""
        asked = self._calls[index]
        kept = f"set_config('{SETTING}{index}', '[' || coalesce((select value from result), 'null') || ']', true)"
        text = f"with result(value) as ({asked.text}) select {kept}, set_config('{SETTING}{index}_count', '1', true)"
        return Transaction(call.verb, call.table, Statement(text, asked.parameters), writes=True, place=index)

    def _check(self, part: UnitPart) -> Statement | None:
        if isinstance(part.operation, Update) or differ_in_keys(part.records):
            return sql.reading(self._named(part.operation.table), part.records) if part.records else None
        return None

    def _text(self, index: int) -> tuple[str, Parameters]:
        part, known = self._unit.parts[index], self._known[index]
        operation, table = part.operation, self._named(part.operation.table)
        parameters = Parameters()
        match operation:
            case Write() | BatchWrite() | Upsert():
                return sql.inserting(table, part.records, parameters, on_conflict=self._targets[index]), parameters
            case Update(changes=changes):
                return sql.updating(known, changes, simplified(operation.filters), parameters), parameters
            case Delete():
                return f"delete from {table}{where(simplified(operation.filters), known, parameters)}", parameters
            case Require():
                lock = " for no key update" if operation.lock else ""
                chosen = where(simplified(operation.filters), known, parameters)
                return f"select from {table}{chosen}{lock}", parameters
        raise unknown(operation)

    def _returning(self, index: int, text: str, parameters: Parameters) -> Statement:
        """The statement with its rows as JSON, how many they are, and a refusal where they are not as many as expected.

        The refusal is a text that is no number, which holds the marker: PostgreSQL's error repeats it.
        """
        part = self._unit.parts[index]
        shown = _shown(part)
        if not isinstance(part.operation, Require):
            text += f" returning {'*' if shown is None else names(shown) or '1 as one'}"
        rows = "'[]'" if shown == () else f"coalesce(json_agg({sql.ROW}), '[]')::text"
        if self._unit.key is not None or index in self._referred:
            rows = f"set_config('{SETTING}{index}', {rows}, true)"
        counted = "count(*)::text"
        if self._unit.key is not None:
            counted = f"set_config('{SETTING}{index}_count', {counted}, true)"
        wanted = expectation(part)
        met = ""
        if wanted:
            marker = parameters.add(f"{self._marker} ")
            holds = " and ".join(f"count(*) {_COMPARED[how]} {number}" for how, number in wanted.items())
            met = f", case when {holds} then 0 else ({marker}::text || count(*))::integer end"
        return Statement(
            f"with {sql.ROW} as ({text}) select {rows}, {counted}{met} from {sql.ROW}", parameters.in_order()
        )

    def _unmet(self, index: int, message: str) -> AdapterError | None:
        found = re.search(rf"{self._marker} ([0-9]+)", message)
        return None if found is None else unmet(self._unit.parts[index], index, int(found[1]))

    # --- the ledger ---------------------------------------------------------------------------------------------------

    def _locked(self) -> Transaction:
        """The second of two at once waits here for the end of the first."""
        key = self._unit.key
        return self._own(Statement("select pg_advisory_xact_lock(hashtextextended($1, 0))::text", (key,)))

    def _looked_up(self) -> Transaction:
        """Refused where the key was applied: a statement that is under way cannot be made to leave out the rest."""
        text = f"select ($2::text || key)::integer::text from {self._ledger} where {self._ours}"
        return self._own(Statement(text, (self._unit.key, self._marker)), refused=self._before)

    def _before(self, message: str) -> AdapterError | None:
        return AppliedBeforeError() if self._marker in message else None

    def _entered(self) -> Transaction:
        parameters = Parameters()
        key, digest = parameters.add(self._unit.key), parameters.add(digest_of(self._unit))
        rows = ", ".join(f"current_setting('{SETTING}{index}')::json" for index in range(len(self._unit.parts)))
        counts = ", ".join(
            f"current_setting('{SETTING}{index}_count')::bigint" for index in range(len(self._unit.parts))
        )
        answer = f"'key', {key}::text, 'results', json_build_array({rows}), 'counts', json_build_array({counts})"
        values = f"{key}::uuid, {digest}, json_build_object({answer})"
        text = f"insert into {self._ledger} (key, digest, result) values ({values})"
        return self._own(Statement(text, parameters.in_order()), refused=self._taken)

    def _pruned(self) -> Transaction:
        """One unit in sixteen takes older entries of the ledger with it."""
        prune = f"{self._ledger.rpartition('.')[0]}.prune(at_most => 32)"
        text = f"select case when hashtext($1) % 16 = 0 then {prune} end::text"
        return self._own(Statement(text, (self._unit.key,)))

    def _taken(self, message: str) -> AdapterError | None:
        return other_content(self._unit) if '"ledger_pkey"' in message else None

    def entry(self) -> Statement:
        """Asks for what the key was applied with, and what came of it."""
        text = f"select json_build_object('digest', digest, 'result', result)::text from {self._ledger}"
        return Statement(f"{text} where {self._ours}", (self._unit.key,))

    def remembered(self, answer: bytes | None) -> Applied:
        """What the unit returned when it was applied; ConflictError where the key is another unit's."""
        entry: dict[str, Any] = {} if answer is None else read_json(answer)
        if entry.get("digest") != digest_of(self._unit):
            raise other_content(self._unit)
        return Applied.of(entry["result"], self._unit)

    @property
    def _ours(self) -> str:
        return f"key = $1::uuid and owner = {self._ledger.rpartition('.')[0]}.caller()"

    def _own(self, statement: Statement, **about: Any) -> Transaction:
        return Transaction(self._unit.verb, self._unit.table, statement, writes=True, **about)


class AppliedBeforeError(AdapterError):
    """The key of a unit is in the ledger; nothing was applied again."""

    def __init__(self) -> None:
        super().__init__("the key was applied before")


def ledger_table(schema: str) -> str:
    return f"{quoted(schema)}.{quoted('ledger')}"


def _shown(part: UnitPart) -> tuple[str, ...] | None:
    """The columns that come back; none of a bulk write, and of a requirement."""
    return () if part.operation.returns == "count" else part.operation.asked_columns
