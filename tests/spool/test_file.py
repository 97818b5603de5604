"""The file itself: who may read it, how much it holds, how long, and several processes at once."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from agent_persistence import ConfigurationError, Spool, SpoolError, SpoolFullError
from agent_persistence.operations import BatchWrite, Unit, UnitPart, Write
from agent_persistence.policy.identity import OWN
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.file import Bounds, SpoolFile
from agent_persistence.spool.turn import Turn

PLACE = "Database at x"
SECRET = "SENTINELSPOOLED"
BOUNDS = Bounds(100, 100_000, 60.0)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def file(path: Path, clock: Clock) -> Iterator[SpoolFile]:
    made = SpoolFile(path, BOUNDS, clock)
    yield made
    made.close()


def lead(email: str = "a@x.io", *, table: str = "leads", resent: bool = False) -> Entry:
    return Entry.of(Write(table, {"email": email}, generated_key="id"), OWN, resent=resent)


def unit() -> Entry:
    return Entry.of(Unit("leads", (UnitPart(Write("leads", {"email": "u"})),), "k"), OWN, resent=True)


def emails(file: SpoolFile, *, refused: bool = False) -> list[str]:
    return [each.entry.operation.inserted[0]["email"] for each in file.writes(refused=refused)]


def test_nothing_is_made_before_the_first_write_is_kept(file: SpoolFile, path: Path) -> None:
    """Asking leaves no trace."""
    assert not file.holds(("leads",))
    assert not file.is_waiting()
    assert (file.take(5, PLACE), file.writes(refused=False), file.retry(None), file.drop([1])) == ([], [], 0, 0)
    assert not path.exists()


def test_only_the_owner_can_read_it(file: SpoolFile, path: Path) -> None:
    """The files of SQLite beside it too, whatever the process's umask is."""
    before = os.umask(0)
    try:
        file.append(lead(), PLACE)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {"spool": 0o600, "spool-wal": 0o600, "spool-shm": 0o600}


def test_one_that_others_can_read_is_refused(path: Path, file: SpoolFile) -> None:
    path.touch(0o644)
    with pytest.raises(SpoolError, match="chmod 600"):
        file.append(lead(), PLACE)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 100])
def test_what_is_no_spool_is_refused_or_begun(path: Path, file: SpoolFile, content: bytes) -> None:
    """An empty file is one to begin with."""
    path.write_bytes(content)
    path.chmod(0o600)
    if not content:
        file.append(lead(), PLACE)
        assert emails(file) == ["a@x.io"]
        return
    with pytest.raises(SpoolError, match="cannot be used"):
        file.append(lead(SECRET), PLACE)


def test_the_database_of_something_else_is_refused(path: Path, file: SpoolFile) -> None:
    with sqlite3.connect(path) as db:
        db.execute("create table theirs (x)")
    db.close()
    path.chmod(0o600)
    with pytest.raises(SpoolError, match="of something else"):
        file.append(lead(), PLACE)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be made"):
        SpoolFile(tmp_path / "none" / "spool", BOUNDS).append(lead(), PLACE)


def test_writes_are_taken_in_their_order_and_marked(file: SpoolFile) -> None:
    """What was taken is given as it was before; the next who takes it knows that it may have been sent."""
    for email in "abc":
        file.append(lead(email), PLACE)
    assert [(each.id, each.tried) for each in file.take(2, PLACE)] == [(1, False), (2, False)]
    assert [(each.id, each.tried) for each in file.take(5, PLACE)] == [(1, True), (2, True), (3, False)]
    file.settle([1], untried=[3], refused=[(2, "no", False)])
    assert [(each.id, each.tried) for each in file.take(5, PLACE)] == [(3, False)]
    assert [(each.id, each.reason, each.tried) for each in file.writes(refused=True)] == [(2, "no", False)]


def test_a_write_whose_answer_was_lost_is_marked_from_the_beginning(file: SpoolFile) -> None:
    file.append(lead(resent=True), PLACE)
    (taken,) = file.take(1, PLACE)
    assert taken.tried
    assert taken.entry.resent


def test_it_says_of_which_tables_something_waits(file: SpoolFile) -> None:
    """What was set aside waits no more."""
    file.append(lead(table="leads"), PLACE)
    file.append(lead(table="clients"), PLACE)
    assert [file.holds((name,)) for name in ("leads", "clients", "messages")] == [True, True, False]
    assert file.holds(("messages", "clients"))
    assert file.status().tables == (("clients", 1), ("leads", 1))
    file.settle([2], refused=[(1, "no", False)])
    assert not file.holds(("leads", "clients"))
    file.retry(None)
    assert file.holds(("leads",))


@pytest.mark.parametrize(("bounds", "limit"), [(Bounds(3, 10_000, 1), "max_rows"), (Bounds(9, 200, 1), "max_bytes")])
def test_a_full_one_keeps_nothing_more(path: Path, bounds: Bounds, limit: str) -> None:
    """What was set aside counts, and what was dropped does not."""
    file = SpoolFile(path, bounds)
    file.append(lead("a"), PLACE)
    batch = Entry.of(BatchWrite("leads", ({"email": SECRET}, {"email": "b"}, {"email": "c"})), OWN, resent=False)
    with pytest.raises(SpoolFullError) as full:
        file.append(batch, PLACE)
    assert full.value.limit == limit
    assert SECRET not in str(full.value)
    file.settle([], refused=[(1, "no", False)])
    with pytest.raises(SpoolFullError):
        file.append(batch, PLACE)
    assert (file.status().refused, file.status().rows) == (1, 1)
    file.drop(None)
    assert (file.status().refused, file.status().rows, file.status().bytes) == (0, 0, 0)
    file.append(batch, PLACE) if limit == "max_rows" else file.append(lead("b"), PLACE)
    file.close()


