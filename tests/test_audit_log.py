"""The audit log: whatever is done to it without the key shows, and what a crash leaves is told."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import logging
import multiprocessing
import os
import pickle
import re
import resource
import signal
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest
from hypothesis import assume, given, settings, strategies as st
from pydantic import SecretStr

from agent_persistence import AuditEvent, ConfigurationError, PersistenceError, TableNotAllowedError
from agent_persistence.pipeline.audit import log as audit_log
from agent_persistence.pipeline.audit.lines import CHECKPOINT_BYTES, MAX_LINE_BYTES
from agent_persistence.pipeline.audit.lock import locked
from agent_persistence.pipeline.audit.log import AuditLog, AuditReport, verify_audit_log
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio
KEY: Final = "5f0c" * 16
EVENT: Final = AuditEvent(
    verb="write",
    table="leads",
    outcome="ok",
    columns=("email", "status"),
    row_count=1,
    keys=("95ead0bf-4624-47a9-a9fe-6ea1aca6311f",),
    duration_s=0.0021,
    attempts=1,
    actor="outreach",
    error_type=None,
    at=datetime(2026, 11, 20, 15, 0, tzinfo=UTC),
)
CHECKPOINT: Final = "audit.jsonl.checkpoint"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def _event(verb: str = "write", keys: tuple[Any, ...] = ("k",)) -> AuditEvent:
    from dataclasses import replace

    return replace(EVENT, verb=verb, keys=keys)


def _log(path: Path, events: int = 0, **options: Any) -> AuditLog:
    log = AuditLog(path, KEY, **options)
    for number in range(events):
        log.append(_event(keys=(number,)))
    return log


def _kind(report: AuditReport) -> str | None:
    return report.problem.kind if report.problem else None


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_each_event_is_one_line_of_json(path: Path) -> None:
    """Numbered, with every field of the event, after a head that says which log it is."""
    _log(path, 2)
    head, first, second = map(json.loads, _lines(path))
    assert [line["seq"] for line in (head, first, second)] == [0, 1, 2]
    assert first["event"] == {
        "verb": "write", "table": "leads", "outcome": "ok", "columns": ["email", "status"], "row_count": 1,
        "keys": [0], "duration_s": 0.0021, "attempts": 1, "actor": "outreach", "error_type": None,
        "at": "2026-11-20T15:00:00+00:00", "unit": None,
    }  # fmt: skip
    assert verify_audit_log(path, KEY) == AuditReport(entries=2, lost=0, torn=0, problem=None)


def test_the_chain_can_be_checked_without_this_package(path: Path) -> None:
    """mac = HMAC-SHA256(key, the mac before, in hex + the canonical JSON of the line without its mac)."""
    _log(path, 3)
    previous = "0" * 64
    for raw in _lines(path):
        line = json.loads(raw)
        mac = line.pop("mac")
        body = json.dumps(line, sort_keys=True, separators=(",", ":"))
        previous = hmac.new(KEY.encode(), (previous + body).encode(), hashlib.sha256).hexdigest()
        assert mac == previous


@pytest.mark.parametrize("key", [KEY, KEY.encode(), SecretStr(KEY)], ids=["str", "bytes", "SecretStr"])
def test_a_key_is_text_bytes_or_a_secret(path: Path, key: Any) -> None:
    """The same key in any of these forms signs alike."""
    AuditLog(path, key).append(EVENT)
    assert verify_audit_log(path, KEY).ok


@pytest.mark.parametrize("key", ["x" * 31, b"", SecretStr("short"), None, 5], ids=shown)
def test_a_key_that_is_none_is_refused(path: Path, key: Any) -> None:
    """Fewer than 32 bytes, or another type; the message holds nothing of it."""
    for refused in (AuditLog, verify_audit_log):
        with pytest.raises(ConfigurationError) as caught:
            refused(path, key)
        assert "xxx" not in str(caught.value)
        assert "short" not in str(caught.value)
    assert not path.exists()


def test_the_key_is_in_no_rendering_of_the_log(path: Path) -> None:
    """Not in repr, not in attributes, not in the files; the log is neither pickled nor copied."""
    log = _log(path, 1)
    held = [repr(log), str(log), *(repr(getattr(log, name)) for name in log.__slots__ if name != "__weakref__")]
    assert all(KEY[:8] not in text for text in held)
    assert all(KEY.encode() not in file.read_bytes() for file in path.parent.iterdir())
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(log)


def test_files_are_for_their_owner_only(path: Path) -> None:
    """Names of tables and primary keys are nobody else's business."""
    _log(path, 1)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


