"""What several tests of the adapters stand on: keys, a recording transport, a certificate nobody trusts."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from agent_persistence import SupabaseAdapter
from agent_persistence.backends.backend import UsersBackend
from agent_persistence.context import CallContext
from agent_persistence.exceptions import PersistenceError
from agent_persistence.operations import Operation

Backend = Literal["asyncio", "trio"]
BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")

URL = "https://project.supabase.example"
PUBLISHABLE = "sb_publishable_Zm9v_1a2b3c4d"
SECRET = "sb_secret_YmFyYmF6_5e6f7a8b"
LEGACY = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl"
USER_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.dXNlcg"


def rows(*found: dict[str, Any]) -> httpx.Response:
    """The response of a PostgREST that found these rows."""
    return httpx.Response(200, json=list(found))


@dataclass
class Recorder:
    """Answers every request through `respond` (by default with one row) and keeps the requests."""

    respond: Callable[[httpx.Request], httpx.Response] = field(default=lambda request: rows({"id": 1}))
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.respond(request)

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), trust_env=False, **options)

    def adapter(self, key: str = SECRET, *, url: str = URL, **options: Any) -> SupabaseAdapter:
        return SupabaseAdapter(url, key, client=self.client(), **options)


def everything_said_by(error: PersistenceError) -> str:
    """All that a log line, a debugger or an error tracker shows of an error."""
    return "\n".join([str(error), repr(error), repr(error.args), repr(vars(error))])


def self_signed_context() -> ssl.SSLContext:
    """A server's TLS context for 127.0.0.1, with a certificate that no authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        chain = Path(directory, "self-signed.pem")
        chain.write_text(SELF_SIGNED)
        context.load_cert_chain(chain)
    return context


def subclasses(root: type[BaseException]) -> Iterator[type[BaseException]]:
    """Every class below `root`, at any depth."""
    for child in root.__subclasses__():
        yield child
        yield from subclasses(child)


# Made for these tests, valid until 2126 and trusted by nobody:
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost \
#   -addext subjectAltName=DNS:localhost,IP:127.0.0.1
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQonkYMptCKgXYQ+x
rXlRfhimT+OqaOtRwHu1bDc96TShRANCAAQpQZIwiVN0DX8/ekmk0fF6LGMy5vze
Z+OIQDlrlW//PNeVcYGrYhVrN5HvtfP/l4Na0sN40F7tMhGXKlofaRkZ
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUSaW1UxpKgzhRiALmhWp6o4MJOecwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA0MDMyN1oYDzIxMjYxMDMw
MDQwMzI3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQpQZIwiVN0DX8/ekmk0fF6LGMy5vzeZ+OIQDlrlW//PNeVcYGrYhVr
N5HvtfP/l4Na0sN40F7tMhGXKlofaRkZo28wbTAdBgNVHQ4EFgQUyldyy0RivJn/
gTRSm04r7PL0d/QwHwYDVR0jBBgwFoAUyldyy0RivJn/gTRSm04r7PL0d/QwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhALaIngeIfs6QZgYpx61Zjlv64oLR4Jdp5CkzyfJ69uy8AiBL
Hxoej4ATH63ZgHaAwg9U9qupO0NgqLwOGq2YPR4j8Q==
-----END CERTIFICATE-----
"""


async def done(adapter: UsersBackend, operation: Operation) -> Any:
    """The value of the operation, carried out as the adapter's own user."""
    return (await adapter.execute(operation, CallContext())).value
