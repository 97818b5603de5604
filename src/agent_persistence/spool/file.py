"""The file of a spool: SQLite in WAL mode, for several processes at once. Everything here blocks; `spool` has threads.

Nobody who forks has a connection open meanwhile: SQLite's locks are not inherited, and its closing would undo those of
the other process (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from agent_persistence.exceptions import SpoolError, SpoolFullError
from agent_persistence.runtime.forking import closes_before_fork
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.opening import opened

_SHOWN: Final = "id, at, tables, rows, size, tried, reason, body"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a spool holds: rows and bytes of what waits and what was set aside, and seconds for which one waits."""

    max_rows: int
    max_bytes: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class SpooledWrite:
    """One write of the file. `at` is when it was kept, in seconds since 1970; `reason` says why it was set aside.

    `tried` says that it may be applied already. `body` is the write as JSON, with the values of its rows.
    """

    id: int
    at: float
    tables: tuple[str, ...]
    rows: int
    bytes: int
    tried: bool
    reason: str | None
    body: str

    @property
    def entry(self) -> Entry:
        """What is to be carried out."""
        return Entry.from_json(self.body, resent=self.tried)


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What a spool holds: writes that wait, by table, and writes that were set aside.

    `rows` and `bytes` are those of both; `oldest_s` is for how long the first one waits, None where none does.
    """

    waiting: int = 0
    refused: int = 0
    rows: int = 0
    bytes: int = 0
    oldest_s: float | None = None
    tables: tuple[tuple[str, int], ...] = ()


class SpoolFile:
    """The file at `path`, made with the first write that is kept, and readable by its owner alone."""

    def __init__(self, path: Path, bounds: Bounds, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._bounds = bounds
        self._clock = clock
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        closes_before_fork(self)

    def append(self, entry: Entry, place: str) -> None:
        """The entry is on disk, behind all others. SpoolFullError, and nothing is kept, where a bound is reached."""
        body = entry.to_json()
        with self._writing() as db:
            self._check_place(db, place)
            self._check_bounds(db, entry, len(body))
            values = (
                self._clock(),
                json.dumps(entry.tables),
                entry.rows,
                len(body),
                entry.is_fenced,
                entry.resent,
                body,
            )
            added = db.execute(
                "insert into entry (at, tables, rows, size, fenced, tried, body) values (?, ?, ?, ?, ?, ?, ?)", values
            )
            db.executemany("insert into touched values (?, ?)", [(name, added.lastrowid) for name in entry.tables])

    def holds(self, tables: Sequence[str]) -> bool:
        """Whether anything of one of the tables waits."""
        marks = ", ".join("?" * len(tables))
        return self._found(
            f"select 1 from touched join entry on id = entry where name in ({marks}) and refused_at is null",  # noqa: S608  marks
            tables,
        )

    def is_waiting(self) -> bool:
        """Whether anything waits."""
        return self._found("select 1 from entry where refused_at is null limit 1")

    def take(self, most: int, place: str) -> list[SpooledWrite]:
        """The first of those that wait, as they were; from now on they count as tried. The too old are set aside."""
        if not self._path.exists():
            return []
        with self._writing() as db:
            self._check_place(db, place)
            now, reason = self._clock(), f"it waited for longer than max_age_s={self._bounds.max_age_s:g}"
            db.execute(
                "update entry set refused_at = ?, reason = ? where refused_at is null and at < ?",
                (now, reason, now - self._bounds.max_age_s),
            )
            found = db.execute(
                f"select {_SHOWN} from entry where refused_at is null order by id limit ?",  # noqa: S608  columns
                (most,),
            ).fetchall()
            db.executemany("update entry set tried = 1 where id = ?", [(row[0],) for row in found])
        return list(map(_shown, found))

    def settle(
        self,
        applied: Iterable[int],
        untried: Iterable[int] = (),
        refused: Iterable[tuple[int, str, bool]] = (),
    ) -> None:
        """Of what was taken: the applied is gone, the untried is as it was, and the refused is set aside with its
        reason and whether it may be applied nevertheless."""
        with self._writing() as db:
            db.executemany("delete from entry where id = ?", [(each,) for each in applied])
            db.executemany("update entry set tried = 0 where id = ?", [(each,) for each in untried])
            db.executemany(
                "update entry set refused_at = ?, reason = ?, tried = ? where id = ?",
                [(self._clock(), reason, in_doubt, each) for each, reason, in_doubt in refused],
            )

    def status(self) -> SpoolStatus:
        if not self._path.exists():
            return SpoolStatus()
        with self._reading() as db:
            ((waiting, refused, oldest),) = db.execute(
                "select count(*) - count(refused_at), count(refused_at), min(iif(refused_at is null, at, null))"
                " from entry"
            )
            ((rows, size),) = db.execute("select rows, bytes from total")
            tables = db.execute(
                "select name, count(*) from touched join entry on entry.id = entry where refused_at is null"
                " group by name order by name"
            ).fetchall()
        age = None if oldest is None else max(0.0, self._clock() - oldest)
        return SpoolStatus(waiting, refused, rows, size, age, tuple(tables))

    def writes(self, *, refused: bool) -> list[SpooledWrite]:
        """Those that wait, or those that were set aside, in their order."""
        if not self._path.exists():
            return []
        with self._reading() as db:
            return list(
                map(
                    _shown,
                    db.execute(
                        f"select {_SHOWN} from entry where (refused_at is not null) = ? order by id",  # noqa: S608
                        (refused,),
                    ),
                )
            )

    def retry(self, ids: Iterable[int] | None) -> int:
        """Those set aside wait again, all or the ones named. One that may be applied, which only the ledger knows,
        keeps its age: the ledger forgets."""
        change = (
            "update entry set refused_at = null, reason = null, at = iif(tried and not fenced, at, ?)"
            " where refused_at is not null"
        )
        return self._changed(change, (self._clock(),), ids)

    def drop(self, ids: Iterable[int] | None) -> int:
        """Those named are gone, or all that were set aside."""
        return self._changed("delete from entry where true" if ids is not None else _DROP_REFUSED, (), ids)

    def close(self) -> None:
        """Close the file; what is asked next opens it again."""
        with self._lock:
            self._close()

    def _changed(self, sql: str, given: tuple[Any, ...], ids: Iterable[int] | None) -> int:
        if not self._path.exists():
            return 0
        with self._writing() as db:
            if ids is None:
                return db.execute(sql, given).rowcount
            return sum(db.execute(f"{sql} and id = ?", (*given, each)).rowcount for each in ids)

    def _check_bounds(self, db: sqlite3.Connection, entry: Entry, size: int) -> None:
        ((rows, total),) = db.execute("select rows, bytes from total")
        for limit, held, most in (
            ("max_rows", rows + entry.rows, self._bounds.max_rows),
            ("max_bytes", total + size, self._bounds.max_bytes),
        ):
            if held > most:
                raise SpoolFullError(
                    f"the database cannot be reached, and the spool is full: {limit} is {most:,}; nothing was kept",
                    limit=limit,
                )

    def _check_place(self, db: sqlite3.Connection, place: str) -> None:
        known = db.execute("select place from database").fetchone()
        if known is None:
            db.execute("insert into database values (?)", (place,))
        elif known[0] != place:
            if db.execute("select 1 from entry limit 1").fetchone():
                raise SpoolError(
                    f"the spool {self._path} holds writes for {known[0]}, and this service writes to {place};"
                    " flush it with the settings it was made under, or use another file"
                )
            db.execute("update database set place = ?", (place,))

    def _found(self, sql: str, given: Sequence[Any] = ()) -> bool:
        if not self._path.exists():
            return False
        with self._reading() as db:
            return db.execute(sql, given).fetchone() is not None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection()
            except sqlite3.Error as error:
                self._close()
                raise SpoolError(f"the spool {self._path} cannot be used: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("rollback")
                raise

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._make()
            self._open = opened(self._path)
        return self._open

    def _make(self) -> None:
        """An empty file of ours under this name, if there is none. None is opened here: closing it would undo SQLite's
        locks."""
        try:
            if self._path.exists():
                if self._path.stat().st_mode & 0o077:
                    raise SpoolError(f"the spool {self._path} can be read by others; chmod 600 it, or use another file")
                return
            empty = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
            os.close(os.open(empty, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            try:
                with suppress(FileExistsError):
                    os.link(empty, self._path)
            finally:
                empty.unlink()
        except OSError as error:
            raise SpoolError(f"the spool {self._path} cannot be made: {error.strerror}") from error

    def _close(self) -> None:
        if self._open is not None:
            closing, self._open = self._open, None
            with suppress(sqlite3.Error):
                closing.close()

    def _suspend(self) -> None:
        self._lock.acquire()
        self._close()

    def _resume(self) -> None:
        self._lock.release()

    def _begin_in_child(self) -> None:
        self._lock = threading.Lock()


_DROP_REFUSED: Final = "delete from entry where refused_at is not null"


def _shown(row: tuple[Any, ...]) -> SpooledWrite:
    number, at, tables, rows, size, tried, reason, body = row
    return SpooledWrite(number, at, tuple(json.loads(tables)), rows, size, bool(tried), reason, body)