Damage = Callable[[list[bytes]], list[bytes]]
FORGED: Final = b'{"event":{"verb":"read"},"seq":3,"mac":"' + b"a" * 64 + b'"}\n'
DAMAGES: Final[dict[str, tuple[Damage, str, int]]] = {
    "a digit": (lambda ls: [*ls[:3], ls[3].replace(b'"row_count":1', b'"row_count":2'), *ls[4:]], "changed", 4),
    "a number": (lambda ls: [*ls[:3], ls[3].replace(b'"seq":3', b'"seq":9'), *ls[4:]], "changed", 4),
    "a mac": (lambda ls: [*ls[:3], re.sub(b'"mac":"..', b'"mac":"zz', ls[3]), *ls[4:]], "changed", 4),
    "a blank": (lambda ls: [*ls[:3], ls[3].replace(b":", b": ", 1), *ls[4:]], "changed", 4),
    "the head": (lambda ls: [ls[0].replace(b"id", b"ID"), *ls[1:]], "changed", 1),
    "the last line": (lambda ls: [*ls[:-1], ls[-1].replace(b"ok", b"OK")], "changed", 7),
    "one removed": (lambda ls: [*ls[:3], *ls[4:]], "removed", 4),
    "two removed": (lambda ls: [*ls[:3], *ls[5:]], "removed", 4),
    "the head removed": (lambda ls: ls[1:], "removed", 1),
    "forged": (lambda ls: [*ls[:3], FORGED, *ls[3:]], "inserted", 4),
    "garbage": (lambda ls: [*ls[:3], b"\n", *ls[3:]], "inserted", 4),
    "garbage at the end": (lambda ls: [*ls, b"x\n"], "inserted", 8),
    "one twice": (lambda ls: [*ls[:3], ls[2], *ls[3:]], "inserted", 4),
    "one twice, earlier": (lambda ls: [*ls[:3], ls[5], *ls[3:]], "inserted", 4),
    "one twice, at the end": (lambda ls: [*ls, ls[2]], "inserted", 8),
    "two swapped": (lambda ls: [*ls[:3], ls[4], ls[3], *ls[5:]], "reordered", 4),
    "one moved down": (lambda ls: [*ls[:3], *ls[4:], ls[3]], "reordered", 4),
    "one moved up": (lambda ls: [*ls[:3], ls[6], *ls[3:6]], "reordered", 4),
    "the last cut off": (lambda ls: ls[:-1], "truncated", 7),
    "half of the last": (lambda ls: [*ls[:-1], ls[-1][:40]], "truncated", 7),
    "all but the head": (lambda ls: ls[:1], "truncated", 2),
    "everything": (lambda ls: [], "truncated", 1),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_named_and_located(path: Path, name: str) -> None:
    """The first line that is wrong, and what became of it; the entries before it are counted."""
    _log(path, 6)
    damage, kind, line = DAMAGES[name]
    path.write_bytes(b"".join(damage(_lines(path))))
    report = verify_audit_log(path, KEY)
    assert report.problem is not None
    assert (report.problem.kind, report.problem.line, report.problem.file) == (kind, line, path.name)
    assert (report.ok, report.entries) == (False, max(0, line - 2))


@pytest.fixture(scope="module")
def written() -> tuple[bytes, bytes]:
    """A log with all kinds of lines, and its checkpoint."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "audit.jsonl"
        _log(path, 3)
        before = path.with_name(CHECKPOINT).read_bytes()
        _log(path, 1)
        path.write_bytes(path.read_bytes()[:-30])
        path.with_name(CHECKPOINT).write_bytes(before)
        _log(path, 3)
        assert verify_audit_log(path, KEY) == AuditReport(entries=6, lost=0, torn=1, problem=None)
        return path.read_bytes(), path.with_name(CHECKPOINT).read_bytes()


def _report(log: bytes, checkpoint: bytes) -> AuditReport:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "audit.jsonl"
        path.write_bytes(log)
        path.with_name(CHECKPOINT).write_bytes(checkpoint)
        return verify_audit_log(path, KEY)


def _flipped(log: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(log) - 1), "position")
    flip = data.draw(st.integers(1, 255), "flip")
    return log[:at] + bytes([log[at] ^ flip]) + log[at + 1 :]


def _without_lines(log: bytes, data: st.DataObject) -> bytes:
    lines = log.splitlines(keepends=True)
    first = data.draw(st.integers(0, len(lines) - 1), "first")
    last = data.draw(st.integers(first + 1, len(lines)), "last")
    return b"".join(lines[:first] + lines[last:])


def _shuffled(log: bytes, data: st.DataObject) -> bytes:
    return b"".join(data.draw(st.permutations(log.splitlines(keepends=True)), "order"))


def _with_a_line(log: bytes, data: st.DataObject) -> bytes:
    lines = log.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines)), "position")
    line = data.draw(st.sampled_from([*lines, FORGED, b"\n", b"{}\n", b"\x00"]) | st.binary(min_size=1), "line")
    return b"".join([*lines[:at], line, *lines[at:]])


def _cut(log: bytes, data: st.DataObject) -> bytes:
    return log[: data.draw(st.integers(0, len(log) - 1), "size")]


ATTACKS: Final = (_flipped, _without_lines, _shuffled, _with_a_line, _cut)


@pytest.mark.parametrize("attack", ATTACKS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_change_without_the_key_passes(attack: Any, written: tuple[bytes, bytes], data: st.DataObject) -> None:
    """Any byte flipped, any lines removed, any other order, anything inserted, any end cut off."""
    log, checkpoint = written
    changed = attack(log, data)
    assume(changed != log)
    assert not _report(changed, checkpoint).ok


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_changed_checkpoint_does_not_pass(written: tuple[bytes, bytes], data: st.DataObject) -> None:
    """Any byte of what is signed; the blanks after it mean nothing."""
    log, checkpoint = written
    assert not _report(log, _flipped(checkpoint.rstrip(), data)).ok


def _unchained(log: bytes) -> bytes:
    """The same lines, each signed by the key but alone."""
    bodies = [json.loads(raw) for raw in log.splitlines() if raw.endswith(b'"}')]
    return b"".join(json.dumps({**body, "mac": _alone(body)}).encode() + b"\n" for body in bodies)


def _alone(line: dict[str, Any]) -> str:
    body = json.dumps({name: line[name] for name in sorted(line) if name != "mac"}).encode()
    return hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()


def _all_signed(log: bytes) -> bool:
    return all(_alone(line) == line["mac"] for line in map(json.loads, log.splitlines()))


def test_lines_signed_each_alone_would_pass(written: tuple[bytes, bytes]) -> None:
    """Control: without the chain, removing, swapping, repeating and cutting off go unseen."""
    lines = _unchained(written[0]).splitlines(keepends=True)
    assert _all_signed(b"".join(lines))
    for changed in (lines[1:], lines[::-1], [*lines, lines[0]], lines[:-2]):
        assert _all_signed(b"".join(changed))
    assert not _all_signed(lines[1].replace(b"ok", b"OK"))


def test_a_chain_stamped_anew_with_another_key_does_not_pass(path: Path, tmp_path: Path) -> None:
    """Who does not have the key cannot write the history again, as could be done with plain hashes."""
    _log(path, 3)
    other = AuditLog(tmp_path / "other.jsonl", "another key of 32 bytes at least")
    other.append(EVENT)
    (tmp_path / "other.jsonl").replace(path)
    assert _kind(verify_audit_log(path, KEY)) == "changed"
    assert verify_audit_log(path, KEY).entries == 0


def test_a_log_rolled_back_with_its_checkpoint_shows_against_one_kept_elsewhere(path: Path) -> None:
    """Beside the log, an old checkpoint is as genuine as a new one: this is the limit, and the way past it."""
    log = _log(path, 2)
    files = path, path.with_name(CHECKPOINT)
    old = [file.read_bytes() for file in files]
    log.append(EVENT)
    kept = log.checkpoint()
    assert verify_audit_log(path, KEY, checkpoint=kept).ok
    for file, content in zip(files, old, strict=True):
        file.write_bytes(content)
    assert verify_audit_log(path, KEY).ok
    assert _kind(verify_audit_log(path, KEY, checkpoint=kept)) == "truncated"


@pytest.mark.parametrize("way", ["rolled back", "deleted", "begun anew"])
def test_a_writer_that_runs_notices_what_only_a_kept_checkpoint_shows(path: Path, way: str) -> None:
    """It remembers what it has written, and does not go on after less."""
    log = _log(path, 1)
    files = path, path.with_name(CHECKPOINT)
    old = [file.read_bytes() for file in files]
    log.append(EVENT)
    for file, content in zip(files, old, strict=True):
        file.unlink()
        if way == "rolled back":
            file.write_bytes(content)
    if way == "begun anew":
        _log(path, 5)
    with pytest.raises(PersistenceError, match="checkpoint"):
        log.append(EVENT)


def test_a_log_begun_anew_shows_against_a_checkpoint_kept_elsewhere(path: Path) -> None:
    """It has another identity, however long it is."""
    kept = _log(path, 2).checkpoint()
    path.unlink()
    path.with_name(CHECKPOINT).unlink()
    _log(path, 5)
    assert verify_audit_log(path, KEY).ok
    assert _kind(verify_audit_log(path, KEY, checkpoint=kept)) == "changed"


def test_a_checkpoint_that_is_not_genuine_is_no_measure(path: Path) -> None:
    """The caller's mistake is an error, not a verdict on the log."""
    log = _log(path, 1)
    with pytest.raises(ConfigurationError, match="checkpoint="):
        verify_audit_log(path, KEY, checkpoint=log.checkpoint().replace('"seq":1', '"seq":0'))


@pytest.mark.parametrize(("change", "kind"), [(Path.unlink, "truncated"), (lambda p: p.write_bytes(b"{}"), "changed")])
def test_a_log_without_its_checkpoint_does_not_pass(path: Path, change: Any, kind: str) -> None:
    """Whether lines are missing at the end cannot be told then; and no writer goes on."""
    log = _log(path, 1)
    change(path.with_name(CHECKPOINT))
    assert (_kind(verify_audit_log(path, KEY)), verify_audit_log(path, KEY).entries) == (kind, 1)
    with pytest.raises(PersistenceError, match="checkpoint"):
        log.append(EVENT)


def test_without_a_log_there_is_nothing_to_verify(path: Path) -> None:
    """A misspelt path is no clean log; a log that is gone while its checkpoint is there is a truncated one."""
    with pytest.raises(ConfigurationError, match="no audit log"):
        verify_audit_log(path, KEY)
    _log(path, 1)
    path.unlink()
    assert _kind(verify_audit_log(path, KEY)) == "truncated"


def test_reopening_continues_the_chain(path: Path) -> None:
    """A new process goes on with the next number."""
    for _ in range(3):
        _log(path, 2)
    assert verify_audit_log(path, KEY) == AuditReport(entries=6, lost=0, torn=0, problem=None)


@pytest.mark.parametrize("name", ["the last line", "the last cut off", "forged at the end", "a new file"])
def test_a_log_whose_end_was_tampered_with_is_not_continued(path: Path, name: str) -> None:
    """Not by a new process, and not by one that has it open: the finding would be buried."""
    log = _log(path, 6)
    damages = {name: damage for name, (damage, _, _) in DAMAGES.items()} | {
        "forged at the end": lambda ls: [*ls, FORGED.replace(b'"seq":3', b'"seq":7')],
        "a new file": lambda ls: [ls[0]],
    }
    before = path.read_bytes()
    path.write_bytes(b"".join(damages[name](_lines(path))))
    tampered = path.read_bytes()
    with pytest.raises(ConfigurationError, match="audit log"):
        AuditLog(path, KEY)
    if len(tampered) != len(before):
        with pytest.raises(PersistenceError):
            log.append(EVENT)
    assert path.read_bytes() == tampered


def test_one_byte_in_the_last_line_is_enough(path: Path) -> None:
    """Reopening checks the lines themselves, not only where they end."""
    _log(path, 1)
    path.write_bytes(path.read_bytes().replace(b"outreach", b"outreacH"))
    with pytest.raises(ConfigurationError, match="last lines"):
        AuditLog(path, KEY)


def test_reopening_looks_back_over_a_long_line(path: Path) -> None:
    """Also where it is longer than the first read, and the head is out of sight."""
    log = AuditLog(path, KEY)
    for _ in range(3):
        log.append(_event(keys=tuple(range(100_000))))
    _log(path, 1)
    assert verify_audit_log(path, KEY).entries == 4


@contextmanager
def _crash(path: Path, *, keep: int | None = None) -> Iterator[None]:
    """What is written inside stays, up to `keep` bytes, but its checkpoint does not: the process died between."""
    checkpoint, size = path.with_name(CHECKPOINT), path.stat().st_size if path.exists() else 0
    before = checkpoint.read_bytes() if checkpoint.exists() else b""
    yield
    checkpoint.write_bytes(before)
    if keep is not None:
        os.truncate(path, size + keep)


@pytest.mark.parametrize("keep", [1, 40, -1], ids=["one byte", "a part", "all but the line end"])
def test_a_line_torn_by_a_crash_is_told_and_then_stepped_over(path: Path, keep: int) -> None:
    """Until a writer comes, it is "torn"; the writer leaves the bytes where they are and signs what they were."""
    log = _log(path, 2)
    with _crash(path):
        log.append(EVENT)
    os.truncate(path, path.stat().st_size + keep - (len(_lines(path)[-1]) if keep > 0 else 0))
    torn = path.read_bytes()
    assert _kind(verify_audit_log(path, KEY)) == "torn"
    _log(path, 1)
    assert path.read_bytes().startswith(torn + b"\n")
    assert verify_audit_log(path, KEY) == AuditReport(
        entries=4 if keep < 0 else 3, lost=0, torn=int(keep > 0), problem=None
    )


def test_a_crash_while_a_torn_line_is_told_of_is_survived(path: Path) -> None:
    """However often it happens."""
    _log(path, 1)
    for keep in (50, 3, 20):
        with _crash(path, keep=keep):
            _log(path, 1)
    _log(path, 1)
    assert verify_audit_log(path, KEY) == AuditReport(entries=2, lost=0, torn=1, problem=None)


def test_a_crash_before_the_checkpoint_loses_nothing(path: Path) -> None:
    """The log is ahead of its checkpoint: it verifies, and a writer takes the line over."""
    log = _log(path, 1)
    with _crash(path):
        log.append(EVENT)
    assert verify_audit_log(path, KEY).entries == 2
    _log(path, 1)
    assert verify_audit_log(path, KEY) == AuditReport(entries=3, lost=0, torn=0, problem=None)


@pytest.mark.parametrize("left", [None, 0, 30], ids=["no file", "an empty file", "half a head"])
def test_a_crash_while_the_log_is_begun_or_set_aside_is_survived(path: Path, left: int | None) -> None:
    """The new file gets its head from whoever comes next."""
    for _ in range(2):
        log = _log(path, 1)
        log.rotate()
        checkpoint = path.with_name(CHECKPOINT)
        ended = json.loads(checkpoint.read_bytes())
        if left is None:
            path.unlink()
        else:
            os.truncate(path, left)
        archive = max(path.parent.glob("audit.jsonl.0*"))
        mac = json.loads(_lines(archive)[-1])["mac"]
        log._own = None
        with log._turn() as held:
            from agent_persistence.pipeline.audit.lines import Checkpoint

            log._mark(held, Checkpoint(ended["log"], ended["seq"] - 1, mac, 0))
        _log(path, 1)
        assert verify_audit_log(path, KEY).ok


def test_a_crash_between_setting_aside_and_beginning_is_survived(path: Path) -> None:
    """The file has its new name, and the checkpoint speaks of the old one."""
    log = _log(path, 2)
    with _crash(path):
        log.rotate()
        path.unlink()
    _log(path, 1)
    assert verify_audit_log(path, KEY) == AuditReport(entries=3, lost=0, torn=0, problem=None)


def test_files_set_aside_are_verified_with_the_new_one(path: Path) -> None:
    """The chain goes through all of them; an edit of an old one shows, and so does a missing one."""
    log = _log(path, 2)
    first = log.rotate()
    log.append(EVENT)
    second = log.rotate()
    log.append(EVENT)
    assert {file.name for file in path.parent.iterdir()} == {path.name, CHECKPOINT, first.name, second.name}
    assert verify_audit_log(path, KEY).entries == 4
    assert verify_audit_log(path, KEY, archives=False).entries == 1
    content = first.read_bytes()
    for damage, kind in ((content.replace(b"ok", b"OK"), "changed"), (content[:-9], "truncated"), (None, "removed")):
        if damage is None:
            first.unlink()
        else:
            first.write_bytes(damage)
        assert _kind(verify_audit_log(path, KEY)) == kind
    assert verify_audit_log(path, KEY, archives=False).ok


def test_an_archive_in_the_place_of_the_log_does_not_pass(path: Path) -> None:
    """It is genuine, and ends too early."""
    log = _log(path, 2)
    archive = log.rotate()
    log.append(EVENT)
    path.write_bytes(archive.read_bytes())
    assert _kind(verify_audit_log(path, KEY)) == "truncated"


def test_a_full_file_is_set_aside(path: Path) -> None:
    """At `rotate_bytes`, and no line is lost."""
    _log(path, 40, rotate_bytes=2000)
    sizes = [file.stat().st_size for file in path.parent.glob("audit.jsonl.0*")]
    assert len(sizes) > 3
    assert all(2000 <= size < 2500 for size in sizes)
    assert verify_audit_log(path, KEY).entries == 40


def _append(path: Path, events: int) -> None:
    _log(path, events)


def test_several_processes_write_one_chain(path: Path) -> None:
    """Each line follows the one before, whoever wrote it."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_append, args=(path, 50)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert verify_audit_log(path, KEY) == AuditReport(entries=150, lost=0, torn=0, problem=None)


def test_several_threads_write_one_chain(path: Path) -> None:
    """Through one log or several."""
    logs = [_log(path), _log(path)]
    threads = [threading.Thread(target=lambda log=log: [log.append(EVENT) for _ in range(50)]) for log in logs * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify_audit_log(path, KEY).entries == 300


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_on(path: Path) -> None:
    """Also when the lock was held by a thread of the parent at the time of the fork."""
    log = _log(path, 1)
    log._lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            log.append(EVENT)
        finally:
            os._exit(0)
    log._lock.release()
    os.waitpid(child, 0)
    log.append(EVENT)
    assert verify_audit_log(path, KEY).entries == 3


def test_a_lock_that_others_keep_is_not_waited_for_long(path: Path) -> None:
    """The event is lost then, and the next line says so."""
    log = _log(path, 1, lock_timeout_s=0)
    with path.with_name(CHECKPOINT).open("rb") as file, locked(file.fileno(), 0), pytest.raises(TimeoutError):
        log.append(EVENT)
    with log._lock, pytest.raises(TimeoutError):
        log.append(EVENT)
    log.append(EVENT)
    assert verify_audit_log(path, KEY) == AuditReport(entries=2, lost=2, torn=0, problem=None)


@contextmanager
def _full_disk(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: a real short write, then a real error."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_full_disk_changes_no_result_and_is_told_afterwards(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows are written; what the log could not take is logged, and counted in its next line."""
    log = _log(path, 2)
    service = AsyncPersistenceService(RecordingAdapter(), audit=log)
    with (
        _full_disk(len(b"".join(_lines(path))) + 100),
        caplog.at_level(logging.ERROR, "agent_persistence.audit"),
    ):
        rows = [await service.write("leads", {"email": f"{n}@x.example"}) for n in range(3)]
    assert [row["email"][0] for row in rows] == ["0", "1", "2"]
    assert len(caplog.records) == 3
    assert _kind(verify_audit_log(path, KEY)) == "torn"
    await service.query("leads")
    assert verify_audit_log(path, KEY) == AuditReport(entries=3, lost=3, torn=1, problem=None)


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_service_tells_the_log_every_call(path: Path, fsync: bool) -> None:
    """Refusals included, and before the caller has the result."""
    log = AuditLog(path, KEY, fsync=fsync)
    service = AsyncPersistenceService(RecordingAdapter(), audit=log)
    row = await service.write("leads", {"email": "ada@secret.example"})
    with pytest.raises(TableNotAllowedError):
        await service.write("clients", {"name": "n"})
    events = [json.loads(raw)["event"] for raw in _lines(path)[1:]]
    assert [(e["verb"], e["table"], e["outcome"]) for e in events] == [
        ("write", "leads", "ok"),
        ("write", "clients", "denied"),
    ]
    assert events[0]["keys"] == [row["id"]]
    assert b"secret" not in b"".join(_lines(path))


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("k\n\u2028\ud800", "k\n\u2028\ud800"),
        (("a", 1), ["a", 1]),
        ("x" * 300, "x" * 256 + "…"),
        (1 << 70, "<int>"),
        (float("nan"), "<float>"),
        (0.5, 0.5),
        (UUID(int=1), "<UUID>"),
        ({"a": 1}, "<dict>"),
    ],
    ids=shown,
)
def test_a_key_of_any_kind_fits_into_a_line(path: Path, key: Any, written: Any) -> None:
    """JSON scalars as they are; others by their type, long ones cut."""
    AuditLog(path, KEY).append(_event(keys=(key,)))
    assert json.loads(_lines(path)[1])["event"]["keys"] == [written]
    assert verify_audit_log(path, KEY).ok


