"""The server under test: its REST interface, its database and its keys."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.rows import DictRow, dict_row

from . import node, postgres, tokens
from .logs import new_log, tail

HERE = Path(__file__).parent
POSTGREST = "AGENT_PERSISTENCE_POSTGREST"
"""The variable that names a PostgREST program to serve with, in place of the test server."""
HOSTED_MAX_ROWS = 1000
TRUNCATE_ALL = """
do $$ begin
  execute (
    select format('truncate %s restart identity cascade', string_agg(format('public.%I', tablename), ', '))
    from pg_tables where schemaname = 'public');
end $$"""


class RestError(RuntimeError):
    """The REST server did not start or answer; the message ends with the tail of its log."""


@dataclass(frozen=True)
class RestProcess:
    """The process that serves; one line to its stdin is answered by one JSON line on its stdout."""

    process: "subprocess.Popen[str]"
    log: IO[bytes]

    def ask(self, line: str) -> dict[str, Any]:
        """The answer to the line; RestError when the process has ended."""
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RestError(f"the REST server has ended:\n{tail(self.log)}")
        return dict(json.loads(answer))


@dataclass(frozen=True)
class LocalServer:
    """A PostgREST-compatible server on loopback with a database of its own."""

    url: str
    """The project's base URL, as a hosted project has it: the tables are below `/rest/v1/`."""
    anon_key: str = field(repr=False)
    service_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    database_url: str = field(repr=False)
    connection: psycopg.Connection[DictRow] = field(repr=False)
    rest: RestProcess = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    """What another REST process before the same database is started with."""
    is_postgrest: bool
    """Whether PostgREST itself serves, and not the test server, which differs from it in known points."""

    def execute(self, sql: str, *params: object) -> list[dict[str, Any]]:
        """The statement is committed, as superuser; the rows it returned. `%s` stands for a parameter."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def reset(self) -> None:
        """Every table of schema public is empty and its identities start again.

        A statement whose client has gone may still run, and lock its tables in another order.
        """
        try:
            self.connection.execute(TRUNCATE_ALL)
        except psycopg.errors.DeadlockDetected:
            self.reset()

    def reload_schema(self) -> None:
        """The REST interface knows the tables and columns that exist now."""
        self.rest.ask("reload")

    def token(self, role: str = "authenticated", **claims: object) -> str:
        """A signed access token, also good as a legacy key; `sub` is a user's id, `exp` a Unix time."""
        return tokens.sign({"role": role, **claims}, self.jwt_secret)


def connected(database_url: str) -> psycopg.Connection[DictRow]:
    """A connection that commits each statement, returns rows as dicts and waits 10 s at most for a lock."""
    connection = psycopg.Connection[DictRow].connect(database_url, autocommit=True, row_factory=dict_row)
    connection.execute("set lock_timeout = '10s'")
    return connection


def named_program() -> Path | None:
    """The PostgREST program that the environment names."""
    name = os.environ.get(POSTGREST)
    return Path(name).resolve() if name else None


def rest_command() -> list[str | Path]:
    """What serves: the program that the environment names, behind our gateway, or else the test server."""
    if program := named_program():
        return [sys.executable, "-m", f"{__package__}.postgrest", program]
    node.install_packages()
    return [node.node(), HERE / "server.mjs"]


@contextlib.contextmanager
def running_rest(settings: dict[str, Any]) -> Iterator[tuple[str, RestProcess]]:
    """The base URL and the process of a REST server with these settings; it has ended afterwards."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(new_log())
        process = subprocess.Popen(
            rest_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=node.environment(),
            cwd=HERE.parents[1],
            start_new_session=True,
        )
        rest = RestProcess(stack.enter_context(process), log)
        port = rest.ask(json.dumps(settings))["port"]
        yield f"http://127.0.0.1:{port}", rest


@contextlib.contextmanager
def running_server(
    schema: Path | None = None,
    *,
    exposed: Sequence[str] = ("public",),
    max_rows: int = HOSTED_MAX_ROWS,
) -> Iterator[LocalServer]:
    """A server with the tables of the SQL file, by default the eight of schema.sql; afterwards it is gone.

    `exposed` are the schemas that `Accept-Profile` may name. At most `max_rows` rows come back from a read.
    """
    keys = {
        "anon_key": f"sb_publishable_{secrets.token_urlsafe(16)}_{secrets.token_hex(4)}",
        "service_key": f"sb_secret_{secrets.token_urlsafe(16)}_{secrets.token_hex(4)}",
        "jwt_secret": secrets.token_urlsafe(32),
    }
    with contextlib.ExitStack() as stack:
        database_url = stack.enter_context(postgres.running_postgres())
        connection = stack.enter_context(connected(database_url))
        for script in (HERE / "roles.sql", schema or HERE / "schema.sql"):
            connection.execute(script.read_bytes())
        settings = {**keys, "database_url": database_url, "schemas": list(exposed), "max_rows": max_rows}
        url, rest = stack.enter_context(running_rest(settings))
        yield LocalServer(
            url=url,
            database_url=database_url,
            connection=connection,
            rest=rest,
            settings=settings,
            is_postgrest=named_program() is not None,
            **keys,
        )
