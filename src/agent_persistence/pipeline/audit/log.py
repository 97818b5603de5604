"""An audit log on disk in which later edits show.

    log = AuditLog("audit.jsonl", os.environ["AUDIT_KEY"])
    agent = create_persistence_agent(audit=log)
    …
    report = verify_audit_log("audit.jsonl", os.environ["AUDIT_KEY"])

`lines` beside this module has the form of the file, `check` the verification.
"""

from __future__ import annotations

import os
import stat
import threading
import uuid
from collections import deque
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from agent_persistence.exceptions import ConfigurationError, PersistenceError
from agent_persistence.pipeline.audit import lines
from agent_persistence.pipeline.audit.check import (
    AuditProblem as AuditProblem,
    AuditReport as AuditReport,
    verify_audit_log as verify_audit_log,
)
from agent_persistence.pipeline.audit.event import AuditEvent
from agent_persistence.pipeline.audit.lines import (
    CHECKPOINT_BYTES,
    GENESIS,
    MAX_LINE_BYTES,
    Checkpoint,
    Key,
    Signer,
    checkpoint_path,
)
from agent_persistence.pipeline.audit.lock import locked
from agent_persistence.runtime.background import in_background
from agent_persistence.runtime.forking import survives_fork
from agent_persistence.runtime.hiding import hidden
from agent_persistence.runtime.per_loop import PerLoop

_MAX_TAIL_BYTES: Final = 4 * MAX_LINE_BYTES


@dataclass(slots=True, eq=False)
class _Entry:
    """An event that waits to be written, and what its writing failed with."""

    event: AuditEvent
    failure: OSError | PersistenceError | None = None


_writer: Final = PerLoop(partial(anyio.CapacityLimiter, 1))


