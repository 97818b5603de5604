"""Units of work as JSON: what the function in the database takes, and the digest by which a unit is known. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from json import dumps
from typing import Any, Final

from pydantic_core import to_jsonable_python

from agent_persistence.backends.installation import REMEDY
from agent_persistence.exceptions import (
    AdapterError,
    ConflictError,
    ExpectationFailedError,
    FailureState,
    RowsDroppedError,
    UnsupportedOperationError,
    printable,
)
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Delete,
    Require,
    Unit,
    UnitPart,
    Update,
    Upsert,
    Write,
    WritingCall,
)
from agent_persistence.query.computed import Computed, Increment, Merge, operands
from agent_persistence.query.identifiers import is_path
from agent_persistence.query.predicates import (
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Not,
    TextQuery,
)
from agent_persistence.query.records import Record, Row, differ_in_keys, distinct
from agent_persistence.query.references import Reference

Operand = Callable[[Comparison], Any]
"""What a comparison compares with, as the text that PostgreSQL reads."""
_ARROW: Final = re.compile("(->>?)")
_OPERATORS: Final[dict[type[Computed], str]] = {Increment: "+", Merge: "||"}


def document_of(unit: Unit, operand: Operand) -> dict[str, Any]:
    """The unit as the function `agent_persistence_apply` takes it."""
    stated = [*map(_stated, unit.parts)]
    operations = [one | _where(part, operand) for one, part in zip(stated, unit.parts, strict=True)]
    if unit.key is None:
        return {"operations": operations}
    return {"key": unit.key, "digest": _digest(unit, stated), "operations": operations}


def digest_of(unit: Unit) -> str:
    """The digest of what the unit does: the same for equal operations in the same order, in any process.

    What of the rows comes back is no part of it.
    """
    return _digest(unit, [*map(_stated, unit.parts)])


def _digest(unit: Unit, stated: Sequence[dict[str, Any]]) -> str:
    content = [
        one | _where(part, _plain) | {"returning": None, "columns": None}
        for one, part in zip(stated, unit.parts, strict=True)
    ]
    text = dumps(to_jsonable_python(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode()).hexdigest()


def _plain(leaf: Comparison) -> Any:
    return list(leaf.operand) if isinstance(leaf.operand, tuple) else leaf.operand


def _where(part: UnitPart, operand: Operand) -> dict[str, Any]:
    predicate = part.operation.filter
    return {} if predicate is None else {"where": _term(predicate, operand)}


def _stated(part: UnitPart) -> dict[str, Any]:
    """All of the operation but its filter."""
    stated = {"verb": _verb(part), "table": part.operation.table, **expectation(part)}
    returning = getattr(part.operation, "returning", None)
    if returning is not None or isinstance(part.operation, BulkWrite):
        stated["returning"] = list(returning or ())
    if isinstance(part.operation, Call):
        stated |= _given(part.operation.arguments)
    elif records := part.records:
        stated |= _written([*map(operands, records)] if isinstance(part.operation, Update) else records)
    if isinstance(part.operation, Update) and part.operation.computed:
        stated["compute"] = {name: _OPERATORS[type(value)] for name, value in part.operation.computed.items()}
    if (target := conflict_target(part)) is not None:
        stated["on_conflict"] = list(target)
    if isinstance(part.operation, Require):
        stated["lock"] = part.operation.lock
    return stated


def conflict_target(part: UnitPart) -> Sequence[str] | None:
    """The columns by which rows are merged, none for the primary key; None where rows are only added."""
    return part.operation.merges_by


def _verb(part: UnitPart) -> str:
    match part.operation:
        case Write() | BatchWrite() | Upsert():
            return "insert"
        case Update(computed=computed) if computed:
            return "compute"  # which a function of 0.6, that would set the value, refuses
        case Update() | Delete() | Require() | WritingCall():
            return part.operation.verb


def expectation(part: UnitPart) -> dict[str, int]:
    """What the number of rows must be: `expect`, `at_least` or `at_most`; of an insert that returns them, all."""
    match part.operation:
        case _ if part.expect is not None:
            return {"expect": part.expect}
        case Require():
            return {"at_least": 1}
        case Update(max_affected=int(most)) | Delete(max_affected=int(most)):
            return {"at_most": most}
        case BulkWrite() | Update() | Delete() | Call():
            return {}
        case _:
            return {"at_least": len(part.records)}


def _written(records: Sequence[Record]) -> dict[str, Any]:
    written: dict[str, Any] = {
        "columns": list(distinct(name for record in records for name in record)),
        "records": [*map(_known, records)],
        **_referring(records),
    }
    if differ_in_keys(records):
        written["uneven"] = True
    return written


def _given(arguments: Record) -> dict[str, Any]:
    return {"arguments": _known(arguments), **_referring([arguments])}


def _known(record: Record) -> dict[str, Any]:
    """The record without its references, which stand beside it."""
    return {name: value for name, value in record.items() if not isinstance(value, Reference)}


def _referring(records: Sequence[Record]) -> dict[str, Any]:
    refer = [
        [index, name, _place(value)]
        for index, record in enumerate(records)
        for name, value in record.items()
        if isinstance(value, Reference)
    ]
    return {"refer": refer} if refer else {}


def _place(reference: Reference) -> list[Any]:
    return [reference.part, reference.row, reference.column]


def _term(predicate: Filter, operand: Operand) -> dict[str, Any]:
    match predicate:
        case AllOf(terms):
            return {"all": [_term(term, operand) for term in terms]}
        case AnyOf(terms):
            return {"any": [_term(term, operand) for term in terms]}
        case Not(term):
            return {"not": _term(term, operand)}
        case Comparison():
            return _comparison(predicate, operand)
        case Exists(table=table, term=term):
            link = predicate.chosen
            return {"exists": [table, link.theirs, link.ours], "all": [_term(term, operand)]}


def _comparison(leaf: Comparison, operand: Operand) -> dict[str, Any]:
    base, *steps = _ARROW.split(leaf.column or "") if is_path(leaf.column or "") else [leaf.column or ""]
    term: dict[str, Any] = {"column": base, "is": leaf.operator.value}
    if steps:
        term["steps"] = [list(pair) for pair in zip(steps[::2], steps[1::2], strict=True)]
    if isinstance(leaf.operand, Reference):
        return term | {"from": _place(leaf.operand)}
    if isinstance(leaf.operand, TextQuery):
        query = leaf.operand
        term |= {"value": query.text, "kind": query.kind}
        return term if query.config is None else term | {"config": query.config}
    return term if leaf.operand is None else term | {"value": operand(leaf)}


NOT_EXPECTED: Final = "AP001"
OTHER_CONTENT: Final = "AP002"
NOT_UNDERSTOOD: Final = "AP003"


def unmet(part: UnitPart, index: int, found: int | None, **about: Any) -> AdapterError:
    """The error of an operation that met other rows than it expects; nothing of its unit was applied."""
    operation = part.operation
    error: AdapterError
    if isinstance(operation, (Write, BatchWrite, Upsert)):
        error = RowsDroppedError(operation.verb, operation.table, sent=len(part.records), stored=0, **about)
    elif part.expect is None and not isinstance(operation, Require):
        most = expectation(part).get("at_most")
        error = AdapterError(
            f"{operation.verb} on {operation.table}: more rows than max_affected={most}; nothing of the unit was"
            " applied",
            **{**about, "code": "PGRST124"},
        )
    else:
        expected = "at least 1" if part.expect is None else part.expect
        error = ExpectationFailedError(
            operation.verb, operation.table, expected=expected, found=found, **{**about, "code": NOT_EXPECTED}
        )
    error.part = index
    return error


def other_content(unit: Unit) -> ConflictError:
    """The error of a key that belongs to another unit."""
    return ConflictError(
        f"{unit.verb} on {unit.table}: its key was applied with another content, or by another user; nothing was"
        " applied",
        constraint="ledger_pkey",
        code=OTHER_CONTENT,
        status=409,
        hint="the same key is for the same operations with the same values; another unit needs another key",
    )


def unreadable(unit: Unit) -> AdapterError:
    """The error of a unit that was applied, in an answer that holds what Python does not read."""
    return AdapterError(
        f"{unit.verb} on {unit.table}: a document that came back is nested too deeply to be read",
        state=FailureState.APPLIED,
    )


def not_installed(unit: Unit, what: str) -> UnsupportedOperationError:
    """The error of a unit for which the database has not what it needs; nothing was applied."""
    problem = "the database is not set up for units of work"
    remedy = f"it lacks {what}, or the role may not use it: {REMEDY}"
    return UnsupportedOperationError(unit.table, "transactions", problem, remedy)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a unit: the rows of each part, and how many it affected."""

    rows: Sequence[list[Row]] = field(repr=False)
    counts: Sequence[int]

    @classmethod
    def of(cls, answer: Any, unit: Unit) -> Applied:
        """The answer to this unit as the ledger keeps it, or an AdapterError where it is none."""
        match answer:
            case {"key": key, "results": list(rows), "counts": list(counts)} if key == unit.key and len(rows) == len(
                counts
            ) == len(unit.parts):
                return cls(rows, counts)
        raise AdapterError(
            f"{unit.verb} on {unit.table}: the answer is none to this unit", state=FailureState.AMBIGUOUS
        )

    def values(self, unit: Unit) -> list[Any]:
        """The value of each part."""
        return [
            self._value(part, rows, affected)
            for part, rows, affected in zip(unit.parts, self.rows, self.counts, strict=True)
        ]

    def _value(self, part: UnitPart, rows: list[Row], affected: int) -> Any:
        """The operation's value; of an insert of which nothing may be read, what was sent."""
        operation = part.operation
        if operation.returns == "count":
            return affected
        if operation.inserted and operation.asked_columns == ():
            rows = [dict(record) for record in resolved(part, self.rows).records]
        return rows[0] if operation.returns in ("row", "value") else rows


def is_met(part: UnitPart, affected: int) -> bool:
    """Whether the number of rows is one that the part takes."""
    wanted = expectation(part)
    return (
        wanted.get("expect", affected) == affected
        and affected >= wanted.get("at_least", 0)
        and affected <= wanted.get("at_most", affected)
    )


def resolved(part: UnitPart, rows: Sequence[list[Row]]) -> UnitPart:
    """The part with what earlier ones returned in the place of its references."""

    def meant(reference: Reference) -> Any:
        row = rows[reference.part][reference.row]
        if reference.column not in row:
            raise AdapterError(f"the earlier row has no column {printable(reference.column)}", code="42703")
        value = row[reference.column]
        return str(value) if isinstance(value, Decimal) else value  # as a caller's Decimal is written

    return part.resolved(meant)
