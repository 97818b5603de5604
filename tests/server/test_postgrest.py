"""A PostgREST program that the environment names is served with; here one that only behaves like it."""

# persistence-guard: allow-file AP001 the adapter itself is under test

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from agent_persistence import SupabaseAdapter
from agent_persistence.testing import CONTRACT, Law

from . import LocalServer, tokens
from .gateway import Headers, Keys, RefusedError
from .local import POSTGREST, RestError, RestProcess, running_rest
from .postgrest import MARKS, configuration, running
from .stand_in import parsed

ROOT = Path(__file__).parents[2]
SECRET = "a secret of at least thirty-two characters"
KEYS = Keys(anon_key="sb_publishable_a", service_key="sb_secret_b", jwt_secret=SECRET)
USER = tokens.sign({"sub": "ada", "role": "authenticated"}, SECRET)
LEGACY = tokens.sign({"role": "service_role"}, SECRET)


def program(directory: Path, script: str) -> Path:
    """An executable file that runs the lines."""
    path = directory / "postgrest"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def stand_in(local_server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, RestProcess]]:
    """The URL and the process of a server whose program is stand_in.py."""
    directory = tmp_path_factory.mktemp("program")
    script = f"cd '{ROOT}' && exec '{sys.executable}' -m tests.server.stand_in \"$@\""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(POSTGREST, str(program(directory, script)))
        patch.setenv("STAND_IN_DATABASE_URL", local_server.database_url)
        with running_rest(local_server.settings) as running:
            yield running
    local_server.execute(f"drop schema {MARKS} cascade")


@pytest.fixture
def rest(stand_in: tuple[str, RestProcess], server: LocalServer) -> Iterator[httpx.Client]:
    """A client with the service key, before empty tables."""
    headers = {"apikey": server.service_key}
    with httpx.Client(base_url=f"{stand_in[0]}/rest/v1", headers=headers, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
@pytest.mark.asyncio
async def test_the_contract_holds_through_gateway_and_program(
    stand_in: tuple[str, RestProcess], server: LocalServer, law: Law
) -> None:
    """Whatever an adapter may ask arrives as it was sent, and so does the answer."""
    adapter = SupabaseAdapter(stand_in[0], server.service_key)
    try:
        await law(adapter)
    finally:
        await adapter.aclose()


def test_a_new_table_is_known_after_a_reload(
    stand_in: tuple[str, RestProcess], server: LocalServer, rest: httpx.Client
) -> None:
    """The program is notified, and has read the schema when the reload returns."""
    server.execute("create table novel (word text)")
    try:
        assert rest.get("/novel").json()["code"] == "PGRST205"
        assert stand_in[1].ask("reload") == {"reloaded": True}
        assert rest.get("/novel").json() == []
    finally:
        server.execute("drop table novel")


def test_long_requests_and_answers_pass(rest: httpx.Client, server: LocalServer) -> None:
    """A body of a megabyte, with an answer of that size, and a URL of 12 KB."""
    told = rest.post("/inquiries", json={"body": "b" * 2**20}, headers={"Prefer": "return=representation"})
    assert len(told.json()[0]["body"]) == 2**20
    assert rest.get("/inquiries", params={"body": f"neq.{'x' * 12_000}", "select": "handled"}).json() == [
        {"handled": False}
    ]


@pytest.mark.parametrize("path", ["/elsewhere", "/rest/v1x/leads", "/auth/v1/user"])
def test_no_other_path_is_passed_on(rest: httpx.Client, path: str) -> None:
    """The gateway has a route to PostgREST alone."""
    assert rest.get(str(rest.base_url.copy_with(path=path))).status_code == httpx.codes.NOT_FOUND


def test_a_key_that_nobody_issued_is_refused_before_the_program(rest: httpx.Client) -> None:
    """With an answer that is not PostgREST's: it has no code."""
    answer = rest.get("/leads", headers={"apikey": "sb_secret_c"})
    assert (answer.status_code, answer.json()) == (httpx.codes.UNAUTHORIZED, {"message": "Invalid API key"})


@pytest.mark.parametrize(
    ("given", "role"),
    [
        ({"apikey": "sb_publishable_a"}, "anon"),
        ({"apikey": "sb_secret_b"}, "service_role"),
        ({"apikey": "sb_secret_b", "Authorization": "Bearer sb_secret_b"}, "service_role"),
        ({"apikey": "sb_publishable_a", "Authorization": f"Bearer {USER}"}, "authenticated"),
        ({"apikey": LEGACY}, "service_role"),
        ({"apikey": LEGACY, "Authorization": f"Bearer {USER}"}, "authenticated"),
    ],
)
def test_the_program_gets_a_token(given: dict[str, str], role: str) -> None:
    """That of the user, or else that of the key's role: PostgREST looks at no key."""
    headers = Headers(given)
    KEYS.authorize(headers)
    token = headers["Authorization"].removeprefix("Bearer ")
    assert tokens.is_signed(token, SECRET)
    assert tokens.claims(token)["role"] == role


@pytest.mark.parametrize("given", [{}, {"apikey": ""}, {"apikey": "sb_secret_c"}, {"apikey": LEGACY[:-4] + "AAAA"}])
def test_no_key_and_a_forged_one_are_refused(given: dict[str, str]) -> None:
    """Also where a user's token is good."""
    with pytest.raises(RefusedError):
        KEYS.authorize(Headers(given | {"Authorization": f"Bearer {USER}"}))


def test_the_program_is_configured_as_a_hosted_one(server: LocalServer) -> None:
    """It logs in as authenticator, who has no rights but those of the roles that it becomes."""
    options = parsed(configuration(server.settings, port=3000, admin_port=3001))
    with psycopg.connect(options.pop("db-uri")) as connection:
        connection.execute("set role service_role")
        [row] = connection.execute("select session_user::text, rolsuper from pg_roles where rolname = session_user")
    assert row == ("authenticator", False)
    assert options == {
        "db-schemas": f"public, {MARKS}",
        "db-anon-role": "anon",
        "db-max-rows": 1000,
        "jwt-secret": server.jwt_secret,
        "server-host": "127.0.0.1",
        "server-port": 3000,
        "admin-server-port": 3001,
    }


def test_a_program_that_ends_is_shown_with_its_log(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for a server that will not come."""
    monkeypatch.setenv(POSTGREST, str(program(tmp_path, "echo told by the program >&2; exit 3")))
    with pytest.raises(RestError, match="told by the program"), running_rest(server.settings):
        pass


READY = """
import http.server, json, sys
class Admin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
ports = [line.split(" = ")[1] for line in open(sys.argv[1]) if line.startswith("admin-server-port")]
http.server.HTTPServer(("127.0.0.1", int(ports[0])), Admin).serve_forever()
"""


def test_the_program_ends_with_the_server(server: LocalServer, tmp_path: Path) -> None:
    """And with it the directory of its configuration, which holds a password."""
    script = tmp_path / "ready.py"
    script.write_text(READY)
    ready = program(tmp_path, f"echo $$ $1 > '{tmp_path}/told'; exec '{sys.executable}' '{script}' \"$1\"")
    with running(str(ready), server.settings) as postgrest:
        number, path = (tmp_path / "told").read_text().split()
        assert Path(path).stat().st_mode & 0o777 == 0o600
    assert postgrest.process.returncode is not None
    assert not Path(path).parent.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)
