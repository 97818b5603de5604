"""Response bodies of a bounded size, plain or compressed."""

from __future__ import annotations

import zlib

from agent_persistence.exceptions import AdapterError, FailureState


class Unpacked:
    """A body as it arrives, plain or gzip, of a bounded size."""

    def __init__(self, encoding: str, max_bytes: int, status: int) -> None:
        self._status = status
        if encoding not in ("identity", "gzip"):
            raise self._unreadable("it has an encoding that was not asked for")
        self._gunzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        self._chunks: list[bytes] = []
        self._max_bytes = max_bytes
        self._left = max_bytes

    def add(self, piece: bytes) -> None:
        chunk = self._gunzip.decompress(piece, self._left + 1) if self._gunzip else piece
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
