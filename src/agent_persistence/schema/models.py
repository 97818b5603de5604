"""Tables as pydantic models describe them."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    EmailStr,
    FutureDate,
    FutureDatetime,
    IPvAnyAddress,
    IPvAnyInterface,
    IPvAnyNetwork,
    Json,
    JsonValue,
    NaiveDatetime,
    NameEmail,
    PastDate,
    PastDatetime,
    PlainSerializer,
    PydanticUserError,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    WrapSerializer,
)

from agent_persistence.exceptions import ConfigurationError, printable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

UNKNOWN: Final = "any"
_CLASSES: Final[dict[str, tuple[Any, ...]]] = {
    "boolean": (bool,),
    "bigint": (int,),
    "double precision": (float,),
    "numeric": (Decimal,),
    "text": (str, SecretStr, EmailStr, NameEmail, AnyUrl, PurePath, re.Pattern),
    "uuid": (UUID,),
    "timestamp": (NaiveDatetime,),
    "timestamptz": (datetime, AwareDatetime, PastDatetime, FutureDatetime),
    "date": (date, PastDate, FutureDate),
    "time": (time,),
    "interval": (timedelta,),
    "bytea": (bytes, SecretBytes),
    "inet": (IPv4Address, IPv6Address, IPvAnyAddress, IPvAnyInterface),
    "cidr": (IPv4Network, IPv6Network, IPvAnyNetwork),
    "jsonb": (BaseModel, Mapping, Json),
}
_TYPES: Final = {cls: name for name, classes in _CLASSES.items() for cls in classes}
"""The narrower class before the wider one: a bool is an int, a datetime a date."""
_BY_FORMAT: Final = {"date-time": "timestamptz", "date": "date", "uuid": "uuid"}
_BY_JSON_TYPE: Final = {
    "string": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "object": "jsonb",
}


@dataclass(frozen=True)
class _Value:
    """One of the values that a Literal or an Enum lists, in the form in which it is written."""

    value: Any


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
    members = _members(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
    some = [member for member in members if not _is_none(member)]
    nullable = len(some) < len(members) or Any in some
    column: dict[str, Any] = {"type": _common(some), "nullable": nullable and not is_key}
    values = [member.value for member in some if isinstance(member, _Value) and isinstance(member.value, str)]
    if values and len(values) == len(some):
        column["one_of"] = values
    if isinstance(field.json_schema_extra, Mapping) and "pii" in field.json_schema_extra:
        column["pii"] = field.json_schema_extra["pii"]
    return column


def _members(annotation: Any) -> list[Any]:
    """What a value may be: the members of a union, the values of a Literal or an Enum, or the annotation itself."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    if get_origin(annotation) is Literal:
        return [_Value(value.value if isinstance(value, Enum) else value) for value in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum) and len(annotation):
        return [_Value(member.value) for member in annotation]
    return [annotation]


def _is_none(member: Any) -> bool:
    return member in (None, types.NoneType, _Value(None))


def _unwrapped(annotation: Any) -> Any:
    """What `Annotated`, a NewType or a `type` statement stands for."""
    while annotation is not JsonValue:
        if get_origin(annotation) is Annotated:
            inner, *metadata = get_args(annotation)
            annotation = _written(inner, metadata)
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation
    return Json


def _written(annotation: Any, metadata: Sequence[Any]) -> Any:
    """What the last serializer writes in place of the value; nothing is known of one that does not say it."""
    for serializer in reversed(metadata):
        if isinstance(serializer, (PlainSerializer, WrapSerializer)) and not serializer.when_used.startswith("json"):
            returned = serializer.return_type
            return returned if get_origin(returned) or isinstance(returned, type) else Any
    return annotation


def _common(members: Sequence[Any]) -> str:
    """The one type of all of them."""
    found = {_type(member) for member in members}
    return found.pop() if len(found) == 1 else UNKNOWN


def _type(member: Any) -> str:
    if isinstance(member, _Value):
        return _of_class(type(member.value))
    origin = get_origin(member)
    if origin is Secret:
        return _without_none(get_args(member)[0])
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        return _array(get_args(member))
    return _of_class(origin or member)


def _array(arguments: tuple[Any, ...]) -> str:
    items = {_without_none(argument) for argument in arguments if argument is not Ellipsis}
    item = items.pop() if len(items) == 1 else "jsonb"
    return item if item in ("jsonb", UNKNOWN) else f"{item.removesuffix('[]')}[]"


def _without_none(annotation: Any) -> str:
    return _common([member for member in _members(annotation) if not _is_none(member)])


def _of_class(cls: Any) -> str:
    if not isinstance(cls, type):
        return UNKNOWN
    if is_dataclass(cls) or is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        return "jsonb"
    return next((name for known, name in _TYPES.items() if issubclass(cls, known)), None) or _described(cls)


def _described(cls: type) -> str:
    """The type by what pydantic says of the class's JSON."""
    try:
        described = TypeAdapter(cls).json_schema(mode="serialization")
    except (PydanticUserError, ImportError, TypeError):
        return UNKNOWN
    return _BY_FORMAT.get(described.get("format", ""), _BY_JSON_TYPE.get(described.get("type", ""), UNKNOWN))
