"""The file of a spool as SQLite has it: its tables, and a connection to it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent_persistence.exceptions import SpoolError

BUSY_S: Final = 5.0
"""How long one process waits for another that writes to the file."""
_APPLICATION: Final = 0x41505350
_SCHEMA: Final = """
create table entry (
  id integer primary key autoincrement, at real not null, tables text not null, rows integer not null,
  size integer not null, fenced integer not null, tried integer not null, body text not null,
  refused_at real, reason text);
create index waiting on entry (id) where refused_at is null;
create table touched (name text not null, entry integer not null, primary key (name, entry)) without rowid;
create trigger untouched after delete on entry begin delete from touched where entry = old.id; end;
create table total (rows integer not null, bytes integer not null);
insert into total values (0, 0);
create trigger added after insert on entry begin
  update total set rows = rows + new.rows, bytes = bytes + new.size; end;
create trigger gone after delete on entry begin
  update total set rows = rows - old.rows, bytes = bytes - old.size; end;
create table database (place text not null);
"""


def opened(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return, and whose deleted rows are overwritten."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                _prepare(db, path)
                return db
            except sqlite3.OperationalError as error:
                with suppress(sqlite3.Error):
                    db.execute("rollback")
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() >= deadline:  # another process makes it: SQLite waits not for that
                    raise
            time.sleep(0.005)
    except BaseException:
        db.close()
        raise


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    for setting in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
        db.execute(f"pragma {setting}")
    db.execute("begin immediate")
    ((application,),) = db.execute("pragma application_id")
    if application != _APPLICATION:
        if db.execute("select 1 from sqlite_master limit 1").fetchone():
            raise SpoolError(f"{path} is a database of something else, not a spool")
        for statement in _statements(_SCHEMA):
            db.execute(statement)
        db.execute(f"pragma application_id = {_APPLICATION}")
    db.execute("commit")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit in between."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
