"""Over one MCP server every call runs as whom its own bearer token names, and as nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from agent_persistence import PersistenceAgent, TablePolicy
from agent_persistence.ext.mcp import PersistenceServer, Writes, bearer, create_server
from agent_persistence.service import AsyncPersistenceService
from tests.ext.served import McpClient, called_over_http, over_http, served
from tests.security.users import CLAIMS, REFUSED, SCHEMA, A, B, Memory, Postgres, Rest
from tests.server import LocalServer, tokens

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
POLICY = TablePolicy(read={"leads"}, write={"leads"})


def service(adapter: Any, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, policy=POLICY, schema=SCHEMA, owns_adapter=True, retry=False, **options)


def mcp_server(made: AsyncPersistenceService, users: Any) -> PersistenceServer:
    writes = Writes(PersistenceAgent(made), write=["leads"], upsert=["leads"], update=["leads"])
    return create_server(made, users=users, writes=writes, max_rows=2)


def owners(token: str) -> dict[str, Any]:
    """Of tests: the token is the tenant."""
    if token not in (A, B):
        raise PermissionError(f"{token} is nobody")
    return {"tenant": token}


class World:
    """One back end with rows of two owners, and how their calls are told apart."""

    def __init__(self, backend: Any, made: AsyncPersistenceService, users: Any, token: Callable[[str], str]) -> None:
        self.backend, self.made, self.users, self.token = backend, made, users, token
        self.topic = str(uuid4())

    async def seed(self) -> None:
        rows = [{"id": str(uuid4()), "owner": owner, "topic": self.topic, "body": owner} for owner in (A, A, A, B, B)]
        await self.backend.seed(rows)


@pytest.fixture(params=["PostgREST", "PostgreSQL", "memory"])
def world(request: pytest.FixtureRequest, users_server: LocalServer) -> Iterator[World]:
    """Users by their tokens, by verified claims, and as tenants."""
    if request.param == "PostgREST":
        rest = Rest(users_server, "httpx")
        yield World(rest, service(rest.adapter("as_user")), bearer, rest.token)
    elif request.param == "PostgreSQL":
        postgres = Postgres(users_server)

        async def verified(token: str) -> dict[str, Any]:
            if not tokens.is_signed(token, users_server.jwt_secret):
                raise PermissionError(token)
            return {"claims": tokens.claims(token)}

        yield World(postgres, service(postgres.adapter("as_user")), verified, Rest(users_server, "httpx").token)
    else:
        from agent_persistence.policy.tenant import TenantScope

        memory = Memory()
        made = service(memory.adapter("tenant"), tenant=TenantScope("nobody", column="owner"))
        yield World(memory, made, owners, lambda who: who if who != REFUSED else "mallory")


@asynccontextmanager
async def two_clients(world: World, mode: str) -> AsyncIterator[tuple[McpClient, McpClient]]:
    await world.seed()
    server, as_a, as_b = mcp_server(world.made, world.users), world.token(A), world.token(B)
    async with (
        world.made,
        over_http(server) as url,
        called_over_http(url, as_a, mode) as a,
        called_over_http(url, as_b, mode) as b,
    ):
        yield a, b


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_two_users_of_one_server_see_their_own_rows_alone(world: World, mode: str) -> None:
    """By every tool that reads, at once and one after the other."""
    async with two_clients(world, mode) as (a, b):

        async def check(client: McpClient, me: str, number: int) -> None:
            about = {"table": "leads", "filters": {"topic": world.topic}}
            pages = await client.pages(**about, order_by=["body"])
            assert [row["owner"] for page in pages for row in page] == [me] * number
            assert (await client.call("count_rows", **about)).document == {"count": number}
            (mine, *_) = pages[0]
            assert (await client.call("read_row", table="leads", key=mine["id"])).rows == [mine]

        for _ in range(2):
            await check(a, A, 3)
            await check(b, B, 2)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(check, a, A, 3)
                tasks.start_soon(check, b, B, 2)
        (first, _) = (await a.call("query_rows", table="leads", filters={"topic": world.topic})).rows
        assert (await b.call("read_row", table="leads", key=first["id"])).rows == []


async def test_a_cursor_of_another_user_shows_nothing_of_theirs(world: World) -> None:
    """It says where to go on, not as whom."""
    async with two_clients(world, "auto") as (a, b):
        about = {"table": "leads", "filters": {"topic": world.topic}, "order_by": ["body"]}
        cursor = (await a.call("query_rows", **about)).document["next_cursor"]
        assert {row["owner"] for row in (await b.call("query_rows", **about, cursor=cursor)).rows} <= {B}


async def test_two_users_write_their_own_rows_alone(world: World) -> None:
    """The same call of both makes two rows; another's is neither changed nor met."""
    async with two_clients(world, "auto") as (a, b):
        for client, me in ((a, A), (b, B)):
            record = {"topic": world.topic, "body": "same"} | ({} if world.users is not owners else {"owner": me})
            wrote = await client.call("write_row", table="leads", record=record, request_key="1")
            again = await client.call("write_row", table="leads", record=record, request_key="1")
            assert wrote.rows == again.rows
            assert wrote.rows[0]["owner"] == me
        (theirs, *_) = (await a.call("query_rows", table="leads", filters={"topic": world.topic})).rows
        changed = await b.call(
            "update_rows", table="leads", changes={"body": "stolen"}, filters={"id": theirs["id"]}, max_rows=1
        )
        assert changed.failed or changed.rows == []
        taken = await b.call("upsert_row", table="leads", record={"id": theirs["id"], "topic": world.topic})
        assert taken.failed
        rows = await world.backend.rows(world.topic)
        assert len(rows) == 7
        assert not any(row["body"] == "stolen" for row in rows)


