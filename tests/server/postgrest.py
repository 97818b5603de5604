"""Run a PostgREST program behind a gateway: `python -m tests.server.postgrest PROGRAM`, spoken to as server.mjs is.

The first line of stdin is the configuration; one JSON line, {"port": n}, says that the gateway answers. Every further
line asks for the schema to be read again and is answered by one line. Program and gateway end when stdin closes.
"""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from . import tokens
from .gateway import Keys, serving
from .leash import leashed
from .logs import new_log, tail
from .postgres import free_port

WAIT_S = 60.0
MARKS = "pgrst_marks"
"""An exposed schema of functions whose only purpose is that PostgREST knows them or does not."""
LOGIN = "authenticator"


class PostgrestError(RuntimeError):
    """PostgREST did not start, or did not read the schema again; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Postgrest:
    """A PostgREST that answers at `url`, without a gateway."""

    url: str
    settings: dict[str, Any]
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]

    def reload_schema(self) -> None:
        """PostgREST has read the schema after this was called: it knows a function that did not exist before."""
        mark = f"mark_{secrets.token_hex(8)}"
        execute(
            self.settings["database_url"],
            f"create function {MARKS}.{mark}() returns int language sql as 'select 1'",
            "notify pgrst, 'reload schema'",
        )
        token = tokens.sign({"role": "service_role"}, self.settings["jwt_secret"])
        headers = {"Content-Profile": MARKS, "Authorization": f"Bearer {token}"}
        self.wait_until(lambda: httpx.post(f"{self.url}/rpc/{mark}", headers=headers, trust_env=False))

    def wait_until(self, ask: Callable[[], httpx.Response]) -> None:
        """The answer is a success; PostgrestError if it does not come to that."""
        deadline_s = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < deadline_s:
            with contextlib.suppress(httpx.TransportError):
                if ask().is_success:
                    return
            time.sleep(0.02)
        raise PostgrestError(f"PostgREST has not come so far:\n{tail(self.log)}")


def execute(database_url: str, *statements: str) -> None:
    """Each statement is committed, as superuser."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def login(database_url: str) -> str:
    """The database's URL for PostgREST's own role, which has a new password and the schema of marks."""
    password = secrets.token_hex(16)
    execute(
        database_url,
        f"alter role {LOGIN} password '{password}'",
        f"create schema if not exists {MARKS}",
        f"grant usage on schema {MARKS} to service_role",
    )
    url = urlsplit(database_url)
    return urlunsplit(url._replace(netloc=f"{LOGIN}:{password}@{url.hostname}:{url.port}"))


def configuration(settings: dict[str, Any], *, port: int, admin_port: int) -> str:
    """PostgREST's configuration, as a hosted project has it but for the ports."""
    options = {
        "db-uri": login(settings["database_url"]),
        "db-schemas": ", ".join([*settings["schemas"], MARKS]),
        "db-anon-role": "anon",
        "db-max-rows": settings["max_rows"],
        "jwt-secret": settings["jwt_secret"],
        "server-host": "127.0.0.1",
        "server-port": port,
        "admin-server-port": admin_port,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())


@contextlib.contextmanager
def running(program: str, settings: dict[str, Any]) -> Iterator[Postgrest]:
    """The program answers; it is gone afterwards."""
    port, admin_port = free_port(), free_port()
    home = Path(tempfile.mkdtemp(prefix="postgrest-"))  # the leash removes it
    file = home / "postgrest.conf"
    file.touch(mode=0o600)
    file.write_text(configuration(settings, port=port, admin_port=admin_port))
    with new_log() as log, leashed([program, str(file)], home, log=log, ends_on="SIGTERM") as process:
        postgrest = Postgrest(f"http://127.0.0.1:{port}", settings, process, log)
        postgrest.wait_until(lambda: httpx.get(f"http://127.0.0.1:{admin_port}/ready", trust_env=False))
        yield postgrest


def answer(**told: object) -> None:
    """One line on stdout."""
    print(json.dumps(told), flush=True)


async def main(program: str) -> None:
    """Serves until stdin is closed."""
    settings = json.loads(await asyncio.to_thread(sys.stdin.readline))
    keys = Keys(**{name: settings[name] for name in ("anon_key", "service_key", "jwt_secret")})
    with running(program, settings) as postgrest:
        async with serving(postgrest.url, keys.authorize) as port:
            answer(port=port)
            while await asyncio.to_thread(sys.stdin.readline):
                await asyncio.to_thread(postgrest.reload_schema)
                answer(reloaded=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
