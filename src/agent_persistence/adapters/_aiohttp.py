"""Lanes over aiohttp, for asyncio alone: several times as fast as those over httpx, and as safe for writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agent_persistence.adapters._http import tls_context
from agent_persistence.adapters._lanes import (
    CONNECT_TIMEOUT_S,
    HEADERS,
    LANES,
    MAX_HEADER_BYTES,
    MAX_RESPONSE_BYTES,
    Lane,
    LanePool,
    as_adapter_error,
    is_readable,
    looked_up,
)
from agent_persistence.adapters._postgrest import Request, Response
from agent_persistence.adapters._unpacking import Unpacked
from agent_persistence.exceptions import ConfigurationError, FailureState

if TYPE_CHECKING:
    import httpx

STATES: Final[Mapping[type[Exception], FailureState]] = {
    aiohttp.ClientConnectorError: FailureState.NOT_SENT,
    aiohttp.ConnectionTimeoutError: FailureState.NOT_SENT,
    aiohttp.InvalidURL: FailureState.NOT_SENT,
    aiohttp.NonHttpUrlClientError: FailureState.NOT_SENT,
    aiohttp.ClientError: FailureState.AMBIGUOUS,
    HttpProcessingError: FailureState.AMBIGUOUS,
    OSError: FailureState.AMBIGUOUS,
}
"""What each exception says about the request; the nearest class in an exception's ancestry counts."""


LARGE_BODY_BYTES: Final = 2**20


class AiohttpLanes(LanePool):
    """Connections over aiohttp; no redirects, no proxies, authorities or passwords from the environment, no cookies."""

    def __init__(self, url: httpx.URL, *, lanes: int = LANES, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        super().__init__(lanes)
        self._url = url
        self._max_response_bytes = max_response_bytes

    def _new_lane(self) -> Lane:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError('transport="aiohttp" needs asyncio; leave it out under trio') from None
        return _Lane(self._url, self._max_response_bytes)


class _Lane:
    """A session with a single connection."""

    def __init__(self, url: httpx.URL, max_response_bytes: int) -> None:
        self._host = url.host
        self._base = str(url).rstrip("/")
        self._max_response_bytes = max_response_bytes
        self._protocol: Any = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=tls_context() if url.scheme == "https" else True),
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            response_class=_Received,
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            middlewares=(self._once,),
        )

    async def exchange(self, request: Request) -> Response:
        url = URL(self._base + request.target, encoded=True)
        try:
            received: Any = await self._session.request(
                request.method, url, headers=request.headers, data=_data(request.body), allow_redirects=False
            )
            self._protocol = received.protocol
            try:
                headers = looked_up(received.raw_headers)
                return Response(received.status, headers, await self._body(received, headers))
            finally:
                received.close()
        except tuple(STATES) as error:
            raise as_adapter_error(error, STATES, self._host) from error

    async def _body(self, received: aiohttp.ClientResponse, headers: Mapping[str, str]) -> bytes:
        encoding = headers.get("content-encoding", "identity")
        unpacked = Unpacked(encoding, self._max_response_bytes, received.status)
        while not received.content.at_eof():
            unpacked.add(await received.content.readany())
        return unpacked.whole()

    async def _once(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Translates failures where they occur: of its own, the session would send again what it deems idempotent."""
        try:
            return await handler(request)
        except tuple(STATES) as error:
            raise as_adapter_error(error, STATES, self._host) from error

    def is_spoilt(self) -> bool:
        return bool(self._protocol is None or self._protocol.should_close or not self._protocol.is_connected())

    def is_stale(self) -> bool:
        return self.is_spoilt() or is_readable(self._protocol.transport.get_extra_info("socket"))

    async def aclose(self) -> None:
        await self._session.close()


def _data(body: bytes) -> bytes | BytesIO | None:
    """aiohttp wants large bodies as files, of which it writes a part at a time."""
    return BytesIO(body) if len(body) > LARGE_BODY_BYTES else body or None


class _Received(aiohttp.ClientResponse):
    """A response that tells which connection it came on: aiohttp keeps bytes that no request asked for, and would take
    them for the next request's answer."""

    protocol: Any = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        self.protocol = connection.protocol
        return await super().start(connection)