class AuditLog:
    """An audit hook that appends one line for each event, chained to the line before by a keyed hash.

    Tamper-evident, not tamper-proof: without the key, nobody can change, remove, insert or reorder lines so that
    `verify_audit_log` does not find it. `<path>.checkpoint` says where the log ends; whoever can put back an old copy
    of both files can cut the log there, which only a `checkpoint()` kept elsewhere shows.

    `key` has at least 32 bytes. Several processes and threads may write to one file, before and after a fork; each
    waits `lock_timeout_s` for its turn at most. Lines are written in a worker thread, so that no event loop waits for a
    disk. When a call of the service returns, its line is in the operating system's hands: it outlives the process. With
    `fsync=True` it is on disk, outliving the machine. A file that has grown to `rotate_bytes` is set aside as by
    `rotate()`.

    An event that cannot be written raises OSError, TimeoutError or PersistenceError, which the service logs; the next
    line that can be written says how many were lost. A log whose end is not as it was left is not written to again.
    """

    __slots__ = (
        "__weakref__",
        "_fsync",
        "_lock",
        "_lock_timeout_s",
        "_lost",
        "_own",
        "_path",
        "_rotate_bytes",
        "_signer",
        "_waiting",
        "_writing",
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: Key,
        *,
        fsync: bool = False,
        rotate_bytes: int | None = None,
        lock_timeout_s: float = 0.5,
    ) -> None:
        key = hidden(key)
        if rotate_bytes is not None and (type(rotate_bytes) is not int or rotate_bytes < 1):
            raise ConfigurationError(f"rotate_bytes is a positive int, not {rotate_bytes!r:.40}")
        self._path = _file_path(path)
        self._signer = Signer(key)
        self._fsync = fsync
        self._rotate_bytes = rotate_bytes
        self._lock_timeout_s = lock_timeout_s
        self._begin_in_child()
        self._lost = 0
        self._own: tuple[bytes, Checkpoint] | None = None  # the last checkpoint written here: none may be older
        survives_fork(self)
        try:
            with self._turn() as held:
                self._resume(held, look_back=True)
        except (OSError, ValueError, PersistenceError) as error:
            raise ConfigurationError(f"the audit log {self._path} cannot be opened: {error}") from error

    def _begin_in_child(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: deque[_Entry] = deque()

    def __repr__(self) -> str:
        return f"AuditLog({str(self._path)!r})"

    def __reduce__(self) -> Any:
        raise TypeError("an AuditLog holds a secret key and is neither pickled nor copied")

    def __call__(self, event: AuditEvent) -> Awaitable[None]:
        """Have a worker thread append the event; what is returned ends when that is done, or failed.

        One thread an event loop writes what is waiting, in order. Whoever stops waiting changes nothing about it.
        """
        entry = _Entry(event)
        self._waiting.append(entry)
        return self._written(entry)

    async def _written(self, entry: _Entry) -> None:
        try:
            await self._write_in_thread()
        except anyio.get_cancelled_exc_class():
            if entry in self._waiting:
                in_background(self._write_in_thread)
            raise
        if entry.failure is not None:
            raise entry.failure

    async def _write_in_thread(self) -> None:
        await anyio.to_thread.run_sync(self._write_waiting, abandon_on_cancel=True, limiter=_writer.get())

    def _write_waiting(self) -> None:
        with self._writing:
            while self._waiting:
                entry = self._waiting.popleft()
                try:
                    self.append(entry.event)
                except (OSError, PersistenceError) as error:
                    entry.failure = error

    def append(self, event: AuditEvent) -> None:
        """Write the event's line, and wait for it."""
        try:
            with self._turn() as held:
                end = self._resume(held)
                if self._rotate_bytes is not None and end.size >= self._rotate_bytes:
                    end = self._set_aside(held, end)
                self._write(held, end, "event", lines.content_of(event))
        except BaseException:
            self._lost += 1
            raise

    def rotate(self) -> Path:
        """Set the file aside under a name of its own and go on in a new one; return the old one's new path.

        The chain goes on: `verify_audit_log` follows it back as long as the old files are beside the new one.
        """
        with self._turn() as held:
            end = self._resume(held)
            self._set_aside(held, end)
            return self._archive(end)

    def checkpoint(self) -> str:
        """Where the log ends now, signed: kept elsewhere, it lets `verify_audit_log` find that this much is there."""
        with self._turn() as held:
            return self._resume(held).sign(self._signer)

    @contextmanager
    def _turn(self) -> Iterator[int]:
        """The checkpoint's file, open and locked against every other thread and process."""
        if not self._lock.acquire(timeout=self._lock_timeout_s):
            raise TimeoutError(f"another thread holds {self._path} for more than {self._lock_timeout_s} s")
        try:
            held = _open(checkpoint_path(self._path), os.O_RDWR | os.O_CREAT)
            try:
                with locked(held, self._lock_timeout_s):
                    yield held
            finally:
                os.close(held)
        finally:
            self._lock.release()

    def _resume(self, held: int, *, look_back: bool = False) -> Checkpoint:
        """Where to go on: the checkpoint's end, or beyond it what a process wrote that died before its checkpoint."""
        end = self._last_checkpoint(held)
        if end.size and _size(self._path) < 0 and _size(self._archive(end)) == end.size:
            end = self._mark(held, replace(end, size=0))  # a process died while it set the file aside
        if end.size == 0 and not self._has_head():
            end = self._write(held, end, "log", self._head(end))
        size = _size(self._path)
        if size < end.size:
            raise PersistenceError(f"it has {max(size, 0)} bytes and had {end.size}; {_REMEDY}")
        if look_back and end.size:
            self._look_back(end)
        if size > end.size:
            end = self._catch_up(held, end, size)
        if lost := self._lost:
            end = self._write(held, end, "gap", {"lost": lost})
            self._lost -= lost
        return end

    def _last_checkpoint(self, held: int) -> Checkpoint:
        signed = os.pread(held, CHECKPOINT_BYTES, 0)
        if self._own is not None and signed == self._own[0]:
            return self._own[1]
        if signed.strip(b" \n\0"):
            end = Checkpoint.read(signed, self._signer)
            if end is None:
                raise PersistenceError(f"{checkpoint_path(self._path).name} is not signed with this key")
            if self._own is not None and (end.log != self._own[1].log or end.seq < self._own[1].seq):
                raise PersistenceError(f"{checkpoint_path(self._path).name} is older than what was written; {_REMEDY}")
            return end
        if _size(self._path) > 0 or self._own is not None:
            raise PersistenceError(f"{checkpoint_path(self._path).name} is missing or empty; {_REMEDY}")
        return self._mark(held, Checkpoint(uuid.uuid4().hex, -1, GENESIS, 0))

    def _has_head(self) -> bool:
        """Whether the new file has its first line; half of one, of a process that died, is wiped away."""
        if _size(self._path) <= 0:
            return False
        with self._path.open("r+b") as file:
            if lines.parse(file.readline(MAX_LINE_BYTES)):
                return True
            file.truncate(0)
            return False

    def _head(self, end: Checkpoint) -> dict[str, Any]:
        head = {"id": end.log, "at": datetime.now(UTC).isoformat()}
        return head if end.seq < 0 else {**head, "continues": {"file": self._archive(end).name, "mac": end.mac}}

    def _look_back(self, end: Checkpoint) -> None:
        """Check the last lines that the checkpoint knows, as far as one read shows them."""
        with self._path.open("rb") as file:
            for reach in (1 << 16, 3 * MAX_LINE_BYTES):
                start = file.seek(max(0, end.size - reach))
                shown = [line for raw in file.read(end.size - start).splitlines(True) if (line := lines.parse(raw))]
                if start == 0 or len(shown) > 1:
                    break
        before = shown[0].continues() if shown else None
        macs = [before.mac if before else GENESIS, *(line.mac for line in shown)]
        pairs = list(zip(shown, macs, strict=False))[start > 0 :]  # of the first one shown, what came before is not
        genuine = all(line.follows(mac, self._signer) for line, mac in pairs)
        if macs[-1] != end.mac or not genuine:
            raise PersistenceError(f"its last lines are not those that were written; {_REMEDY}")

    def _catch_up(self, held: int, end: Checkpoint, size: int) -> Checkpoint:
        """Take over the whole lines after the checkpoint, and mark what is torn."""
        if size - end.size > _MAX_TAIL_BYTES:
            raise PersistenceError(f"{size - end.size} bytes stand after its checkpoint; {_REMEDY}")
        with self._path.open("rb") as file:
            file.seek(end.size)
            tail = file.read()
        rest = tail.splitlines(keepends=True)
        while rest:
            line = lines.parse(rest[0] if rest[0].endswith(b"\n") else rest[0] + b"\n")
            if line is None or line.seq != end.seq + 1 or not line.follows(end.mac, self._signer):
                break
            end = replace(end, seq=line.seq, mac=line.mac, size=end.size + len(rest.pop(0)))
        if any(map(lines.parse, rest)):
            raise PersistenceError(f"lines that this key did not write stand after line {end.seq + 1}; {_REMEDY}")
        if rest:
            return self._mark_torn(held, end, b"".join(rest))
        if tail and not tail.endswith(b"\n"):  # all of the last line but its end
            return self._put(held, b"\n", replace(end, size=end.size + 1))
        return end

    def _mark_torn(self, held: int, end: Checkpoint, torn: bytes) -> Checkpoint:
        """Leave what is torn where it is, as lines of their own, and say in the next line what it was."""
        close = b"" if torn.endswith(b"\n") else b"\n"
        torn += close
        gap = {"bytes": len(torn), "sha256": sha256(torn).hexdigest()}
        return self._write(held, replace(end, size=end.size + len(torn)), "gap", gap, before=close)

    def _write(
        self, held: int, end: Checkpoint, kind: str, content: dict[str, Any], *, before: bytes = b""
    ) -> Checkpoint:
        line = lines.render(self._signer, end.mac, kind, content, end.seq + 1)
        text = lines.text(line)
        if len(text) > MAX_LINE_BYTES and "keys_left_out" in content:
            raise PersistenceError(f"an event of {len(text)} bytes does not fit into a line of {MAX_LINE_BYTES}")
        if len(text) > MAX_LINE_BYTES:
            return self._write(held, end, kind, lines.shortened(content))
        return self._put(held, before + text, replace(end, seq=line.seq, mac=line.mac, size=end.size + len(text)))

    def _put(self, held: int, data: bytes, end: Checkpoint) -> Checkpoint:
        """Append the bytes, then move the checkpoint to `end`: a crash between leaves a log that is ahead of it."""
        file = _open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            if (written := os.write(file, data)) < len(data):
                raise OSError(f"{self._path} took {written} of {len(data)} bytes: is the disk full?")
            if self._fsync:
                os.fsync(file)
        finally:
            os.close(file)
        return self._mark(held, end)

    def _mark(self, held: int, end: Checkpoint) -> Checkpoint:
        signed = end.sign(self._signer).encode().ljust(CHECKPOINT_BYTES - 1) + b"\n"
        os.pwrite(held, signed, 0)
        self._own = (signed, end)
        if self._fsync:
            os.fsync(held)
        return end

    def _set_aside(self, held: int, end: Checkpoint) -> Checkpoint:
        archive = self._archive(end)
        if archive.exists():
            raise FileExistsError(f"{archive} is in the way")
        self._path.rename(archive)
        end = self._mark(held, replace(end, size=0))
        return self._write(held, end, "log", self._head(end))

    def _archive(self, end: Checkpoint) -> Path:
        return self._path.with_name(f"{self._path.name}.{end.seq:012d}")


_REMEDY: Final = "verify_audit_log tells more; move the log and its checkpoint away and restart to begin a new one"


def _file_path(path: str | os.PathLike[str]) -> Path:
    try:
        found = Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the path of an audit log is that of a file: {error}") from None
    if found.is_dir():
        raise ConfigurationError(f"the audit log {found} cannot be opened: it is a directory; name a file in it")
    return found


def _open(path: Path, flags: int) -> int:
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no regular file")
    return file


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
