"""The two transports: stdin and stdout of this process, and streamable HTTP."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from mcp.server.stdio import stdio_server
from starlette.datastructures import Headers

from agent_persistence.ext._mcp.server import PersistenceServer, bearer_token

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH: Final = "/mcp"
_REFUSAL: Final = json.dumps({"error": "invalid_token", "error_description": "an access token is needed"}).encode()


async def serve_stdio(server: PersistenceServer) -> None:
    """Serve one client over stdin and stdout until it goes.

    Nothing but the protocol reaches stdout: what this process and its libraries print meanwhile, PERSIST_LOGGING's
    lines among it, goes to stderr.
    """
    async with stdio_server() as (incoming, outgoing):
        with redirect_stdout(sys.stderr):
            await server.run(incoming, outgoing, server.create_initialization_options())


def http_app(server: PersistenceServer, *, host: str = "127.0.0.1", path: str = PATH) -> Starlette:
    """The server as an ASGI application over streamable HTTP at `path`.

    It keeps no sessions, so that any process may answer any request, and each runs as whom its own bearer token names.
    Where the server has users, a request without a token is answered with 401. Under a `host` that is this machine's
    own, requests that name another in Host or Origin are refused (DNS rebinding).
    """
    app = server.streamable_http_app(streamable_http_path=path, stateless_http=True, json_response=True, host=host)
    if server.needs_token:
        app.add_middleware(_BearerNeeded)
    return app


async def serve_http(server: PersistenceServer, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve over HTTP at http://host:port/mcp until the process is asked to end; its log goes to stderr."""
    options = uvicorn.Config(http_app(server, host=host), host=host, port=port, log_level="warning", access_log=False)
    await uvicorn.Server(options).serve()


class _BearerNeeded:
    """Answers 401 to requests without a bearer token (RFC 6750, section 3); who it names is found out with the call."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or bearer_token(Headers(scope=scope)) is not None:
            await self._app(scope, receive, send)
            return
        headers: list[Any] = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})
