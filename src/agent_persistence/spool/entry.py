"""One write that waits: the operation as it would have been sent, and as whom, in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import SpoolError
from agent_persistence.operations import (
    BatchWrite,
    Delete,
    Operation,
    Require,
    Unit,
    UnitPart,
    Update,
    Upsert,
    UpsertMany,
    Write,
)
from agent_persistence.policy.identity import Identity
from agent_persistence.query.predicates import AllOf, AnyOf, Comparison, Filter, Not, Operator, TextQuery
from agent_persistence.query.records import Record, distinct
from agent_persistence.query.references import Reference

Kept: TypeAlias = Write | BatchWrite | Unit
"""What an entry holds; a unit has writes, upserts, updates, deletes and checks."""
Json: TypeAlias = Any
_SINGLE: Final = {kind.verb: kind for kind in (Write, BatchWrite, Upsert, UpsertMany, Update, Delete, Require)}


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation, and as whom it is to be carried out; an identity without `own` is named by its claims, or nobody.

    `resent` says that an earlier try may have applied it.
    """

    operation: Kept = field(repr=False)
    own: bool = True
    claims: str | None = field(default=None, repr=False)
    role: str | None = None
    actor: str | None = None
    resent: bool = False

    @classmethod
    def of(cls, operation: Kept, identity: Identity, *, resent: bool) -> Entry:
        claims = None if identity.claims is None else identity.claims.get_secret_value()
        return cls(operation, identity.own, claims, identity.role, identity.actor, resent)

    @property
    def is_fenced(self) -> bool:
        """Whether its own rows show for ever that it was applied; the ledger forgets."""
        return not isinstance(self.operation, Unit)

    @property
    def parts(self) -> Sequence[Operation]:
        """The operations in it."""
        return parts_of(self.operation)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it touches."""
        return tables_of(self.operation)

    @property
    def rows(self) -> int:
        """How many rows count against the spool's bound."""
        return sum(max(1, len(part.inserted)) for part in self.parts)

    def to_json(self) -> str:
        """The entry as a text. SpoolError where something in it has no form that `from_json` reads."""
        try:
            return json.dumps(self._document(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, KeyError):
            raise SpoolError("something in the write has no form in which it could be kept") from None

    def _document(self) -> Json:
        operation = self.operation
        document: dict[str, Json] = {"actor": self.actor}
        if not self.own:
            document["as"] = {"claims": self.claims, "role": self.role}
        if isinstance(operation, Unit):
            document["unit"] = {"key": operation.key, "parts": list(map(_part, operation.parts))}
        else:
            document |= _operation(operation)
        return document

    @classmethod
    def from_json(cls, text: str, *, resent: bool) -> Entry:
        """The entry of a text. SpoolError where it is none that `to_json` writes."""
        try:
            document = json.loads(text)
            named = document.get("as")
            operation = _unit(document["unit"]) if "unit" in document else _restored(document)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise SpoolError("an entry of the spool is none that this version writes") from None
        if named is None:
            return cls(operation, actor=document["actor"], resent=resent)
        return cls(operation, False, named["claims"], named["role"], document["actor"], resent)


def parts_of(operation: Operation) -> Sequence[Operation]:
    """The operations of a unit, or the one that there is."""
    return [part.operation for part in operation.parts] if isinstance(operation, Unit) else [operation]


def tables_of(operation: Operation) -> tuple[str, ...]:
    """The tables that an operation touches, each once."""
    return distinct(each.table for each in parts_of(operation))


def _part(part: UnitPart) -> Json:
    return {**_operation(part.operation), "expect": part.expect}


def _unit(document: Mapping[str, Json]) -> Unit:
    parts = tuple(UnitPart(_restored(part), part["expect"]) for part in document["parts"])
    return Unit(", ".join(distinct(part.operation.table for part in parts)), parts, document["key"])


def _operation(operation: Any) -> dict[str, Json]:
    """The fields of an operation by name; a reference in a record stands beside it."""
    if _SINGLE[operation.verb] is not type(operation):
        raise TypeError
    fields: dict[str, Json] = {"verb": operation.verb, "table": operation.table}
    for name in ("generated_key", "returning", "referred", "on_conflict", "max_affected", "lock"):
        value = getattr(operation, name, None)
        if value is not None and (value != () or name == "returning"):  # no columns are not all of them
            fields[name] = list(value) if isinstance(value, tuple) else value
    if records := [record for _, record in operation.given()]:
        fields["records"] = [{k: v for k, v in record.items() if not isinstance(v, Reference)} for record in records]
        fields["refer"] = list(_references(records))
    if operation.filter is not None:
        fields["filters"] = _filter(operation.filter)
    return fields


def _references(records: Sequence[Record]) -> Iterator[Json]:
    for index, record in enumerate(records):
        for name, value in record.items():
            if isinstance(value, Reference):
                yield [index, name, _place(value)]


def _restored(fields: Mapping[str, Json]) -> Any:
    kind = _SINGLE[fields["verb"]]
    records = [dict(record) for record in fields.get("records", ())]
    for index, name, place in fields.get("refer", ()):
        records[index][name] = Reference(*place)
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("generated_key", "returning", "referred", "on_conflict", "max_affected", "lock")
        if (value := fields.get(name)) is not None
    }
    if "filters" in fields:
        given["filters"] = _read_filter(fields["filters"])
    if issubclass(kind, BatchWrite):
        given["records"] = tuple(records)
    elif records:
        given["changes" if kind is Update else "record"] = records[0]
    return kind(fields["table"], **given)


def _place(reference: Reference) -> list[Json]:
    return [reference.part, reference.row, reference.column]


def _filter(predicate: Filter) -> Json:
    match predicate:
        case AllOf(terms):
            return {"all": list(map(_filter, terms))}
        case AnyOf(terms):
            return {"any": list(map(_filter, terms))}
        case Not(term):
            return {"not": _filter(term)}
        case Comparison(operator, operand, column):
            return {"is": operator.value, "column": column, **_operand(operand)}


def _operand(operand: Any) -> dict[str, Json]:
    match operand:
        case Reference():
            return {"from": _place(operand)}
        case TextQuery(text, kind, config):
            return {"text": [text, kind, config]}
        case tuple():
            return {"several": list(operand)}
        case _:
            return {"value": operand}


def filter_text(predicate: Filter) -> str:
    """The filter as a text; two that select the same in the same words have the same."""
    return json.dumps(_filter(predicate))


def _read_filter(fields: Mapping[str, Json]) -> Filter:
    match fields:
        case {"all": terms}:
            return AllOf(tuple(map(_read_filter, terms)))
        case {"any": terms}:
            return AnyOf(tuple(map(_read_filter, terms)))
        case {"not": term}:
            return Not(_read_filter(term))
        case _:
            return Comparison(Operator(fields["is"]), _read_operand(fields), fields["column"])


def _read_operand(fields: Mapping[str, Json]) -> Any:
    match fields:
        case {"from": place}:
            return Reference(*place)
        case {"text": [text, kind, config]}:
            return TextQuery(text, kind, config)
        case {"several": several}:
            return tuple(several)
        case _:
            return fields["value"]
