"""The service of examples/fastapi_service.py over real HTTP, on a real server with row-level security."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
import uvicorn

from examples import fastapi_service
from tests.server import LocalServer, running_server
from tests.server.tokens import sign

ADA, BOB = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "ab")
GATE = "create role gate login noinherit password 'gate'; grant anon, authenticated to gate"


@pytest.fixture(scope="module")
def own_server() -> Iterator[LocalServer]:
    """A server with the tables of the example, and a user of the database who has no rights but to be a role."""
    with running_server(Path(fastapi_service.__file__).with_suffix(".sql")) as server:
        server.execute(GATE)
        yield server


@pytest.fixture
def database(own_server: LocalServer) -> LocalServer:
    """The same, with empty tables."""
    own_server.reset()
    return own_server


@pytest.fixture(params=["supabase", "postgres"])
def settings(database: LocalServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the service is started in."""
    if request.param == "supabase":
        chosen = {"SUPABASE_URL": database.url, "SUPABASE_KEY": database.anon_key}
    else:
        chosen = {"DATABASE_URL": through_the_gate(database), "SUPABASE_JWT_SECRET": database.jwt_secret}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)


def through_the_gate(database: LocalServer) -> str:
    url = urlsplit(database.database_url)
    return urlunsplit(url._replace(netloc=f"gate:gate@{url.hostname}:{url.port}"))


class Service:
    """The example, served by uvicorn in a thread of its own."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._server = uvicorn.Server(
            uvicorn.Config(fastapi_service.create_app, factory=True, log_level="warning", lifespan="on")
        )
        self._thread = Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()

    def told_to_stop(self) -> None:
        """It takes no further connection, and what it has begun goes on."""
        self._server.should_exit = True
        with suppress(ConnectionError):
            while self._thread.is_alive():
                socket.create_connection(self.address).close()

    def ended(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def service(settings: None) -> Iterator[Service]:
    service = Service()
    yield service
    service.ended()


@pytest.fixture
def as_user(service: Service, database: LocalServer) -> Iterator[Callable[[str], httpx.Client]]:
    """A client of the service with the token of a user."""
    clients: list[httpx.Client] = []

    def of(user: str) -> httpx.Client:
        clients.append(client(service, token(database.jwt_secret, user)))
        return clients[-1]

    yield of
    for each in clients:
        each.close()


def client(service: Service, bearer: str | None) -> httpx.Client:
    host, port = service.address
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return httpx.Client(base_url=f"http://{host}:{port}", headers=headers, timeout=30)


def token(secret: str, user: str = ADA, *, ends_in_s: float = 600) -> str:
    claims = {"sub": user, "role": "authenticated", "aud": "authenticated", "exp": int(time.time() + ends_in_s)}
    return sign(claims, secret)


def emails(answer: httpx.Response) -> set[str]:
    answer.raise_for_status()
    return {row["email"] for row in answer.json()}


def test_users_see_and_write_their_own_rows_alone(
    as_user: Callable[[str], httpx.Client], database: LocalServer
) -> None:
    """Whose a row is says the token, and neither the path nor the record."""
    for user in (ADA, BOB):
        written = as_user(user).post("/tables/leads", json={"email": "lead@a.example", "company": user})
        assert (written.status_code, written.json()["owner"]) == (201, user)
    for user in (ADA, BOB):
        [row] = as_user(user).get("/tables/leads").json()
        assert (row["owner"], row["company"]) == (user, user)
    foreign = as_user(ADA).post("/tables/leads", json={"email": "x@a.example", "owner": BOB})
    assert foreign.status_code == 403
    assert database.execute("select count(*) from leads")[0]["count"] == 2


def test_the_rows_are_kept_apart_by_the_policies_of_the_database(
    as_user: Callable[[str], httpx.Client], database: LocalServer
) -> None:
    """Control: without row-level security a user sees the rows of another."""
    assert as_user(BOB).post("/tables/leads", json={"email": "bob@b.example"}).status_code == 201
    database.execute("alter table leads disable row level security")
    try:
        assert emails(as_user(ADA).get("/tables/leads")) == {"bob@b.example"}
    finally:
        database.execute("alter table leads enable row level security")


def test_users_at_the_same_time_see_and_write_their_own_rows_alone(as_user: Callable[[str], httpx.Client]) -> None:
    """However their requests overlap on the connections that they share."""
    users = {user: as_user(user) for user in (ADA, BOB)}

    def one(number: int) -> None:
        user = (ADA, BOB)[number % 2]
        row = users[user].post("/tables/leads", json={"email": f"{number}@a.example"})
        assert row.json()["owner"] == user, row.text
        found = users[user].get("/tables/leads")
        assert found.status_code == 200, found.text
        assert {row["owner"] for row in found.json()} == {user}

    with ThreadPoolExecutor(16) as threads:
        assert len(list(threads.map(one, range(80)))) == 80
    for user, at in ((ADA, 0), (BOB, 1)):
        assert emails(users[user].get("/tables/leads")) == {f"{number}@a.example" for number in range(at, 80, 2)}


@pytest.mark.parametrize(
    "bearer",
    [
        lambda secret: None,
        lambda secret: "text",
        lambda secret: "no.real.token",
        lambda secret: "two words",
        lambda secret: token("another-secret-that-is-as-long-as-it-must-be"),
        lambda secret: token(secret, ends_in_s=-600),
    ],
    ids=["none", "a text", "no token", "malformed", "signed by another", "expired"],
)
def test_who_has_no_good_token_is_answered_401(
    service: Service, database: LocalServer, bearer: Callable[[str], str | None]
) -> None:
    """And nothing is read or written for them."""
    with client(service, bearer(database.jwt_secret)) as nobody:
        assert nobody.get("/tables/leads").status_code == 401
        assert nobody.post("/tables/leads", json={"email": "a@a.example"}).status_code == 401
    assert database.execute("select count(*) from leads")[0]["count"] == 0


def test_what_is_refused_is_answered_with_a_status_of_its_own(as_user: Callable[[str], httpx.Client]) -> None:
    """Outside of the policy 403, malformed 422, in conflict 409; each says what was wrong."""
    ada = as_user(ADA)
    lead = {"email": "a@a.example"}
    assert ada.post("/tables/leads", json=lead).status_code == 201
    for answer, status, said in (
        (ada.get("/tables/clients"), 403, "clients"),
        (ada.post("/tables/pg_authid", json=lead), 403, "pg_authid"),
        (ada.get("/tables/leads", params={"limit": 0}), 422, "limit"),
        (ada.post("/tables/leads", json={}), 422, "no values"),
        (ada.post("/tables/leads", json={"email": "b@a.example", "id,owner": 1}), 403, "id,owner"),
        (ada.post("/tables/leads", json=lead), 409, "unique"),
    ):
        assert answer.status_code == status, answer.text
        assert said in answer.json()["error"]


def test_an_answer_is_streamed_from_the_rows_of_its_user(
    as_user: Callable[[str], httpx.Client], database: LocalServer
) -> None:
    """It arrives in parts, and what is noted after it is the user's as well."""
    for user in (ADA, BOB):
        as_user(user).post("/tables/leads", json={"email": f"{user[-1]}@a.example"})
    with as_user(ADA).stream("GET", "/answer", params={"question": "Who is new?"}) as streamed:
        assert streamed.headers["transfer-encoding"] == "chunked"
        parts = list(streamed.iter_text())
    assert "a@a.example" in "".join(parts)
    assert "b@a.example" not in "".join(parts)
    while not (noted := as_user(ADA).get("/tables/inquiries").json()):
        pass
    assert [(row["owner"], row["body"]) for row in noted] == [(ADA, "Who is new?")]


