"""Rows of the declared tables as JSON Schema, and pydantic models of them by datamodel-code-generator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.schema.types import Family, base_name, family
from agent_persistence.schema.values import Column, Table

if TYPE_CHECKING:
    from agent_persistence.schema.registry import Schema

_WHOLE: Final = frozenset({"smallint", "integer", "bigint", "int", "int2", "int4", "int8", "oid"})
_FLOATS: Final = frozenset({"real", "double precision", "float", "float4", "float8"})
_FORMATS: Final = {
    "uuid": "uuid",
    "date": "date",
    "time": "time",
    "time without time zone": "time",
    **dict.fromkeys(("timestamp", "timestamptz"), "date-time"),
    **dict.fromkeys(("timestamp with time zone", "timestamp without time zone"), "date-time"),
}
_TEXTS: Final = frozenset({"bytea", "bit", "varbit", "cidr", "inet", "interval", "macaddr", "timetz", "tsvector"})
HEADER: Final = "# Rows of the tables, made by `agent-persistence schema pull --models`."


def document(schema: Schema) -> dict[str, Any]:
    """A JSON Schema (2020-12) whose `$defs` describe a row of each table, by its name.

    A column that may be NULL or that the database can fill need not be there.
    """
    tables = {name: _row(name, table) for name, table in schema.tables.items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": tables}


def _row(name: str, table: Table) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"A row of the table {printable(name)}.",
        "properties": {column: _property(declared) for column, declared in table.columns.items()},
        "required": [column for column, declared in table.columns.items() if not _may_be_missing(declared)],
    }


def _may_be_missing(column: Column) -> bool:
    return column.nullable or column.default is not None


def _property(column: Column) -> dict[str, Any]:
    value = _value(column)
    if not _may_be_missing(column):
        return value
    return {"anyOf": [value, {"type": "null"}], "default": None} if value else {"default": None}


def _value(column: Column) -> dict[str, Any]:
    """What JSON the values are; nothing of a type that is not PostgreSQL's own."""
    if column.one_of:
        return {"type": "string", "enum": list(column.one_of)}
    if family(column.type) is Family.ARRAY:
        return {"type": "array", "items": _scalar(base_name(column.type))}
    return _scalar(base_name(column.type))


def _scalar(name: str) -> dict[str, Any]:
    if name in _WHOLE:
        return {"type": "integer"}
    if name in _FLOATS:
        return {"type": "number"}
    if name in _FORMATS:
        return {"type": "string", "format": _FORMATS[name]}
    return dict(_BY_FAMILY.get(family(name), {"type": "string"} if name in _TEXTS else {}))


_BY_FAMILY: Final[Mapping[Family, Mapping[str, str]]] = {
    Family.NUMBER: {"type": "number", "format": "decimal"},
    Family.BOOLEAN: {"type": "boolean"},
    Family.TEXT: {"type": "string"},
    Family.RANGE: {"type": "string"},
}


def model_code(schema: Schema) -> str:
    """Python code of a pydantic model for each table, whose docstring names the table.

    A column whose name is no field of a model has it as its alias. ConfigurationError where the extra is missing.
    """
    try:
        from datamodel_code_generator import InputFileType, LiteralType, PythonVersion, generate
        from datamodel_code_generator.enums import DataModelType
        from datamodel_code_generator.format import DatetimeClassType
    except ImportError as error:
        raise ConfigurationError(f"models need datamodel-code-generator: {command_for('models')}") from error
    code = generate(
        json.dumps(document(schema)),
        input_file_type=InputFileType.JsonSchema,
        output_model_type=DataModelType.PydanticV2BaseModel,
        output_datetime_class=DatetimeClassType.Datetime,
        target_python_version=PythonVersion.PY_311,
        enum_field_as_literal=LiteralType.All,
        use_annotated=True,
        use_schema_description=True,
        allow_population_by_field_name=True,
        skip_root_model=True,
        custom_file_header=HEADER,
        formatters=[],
    )
    return f"{str(code).rstrip()}\n"
