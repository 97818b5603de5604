"""The reading tools as a toolset of pydantic-ai."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_core import SchemaValidator, core_schema, from_json

from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.exceptions import PersistenceError, ValidationError
from agent_persistence.ext._tools.tool import Tools

_UNCHECKED: Final = SchemaValidator(core_schema.any_schema())
"""Arguments are checked by the tool itself, whose refusal lists all that is wrong at once."""


class PersistenceToolset(AbstractToolset[Any]):
    """The tools over one façade; made by `toolset`."""

    def __init__(self, facade: ReadOnlyPersistenceFacade, tools: Tools, *, id: str | None, max_retries: int) -> None:
        self._facade = facade
        self._tools = tools
        self._id = id
        self._max_retries = max_retries
        self._definitions = [
            ToolDefinition(name=name, description=tool.description, parameters_json_schema=tool.input_schema)
            for name, tool in tools.items()
        ]

    @property
    def id(self) -> str | None:
        """The name of the toolset, which durable execution needs."""
        return self._id

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        return {
            definition.name: ToolsetTool(
                toolset=self, tool_def=definition, max_retries=self._max_retries, args_validator=_UNCHECKED
            )
            for definition in self._definitions
        }

    async def call_tool(self, name: str, tool_args: Any, ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Any:
        """The rows. What the model can mend comes back to it as ModelRetry; everything else is raised as it is."""
        try:
            if not isinstance(tool_args, Mapping):
                raise ValidationError(name, "the arguments are an object")
            return from_json(await self._tools[name].call(self._facade, tool_args))
        except PersistenceError as error:
            if not error.caller_can_fix:
                raise
            raise ModelRetry(error.for_model()) from error