def test_what_waited_too_long_is_set_aside(file: SpoolFile, clock: Clock) -> None:
    """With its age as the reason; what came later is taken."""
    file.append(lead("old"), PLACE)
    clock.now += 61
    file.append(lead("new"), PLACE)
    assert [each.id for each in file.take(5, PLACE)] == [2]
    (old,) = file.writes(refused=True)
    assert old.reason == "it waited for longer than max_age_s=60"


def test_a_retried_write_begins_anew_unless_only_the_ledger_knows_of_it(file: SpoolFile, clock: Clock) -> None:
    """The ledger forgets, and a unit that may be applied would be applied again."""
    for entry in (lead("keyed", resent=True), unit()):
        file.append(entry, PLACE)
    clock.now += 61
    assert file.take(5, PLACE) == []
    assert file.retry([1, 2]) == 2
    assert [each.id for each in file.take(5, PLACE)] == [1]
    assert [each.id for each in file.writes(refused=True)] == [2]
    assert file.drop([2]) == 1
    assert file.drop([7]) == 0


def test_a_dropped_value_is_overwritten(file: SpoolFile, path: Path) -> None:
    """Once the file is closed, no byte of it is left."""
    file.append(lead(SECRET), PLACE)
    file.drop([1])
    file.close()
    assert all(SECRET.encode() not in each.read_bytes() for each in path.parent.iterdir())


def test_it_is_for_one_database(file: SpoolFile) -> None:
    """As long as it holds anything."""
    file.append(lead(), PLACE)
    with pytest.raises(SpoolError, match="holds writes for Database at x"):
        file.append(lead(), "Database at y")
    with pytest.raises(SpoolError, match="writes to Database at y"):
        file.take(1, "Database at y")
    file.drop([1])
    file.append(lead(), "Database at y")


def test_threads_lose_nothing(path: Path) -> None:
    """Each with a file of its own, which another makes at the same time."""
    files = [SpoolFile(path, Bounds(1_000, 10**6, 60)) for _ in range(4)]

    def fill(file: SpoolFile) -> None:
        for number in range(10):
            file.append(lead(str(number)), PLACE)

    threads = [Thread(target=fill, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files[0].status().waiting == 40
    for file in files:
        file.close()


ADDS = """
import sys
from pathlib import Path
from agent_persistence.operations import Write
from agent_persistence.policy.identity import OWN
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.file import Bounds, SpoolFile
file = SpoolFile(Path(sys.argv[1]), Bounds(1_000, 10**6, 60))
for number in range(20):
    file.append(Entry.of(Write("leads", {"email": f"{sys.argv[2]}.{number}"}), OWN, resent=False), "Database at x")
"""


def test_processes_lose_nothing(path: Path) -> None:
    """Several that begin at once, and end without closing."""
    running = [subprocess.Popen([sys.executable, "-c", ADDS, path, str(number)]) for number in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    file = SpoolFile(path, Bounds(1_000, 10**6, 60))
    found = emails(file)
    assert sorted(found) == sorted(f"{one}.{number}" for one in range(4) for number in range(20))
    for one in range(4):
        assert [email for email in found if email.startswith(f"{one}.")] == [f"{one}.{each}" for each in range(20)]
    file.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_is_used_on_both_sides_of_a_fork(file: SpoolFile, path: Path) -> None:
    """Nobody has a connection open while the process forks, whose locks the child would not have."""
    file.append(lead("before"), PLACE)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number in range(20):
                file.append(lead(f"child {number}"), PLACE)
            status = 0
        finally:
            os._exit(status)
    for number in range(20):
        file.append(lead(f"parent {number}"), PLACE)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(emails(file)) == 41
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()


def test_one_has_its_turn_at_a_time(tmp_path: Path) -> None:
    """Until it gives it back."""
    one, other = Turn(tmp_path / "lock"), Turn(tmp_path / "lock")
    assert one.take()
    assert not one.take()
    assert not other.take()
    one.give_back()
    assert other.take()
    assert not one.take()
    other.give_back()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_turn_ends_with_its_process_and_not_with_a_child_of_it(tmp_path: Path) -> None:
    """A child that was forked meanwhile neither has the turn nor keeps it."""
    mine, other = Turn(tmp_path / "lock"), Turn(tmp_path / "lock")
    assert mine.take()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    mine.give_back()
    assert other.take()
    other.give_back()
    os.close(write)
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spool(""),
        lambda: Spool(7),  # type: ignore[arg-type]
        lambda: Spool("x", max_rows=0),
        lambda: Spool("x", max_bytes=-1),
        lambda: Spool("x", max_age_s=float("nan")),
        lambda: Spool("x", max_rows=True),
    ],
)
def test_a_spool_that_cannot_work_is_refused_at_once(make: Callable[[], Spool]) -> None:
    with pytest.raises(ConfigurationError):
        make()
