"""What an import has done, on disk, so that another process can go on where this one ended.

    1f0a9c3e {"head":{…}}
    9b1d2c70 {"plan":[0,5000]}
    77aa01f2 {"refused":[0,0,2500]}
    c0ffee12 {"done":[0,5000],"rows":4999,"rejected":1,"rejects_bytes":131}

Each line begins with the CRC-32 of the rest. A chunk is planned, durably, before it is sent, and done when it is in and
its rejects are on disk, in the order of the source. `refused` is a part of a planned chunk, by the first record's
number and the indexes of its rows, which the database refused as a whole and which is sent in halves from then on.
"""

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from agent_persistence.exceptions import ConfigurationError

Part = tuple[int, int, int]
_VERSION: Final = 1


@dataclass(slots=True)
class Done:
    """How far earlier runs came: the number of records, rows and rejects, of rows that the database took and did not
    store, of those that were ignored as duplicates, and the size of the rejects file."""

    records: int = 0
    rows: int = 0
    rejected: int = 0
    skipped: int = 0
    ignored: int = 0
    rejects_bytes: int = 0
    is_whole: bool = False
    planned: list[tuple[int, int]] = field(default_factory=list)
    refused: set[Part] = field(default_factory=set)


class Journal:
    """The journal of one import, held alone by this process until it is closed.

    `head` says what is imported and how: a journal whose head differs is refused. `identity` is the import's own, which
    it keeps over all runs.
    """

    def __init__(self, path: str | os.PathLike[str], head: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigurationError(f"the journal {self._path} cannot be opened: {error.strerror}") from error
        try:
            _lock(self._file, self._path)
            entries = self._read()
            if not entries:
                self._append({"head": {**head, "version": _VERSION}, "identity": identity}, durable=True)
                _sync_directory(self._path)
            self.identity: Mapping[str, Any] = entries[0]["identity"] if entries else identity
            self.is_resumed = bool(entries)
            self.done = _replayed(entries, {**head, "version": _VERSION}, self._path)
        except BaseException:
            os.close(self._file)
            raise

    def plan(self, first: int, end: int) -> None:
        self._append({"plan": [first, end]}, durable=True)

    def refuse(self, part: Part) -> None:
        self._append({"refused": part}, durable=True)

    def finish(
        self, first: int, end: int, *, rows: int, rejected: int, skipped: int, rejects_bytes: int, ignored: int = 0
    ) -> None:
        """The chunk is done. A line that gets lost is no harm: what is sent again is stored once."""
        counts = {"rows": rows, "rejected": rejected, "rejects_bytes": rejects_bytes}
        odd = {name: number for name, number in (("skipped", skipped), ("ignored", ignored)) if number}
        self._append({"done": [first, end], **counts, **odd}, durable=False)

    def end(self) -> None:
        self._append({"end": True}, durable=True)

    def close(self) -> None:
        os.close(self._file)

    def _append(self, entry: Mapping[str, Any], *, durable: bool) -> None:
        body = json.dumps(entry, separators=(",", ":")).encode()
        with self._lock:
            os.write(self._file, b"%08x %s\n" % (zlib.crc32(body), body))
            if durable:
                os.fsync(self._file)

    def _read(self) -> list[dict[str, Any]]:
        """The entries; a last line that was not written to its end is taken away."""
        raw = os.pread(self._file, os.fstat(self._file).st_size, 0)
        lines = raw.splitlines(keepends=True)
        entries = [_parsed(line) for line in lines]
        torn = lines.pop() if entries and entries[-1] is None else b""
        whole = [entry for entry in entries if entry is not None]
        if len(whole) < len(lines) or not (whole or _may_begin(torn)) or (whole and "head" not in whole[0]):
            raise ConfigurationError(f"{self._path} is no journal of an import, or is damaged; name another path")
        if torn:
            os.ftruncate(self._file, len(raw) - len(torn))
        return whole


def _may_begin(torn: bytes) -> bool:
    """Whether this is the beginning of a journal's first line."""
    return re.fullmatch(rb"[0-9a-f]*", torn[:8]) is not None and b' {"head":'.startswith(torn[8:17])


class NoJournal:
    """What an import without `resume` has in place of a journal: it remembers nothing."""

    is_resumed = False

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self.identity = identity
        self.done = Done()

    def plan(self, first: int, end: int) -> None: ...

    def refuse(self, part: Part) -> None: ...

    def finish(
        self, first: int, end: int, *, rows: int, rejected: int, skipped: int, rejects_bytes: int, ignored: int = 0
    ) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


Ledger: TypeAlias = Journal | NoJournal


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, or None for one that is not as it was written."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        entry = json.loads(body)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _replayed(entries: list[dict[str, Any]], head: Mapping[str, Any], path: Path) -> Done:
    done = Done()
    for entry in entries:
        match entry:
            case {"head": earlier}:
                _check_same(earlier, json.loads(json.dumps(head)), path)
            case {"plan": [first, end]}:
                if first >= done.records and (first, end) not in done.planned:
                    done.planned.append((first, end))
            case {"refused": [first, start, stop]}:
                done.refused.add((first, start, stop))
            case {"done": [first, end], "rows": rows, "rejected": rejected, "rejects_bytes": size}:
                done.records, done.rejects_bytes = end, size
                done.rows += rows
                done.rejected += rejected
                done.skipped += entry.get("skipped", 0)
                done.ignored += entry.get("ignored", 0)
                done.planned = [plan for plan in done.planned if plan[0] >= end]
                done.refused = {part for part in done.refused if part[0] >= end}
            case {"end": True}:
                done.is_whole = True
    return done


def _check_same(earlier: Mapping[str, Any], head: Mapping[str, Any], path: Path) -> None:
    differing = [name for name in {**earlier, **head} if earlier.get(name) != head.get(name)]
    if differing:
        raise ConfigurationError(
            f"the journal {path} is of another import: {', '.join(sorted(differing))} differ(s)."
            " Resume with the same file, unchanged, and the same options; or begin anew with another journal"
        )


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        raise ConfigurationError("resume= needs the file locks of a POSIX system") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"another process is importing with the journal {path}") from None


def _sync_directory(path: Path) -> None:
    directory = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
