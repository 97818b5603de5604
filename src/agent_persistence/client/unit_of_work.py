"""A unit of work: several writes that are applied together or not at all.

unit = agent.unit_of_work()
lead = unit.upsert("leads", {"email": "a@x.io"}, on_conflict=["email"])
talk = unit.write("conversations", {"lead_id": lead["id"]})
unit.write("messages", {"conversation_id": talk["id"], "role": "user", "content": "hello"})
unit.update("leads", {"status": "open"}, {"id": lead["id"], "status": "new"}, expect=1)
results = await unit.commit()
results[lead]["id"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast
from uuid import UUID, uuid5

from pydantic import BaseModel

from agent_persistence.client.arguments import column_names
from agent_persistence.client.handles import BatchHandle, Handle, RowHandle, UnitResults
from agent_persistence.client.typed import Model, TypedTable
from agent_persistence.client.unit_table import UnitTable
from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.operations import (
    BatchWrite,
    Delete,
    Require,
    Result,
    Unit,
    UnitPart,
    Update,
    Upsert,
    UpsertMany,
    Write,
    WritingCall,
)
from agent_persistence.query.computed import Increment, Merge
from agent_persistence.query.filters import Filters
from agent_persistence.query.records import Deferred, Record, Row, as_mapping, distinct, encode_record
from agent_persistence.query.references import Reference, outside
from agent_persistence.schema.client_keys import ClientKeys, uuid7
from agent_persistence.schema.links import linked_filters, linked_rows
from agent_persistence.schema.registry import Schema


class Committing(Protocol):
    """What a unit of work needs of the service, the agent or the view that makes it."""

    _client_keys: ClientKeys

    @property
    def schema(self) -> Schema: ...

    def _clean(self, record: Record) -> Record: ...

    async def _commit(self, unit: Unit, unit_id: str) -> Result: ...


class UnitOfWork:
    """Collects operations, each checked in form as it is given; `commit()` sends them as one transaction, in order.

    Each is held to policy, columns, rows, bounds, tenant, masks and schema as if it were called alone, and audited by
    itself, all of one unit under one id; nothing is sent before all have passed. They run under one identity and one
    deadline, and are retried as a whole.

    A unit under a `key` (a UUID of the caller's own job, say) is applied once, whoever commits it again: its result is
    then what it was the first time. The same key with other operations or values is a ConflictError. Keys of rows that
    are made here are made of it, and so are the same each time. Without a key one is made where the backend remembers
    units anyway (PostgREST, memory) or `ledger=True`, so that a lost answer is asked for again.
    """

    def __init__(self, target: Committing, key: UUID | str | None = None) -> None:
        self._target = target
        self._key = None if key is None else _key(key)
        self._parts: list[UnitPart] = []
        self._referred: list[list[str]] = []
        self._is_committed = False
        self._id = self._key or uuid7()

    @property
    def key(self) -> str | None:
        """The key that was given."""
        return self._key

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} operations)"

    def write(self, table: str, record: Record | BaseModel) -> RowHandle[Row]:
        """Insert one row; its result is the row as stored."""
        prepared, made = self._prepared(table, record)
        return RowHandle(self, self._add(UnitPart(Write(table, prepared, generated_key=made))), _itself)

    def batch_write(self, table: str, records: Sequence[Record | BaseModel]) -> BatchHandle[list[Row]]:
        """Insert all rows; the result is the rows in the order given."""
        prepared, made = self._all_prepared(table, records)
        operation = BatchWrite(table, prepared, generated_key=made)
        return BatchHandle(self, self._add(UnitPart(operation)), _itself, len(prepared))

    def upsert(
        self, table: str, record: Record | BaseModel, on_conflict: Sequence[str] | None = None
    ) -> RowHandle[Row]:
        """Insert the row, or merge it into the one with the same values in `on_conflict`; the result is that row."""
        target = column_names(table, "on_conflict", on_conflict) or ()
        prepared, made = self._prepared(table, record, only_set=True, on_conflict=target)
        return RowHandle(self, self._add(UnitPart(Upsert(table, prepared, target, generated_key=made))), _itself)

    def upsert_many(
        self, table: str, records: Sequence[Record | BaseModel], on_conflict: Sequence[str] | None = None
    ) -> BatchHandle[list[Row]]:
        """Insert all rows, each merged into the one with the same values in `on_conflict`; the result is these rows, in
        the order given. All records have the same columns."""
        target = column_names(table, "on_conflict", on_conflict) or ()
        prepared, made = self._all_prepared(table, records, only_set=True, on_conflict=target)
        if any(record.keys() != prepared[0].keys() for record in prepared):
            raise ValidationError(table, "records that are merged have the same columns; send those of others apart")
        operation = UpsertMany(table, prepared, target, generated_key=made)
        return BatchHandle(self, self._add(UnitPart(operation)), _itself, len(prepared))

    def update(
        self, table: str, changes: Record | BaseModel, filters: Filters, *, expect: int | None = None
    ) -> RowHandle[list[Row]]:
        """Set the columns of `changes` in the rows that `filters` selects; the result is these rows.

        Another number of rows than `expect` is an ExpectationFailedError, and nothing of the unit is applied. With
        `expect=1` columns of the row may stand in later operations.
        """
        given = as_mapping(table, changes, "changes", only_set=True)
        prepared = self._encoded(table, given, "changes", (Reference, Increment, Merge))
        operation = Update(table, prepared, linked_rows(self._target.schema, table, filters, in_unit=True))
        return RowHandle(self, self._add(UnitPart(operation, _count(table, expect))), _itself)

    def delete(self, table: str, filters: Filters, *, expect: int | None = None) -> RowHandle[list[Row]]:
        """Delete the rows that `filters` selects; the result is these rows. `expect` is as in `update`."""
        operation = Delete(table, linked_rows(self._target.schema, table, filters, in_unit=True))
        return RowHandle(self, self._add(UnitPart(operation, _count(table, expect))), _itself)

    def require(self, table: str, filters: Filters, *, expect: int | None = None, lock: bool = True) -> Handle[int]:
        """Go on only if `filters` selects `expect` rows, at least one by default; the result is how many.

        The rows are kept from being changed by others until the unit ends, for which the database wants the right to
        UPDATE the table; `lock=False` only looks, and others may change them in between.
        """
        if type(lock) is not bool:
            raise ValidationError(table, "lock is True or False")
        operation = Require(table, linked_filters(self._target.schema, table, filters, in_unit=True), lock=lock)
        return Handle(self, self._add(UnitPart(operation, _count(table, expect))), _itself)

    def call(self, function: str, arguments: Record | None = None) -> Handle[Any]:
        """Call the function, which the policy's `call_write` must name; its result is what the function returns.

        Columns of handles may stand in the arguments for numbers, texts and other plain values, and for documents. What
        a function does outside of the database is not undone. In memory an async function is refused.
        """
        given = {} if arguments is None else as_mapping(function, arguments, "arguments")
        encoded = encode_record(function, given, "arguments", deferred=(Reference,)) if given else {}
        return Handle(self, self._add(UnitPart(WritingCall(function, encoded))), _itself)

    def table(self, model: type[Model], name: str | None = None) -> UnitTable[Model]:
        """The writing verbs of this unit over one table whose rows come back as models."""
        return UnitTable(self, TypedTable(cast("Any", self._target), model, name))

    async def commit(self) -> UnitResults:
        """All operations are applied, in order, and each has its result; or none is, and the first error is raised.

        Raises what the verbs of its operations do, with the number of the one at fault in `part`;
        ExpectationFailedError where an operation met another number of rows than it expects, UnsupportedOperationError
        where adapter or database have no units, and ConflictError where the key is another unit's. After a failure it
        may be called again; a unit that may have been applied (OutcomeUnknownError) is applied once
        only if it has a key, given or made.
        """
        if self._is_committed:
            raise ValidationError("the unit of work", "it was committed; make another one with unit_of_work()")
        if not self._parts:
            raise ValidationError("the unit of work", "it holds no operation; there is nothing to commit")
        result = await self._target._commit(self._unit(), self._id)
        self._is_committed = True
        return UnitResults(tuple(result.value), result.attempts, self, result.spooled)

    def _unit(self) -> Unit:
        parts = tuple(
            part if not referred else _referred(part, distinct(referred))
            for part, referred in zip(self._parts, self._referred, strict=True)
        )
        return Unit(", ".join(distinct(part.operation.table for part in parts)), parts, self._key)

    def _add(self, part: UnitPart) -> int:
        """The operation's number, from 0; the operations that it refers to learn what of them is taken."""
        if self._is_committed:
            raise ValidationError(part.operation.table, "the unit of work was committed; make another one")
        references = list(part.references())
        if any(reference.owner is not self for reference in references):
            raise outside(part.operation.table)
        for reference in references:
            self._referred[reference.part].append(reference.column)
        self._parts.append(part)
        self._referred.append([])
        return len(self._parts) - 1

    def _value_of(self, index: int, row: int, column: str) -> Any:
        part = self._parts[index]
        operation = part.operation
        if type(column) is not str:
            raise ValidationError(operation.table, 'a handle has columns by name, as in handle["id"]')
        if column == operation.own_key:
            return part.records[row][column]
        if isinstance(operation, (Update, Delete)) and part.expect != 1:
            raise ValidationError(
                operation.table,
                f"{operation.verb} may affect several rows; only where one is expected can it be referred to",
            )
        return Reference(index, row, column, self)

    def _prepared(
        self,
        table: str,
        record: Record | BaseModel,
        where: str = "",
        *,
        only_set: bool = False,
        on_conflict: tuple[str, ...] = (),
        row: int = 0,
    ) -> tuple[dict[str, Any], str | None]:
        """The record in JSON form, with a key if it gets one here; and the column of that key."""
        prepared = self._encoded(table, as_mapping(table, record, where, only_set=only_set), where)
        made = self._target._client_keys.complete(table, prepared, on_conflict)
        if made is not None and self._key is not None:
            prepared[made] = str(uuid5(UUID(self._key), f"{len(self._parts)}.{row}"))
        return prepared, made

    def _all_prepared(
        self, table: str, records: object, *, only_set: bool = False, on_conflict: tuple[str, ...] = ()
    ) -> tuple[tuple[dict[str, Any], ...], str | None]:
        """The records with the keys made for them; and the column of these, if all have one."""
        if isinstance(records, (str, bytes, Mapping, BaseModel)) or not isinstance(records, Sequence):
            raise ValidationError(table, f"records is a list of records, not {type(records).__name__}")
        if not records:
            raise ValidationError(table, "records is empty; leave the operation out")
        prepared = [
            self._prepared(table, one, f"records[{row}]", only_set=only_set, on_conflict=on_conflict, row=row)
            for row, one in enumerate(records)
        ]
        made = prepared[0][1] if all(key for _, key in prepared) else None
        return tuple(record for record, _ in prepared), made

    def _encoded(
        self, table: str, record: Record, where: str, deferred: tuple[type[Deferred], ...] = (Reference,)
    ) -> dict[str, Any]:
        return encode_record(table, self._target._clean(record), where, deferred=deferred)


def _itself(value: Any) -> Any:
    return value


def _referred(part: UnitPart, columns: tuple[str, ...]) -> UnitPart:
    operation = part.operation
    assert not isinstance(operation, (Require, WritingCall))  # noqa: S101  their handles have no columns
    return replace(part, operation=replace(operation, referred=columns))


def _count(table: str, expect: object) -> int | None:
    if expect is not None and (type(expect) is not int or expect < 0):
        raise ValidationError(table, f"expect is a number of rows from 0, not {printable(expect)}")
    return expect


def _key(key: object) -> str:
    try:
        return str(key if isinstance(key, UUID) else UUID(key if isinstance(key, str) else ""))
    except ValueError:
        raise ValidationError(
            "the unit of work", "key is a UUID, which no other unit has; uuid.uuid4() makes one"
        ) from None
