"""What a tool is: a name, what it says of itself, the arguments it takes, and what it does with a façade."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError as PydanticValidationError
from pydantic_core import PydanticSerializationError, to_json

from agent_persistence.exceptions import ValidationError, printable

MAX_ARGUMENT_BYTES: Final = 100_000
"""The most that all arguments of one call may take as JSON."""
_MOST_PROBLEMS: Final = 10

Document: TypeAlias = bytes
"""A JSON object, written out: its size is what is bounded."""


class ToolArguments(BaseModel):
    """The arguments of a tool: none that it does not name, and none of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


A = TypeVar("A", bound=ToolArguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTool(Generic[A]):
    """One tool. `run` gets what it works on, as one user where there are users, and arguments that were checked.

    That is a read-only façade for those that only read, and an agent for the others.
    """

    name: str
    title: str
    description: str
    arguments: type[A]
    run: Callable[[Any, A], Awaitable[Document]]
    properties: Mapping[str, Mapping[str, Any]]
    """What the schema of single arguments says beyond their class: the tables that there are."""
    output: Mapping[str, Any]
    """The JSON schema of the answer."""
    reads_only: bool = True
    destroys: bool = False
    repeatable: bool = True
    """Whether the same call a second time changes nothing more."""

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        schema = self.arguments.model_json_schema()
        schema.pop("description", None)
        schema.pop("title", None)
        for name, property_ in schema.get("properties", {}).items():
            property_.pop("title", None)
            property_ |= self.properties.get(name, {})
        return schema

    async def call(self, source: object, given: Mapping[str, Any] | None) -> Document:
        """The answer, or a PersistenceError; ValidationError lists what is wrong with the arguments."""
        return await self.run(source, self._checked(given or {}))

    def _checked(self, given: Mapping[str, Any]) -> A:
        try:
            size = len(to_json(given))
        except (PydanticSerializationError, ValueError):
            raise ValidationError(self.name, "an argument is no JSON") from None
        if size > MAX_ARGUMENT_BYTES:
            raise ValidationError(self.name, f"the arguments are larger than {MAX_ARGUMENT_BYTES} bytes")
        try:
            return self.arguments.model_validate(dict(given))
        except PydanticValidationError as error:
            errors = error.errors(include_url=False, include_input=False, include_context=False)
            problems = [f"{'.'.join(map(_shown, one['loc']))}: {one['msg']}" for one in errors[:_MOST_PROBLEMS]]
        raise ValidationError(self.name, problems)


def _shown(part: object) -> str:
    text = str(part)
    return text if text.isidentifier() and text.isascii() and len(text) <= 63 else printable(text)


Tools: TypeAlias = dict[str, ModelTool[Any]]
