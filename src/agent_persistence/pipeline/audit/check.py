"""Verifying an audit log: one pass in constant memory, and from the first problem on a second one to name it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Literal, NoReturn, TypeAlias

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.pipeline.audit.lines import (
    CHECKPOINT_BYTES,
    GENESIS,
    MAX_LINE_BYTES,
    Checkpoint,
    Key,
    Line,
    Signer,
    checkpoint_path,
    parse,
)
from agent_persistence.pipeline.audit.lock import locked
from agent_persistence.runtime.hiding import hidden

ProblemKind: TypeAlias = Literal["changed", "removed", "inserted", "reordered", "truncated", "torn"]

LOCK_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """The first thing that is wrong. That something is wrong is proven; its kind is the likeliest reading."""

    kind: ProblemKind
    file: str
    line: int
    """Counted from 1; for "truncated", the first one that is missing."""
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What `verify_audit_log` found.

    `entries` counts the events before the problem, or all. `lost` is the number of events that the log itself says
    could not be written, `torn` how often it says that a crash left part of a line, which is stepped over.
    """

    entries: int
    lost: int
    torn: int
    problem: AuditProblem | None

    @property
    def ok(self) -> bool:
        """Whether every line is as it was written, and in its place, up to the checkpoint at least."""
        return self.problem is None


def verify_audit_log(
    path: str | os.PathLike[str], key: Key, *, checkpoint: str | None = None, archives: bool = True
) -> AuditReport:
    """Whether the log at this path is what the key's holder wrote.

    Files that were set aside are verified as well, the oldest first; `archives=False` takes the newest alone.
    `checkpoint` is one that `AuditLog.checkpoint()` returned and that was kept elsewhere. The log may be written to
    meanwhile; lines that come later are not looked at. Raises ConfigurationError where there is no log, `checkpoint`
    was not signed with the key, or the key is too short; OSError where a file cannot be read.
    """
    key = hidden(key)
    signer = Signer(key)
    kept = None if checkpoint is None else Checkpoint.read(checkpoint, signer)
    if checkpoint is not None and kept is None:
        raise ConfigurationError("checkpoint= is not signed with this key")
    with ExitStack() as stack:
        log = _Log(Path(path), stack, signer)
        chain = _Chain(signer, expected={c.seq: c for c in (log.checkpoint, kept) if c})
        problem = None
        try:
            for file in log.files(archives=archives):
                chain.walk(file, log.newest)
            chain.end(log)
        except _FoundError as found:
            problem = found.problem
    return AuditReport(entries=chain.entries, lost=chain.lost, torn=chain.torn, problem=problem)


class _FoundError(Exception):
    def __init__(self, problem: AuditProblem) -> None:
        super().__init__(problem)
        self.problem = problem


def _found(kind: ProblemKind, path: Path, line: int, detail: str) -> NoReturn:
    raise _FoundError(AuditProblem(kind, path.name, line, detail))


@dataclass(slots=True)
class _File:
    """A file of the log up to the size it had when it was opened."""

    path: Path
    stream: BinaryIO
    size: int

    def lines(self, start: int = 0) -> Iterator[bytes]:
        self.stream.seek(start)
        left = self.size - start
        while left > 0 and (raw := self.stream.readline(min(left, MAX_LINE_BYTES))):
            left -= len(raw)
            yield raw

    def head(self) -> Line | None:
        return parse(next(self.lines(), b""))


class _Log:
    """The files as they are at one moment, between two lines of a writer."""

    def __init__(self, path: Path, stack: ExitStack, signer: Signer) -> None:
        self.newest = path
        self._stack = stack
        self._newest: _File | None = None
        self.signed = b""
        beside = checkpoint_path(path)
        if beside.exists():
            file = stack.enter_context(beside.open("rb"))
            with locked(file.fileno(), LOCK_TIMEOUT_S, shared=True):
                self.signed = file.read(CHECKPOINT_BYTES)
                self._newest = self._open(path) if path.exists() else None
        elif path.exists():
            self._newest = self._open(path)
        else:
            raise ConfigurationError(f"there is no audit log at {path}")
        self.checkpoint = Checkpoint.read(self.signed, signer) if self.signed else None

    def files(self, *, archives: bool) -> list[_File]:
        """The oldest first. What their heads say of the file before is checked when the chain comes to it."""
        if self._newest is None:
            return []
        files = [self._newest]
        while archives and (head := files[0].head()) and (before := head.continues()):
            path = self.newest.with_name(before.file)
            if not path.exists() or any(path == file.path for file in files):
                _found("removed", files[0].path, 1, f"it continues {before.file!r:.200}, which is not here")
            files.insert(0, self._open(path))
        return files

    def _open(self, path: Path) -> _File:
        stream = self._stack.enter_context(path.open("rb"))
        return _File(path, stream, os.fstat(stream.fileno()).st_size)


_NOTHING: Final = (None, None)


