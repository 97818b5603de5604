"""The bytes of a source, unpacked, and how far they have been read."""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from agent_persistence.bulk.rows import SourceError
from agent_persistence.exceptions import ConfigurationError

BLOCK_BYTES: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"


class _Counted(io.RawIOBase):
    """A binary file that counts what is read from it; closing it closes nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        read = self._file.read(len(into))
        if not isinstance(read, (bytes, bytearray)):
            raise ConfigurationError("the source gives text; open it in binary mode, open(path, 'rb')")
        into[: len(read)] = read
        self.count += len(read)
        return len(read)


class Opened:
    """A source that is being read: its `blocks`, and of the bytes how many were read and how many there are.

    A file of a path is closed by `close`, one of the caller's stays open. What begins as gzip does is unpacked.
    """

    def __init__(self, source: str | os.PathLike[str] | IO[bytes]) -> None:
        self._own: IO[bytes] | None = None
        file: Any = source
        if isinstance(source, (str, os.PathLike)):
            file = self._own = _opened(Path(source))
        self.file: IO[bytes] = file
        self.total = _size(file)
        self._counted = _Counted(file)

    @property
    def bytes_read(self) -> int:
        return self._counted.count

    def read_share(self, share: float) -> None:
        """Take this share of the bytes for read, where somebody else reads them."""
        self._counted.count = int(share * (self.total or 0))

    def blocks(self) -> Iterator[bytes]:
        """The unpacked bytes, in blocks of some size."""
        buffered = io.BufferedReader(self._counted, BLOCK_BYTES)
        packed = buffered.peek(2)[:2] == _GZIP
        unpacked: Any = gzip.GzipFile(fileobj=buffered) if packed else buffered
        is_empty = True
        try:
            while block := unpacked.read1(BLOCK_BYTES):
                is_empty = False
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"the gzip file is damaged or cut off ({error})") from error
        except OSError as error:
            raise SourceError(f"the source cannot be read: {error.strerror or error}") from error
        if is_empty:
            raise SourceError("the source is empty, it has 0 bytes; where no row is right, it has a header at least")

    def close(self) -> None:
        if self._own is not None:
            self._own.close()


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise ConfigurationError(f"the source {path} cannot be opened: {error.strerror}") from error


def _size(file: IO[bytes]) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
