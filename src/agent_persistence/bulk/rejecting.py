"""Where rejects go: a file that can be mended and imported, or a callable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from inspect import isawaitable
from pathlib import Path
from typing import Protocol, TypeAlias

import anyio.to_thread

from agent_persistence.bulk.columns import REJECT_LINE
from agent_persistence.bulk.rows import Item
from agent_persistence.bulk.values import Reject
from agent_persistence.exceptions import ConfigurationError

Rejects: TypeAlias = str | os.PathLike[str] | Callable[[Reject], object] | None


class Rendering(Protocol):
    """How a format writes rejects down."""

    def reject_head(self) -> str:
        """What the rejects file begins with, once an item has been read."""
        ...

    def reject_text(self, reject: Reject) -> str:
        """The reject as it stands in the rejects file."""
        ...


class Reader(Rendering, Protocol):
    """A source in its format."""

    def __iter__(self) -> Iterator[Item]: ...


class Sink(Protocol):
    """Takes rejects in the order of the source; `size` is how many bytes have been written of them."""

    @property
    def size(self) -> int: ...

    async def put(self, rejects: Sequence[Reject]) -> None: ...


class RejectsFile:
    """Rejects at the end of a file in UTF-8, on disk when `put` returns.

    Of a file that an earlier run has written, what stands behind `size` bytes is cut off: that run did not come to
    remember it. A file that something else has written is refused.
    """

    def __init__(self, path: str | os.PathLike[str], format: Rendering, size: int, *, resumed: bool) -> None:
        self.path = os.fspath(path)
        self._path = Path(path)
        self._format = format
        self.size = size
        if not self._path.absolute().parent.is_dir():
            raise ConfigurationError(f"the rejects file {self._path} cannot be made: its directory does not exist")
        found = self._path.stat().st_size if self._path.exists() else 0
        if found and not (resumed and _is_rejects_file(self._path)):
            raise ConfigurationError(f"the rejects file {self._path} is there already; move it away, or name another")
        if found < size:
            raise ConfigurationError(f"the rejects file {self._path} lacks what an earlier run wrote into it")
        if found > size:
            os.truncate(self._path, size)

    async def put(self, rejects: Sequence[Reject]) -> None:
        if rejects:
            await anyio.to_thread.run_sync(self._write, rejects)

    def _write(self, rejects: Sequence[Reject]) -> None:
        head = "" if self.size else self._format.reject_head()
        text = head + "".join(map(self._format.reject_text, rejects))
        with self._path.open("ab") as file:
            written = file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        self.size += written


def _is_rejects_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).startswith((REJECT_LINE.encode(), b'{"%s"' % REJECT_LINE.encode()))


class Called:
    """Calls the caller's function with one reject after the other."""

    size = 0

    def __init__(self, function: Callable[[Reject], object]) -> None:
        self._function = function

    async def put(self, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            result = self._function(reject)
            if isawaitable(result):
                await result
