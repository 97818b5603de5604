"""Models of rows that wait on disk: of the class that was asked for, and marked."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from agent_persistence.operations.spooled import Spooled
from agent_persistence.query.records import Row

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Model = TypeVar("Model", bound=BaseModel)


def spooled_model(model: type[Model], row: Row) -> Model:
    """A model with the fields that were sent; of the others it has its own defaults, and no value where it has none."""
    sent = {name: field for name, field in model.model_fields.items() if (field.alias or name) in row}
    made: Any = _marked(model).model_construct()
    for name, field in sent.items():
        made.__dict__[name] = _read(field, row[field.alias or name])
    made.__pydantic_fields_set__.update(sent)
    return cast("Model", made)


def _read(field: FieldInfo, value: Any) -> Any:
    """The value as the model reads it; one that it does not take is left as it was sent."""
    try:
        return TypeAdapter(field.rebuild_annotation()).validate_json(to_json(value))
    except ValidationError:
        return value


@cache
def _marked(model: type[BaseModel]) -> type[BaseModel]:
    marked: type[BaseModel] = type(f"Spooled{model.__name__}", (Spooled, model), {"__module__": model.__module__})
    return marked
