"""What stands before PostgREST in a hosted project: it knows the keys, and passes on the tokens of their roles."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from . import tokens

PREFIX = "/rest/v1"
MAX_BYTES = 2**30
OF_ONE_CONNECTION = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Host")
ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Headers = CIMultiDict[str]


class RefusedError(Exception):
    """The gateway answers by itself, with this status and JSON."""

    def __init__(self, status: int, **told: str) -> None:
        super().__init__(status, told)
        self.status, self.told = status, told


class Keys:
    """The two keys of a project, and the legacy ones, which are tokens that its secret has signed."""

    def __init__(self, *, anon_key: str, service_key: str, jwt_secret: str) -> None:
        self._secret = jwt_secret
        self._roles = {anon_key: "anon", service_key: "service_role"}

    def token_of(self, key: str | None) -> str:
        """The token of the key's role; RefusedError for a key that nobody issued."""
        if not key:
            raise RefusedError(401, message="No API key found in request")
        if key in self._roles:
            return tokens.sign({"role": self._roles[key]}, self._secret)
        if tokens.is_signed(key, self._secret):
            return key
        raise RefusedError(401, message="Invalid API key")

    def authorize(self, headers: Headers) -> None:
        """A user's token stays; without one, or with a key in its place, the token of the key's role stands there."""
        token = self.token_of(headers.get("apikey"))
        if headers.get("Authorization", "Bearer sb_").startswith("Bearer sb_"):
            headers["Authorization"] = f"Bearer {token}"


class Gateway:
    """Passes requests below `prefix` on to the root of `upstream`, with headers changed by `authorize`."""

    def __init__(
        self, session: aiohttp.ClientSession, upstream: str, prefix: str, authorize: Callable[[Headers], None]
    ) -> None:
        self._session = session
        self._upstream = upstream
        self._prefix = prefix
        self._authorize = authorize

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._forwarded(request)
        except RefusedError as refused:
            return web.json_response(refused.told, status=refused.status)
        except aiohttp.ClientError:
            return web.Response(status=502, text="<html>502 Bad Gateway</html>", content_type="text/html")

    async def _forwarded(self, request: web.BaseRequest) -> web.Response:
        headers = passed_on(request.headers)
        url = self._url(request.raw_path)
        self._authorize(headers)
        body = await request.content.read()  # request.read() takes no more than 1 MiB
        asked = self._session.request(
            request.method, url, headers=headers, data=body or None, skip_auto_headers=ADDED_BY_AIOHTTP
        )
        async with asked as answer:
            content = await answer.read()
            return web.Response(
                status=answer.status, reason=answer.reason, headers=passed_on(answer.headers), body=content or None
            )

    def _url(self, target: str) -> URL:
        below = target.removeprefix(self._prefix)
        if not target.startswith(self._prefix) or below[:1] not in ("", "/", "?"):
            raise RefusedError(404, message="no Route matched with those values")
        return URL(self._upstream + (below if below.startswith("/") else f"/{below}"), encoded=True)


def passed_on(headers: Mapping[str, str]) -> Headers:
    """The headers without those that are about one connection alone."""
    kept = CIMultiDict(headers)
    for name in OF_ONE_CONNECTION:
        kept.popall(name, None)
    return kept


@contextlib.asynccontextmanager
async def serving(
    upstream: str, authorize: Callable[[Headers], None], *, prefix: str = PREFIX, port: int = 0
) -> AsyncIterator[int]:
    """The port of 127.0.0.1 at which a gateway listens; it adds no limit, no redirect and no decoding of its own."""
    limits: dict[str, Any] = {"max_line_size": MAX_BYTES, "max_field_size": MAX_BYTES}
    connections = aiohttp.TCPConnector(limit=0)
    never = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=connections, auto_decompress=False, timeout=never, trust_env=False, **limits
    ) as session:
        gateway = Gateway(session, upstream, prefix, authorize)
        runner = web.ServerRunner(web.Server(gateway, **limits))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()
