"""HTTP/1.1 as a protocol of asyncio: a request goes out, and the parser's callbacks build its response."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from agent_persistence.backends.transport.connections import MAX_HEADER_BYTES, watched
from agent_persistence.backends.transport.messages import Response
from agent_persistence.backends.transport.unpacking import Unpacked
from agent_persistence.exceptions import AdapterError, FailureState

if tuple(map(int, httptools.__version__.split(".")[:3])) < (0, 6, 4):  # uvicorn may have brought an earlier one
    raise ImportError(f"httptools {httptools.__version__} is older than 0.6.4")

BROKEN: Final = (HttpParserError, HttpParserUpgrade, OSError)
"""What a request that has a connection fails with, besides an AdapterError."""
READ_BYTES: Final = 64 * 2**10
"""What is read at once, into memory that the connection keeps: asyncio's own reading makes an object of 256 KB each
time, which now and then the system has to give and take back."""
_SWITCHING: Final = 101
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_USUAL: Final = {
    spelt.encode(): name
    for name in (
        *("date", "server", "content-type", "content-length", "content-range", "content-location", "content-encoding"),
        *("transfer-encoding", "connection", "preference-applied", "vary", "location", "retry-after", "proxy-status"),
    )
    for spelt in (name, name.title())
}
"""What the headers of most responses are called, which need not be decoded each time."""


class ClosedEarlyError(ConnectionError):
    """The server ended the connection before the response was whole."""


class HttpProtocol(asyncio.BufferedProtocol):
    """One connection, which carries one request at a time.

    Every response has a parser of its own, so that nothing of one can be taken for a part of the next. A byte that
    comes while no request is under way, or behind a whole response, ends the connection; but line ends that come
    with a response are passed over, as they can begin none.
    """

    _transport: Any = None
    _parser: Any = None
    _answer: asyncio.Future[Response] | None
    _headers: dict[str, str]
    _status: int
    _body: Unpacked
    _is_fit = True

    def __init__(self, max_response_bytes: int) -> None:
        self._max_response_bytes = max_response_bytes
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self.forget()

    def ask(self, message: bytes, *, is_head: bool = False) -> asyncio.Future[Response]:
        """Send a request; the future is its response, an AdapterError or one of BROKEN. `forget` it when it is over.

        The response to HEAD has no body, whatever it says of one.
        """
        self._is_head = is_head
        self._is_whole = self._has_head = False
        self._without_body = 0
        self._parser = HttpResponseParser(self)
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        self._transport.write(message)
        return answer

    def forget(self) -> None:
        """Keep nothing of the response, and wait for no other."""
        self._answer = self._parser = None
        self._headers = {}
        self._body = _NOTHING

    def has_ended(self) -> bool:
        """Whether the connection has ended, or is about to."""
        return not self._is_fit or self._transport.is_closing()

    def is_spoilt(self) -> bool:
        """Whether the connection is unfit for another request: it ends, or a part of the last one is still unsent."""
        return self.has_ended() or self._transport.get_write_buffer_size() > 0

    def is_stale(self) -> bool:
        """Whether it is spoilt, or has bytes, or its end, that the event loop has not read yet."""
        return self.is_spoilt() or self._has_unread()

    async def aclose(self) -> None:
        """End the connection without a word, and wait until its socket is closed."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.wait([self._ended])

    def _fail(self, error: BaseException) -> None:
        """End the connection, and with the error the request that is under way, if there is one."""
        self._is_fit = False
        self._transport.abort()
        self._end_request(error)

    def _end_request(self, error: BaseException) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # --- called by asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._has_unread = watched(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            self._fail(_unasked())
            return
        self._without_body += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(_raised(error))
        else:
            if self._without_body > MAX_HEADER_BYTES:
                self._fail(_too_large())

    def eof_received(self) -> None:
        """The end of a response that has no other. asyncio closes the transport."""
        if self._answer is None or self._answer.done() or not self._ends_with_connection():
            return
        try:
            self._finish()
        except AdapterError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_fit = False
        self._end_request(exc if isinstance(exc, OSError) else ClosedEarlyError())
        self._ended.set_result(None)

    # --- called by the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Raises where a second response begins; an informational one was none."""
        if self._is_whole:
            raise _unasked()
        self._headers = {}
        self._has_head = False

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """The values of a header that came several times are joined (RFC 9110, section 5.2); trailers are left out."""
        if not self._has_head:
            name = _USUAL.get(raw_name) or raw_name.decode("latin-1").lower()
            headers, value = self._headers, raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._status = self._parser.get_status_code()
        encoding = self._headers.get("content-encoding", "identity")
        self._body = Unpacked(encoding, self._max_response_bytes, self._status)
        if self._is_head and not self._is_informational():
            self._is_fit = False
            self._finish()

    def on_body(self, piece: bytes) -> None:
        self._without_body = 0
        if not self._is_whole:
            self._body.add(piece)

    def on_message_complete(self) -> None:
        if not (self._is_whole or self._is_informational()):
            self._is_fit = self._parser.should_keep_alive()
            self._finish()

    def _is_informational(self) -> bool:
        return self._status < 200 and self._status != _SWITCHING

    def _ends_with_connection(self) -> bool:
        """Whether the response has begun and says neither how long it is nor that it comes in chunks."""
        return self._has_head and _FRAMING.isdisjoint(self._headers)

    def _finish(self) -> None:
        response = Response(self._status, self._headers, self._body.whole())
        self._is_whole = True
        if self._answer is not None:
            self._answer.set_result(response)


_NOTHING: Final = Unpacked("identity", 0, 0)


def _raised(error: BaseException) -> BaseException:
    """What a callback of ours raised, where it was an error of ours; else the parser's error."""
    return error.__context__ if isinstance(error.__context__, AdapterError) else error


def _unasked() -> AdapterError:
    return AdapterError("bytes came that nobody asked for", state=FailureState.AMBIGUOUS)


def _too_large() -> AdapterError:
    problem = f"the response cannot be read: its head is larger than {MAX_HEADER_BYTES} bytes"
    return AdapterError(problem, state=FailureState.AMBIGUOUS)