def test_more_keys_than_fit_into_a_line_are_counted(path: Path) -> None:
    """The event is written all the same."""
    AuditLog(path, KEY).append(_event(keys=tuple(map(str, range(200_000)))))
    event = json.loads(_lines(path)[1])["event"]
    assert (event["keys"], event["keys_left_out"], event["columns_left_out"]) == ([], 200_000, 2)


def test_verifying_takes_constant_memory(path: Path) -> None:
    """Less than the file, also where a line has no end."""
    _log(path, 3000)
    sizes = []
    for tail in (b"", b"x" * (8 * MAX_LINE_BYTES)):
        path.write_bytes(path.read_bytes() + tail)
        tracemalloc.start()
        report = verify_audit_log(path, KEY)
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.entries == 3000
    assert sizes[0] < 300_000 < path.stat().st_size
    assert sizes[1] < 5 * MAX_LINE_BYTES


@pytest.mark.parametrize("name", ["no/such/directory/audit.jsonl", "."])
def test_a_path_where_no_log_can_be_is_refused(tmp_path: Path, name: str) -> None:
    """At construction, not at the first event."""
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        AuditLog(tmp_path / name, KEY)


@pytest.mark.parametrize("given", ["a\0b", 5, None, b"audit.jsonl"])
def test_what_is_no_path_is_refused(given: Any) -> None:
    """By the error of a setting, as everything that an AuditLog is made of."""
    with pytest.raises(ConfigurationError, match="audit log"):
        AuditLog(given, KEY)


