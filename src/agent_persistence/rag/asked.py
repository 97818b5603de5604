"""What the arguments of a context mean: its tables, their filters, and the rows as attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, Self, overload

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.presets import crm
from agent_persistence.query.filters import Filters
from agent_persistence.query.records import Row
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.contexts.spec import ContextSpec
from agent_persistence.schema.registry import Schema
from agent_persistence.service import ReadOnlyPersistenceFacade

WHERE: Final = "build_rag_context"
_TEXT: Final = re.compile(r"(?:text|citext|varchar|character varying|char|character|bpchar)\b", re.IGNORECASE)


class ReadableSource(Protocol):
    """Whatever can give a read-only façade of itself: an agent, a service, a façade."""

    def readonly(self) -> ReadOnlyPersistenceFacade: ...


def check_options(on_error: object, models: Mapping[str, object], query: str | None, now: datetime | None) -> None:
    """Refuse what contradicts itself."""
    if on_error not in ("raise", "partial"):
        raise ValidationError(WHERE, f"on_error is 'raise' or 'partial', not {on_error!r:.40}")
    for name, model in models.items():
        if model is not None and query is None:
            raise ValidationError(WHERE, f"a {name} needs the question to search for", "give query=")
    if now is not None and now.tzinfo is None:
        raise ValidationError(WHERE, "now is a datetime with a time zone, such as datetime.now(UTC)")


def reading_verbs(source: ReadableSource) -> ReadOnlyPersistenceFacade:
    """The source's façade, which does not block."""
    facade = source.readonly()
    if not isinstance(facade, ReadOnlyPersistenceFacade):
        raise ValidationError(
            WHERE,
            f"{type(source).__name__} blocks",
            "pass it to agent_persistence.sync.build_rag_context, without await",
        )
    return facade


@cache
def default_shape() -> ContextShape:
    """The context of the preset, which leaves nothing to a schema."""
    return crm.CONTEXT.shape(Schema())


def asked_shape(spec: object, schema: Schema) -> ContextShape:
    """The tables that are meant, with everything said; those of the preset whatever the schema."""
    if spec is None:
        return default_shape()
    if isinstance(spec, (str, Path)):
        spec = ContextSpec.from_file(spec)
    if not isinstance(spec, ContextSpec):
        raise ValidationError(WHERE, f"spec is a ContextSpec or the path of a file, not {printable(spec)}")
    return spec.shape(schema)


def asked_filters(filters: Any, own: Mapping[str, Filters | None]) -> dict[str, Filters | None]:
    """The filters by table, with those of the tables that have an argument of their own."""
    if not isinstance(filters, Mapping):
        raise ValidationError(
            WHERE, f'filters are a mapping by table, such as {{"tickets": …}}, not {printable(filters)}'
        )
    chosen = {table: given for table, given in own.items() if given is not None}
    for table in chosen.keys() & filters.keys():
        raise ValidationError(table, "two filters are given for it")
    return {**chosen, **{table: given for table, given in filters.items() if given is not None}}


class HasRows(Protocol):
    """What has rows by table."""

    rows: dict[str, list[Row]]


class RowsOf:
    """The rows of one table as an attribute, for the tables that the default context has."""

    def __init__(self, table: str) -> None:
        self._table = table

    @overload
    def __get__(self, context: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, context: HasRows, owner: type[Any]) -> list[Row]: ...
    def __get__(self, context: HasRows | None, owner: type[Any]) -> Self | list[Row]:
        if context is None:
            return self
        if self._table not in context.rows:
            raise AttributeError(f"this context has no {self._table}; its rows are those of {', '.join(context.rows)}")
        return context.rows[self._table]

    def __set__(self, context: HasRows, rows: list[Row]) -> None:
        context.rows[self._table] = rows


def is_text(readable: Mapping[str, frozenset[str] | None], schema: Schema, table: str, column: str) -> bool:
    """Whether a column may be read and the schema says that it holds texts."""
    columns, declared = readable.get(table), schema.columns(table).get(column)
    may_read = columns is None or column in columns
    return may_read and declared is not None and _TEXT.match(declared.type) is not None