async def test_a_call_without_a_token_gets_no_further_than_the_transport(world: World) -> None:
    """401, as RFC 6750 has it, whatever it asks; and over any other transport the tool refuses."""
    await world.seed()
    async with world.made, over_http(mcp_server(world.made, world.users)) as url:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        async with httpx.AsyncClient() as http:
            for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}):
                told = await http.post(url, json=asked, headers={"Accept": "application/json", **headers})
                assert told.status_code == 401, headers
                assert told.headers["www-authenticate"] == "Bearer"
        async with served(mcp_server(world.made, world.users)) as client:
            answer = await client.call("query_rows", table="leads")
    assert answer.failed
    assert answer.text == "The access token is not valid."


async def test_a_token_that_is_refused_sees_nothing(world: World) -> None:
    """One that others signed, one that stands for nobody, and one that is none; the answer does not repeat it."""
    await world.seed()
    async with world.made, over_http(mcp_server(world.made, world.users)) as url:
        for token in (world.token(REFUSED), "no-token", tokens.sign(CLAIMS[A], "the secret of others")):
            async with called_over_http(url, token) as client:
                for tool in ("query_rows", "count_rows"):
                    answer = await client.call(tool, table="leads")
                    is_nobody = token == "no-token" and answer.document in ({"rows": [], "more": False}, {"count": 0})
                    assert answer.failed or is_nobody, token  # the local server takes what is no JWT for nobody
                    assert token not in answer.text


async def test_what_a_users_function_raises_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Its text may hold the token: neither the client nor a log gets it."""

    def broken(token: str) -> dict[str, Any]:
        raise RuntimeError(f"cannot read {token}")

    server = create_server(service(Memory().adapter("tenant")), users=broken)
    async with over_http(server) as url, called_over_http(url, "a-token-of-mine") as client:
        answer = await client.call("query_rows", table="leads")
    assert answer.failed
    assert answer.text == "The access token is not valid."
    assert "a-token-of-mine" not in caplog.text


async def test_a_server_without_users_runs_as_its_own(users_server: LocalServer) -> None:
    """Control: where nobody is told apart, the service key sees all rows, whatever token is sent."""
    rest = Rest(users_server, "httpx")
    made = service(rest.adapter("row rules"))
    topic = str(uuid4())
    await rest.seed([{"id": str(uuid4()), "owner": owner, "topic": topic, "body": owner} for owner in (A, B)])
    async with made, over_http(create_server(made)) as url, called_over_http(url, rest.token(A)) as client:
        assert (await client.call("count_rows", table="leads", filters={"topic": topic})).document == {"count": 2}
