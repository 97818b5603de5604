"""The verbs over the rows of one table as pydantic models.

class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: UUID | None = None
    email: str

leads = agent.table(Lead)
lead = await leads.write(Lead(email="a@x.io"))
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, Self, TypeVar, get_args, overload

from pydantic import BaseModel, ValidationError as PydanticError
from pydantic_core import to_json

from agent_persistence.client.including import Includes
from agent_persistence.client.spooled_models import spooled_model
from agent_persistence.client.verbs import AllVerbs, OnDuplicate, ReadingVerbs, WritingVerbs
from agent_persistence.client.views import AccessToken, Claims, Tenant
from agent_persistence.exceptions import ConfigurationError, ReadOnlyError, ValidationError, printable
from agent_persistence.operations.spooled import is_spooled
from agent_persistence.query.filters import Filters
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row
from agent_persistence.runtime.hiding import hidden

Model = TypeVar("Model", bound=BaseModel)


class ReadOnlyTable(Generic[Model]):
    """The reading verbs over one table; each row comes back as a model.

    A row that does not fit the model raises ValidationError with the table and the fields, never with what is in it.
    """

    __slots__ = ("_model", "_name", "_reader")

    def __init__(self, reader: ReadingVerbs, model: type[Model], name: str | None = None) -> None:
        self._reader = reader
        self._model = model
        self._name = _table_name(model, name)

    @property
    def name(self) -> str:
        """The table's name."""
        return self._name

    @property
    def model(self) -> type[Model]:
        """The class of the rows."""
        return self._model

    def as_user(
        self,
        *,
        access_token: AccessToken | None = None,
        claims: Claims | None = None,
        tenant: Tenant | None = None,
        actor: str | None = None,
    ) -> Self:
        """The same verbs over the same table for one user, as `AsyncPersistenceService.as_user`."""
        access_token = hidden(access_token)
        reader = self._reader.as_user(access_token=access_token, claims=claims, tenant=tenant, actor=actor)
        return type(self)(reader, self._model, self._name)

    async def read(self, id_value: object, id_column: str = "id", *, include: Includes | None = None) -> Model | None:
        """Return the one row whose `id_column` equals `id_value`, or None. More than one match is refused.

        A key of several columns is a mapping of them. `include` brings related rows, for fields of the model that
        have their names.
        """
        row = await self._reader.read(self._name, id_value, id_column, include=include)
        return None if row is None else self._fitted(row)

    async def query(
        self,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: None = None,
        *,
        offset: int = 0,
        include: Includes | None = None,
    ) -> list[Model]:
        """Return the rows that `filters` selects, sorted by `order_by`, at most `limit` of them after `offset`.

        `select` is refused: a part of a row is no model. `include` brings related rows, for fields of the model that
        have their names.
        """
        self._check_whole(select)
        rows = await self._reader.query(
            self._name, filters, limit, order_by, descending, offset=offset, include=include
        )
        return [self._fitted(row) for row in rows]

    async def count(self, filters: Filters | None = None, *, estimated: bool = False) -> int:
        """Return the number of rows that `filters` selects, all by default: exact, unless `estimated`."""
        return await self._reader.count(self._name, filters, estimated=estimated)

    async def iterate(
        self,
        filters: Filters | None = None,
        *,
        page_size: int = 500,
        order_by: str | Sequence[str] = "id",
        descending: bool = False,
        select: None = None,
        include: Includes | None = None,
    ) -> AsyncGenerator[Model]:
        """Yield the rows that `filters` selects, by `order_by`, one page in memory at a time.

        `select` is refused: a part of a row is no model.
        """
        self._check_whole(select)
        found = self._reader.iterate(
            self._name, filters, page_size=page_size, order_by=order_by, descending=descending, include=include
        )
        async with aclosing(found) as rows:
            async for row in rows:
                yield self._fitted(row)

    async def get_columns(self) -> list[str] | None:
        """Return the table's column names in their order, or None where neither server nor schema names them."""
        return await self._reader.get_columns(self._name)

    def _check_whole(self, select: object) -> None:
        if select is not None:
            raise ValidationError(
                self._name,
                f"select gives a part of each row, which is no {self._model.__name__};"
                " leave it out, or use the verb with the table's name for plain dicts",
            )

    def _fitted(self, row: Row, *, done: str = "") -> Model:
        """The row as a model. As JSON, which it is: a strict model then reads a uuid or a time from its text.

        A Decimal is text there, and keeps its digits; where a strict field wants a float, it is rounded to one.
        """
        try:
            return self._model.model_validate_json(to_json(row))
        except PydanticError as error:
            misfits = error.errors(include_url=False, include_context=False, include_input=False)
        floats = {misfit["loc"][0] for misfit in misfits if misfit["type"] == "float_type"}
        rounded = {name: float(value) for name, value in row.items() if name in floats and isinstance(value, Decimal)}
        if rounded:
            return self._fitted(row | rounded, done=done)
        fields = ", ".join(sorted({f"{_path(self._model, misfit['loc'])} ({misfit['type']})" for misfit in misfits}))
        raise ValidationError(self._name, f"{done}a row does not fit {self._model.__name__}: {fields}")

    if not TYPE_CHECKING:  # a type checker is to report the verb as missing

        def __getattr__(self, name: str) -> NoReturn:
            if name in _WRITING_VERBS:
                raise ReadOnlyError(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class TypedTable(ReadOnlyTable[Model]):
    """The verbs over one table: writes take models or mappings, and rows come back as models.

    A record's None values are stripped, also a model's, so that a column takes its default. Where a stored row does
    not fit the model, for instance because the policy lets nobody read it, the ValidationError says that it is stored.
    """

    __slots__ = ("_writer",)

    def __init__(self, verbs: AllVerbs, model: type[Model], name: str | None = None) -> None:
        super().__init__(verbs, model, name)
        self._writer: WritingVerbs = verbs

    def _as_stored(self, row: Row) -> Model:
        """A row that is stored as a model; where it does not fit, the error says that it is stored.

        One that waits on disk is a model with the fields that were sent, of which `is_spooled` is true.
        """
        return spooled_model(self._model, row) if is_spooled(row) else self._fitted(row, done=_STORED)

    @overload
    async def write(self, record: Model | Record, *, on_duplicate: Literal["error"] = "error") -> Model: ...

    @overload
    async def write(
        self, record: Model | Record, *, on_duplicate: OnDuplicate, on_conflict: Sequence[str] | None = None
    ) -> Model | None: ...

    async def write(
        self,
        record: Model | Record,
        *,
        on_duplicate: OnDuplicate = "error",
        on_conflict: Sequence[str] | None = None,
    ) -> Model | None:
        """Insert one row and return it as stored, with the values the backend generated.

        With `on_duplicate="ignore"` None comes back where the record's key was taken, as of a service's `write`.
        """
        row = await self._writer.write(self._name, record, on_duplicate=on_duplicate, on_conflict=on_conflict)
        return None if row is None else self._as_stored(row)

    @overload
    async def batch_write(
        self, records: Sequence[Model | Record], *, on_duplicate: Literal["error"] = "error"
    ) -> list[Model]: ...

    @overload
    async def batch_write(
        self, records: Sequence[Model | Record], *, on_duplicate: OnDuplicate, on_conflict: Sequence[str] | None = None
    ) -> list[Model | None]: ...

    async def batch_write(
        self,
        records: Sequence[Model | Record],
        *,
        on_duplicate: OnDuplicate = "error",
        on_conflict: Sequence[str] | None = None,
    ) -> list[Model] | list[Model | None]:
        """Insert all rows or none, in one request, and return them in the order given; [] gives [].

        With `on_duplicate="ignore"` None stands for each record whose key was taken.
        """
        rows = await self._writer.batch_write(self._name, records, on_duplicate=on_duplicate, on_conflict=on_conflict)
        return [None if row is None else self._as_stored(row) for row in rows]

    async def upsert(self, record: Model | Record, on_conflict: Sequence[str] | None = None) -> Model:
        """Insert the row, or merge it into the one that has the same values in the `on_conflict` columns."""
        return self._as_stored(await self._writer.upsert(self._name, record, on_conflict))

    async def upsert_many(
        self, records: Sequence[Model | Record], on_conflict: Sequence[str] | None = None
    ) -> list[Model]:
        """Insert all rows or none, each merged into the one that has the same values in the `on_conflict` columns."""
        rows = await self._writer.upsert_many(self._name, records, on_conflict)
        return [self._as_stored(row) for row in rows]

    async def update(
        self, changes: Record, filters: Filters, *, max_affected: int | None = None, expect: int | None = None
    ) -> list[Model]:
        """Set the columns of `changes` in the rows that `filters` selects, in all or none, and return these rows.

        More rows than `max_affected`, or another number than `expect`, is an error, and nothing changes.
        """
        rows = await self._writer.update(self._name, changes, filters, max_affected=max_affected, expect=expect)
        return [self._as_stored(row) for row in rows]

    async def delete(
        self, filters: Filters, *, max_affected: int | None = None, expect: int | None = None
    ) -> list[Model]:
        """Delete the rows that `filters` selects, all or none, and return them.

        `max_affected` and `expect` are as in `update`.
        """
        rows = await self._writer.delete(self._name, filters, max_affected=max_affected, expect=expect)
        return [self._fitted(row, done=_DELETED) for row in rows]


_STORED: Final = "the rows are stored, but "
_DELETED: Final = "the rows are deleted, but "
_WRITING_VERBS: Final = frozenset(vars(TypedTable).keys() & vars(WritingVerbs).keys()) - {"__doc__", "__module__"}


def _table_name(model: object, name: object) -> str:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigurationError(f"table() takes a pydantic model class, not {printable(model)}")
    found = getattr(model, "__tablename__", None) if name is None else name
    if not isinstance(found, str):
        raise ConfigurationError(
            f"{model.__name__} names no table; write table({model.__name__}, 'leads')"
            ' or give the class __tablename__: ClassVar[str] = "leads"'
        )
    return found


def _path(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """The way to a field, such as `items[0].price`; keys that no model declares are content, and hidden."""
    known = {*_names(model, set())}
    column, *rest = location or ("the row",)
    steps = (f"[{step}]" if isinstance(step, int) else f".{step if step in known else '…'}" for step in rest)
    return f"{column if column in known else printable(column)}{''.join(steps)}"


def _names(annotation: Any, seen: set[Any]) -> Iterator[str]:
    """The names and aliases of the fields of a model and of the models in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for name, field in annotation.model_fields.items():
            yield from (name, str(field.validation_alias))
            yield from _names(field.annotation, seen)
    for argument in get_args(annotation):
        yield from _names(argument, seen)
