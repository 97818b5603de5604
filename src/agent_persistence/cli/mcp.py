"""`mcp`: the rows that the policy lets be read, for clients of the Model Context Protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final

import typer

from agent_persistence.cli.help import add
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import Kind, PolicyFile, RowsFile, SchemaFile
from agent_persistence.cli.running import run, running
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.redaction.redacting import Redaction

_HTTP: Final = "Over HTTP"
_OWN: Final = ("127.0.0.1", "localhost", "::1")
"""The names under which nobody but this machine is reached."""
_WRITING: Final = "What may be written (nothing by default)"


@dataclass(frozen=True)
class _Serving:
    """How the server is set up, and where it listens."""

    http: str | None
    anonymous: bool
    token_variable: str | None
    redact: bool
    writes: Mapping[str, list[str]]
    options: Mapping[str, Any]


def register(app: typer.Typer) -> None:
    add(
        app,
        "mcp",
        mcp,
        "mcp --policy policy.toml",
        "mcp --policy policy.toml --redact --max-rows 20",
        "mcp --policy policy.toml --http 127.0.0.1:8000",
        "mcp --policy policy.toml --update tickets",
    )


def _tables(option: str, description: str) -> Any:
    return typer.Option(option, metavar="TABLES", help=description, rich_help_panel=_WRITING)


def mcp(
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="Serve http://HOST:PORT/mcp instead of stdin and stdout; every call needs its user's bearer token.",
            rich_help_panel=_HTTP,
        ),
    ] = None,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous",
            help="Ask for no token: calls from this machine have this process's rights.",
            rich_help_panel=_HTTP,
        ),
    ] = False,
    token_from: Annotated[
        str | None,
        typer.Option(
            "--token-from",
            metavar="VARIABLE",
            help="Over stdin and stdout: the variable with the access token of the user as whom all calls run.",
        ),
    ] = None,
    max_rows: Annotated[int, typer.Option("--max-rows", min=1, help="The most rows of an answer.")] = 50,
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1, help="The most bytes of an answer.")] = 20_000,
    context: Annotated[bool, typer.Option("--context", help="Offer the context as a tool and a prompt.")] = False,
    redact: Annotated[bool, typer.Option("--redact", help="Labels in the place of personal data.")] = False,
    write: Annotated[str | None, _tables("--write", "Tables that get new rows.")] = None,
    upsert: Annotated[
        str | None, _tables("--upsert", "Tables of which rows are inserted or merged by their key.")
    ] = None,
    update: Annotated[str | None, _tables("--update", "Tables of which rows are changed.")] = None,
    text_config: Annotated[
        str | None,
        typer.Option("--text-config", metavar="NAME", help="The text search configuration, such as english."),
    ] = None,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    rows: RowsFile = None,
) -> None:
    """Serve the rows that the policy lets be read to MCP clients, such as Claude and IDEs: by default over stdio.

    Nothing but the protocol goes to stdout. Needs the extra mcp.
    """
    with running("mcp", as_json=False):
        options = {"max_rows": max_rows, "max_bytes": max_bytes, "context": context or None, "text_config": text_config}
        named = {"write": separated(write) or [], "upsert": separated(upsert) or [], "update": separated(update) or []}
        serving = _Serving(http, anonymous, token_from, redact, named, options)
        _check(serving, kind)
        run(_served, Target(kind, policy, schema, rows), serving)


def _check(serving: _Serving, kind: str) -> None:
    if serving.http is None:
        if serving.anonymous:
            raise typer.BadParameter("over stdin and stdout there is one client", param_hint="--anonymous")
    elif serving.token_variable is not None:
        raise typer.BadParameter("over HTTP every call brings its own token", param_hint="--token-from")
    elif serving.anonymous and _address(serving.http)[0] not in _OWN:
        raise ConfigurationError(
            f"--anonymous gives whoever reaches it the rights of this process, and so is for {', '.join(_OWN)} only"
        )
    elif kind != "supabase" and not serving.anonymous:
        raise ConfigurationError(
            f"over HTTP calls run as their users, whose tokens only PostgREST checks by itself; for --kind {kind} say"
            " --anonymous, or write a server of your own with users= (docs/mcp.md)"
        )


async def _served(target: Target, serving: _Serving) -> None:
    from agent_persistence.ext.mcp import Writes, bearer, create_server, serve_http, serve_stdio

    masks = {"mask_reads": Redaction.default(target.schema)} if serving.redact else {}
    async with target.agent(log=target.config.logging, **masks) as made:
        agent = made if serving.token_variable is None else made.as_user(access_token=_token(serving.token_variable))
        server = create_server(
            agent,
            writes=Writes(agent, **serving.writes) if any(serving.writes.values()) else None,
            users=bearer if serving.http is not None and not serving.anonymous else None,
            cursor_key=_cursor_key(target),
            **serving.options,
        )
        if serving.http is None:
            await serve_stdio(server)
        else:
            host, port = _address(serving.http)
            await serve_http(server, host=host, port=port)


def _token(variable: str) -> str:
    token = os.environ.get(variable, "")
    if not token.strip():
        raise ConfigurationError(f"--token-from: {variable} is not set")
    return token


def _cursor_key(target: Target) -> bytes | None:
    """A secret that is the same after a restart: it is derived from the credentials of the backend."""
    secret = target.config.supabase_key if target.kind == "supabase" else target.config.database_url
    return None if secret is None else sha256(b"mcp cursor " + secret.get_secret_value().encode()).digest()


def _address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{address!r}: write HOST:PORT, such as 127.0.0.1:8000", param_hint="--http")
    return host.strip("[]"), int(port)
