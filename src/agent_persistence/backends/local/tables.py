"""The declared tables as SQL: what a local database lacks of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from agent_persistence.backends.postgres.statements import names, quoted
from agent_persistence.backends.texts import array_text, json_text, text_of
from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema.registry import Column, Generated, Schema, Table
from agent_persistence.schema.types import BUILT_IN, Family, base_name, family

EXISTING: Final = """
select coalesce(json_object_agg(c.relname, (
  select json_agg(a.attname) from pg_catalog.pg_attribute a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)), '{}')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f')"""
"""The names of the columns by table, as JSON."""
_TYPE: Final = re.compile(r'[A-Za-z_"][\w ."]*(?:\(\d+(?: *, *\d+)?\))?(?: with(?:out)? time zone)?(?:\[\d*\])*')
_UNKNOWN: Final = "any"
_WHOLE_NUMBERS: Final = ("smallint", "integer", "bigint", "int", "int2", "int4", "int8")


def missing_tables(schema: Schema, existing: Mapping[str, Iterable[str]]) -> str:
    """The SQL that makes the declared tables and columns which are not there; nothing where all are.

    What is there is left as it is, whatever its types. A column that may not be NULL and has no default can be added to
    an empty table alone; PostgreSQL refuses it for another.
    """
    new = {name: table for name, table in schema.tables.items() if name not in existing and not table.read_only}
    statements = [*_enums(new), *(_create(name, table) for name, table in new.items())]
    for name, table in schema.tables.items():
        known = set(existing.get(name, table.columns))
        statements += [
            f"alter table public.{quoted(name)} add column {_column(column, declared, table)};"
            for column, declared in table.columns.items()
            if column not in known
        ]
    statements += [link for name, table in new.items() for link in _links(name, table, schema)]
    return "\n".join(statements)


def _enums(tables: Mapping[str, Table]) -> list[str]:
    """The enums that the tables need, each made unless a type of its name is there."""
    columns = {column.type: (name, column) for table in tables.values() for name, column in _listing(table)}
    return [f"do {_literal(_ENUM.format(_type(*column), _labels(column[1])))};" for column in columns.values()]


_ENUM: Final = "begin create type {} as enum ({}); exception when duplicate_object then null; end"


def _labels(column: Column) -> str:
    return ", ".join(map(_literal, column.one_of))


def _listing(table: Table) -> Iterator[tuple[str, Column]]:
    return ((name, column) for name, column in table.columns.items() if _is_enum(column))


def _is_enum(column: Column) -> bool:
    """Whether the column's values are listed, and its type is none of PostgreSQL's own: as of a pulled enum."""
    name = base_name(column.type)
    return bool(column.one_of) and name not in BUILT_IN and name not in (_UNKNOWN, "citext")


def _create(name: str, table: Table) -> str:
    return f"create table public.{quoted(name)} (\n  " + ",\n  ".join(_parts(table)) + ");"


def _parts(table: Table) -> Iterator[str]:
    for column, declared in table.columns.items():
        yield _column(column, declared, table)
    if table.primary_key:
        yield f"primary key ({names(table.primary_key)})"
    for columns in table.unique:
        yield f"unique ({names(columns)})"


def _column(name: str, column: Column, table: Table) -> str:
    parts = [quoted(name), _type(name, column)]
    if not column.nullable and name not in table.primary_key:
        parts.append("not null")
    default = _default(name, column, table)
    if default:
        parts.append(default)
    if column.one_of and not _is_enum(column):
        parts.append(f"check ({quoted(name)} in ({_labels(column)}))")
    return " ".join(parts)


def _type(name: str, column: Column) -> str:
    """The declared type; a column of which none is known holds any JSON."""
    if column.type == _UNKNOWN:
        return "jsonb"
    if not _TYPE.fullmatch(column.type):
        raise ConfigurationError(f"column {name}: {printable(column.type)} is no plain name of a type, such as 'text'")
    return column.type


def _default(name: str, column: Column, table: Table) -> str:
    """The default; a key by itself, of which none is declared, is made by the database all the same."""
    generated = column.default
    if (
        generated is None
        and table.primary_key == (name,)
        and (name,) not in {link.columns for link in table.foreign_keys}
    ):
        generated = {"uuid": Generated.UUID, **dict.fromkeys(_WHOLE_NUMBERS, Generated.IDENTITY)}.get(column.type)
    if generated is Generated.IDENTITY:
        return "generated by default as identity"
    if isinstance(generated, Generated):
        return f"default {generated.value}"
    return "" if generated is None else f"default {_literal(_value(column.type, generated))}"


def _value(type_name: str, value: Any) -> str:
    """A JSON value as the text that a column of the type reads."""
    if family(type_name) is Family.JSON or type_name == _UNKNOWN:
        return json_text(value)
    return array_text(value) if isinstance(value, list) else text_of(value)


def _links(name: str, table: Table, schema: Schema) -> Iterator[str]:
    """The foreign keys to declared tables; the key of another one nobody knows."""
    for link in table.foreign_keys:
        if link.table in schema.tables:
            on_delete = " on delete cascade" if link.on_delete_cascade else ""
            yield (
                f"alter table public.{quoted(name)} add foreign key ({names(link.columns)})"
                f" references public.{quoted(link.table)} ({names(link.targets)}){on_delete};"
            )


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
