"""Tables as pydantic models tell them."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from pydantic import BaseModel, EmailStr, SecretStr

from agent_persistence.exceptions import ConfigurationError, printable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

UNKNOWN: Final = "any"
_TYPES: Final[dict[Any, str]] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    Decimal: "numeric",
    str: "text",
    SecretStr: "text",
    EmailStr: "text",
    UUID: "uuid",
    datetime: "timestamptz",
    date: "date",
    time: "time",
    timedelta: "interval",
    bytes: "bytea",
}
"""The narrower class before the wider one: a bool is an int, a datetime a date."""


def table(model: object, primary_key: Sequence[str] | None, unique: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The table whose rows the model describes, as a document."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigurationError(f"a pydantic model class is needed, not {printable(model)}")
    fields = {field.serialization_alias or name: field for name, field in _columns(model)}
    key = [name for name in fields if name == "id"] if primary_key is None else primary_key
    columns = {name: _column(field, is_key=name in key) for name, field in fields.items()}
    return {"columns": columns, "primary_key": key, "unique": list(unique)}


def _columns(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in model.model_fields.items() if not field.exclude]


def _column(field: FieldInfo, *, is_key: bool) -> dict[str, Any]:
    annotation, nullable = _without_none(field.annotation)
    told: dict[str, Any] = {"type": _type(annotation), "nullable": nullable and not is_key}
    values = _listed(annotation)
    if values and all(isinstance(value, str) for value in values):
        told["one_of"] = values
    if isinstance(field.json_schema_extra, Mapping) and "pii" in field.json_schema_extra:
        told["pii"] = field.json_schema_extra["pii"]
    return told


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without `None` and without what only wraps it, and whether None was among its members."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, annotation in (None, Any)
    members = [_unwrapped(member) for member in get_args(annotation)]
    rest = [member for member in members if member is not type(None)]
    return rest[0] if len(rest) == 1 else annotation, len(rest) < len(members)


def _unwrapped(annotation: Any) -> Any:
    """What `Annotated`, a NewType or a `type` statement stands for."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _type(annotation: Any) -> str:
    values = _listed(annotation)
    if values:
        types_of_values = {_of_class(type(value)) for value in values}
        return types_of_values.pop() if len(types_of_values) == 1 else UNKNOWN
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        return _array(get_args(annotation))
    return _of_class(origin or annotation)


def _listed(annotation: Any) -> list[Any]:
    """The values that a Literal or an Enum lists, in the form in which they are written."""
    if get_origin(annotation) is Literal:
        return [value.value if isinstance(value, Enum) else value for value in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return []


def _array(arguments: tuple[Any, ...]) -> str:
    members = {_without_none(argument)[0] for argument in arguments if argument is not Ellipsis}
    item = _type(members.pop()) if len(members) == 1 else "jsonb"
    return item if item in ("jsonb", UNKNOWN) else f"{item.removesuffix('[]')}[]"


def _of_class(cls: Any) -> str:
    if not isinstance(cls, type):
        return UNKNOWN
    if issubclass(cls, (BaseModel, Mapping)) or is_dataclass(cls) or is_typeddict(cls):
        return "jsonb"
    return next((name for known, name in _TYPES.items() if issubclass(cls, known)), UNKNOWN)