@dataclass(slots=True)
class _Chain:
    """How far the chain is genuine: the last line's number and mac, and what was counted."""

    signer: Signer
    expected: dict[int, Checkpoint]
    seq: int = -1
    mac: str = GENESIS
    log: str = ""
    entries: int = 0
    lost: int = 0
    torn: int = 0
    number: int = 0
    passed: tuple[int | None, str | None] = _NOTHING
    """Size and hash of the torn bytes just before."""

    def walk(self, file: _File, newest: Path) -> None:
        """Go through all of the file's lines, or raise what is wrong with the first one that is."""
        self.number = 0
        if not self.log and (head := file.head()) and (before := head.continues()):
            self.seq, self.mac = head.seq - 1, before.mac
        position = 0
        while (stopped := self._run(file, position)) is not None:
            resumed = self._over_torn(file, stopped)
            if resumed is None:
                self._name_problem(file, stopped, is_newest=file.path == newest)
            position = resumed

    def end(self, log: _Log) -> None:
        """Raise if what was gone through is not all that the checkpoints know of."""
        missing = max(self.expected, default=-1) - self.seq
        if missing > 0:
            _found("truncated", log.newest, self.number + 1, f"the checkpoint knows of {missing} more lines")
        if any(checkpoint.log != self.log for checkpoint in self.expected.values()):
            _found("changed", log.newest, 1, "the checkpoint is of another log")
        if not log.signed:
            _found("truncated", log.newest, self.number + 1, "the checkpoint is missing: lines may be as well")
        if log.checkpoint is None:
            _found("changed", checkpoint_path(log.newest), 1, "the checkpoint is not genuine")

    def _run(self, file: _File, position: int) -> int | None:
        """Take genuine lines from the position on; where the first other one begins, or None at the end."""
        for raw in file.lines(position):
            line = self._genuine(raw)
            if line is None:
                return position
            self._take(line, file.path)
            position += len(raw)
        return None

    def _genuine(self, raw: bytes) -> Line | None:
        """The line, if it is the one that was written next."""
        line = parse(raw)
        return line if line and line.seq == self.seq + 1 and line.follows(self.mac, self.signer) else None

    def _take(self, line: Line, path: Path) -> None:
        self.number += 1
        head = line.content("log")
        if (head is not None) != (self.number == 1):
            _found("reordered", path, self.number, "a file begins with its head, and only there is one")
        if head:
            self.log = head["id"]
        elif gap := line.content("gap"):
            if (gap.get("bytes"), gap.get("sha256")) != self.passed:
                _found("removed", path, self.number, "the torn bytes that it tells of are not before it")
            self.lost += gap.get("lost", 0)
            self.torn += "bytes" in gap
            self.passed = _NOTHING
        else:
            self.entries += 1
        self.seq, self.mac = line.seq, line.mac
        if line.seq in self.expected and self.expected[line.seq].mac != line.mac:
            _found("changed", path, self.number, "the checkpoint has another line here")

    def _over_torn(self, file: _File, position: int) -> int | None:
        """Where the line stands that records the torn bytes from the position on; None if there is no such line."""
        digest, size, ends = sha256(), 0, 0
        for raw in file.lines(position):
            if parse(raw) is None:
                digest.update(raw)
                size, ends = size + len(raw), ends + 1
                continue
            line = self._genuine(raw)
            gap = line.content("gap") if line else None
            if not gap or (gap.get("bytes"), gap.get("sha256")) != (size, digest.hexdigest()):
                return None
            self.number += ends
            self.passed = size, digest.hexdigest()
            return position + size
        return None

    def _name_problem(self, file: _File, position: int, *, is_newest: bool) -> NoReturn:
        last = max(self.expected, default=-1)
        lines = file.lines(position)
        raw = next(lines)
        if not raw.endswith(b"\n") and position + len(raw) == file.size:
            if is_newest and self.seq >= last:
                _found("torn", file.path, self.number + 1, "half a line: its writer died, and none came after it")
            _found("truncated", file.path, self.number + 1, "the file ends within this line")
        kind = self._kind(parse(raw), lines, complete=bool(self.expected) and self.seq >= last)
        _found(kind, file.path, self.number + 1, f"this is not line {self.seq + 1} as it was written")

    def _kind(self, claimed: Line | None, rest: Iterator[bytes], *, complete: bool) -> ProblemKind:
        """What became of the line that should stand here, by the lines after it."""
        right, linked, found, again = self.seq + 1, False, False, False
        for number, raw in enumerate(rest):
            line = parse(raw)
            if line and claimed:
                linked |= number == 0 and line.seq == right + 1 and line.follows(claimed.mac, self.signer)
                again |= (line.seq, line.mac) == (claimed.seq, claimed.mac)
            found |= self._genuine(raw) is not None
        if found:
            return "reordered" if claimed and claimed.seq > right and not again else "inserted"
        if complete or (claimed and claimed.seq < right):
            return "inserted"
        return "removed" if claimed and claimed.seq > right and not linked else "changed"
