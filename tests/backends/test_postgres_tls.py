"""TLS on the way to PostgreSQL, which a relay in front of it ends."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from agent_persistence import AdapterError
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.exceptions import FailureState
from tests.backends.doubles import SELF_SIGNED, self_signed_context
from tests.backends.pg_proxies import Relay, listening, through
from tests.server import LocalServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(server: LocalServer) -> AsyncIterator[str]:
    """A server that speaks TLS alone, with a certificate for 127.0.0.1 that no authority has signed."""
    relay = Relay(server.database_url)

    async def handle(client: ByteStream) -> None:
        async with client:
            await client.receive(8)  # SSLRequest
            await client.send(b"S")
            with suppress(anyio.BrokenResourceError, OSError):  # where the client does not trust it
                encrypted = await TLSStream.wrap(
                    client, ssl_context=self_signed_context(), server_side=True, standard_compatible=False
                )
                await relay.handle(encrypted)

    async with listening(handle) as port:
        yield f"{through(server.database_url, port)}?gssencmode=disable&sslmode="


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The certificate as one that is trusted."""
    found = re.search("-----BEGIN CERTIFICATE-----.*", SELF_SIGNED, re.DOTALL)
    assert found
    path = tmp_path / "authority.pem"
    path.write_text(found.group())
    return path


async def test_a_connection_is_encrypted_where_that_is_demanded(url: str, authority: Path) -> None:
    """And who answers is checked where that is."""
    for asked in ("require", f"verify-full&sslrootcert={authority}"):
        adapter = PostgresAdapter(url + asked)
        assert (await adapter.write("leads", {"email": asked}))["email"] == asked
        await adapter.aclose()


async def test_a_certificate_that_nobody_signed_is_rejected(url: str) -> None:
    """At once: trying again would not help."""
    adapter = PostgresAdapter(url + "verify-full&sslrootcert=system")
    with pytest.raises(AdapterError, match="certificate") as caught:
        await adapter.write("leads", {"email": "a"})
    assert caught.value.state is FailureState.REJECTED
    await adapter.aclose()


async def test_a_certificate_for_another_name_is_rejected(url: str, authority: Path) -> None:
    """Though it is signed by one that is trusted."""
    adapter = PostgresAdapter(f"{url}verify-full&sslrootcert={authority}&host=db.example&hostaddr=127.0.0.1")
    with pytest.raises(AdapterError, match="certificate") as caught:
        await adapter.write("leads", {"email": "a"})
    assert caught.value.state is FailureState.REJECTED
    await adapter.aclose()
