"""The journal of an import: what it remembers, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.bulk.journal import Journal

HEAD = {"table": "leads", "source": {"size": 7}}
IDENTITY = {"import": "ab", "made_ms": 1}


def opened(path: Path, **head: Any) -> Journal:
    return Journal(path, {**HEAD, **head}, IDENTITY)


def begun(path: Path) -> None:
    """A journal of two chunks that are done and two that are planned."""
    journal = opened(path)
    for first in range(0, 40, 10):
        journal.plan(first, first + 10)
    journal.finish(0, 10, rows=9, rejected=1, skipped=0, rejects_bytes=70)
    journal.refuse((10, 0, 10))
    journal.finish(10, 20, rows=10, rejected=0, skipped=0, rejects_bytes=70)
    journal.refuse((20, 0, 10))
    journal.close()


def test_a_new_journal_remembers_nothing(tmp_path: Path) -> None:
    """It keeps the identity it is given."""
    journal = opened(tmp_path / "j")
    assert (journal.done.records, journal.is_resumed, journal.identity) == (0, False, IDENTITY)
    journal.close()


def test_another_process_reads_how_far_it_came(tmp_path: Path) -> None:
    """Chunks that are done, by their sum; those that may have been sent; and what of these was refused."""
    begun(tmp_path / "j")
    journal = Journal(tmp_path / "j", HEAD, {"import": "another", "made_ms": 2})
    done = journal.done
    assert (done.records, done.rows, done.rejected, done.rejects_bytes) == (20, 19, 1, 70)
    assert done.planned == [(20, 30), (30, 40)]
    assert done.refused == {(20, 0, 10)}
    assert journal.identity == IDENTITY
    assert not done.is_whole
    journal.close()


def test_an_import_that_has_ended_is_known(tmp_path: Path) -> None:
    """So that it is not begun again."""
    journal = opened(tmp_path / "j")
    journal.end()
    journal.close()
    again = opened(tmp_path / "j")
    assert again.done.is_whole
    again.close()


def test_a_journal_cut_at_any_byte_is_one_of_an_earlier_moment(tmp_path: Path) -> None:
    """A line that was not written to its end is taken away, and the next one stands in its place."""
    begun(tmp_path / "j")
    whole = (tmp_path / "j").read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(len(whole)):
        path = tmp_path / "cut"
        path.write_bytes(whole[:size])
        journal = opened(path)
        journal.plan(40, 50)
        journal.close()
        kept = [line for n, line in enumerate(lines) if sum(map(len, lines[: n + 1])) <= size]
        assert path.read_bytes().startswith(b"".join(kept) or lines[0])
        assert len(path.read_bytes().splitlines()) == max(len(kept), 1) + 1


@pytest.mark.parametrize("line", range(9))
def test_a_damaged_line_is_noticed(tmp_path: Path, line: int) -> None:
    """Whatever stands behind it would be taken for something else. Only the last may be a torn one."""
    begun(tmp_path / "j")
    lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b":", b";", 1)
    (tmp_path / "j").write_bytes(b"".join(lines))
    if line == len(lines) - 1:
        opened(tmp_path / "j").close()
        return
    with pytest.raises(ConfigurationError, match="damaged"):
        opened(tmp_path / "j")


@pytest.mark.parametrize("head", [{"table": "clients"}, {"source": {"size": 8}}, {"encoding": "latin-1"}])
def test_the_journal_of_another_import_is_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    """The error names what differs, and the file is as it was."""
    begun(tmp_path / "j")
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(ConfigurationError, match=rf"another import: {next(iter(head))} differ"):
        opened(tmp_path / "j", **head)
    assert (tmp_path / "j").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"email,score\n", b"email", b"\n", b"\0" * 20, b'{"head": {}}\n', b"x" * 8 + b" {"]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """It may be the source, named by mistake."""
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no journal"):
        opened(path)
    assert path.read_bytes() == content


def test_a_journal_serves_one_process_at_a_time(tmp_path: Path) -> None:
    """Two imports with one journal would send each other's rows."""
    journal = opened(tmp_path / "j")
    with pytest.raises(ConfigurationError, match="another process"):
        opened(tmp_path / "j")
    journal.close()
    opened(tmp_path / "j").close()


def test_a_journal_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        opened(tmp_path / "nowhere" / "j")