def test_a_directory_is_told_as_such_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """No checkpoint of a log that is none."""
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigurationError, match="is a directory; name a file in it"):
        AuditLog(tmp_path / "logs", KEY)
    assert [found.name for found in tmp_path.iterdir()] == ["logs"]


def test_a_pipe_is_no_log(path: Path) -> None:
    """Opening it would wait for a reader."""
    os.mkfifo(path)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        AuditLog(path, KEY)


def test_the_checkpoint_fits_into_a_sector(path: Path) -> None:
    """With the longest numbers, so that it is never seen half written."""
    from agent_persistence.pipeline.audit.lines import Checkpoint, Signer

    longest = Checkpoint("f" * 32, 10**18 - 1, "f" * 64, 2**63 - 1)
    assert len(longest.sign(Signer(KEY))) < CHECKPOINT_BYTES <= 512


@pytest.mark.parametrize("rotate_bytes", [0, -1, True, "1"], ids=shown)
def test_options_are_checked(path: Path, rotate_bytes: Any) -> None:
    """A misspelt limit is refused."""
    with pytest.raises(ConfigurationError, match="rotate_bytes"):
        AuditLog(path, KEY, rotate_bytes=rotate_bytes)


# --- in a worker thread -----------------------------------------------------------------------------------------------


