"""Models of rows that wait on disk: of the class that was asked for, and marked."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter

from agent_persistence.operations.spooled import Spooled
from agent_persistence.query.records import Row

Model = TypeVar("Model", bound=BaseModel)


def spooled_model(model: type[Model], row: Row) -> Model:
    """A model with the fields that were sent; of the others it has its own defaults, and no value where it has none."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        column = field.alias or name
        if column in row:
            fields[name] = TypeAdapter(field.rebuild_annotation()).validate_python(row[column], strict=False)
    made: Any = _marked(model).model_construct(_fields_set=set(fields), **fields)
    return cast("Model", made)


@cache
def _marked(model: type[BaseModel]) -> type[BaseModel]:
    marked: type[BaseModel] = type(f"Spooled{model.__name__}", (Spooled, model), {"__module__": model.__module__})
    return marked