def test_the_metrics_count_the_calls(as_user: Callable[[str], httpx.Client]) -> None:
    """By verb, table and error; a table that is refused has no name of its own."""
    ada = as_user(ADA)
    for path in ("/tables/leads", "/tables/secret_plans"):
        ada.get(path)
    told = ada.get("/metrics").text
    assert 'db_client_operation_duration_seconds_count{db_collection_name="leads",db_operation_name="query"' in told
    assert 'error_type="TableNotAllowedError"' in told
    assert "secret_plans" not in told


@contextmanager
def locked(database: LocalServer, table: str) -> Iterator[None]:
    """Nobody else may touch the table."""
    with psycopg.connect(database.database_url) as other:
        other.execute(f"lock table {table}".encode())
        yield


def waiting(database: LocalServer) -> None:
    """A session waits for a lock."""
    while not database.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'"):
        pass


def test_a_service_that_is_told_to_stop_finishes_its_writes(
    service: Service, as_user: Callable[[str], httpx.Client], database: LocalServer
) -> None:
    """One under way in a request, which is answered; then its thread ends."""
    ada = as_user(ADA)
    with ThreadPoolExecutor() as threads:
        with locked(database, "leads"):
            written = threads.submit(ada.post, "/tables/leads", json={"email": "late@a.example"})
            waiting(database)
            service.told_to_stop()
        assert written.result().status_code == 201
    service.ended()
    assert database.execute("select email from leads") == [{"email": "late@a.example"}]


def test_a_service_that_is_told_to_stop_finishes_what_it_does_after_a_response(
    service: Service, as_user: Callable[[str], httpx.Client], database: LocalServer
) -> None:
    """The work in the background, too."""
    with locked(database, "inquiries"):
        assert as_user(ADA).get("/answer", params={"question": "Who is late?"}).status_code == 200
        waiting(database)
        service.told_to_stop()
    service.ended()
    assert database.execute("select owner::text, body from inquiries") == [{"owner": ADA, "body": "Who is late?"}]
