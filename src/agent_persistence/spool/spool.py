"""The value that users make: where writes wait, and how many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.runtime.per_loop import PerLoop
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.file import Bounds, SpooledWrite, SpoolFile, SpoolStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
DAY_S: Final = 86_400.0


class Spool:
    """A file in which writes wait while the database cannot be reached, for the option `spool` of services and agents.

    It holds at most `max_rows` rows and `max_bytes` bytes, those that were set aside included; a write that finds it
    full is a SpoolFullError. What has waited for `max_age_s` seconds is set aside and not applied: by then the ledger,
    which keeps keys for 7 days by default, may have forgotten it; give it a `--keep` above this age.

    The file is made when a write is first kept, with the mode 0600; it holds rows in plain. Beside it are SQLite's own
    `-wal` and `-shm`, and `.lock`. It must be on a local disk. Several services and processes may share it, if they
    write to one database. ConfigurationError where a bound is none, or the system is not POSIX.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_rows: int = 10_000,
        max_bytes: int = 64 * 2**20,
        max_age_s: float = 3 * DAY_S,
    ) -> None:
        if os.name != "posix":
            raise ConfigurationError("a spool needs the file locks of a POSIX system, such as Linux, macOS or WSL")
        self.path: Final = _checked_path(path)
        bounds = Bounds(
            int(_positive("max_rows", max_rows)),
            int(_positive("max_bytes", max_bytes)),
            _positive("max_age_s", max_age_s),
        )
        from agent_persistence.spool.turn import Turn

        self._file = SpoolFile(self.path, bounds)
        self._turn = Turn(self.path.with_name(f"{self.path.name}.lock"))
        self._threads: PerLoop[anyio.CapacityLimiter] = PerLoop(partial(anyio.CapacityLimiter, 1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    async def status(self) -> SpoolStatus:
        """How many writes wait, by table, and how many were set aside."""
        return await self._in_thread(self._file.status)

    async def writes(self, *, refused: bool = False) -> list[SpooledWrite]:
        """The writes that wait, in the order in which they will be applied; or those that were set aside."""
        return await self._in_thread(partial(self._file.writes, refused=refused))

    async def retry(self, ids: Iterable[int] | None = None) -> int:
        """The writes set aside wait again, all or those with these `ids`; how many they are.

        One that may be applied already, which only the ledger knows, keeps its age, and is set aside again once it
        is older than `max_age_s`.
        """
        return await self._in_thread(self._file.retry, ids)

    async def drop(self, ids: Iterable[int] | None = None) -> int:
        """The writes with these `ids` are gone, or all that were set aside; how many they were."""
        return await self._in_thread(self._file.drop, ids)

    async def aclose(self) -> None:
        """Close the file; what is asked next opens it again."""
        await self._in_thread(self._file.close)

    async def append(self, entry: Entry, place: str) -> None:
        """The entry is on disk. SpoolFullError or SpoolError, and it is not kept."""
        await self._in_thread(self._file.append, entry, place)

    async def holds(self, tables: Sequence[str]) -> bool:
        """Whether anything of one of the tables waits."""
        return await self._in_thread(self._file.holds, tables)

    async def is_waiting(self) -> bool:
        """Whether anything waits."""
        return await self._in_thread(self._file.is_waiting)

    async def take(self, most: int, place: str) -> list[SpooledWrite]:
        """The first of those that wait, marked as tried."""
        return await self._in_thread(self._file.take, most, place)

    async def settle(
        self, applied: Iterable[int], untried: Iterable[int], refused: Iterable[tuple[int, str, bool]]
    ) -> None:
        """What became of those that were taken is on disk, also where the task is cancelled."""
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._file.settle, applied, untried, refused)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Within, whether this process alone applies what waits."""
        mine = await self._in_thread(self._turn.take)
        try:
            yield mine
        finally:
            if mine:
                self._turn.give_back()

    async def _in_thread(self, work: Callable[[*Ts], T], *given: *Ts) -> T:
        return await to_thread.run_sync(work, *given, limiter=self._threads.get())


def _checked_path(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigurationError(f"a spool has the path of a file, not {type(path).__name__}")
    return Path(os.fspath(path)).absolute()


def _positive(option: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"{option} is a number above 0")
    return value
