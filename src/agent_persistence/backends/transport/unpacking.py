"""Response bodies of a bounded size, plain or compressed."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from agent_persistence.exceptions import AdapterError, FailureState


class Unpacked:
    """A body as it arrives, plain or gzip, of a bounded size."""

    def __init__(self, encoding: str, max_bytes: int, status: int) -> None:
        self._status = status
        encoding = encoding.lower()
        if encoding not in ("identity", "gzip"):
            raise self._unreadable("it has an encoding that was not asked for")
        self._gunzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        self._chunks: list[bytes] = []
        self._max_bytes = max_bytes
        self._left = max_bytes

    def add(self, piece: bytes) -> None:
        if self._gunzip and self._gunzip.eof:
            raise self._unreadable("something follows its compression")
        try:
            chunk = self._gunzip.decompress(piece, self._left + 1) if self._gunzip else piece
        except zlib.error as error:
            raise self._unreadable("its compression is broken; the request may have been applied") from error
        self._left -= len(chunk)
        if self._left < 0:
            raise self._unreadable(f"it is larger than {self._max_bytes} bytes; ask for fewer rows or columns")
        self._chunks.append(chunk)

    def whole(self) -> bytes:
        if self._gunzip and self._chunks and not self._gunzip.eof:
            raise self._unreadable("it is compressed and ends too early")
        return b"".join(self._chunks)

    def _unreadable(self, reason: str) -> AdapterError:
        return AdapterError(f"the response cannot be read: {reason}", state=FailureState.AMBIGUOUS, status=self._status)


async def whole(pieces: AsyncIterator[bytes], unpacked: Unpacked, close: Callable[[], Awaitable[None]]) -> bytes:
    """The whole body, decompressed; what is larger than allowed is refused before it is in memory."""
    try:
        async for piece in pieces:
            unpacked.add(piece)
        return unpacked.whole()
    finally:
        await close()
        with suppress(Exception):  # the connection is closed: this ends the generators behind it, as trio demands
            async for _ in pieces:
                pass
