"""`agent-persistence mcp` as clients start it: over stdin and stdout, and over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import StdioServerParameters

from agent_persistence.cli.status import Status
from tests.cli.program import ran, started
from tests.ext.served import McpClient, called_over_http, served
from tests.server import LocalServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
ROWS = {"leads": [{"email": f"{number}@x.example", "first_name": "Ada", "phone": "1"} for number in range(3)]}
POLICY = """
read = ["leads"]
write = ["leads"]
[columns]
leads = ["id", "email", "first_name", "status"]
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Options for a memory with these rows and this policy."""
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    (tmp_path / "policy.toml").write_text(POLICY)
    return ["--kind", "memory", "--rows", str(tmp_path / "rows.json"), "--policy", str(tmp_path / "policy.toml")]


@asynccontextmanager
async def over_stdio(*options: str, mode: str = "auto", **variables: str) -> AsyncIterator[McpClient]:
    """The command in a process of its own, spoken to through its stdin and stdout."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "agent_persistence.cli", "mcp", *options],
        env={**os.environ, **variables},
    )
    async with served(command, mode) as client:
        yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_reads_through_stdin_and_stdout(files: list[str], mode: str) -> None:
    """What the policy lets be read, and no more."""
    async with over_stdio(*files, "--max-rows", "2", "--context", mode=mode) as client:
        assert "get_context" in await client.tools()
        pages = await client.pages(table="leads", order_by=["email"], select=["email"])
        assert [[row["email"] for row in page] for page in pages] == [["0@x.example", "1@x.example"], ["2@x.example"]]
        assert (await client.call("query_rows", table="leads", select=["phone"])).failed


async def test_named_tables_are_written_and_personal_data_is_hidden(files: list[str]) -> None:
    """Both only where the command says so."""
    async with over_stdio(*files, "--update", "leads", "--redact") as client:
        assert "update_rows" in await client.tools()
        rows = (await client.call("query_rows", table="leads")).rows
        assert "x.example" not in json.dumps(rows)
        assert "Ada" not in json.dumps(rows)
        changed = await client.call(
            "update_rows", table="leads", changes={"status": "won"}, filters={"id": rows[0]["id"]}
        )
        assert changed.rows[0]["status"] == "won"


def test_nothing_but_the_protocol_reaches_stdout(files: list[str], anyio_backend: str) -> None:
    """Though PERSIST_LOGGING asks for a line a call: it goes to stderr. The raw bytes of a whole session are read."""
    requests: list[dict[str, Any]] = [
        {
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": {"name": "query_rows", "arguments": {"table": "leads"}}},
        {"id": 2, "method": "tools/call", "params": {"name": "query_rows", "arguments": {"table": "secrets"}}},
    ]
    sent = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    with subprocess.Popen(
        [sys.executable, "-m", "agent_persistence.cli", "mcp", *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PERSIST_LOGGING": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(sent)
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(3)]
        process.stdin.close()
        lines += process.stdout.readlines()
        logged = process.stderr.read()
    assert process.returncode == 0
    assert [json.loads(line)["jsonrpc"] for line in lines] == ["2.0"] * 3
    assert "[persistence] op=query table=leads ms=" in logged
    assert "[persistence] op=query table=<denied> ms=" in logged


@contextmanager
def listening(*options: str, **variables: str) -> Iterator[str]:
    """The command over HTTP; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "agent_persistence.cli", "mcp", "--http", address, *options]
    with subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://{address}/mcp"
        finally:
            process.terminate()
            assert process.stdout is not None
            assert process.stdout.read() == b""


async def _answers(url: str) -> None:
    """Wait until somebody listens there."""
    host, port = url.split("/")[2].split(":")
    with anyio.fail_after(30):
        while True:
            try:
                await (await anyio.connect_tcp(host, int(port))).aclose()
                return
            except OSError:
                await anyio.sleep(0.05)


async def test_over_http_every_user_has_their_own_token(server: LocalServer, tmp_path: Path) -> None:
    """And who has none is refused; a page of another site is too, which a browser would send here."""
    server.execute("insert into leads (email) values ('a@x.example')")
    (tmp_path / "policy.toml").write_text('read = ["leads"]')
    variables = {"SUPABASE_URL": server.url, "SUPABASE_KEY": server.anon_key}
    with listening("--policy", str(tmp_path / "policy.toml"), **variables) as url:
        await _answers(url)
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        async with httpx.AsyncClient() as http:
            assert (await http.post(url, json=asked)).status_code == 401
            token = {"Authorization": f"Bearer {server.token()}"}
            for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
                assert (await http.post(url, json=asked, headers={**token, **header})).status_code in (403, 421)
        async with called_over_http(url, server.service_key) as client:
            assert (await client.call("count_rows", table="leads")).document == {"count": 1}


async def test_over_http_without_users_only_where_that_is_said(files: list[str]) -> None:
    """Then every call has the rights of the process."""
    refused = ran("mcp", *files, "--http", "127.0.0.1:1")
    assert refused.status == Status.CONFIGURATION
    assert "--anonymous" in refused.err
    with listening(*files, "--anonymous") as url:
        await _answers(url)
        async with called_over_http(url, None) as client:
            assert (await client.call("count_rows", table="leads")).document == {"count": 3}


async def test_over_stdin_the_user_comes_from_a_variable(server: LocalServer, tmp_path: Path) -> None:
    """As the protocol has it for processes; the command line shows no token."""
    server.execute("insert into leads (email) values ('a@x.example')")
    (tmp_path / "policy.toml").write_text('read = ["leads"]')
    variables = {"SUPABASE_URL": server.url, "SUPABASE_KEY": server.anon_key, "MY_TOKEN": server.service_key}
    policy = ("--policy", str(tmp_path / "policy.toml"))
    async with over_stdio(*policy, "--token-from", "MY_TOKEN", **variables) as client:
        assert (await client.call("count_rows", table="leads")).document == {"count": 1}
    missing = started("mcp", *policy, "--token-from", "NO_TOKEN", **variables)
    assert missing.status == Status.CONFIGURATION
    assert "NO_TOKEN is not set" in missing.err
    assert missing.out == ""


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--anonymous"], Status.USAGE),
        (["--http", "127.0.0.1:1", "--token-from", "X"], Status.USAGE),
        (["--http", "nowhere", "--anonymous"], Status.USAGE),
        (["--http", "127.0.0.1:99999", "--anonymous"], Status.USAGE),
        (["--http", "0.0.0.0:1", "--anonymous"], Status.CONFIGURATION),
        (["--write", "clients"], Status.CONFIGURATION),
        (["--max-rows", "100000"], Status.CONFIGURATION),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], status: Status, files: list[str], anyio_backend: str
) -> None:
    """Before anything is served; stdout stays empty."""
    ended = ran("mcp", *files, *options)
    assert ended.status == status
    assert ended.out == ""


def test_the_command_has_help_with_examples(anyio_backend: str) -> None:
    """How it is called, and that nothing is written by default."""
    ended = ran("mcp", "--help")
    assert ended.status == 0
    assert "agent-persistence mcp --policy policy.toml" in ended.out
