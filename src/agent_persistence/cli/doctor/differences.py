"""How a table differs from what a schema declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.schema.registry import Table
from agent_persistence.schema.types import short_name

_SAME: Final = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "bool": "boolean",
    "decimal": "numeric",
    "varchar": "character varying",
    "bpchar": "character",
    "char": "character",
}


def same_type(one: str, other: str) -> bool:
    """Whether two names mean one type; modifiers count where both have them, and `any` is every type."""
    (base, size), (other_base, other_size) = _parts(one), _parts(other)
    return "any" in (base, other_base) or (base == other_base and (size == other_size or not size or not other_size))


def same_described_type(declared: str, described: str) -> bool:
    """The same for a type that OpenAPI names: since PostgREST 14.8 a smallint has the name of integers."""
    return same_type(declared, described) or (_parts(declared)[0], _parts(described)[0]) == ("smallint", "integer")


def _parts(type_name: str) -> tuple[str, str]:
    """The type without aliases, and its modifiers."""
    plain = type_name.strip().lower()
    sizes = "".join(re.findall(r"\([^)]*\)", plain)).replace(" ", "")
    base = re.sub(r"\s*\([^)]*\)", "", plain)
    array = "[]" if base.endswith("[]") or base.startswith("_") else ""
    base = short_name(base.removesuffix("[]").removeprefix("_"))
    return _SAME.get(base, base) + array, sizes


def differences(
    area: Area, name: str, declared: Table, actual: Table, same: Callable[[str, str], bool] = same_type
) -> Iterator[Check]:
    """The columns that are missing, that have another type, and that the schema does not know.

    `same` says whether a declared type and one that was found are one.
    """
    for column, expected in declared.columns.items():
        found = actual.columns.get(column)
        if found is None:
            yield missing_column(area, name, column, expected.type)
        elif not same(expected.type, found.type):
            other = f"{column} is {found.type}, and {expected.type} in the schema"
            yield area.check(
                Level.PROBLEM, other, name, "write the schema anew with 'schema pull', or change the column"
            )
    more = [column for column in actual.columns if column not in declared.columns]
    if more:
        yield area.check(Level.NOTE, f"columns that the schema lacks: {', '.join(more)}", name)


def missing_column(area: Area, table: str, column: str, type_name: str | None) -> Check:
    """That a column of the schema is not in the database."""
    message = f"no column {column}{f' ({type_name})' if type_name else ''}"
    return area.check(Level.PROBLEM, message, table, "add it to the table, or write the schema anew with 'schema pull'")