def _keys(path: Path) -> list[Any]:
    return [event["keys"][0] for raw in _lines(path) if (event := json.loads(raw).get("event"))]


async def _ended(waiting: Awaitable[None]) -> None:
    await waiting


async def _told(log: AuditLog, event: AuditEvent) -> None:
    await log(event)


async def test_the_event_loop_does_not_wait_for_the_disk(path: Path) -> None:
    """Nor for a lock that another thread holds: other tasks run meanwhile, and one of them may release it."""
    log = _log(path, lock_timeout_s=60)
    log._lock.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(_told, log, EVENT)
        await anyio.lowlevel.checkpoint()
        log._lock.release()
    assert len(_keys(path)) == 1


async def test_events_are_written_in_the_order_of_their_calls(path: Path) -> None:
    """However many callers wait, by one thread an event loop, which all logs share."""
    log, other = _log(path, lock_timeout_s=60), _log(path.with_name("other.jsonl"))
    log._lock.acquire()
    async with anyio.create_task_group() as group:
        for waiting in [log(_event(keys=(number,))) for number in range(50)]:
            group.start_soon(_ended, waiting)
        group.start_soon(_told, other, EVENT)
        await anyio.wait_all_tasks_blocked()
        assert audit_log._writer.get().total_tokens == audit_log._writer.get().borrowed_tokens == 1
        log._lock.release()
    assert _keys(path) == list(range(50))
    assert verify_audit_log(path, KEY).entries == 50


