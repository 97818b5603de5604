"""An MCP server as its clients see it: what tests call, and what comes back."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import TextContent, Tool

from agent_persistence.ext.mcp import PersistenceServer, http_app


@dataclass(frozen=True)
class Answer:
    """What a tool said: its text, and the document that the text is."""

    failed: bool
    text: str
    document: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        assert not self.failed, self.text
        rows: list[dict[str, Any]] = self.document["rows"]
        return rows


class McpClient:
    """The SDK's client, with answers that are easy to compare."""

    def __init__(self, client: Client) -> None:
        self.sdk = client

    async def call(self, tool: str, /, **arguments: Any) -> Answer:
        told = await self.sdk.call_tool(tool, arguments)
        (content,) = told.content
        assert isinstance(content, TextContent)
        assert told.is_error is (told.structured_content is None)
        return Answer(told.is_error, content.text, told.structured_content or {})

    async def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in (await self.sdk.list_tools()).tools}

    async def pages(self, **arguments: Any) -> list[list[dict[str, Any]]]:
        """The rows of every page of query_rows, from the first on."""
        pages, cursor = [], ""
        while True:
            answer = await self.call("query_rows", cursor=cursor, **arguments)
            pages.append(answer.rows)
            assert answer.document["more"] is ("next_cursor" in answer.document)
            if not answer.document["more"]:
                return pages
            cursor = answer.document["next_cursor"]


@asynccontextmanager
async def served(server: PersistenceServer | StdioServerParameters, mode: str = "auto") -> AsyncIterator[McpClient]:
    """A client of the server in this process, or of a command that serves through its stdin and stdout."""
    async with Client(server, mode=mode) as client:
        yield McpClient(client)


@asynccontextmanager
async def over_http(server: PersistenceServer) -> AsyncIterator[str]:
    """The server over streamable HTTP on a port of this machine; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(http_app(server), log_level="warning", access_log=False, ws="none")
    running = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve, [listening])
        while not running.started:  # noqa: ASYNC110 uvicorn tells it by nothing else
            await anyio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        running.should_exit = True


@asynccontextmanager
async def called_over_http(url: str, token: str | None, mode: str = "auto") -> AsyncIterator[McpClient]:
    """A client of the URL that sends the bearer token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield McpClient(client)