@pytest.mark.parametrize("waits", ["for the thread", "in the thread"])
async def test_the_event_of_a_caller_who_was_cancelled_is_written(path: Path, waits: str) -> None:
    """Without another event after it, too."""
    log, thread = _log(path, lock_timeout_s=60), audit_log._writer.get()
    if waits == "for the thread":
        await thread.acquire()
    log._lock.acquire()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_told, log, EVENT)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    log._lock.release()
    if waits == "for the thread":
        await anyio.wait_all_tasks_blocked()
        thread.release()
    async with thread:
        pass  # who writes before us is done
    with log._writing:
        assert len(_keys(path)) == 1


async def test_what_one_thread_fails_to_write_for_all_is_everyones_own_failure(path: Path) -> None:
    """The one whose thread it was is not blamed for the others."""
    log = _log(path, lock_timeout_s=0)
    failed: list[int] = []

    async def tell(number: int) -> None:
        try:
            await log(_event(keys=(number,)))
        except TimeoutError:
            failed.append(number)

    with log._lock:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(tell, number)
    await tell(5)
    assert sorted(failed) == list(range(5))
    assert _keys(path) == [5]
    assert verify_audit_log(path, KEY).lost == 5


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_writes_none_of_the_parents_waiting_events(path: Path) -> None:
    """The parent writes them itself; the child's own are written while no thread of the parent's is left to."""
    log = _log(path, lock_timeout_s=60)
    log._waiting.append(audit_log._Entry(_event(keys=("parent",))))
    with log._writing, log._lock:
        child = os.fork()
        if child == 0:
            try:
                log._waiting.append(audit_log._Entry(_event(keys=("child",))))
                log._write_waiting()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    log._write_waiting()
    assert _keys(path) == ["child", "parent"]
