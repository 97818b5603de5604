"""`audit verify` finds what was done to a log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_persistence.pipeline.audit.event import AuditEvent
from agent_persistence.pipeline.audit.log import AuditLog
from tests.cli.program import ran

KEY = "k" * 32


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of three events, whose key is in the environment."""
    path = tmp_path / "audit.jsonl"
    written = AuditLog(path, KEY)
    for table in ("leads", "messages", "leads"):
        written.append(
            AuditEvent(
                verb="write",
                table=table,
                outcome="ok",
                columns=("email",),
                row_count=1,
                keys=(),
                duration_s=0.001,
                attempts=1,
                actor=None,
                error_type=None,
                at=datetime(2026, 11, 23, tzinfo=UTC),
            )
        )
    (tmp_path / "kept").write_text(written.checkpoint())
    monkeypatch.setenv("AUDIT_KEY", KEY)
    return path


def test_a_genuine_log_is_fine(log: Path) -> None:
    """With the number of its events."""
    assert ran("audit", "verify", log).out == f"genuine {log}: 3 events\n"
    document = ran("audit", "verify", log, "--json").document
    assert {name: document[name] for name in ("ok", "entries", "lost", "torn", "problem")} == {
        "ok": True,
        "entries": 3,
        "lost": 0,
        "torn": 0,
        "problem": None,
    }


def test_a_changed_line_is_found(log: Path) -> None:
    """Status 1, with the line."""
    log.write_text(log.read_text().replace('"messages"', '"meetings"'))
    ended = ran("audit", "verify", log)
    assert ended.status == 1
    assert ended.out.startswith("broken audit.jsonl:3: changed")
    problem = ran("audit", "verify", log, "--json").document["problem"]
    assert (problem["kind"], problem["file"], problem["line"]) == ("changed", "audit.jsonl", 3)


def test_a_log_that_was_cut_is_found_by_a_checkpoint_kept_elsewhere(log: Path, tmp_path: Path) -> None:
    """Though the checkpoint beside it was put back as well."""
    other = tmp_path / "other.jsonl"
    AuditLog(other, KEY)
    assert ran("audit", "verify", log, "--checkpoint", "kept").status == 0
    log.write_text("\n".join(log.read_text().splitlines()[:3]) + "\n")
    assert ran("audit", "verify", log, "--checkpoint", "kept").status == 1


def test_the_key_may_be_in_a_file(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line end after it is not part of it."""
    monkeypatch.delenv("AUDIT_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert ran("audit", "verify", log, "--key-file", "key").status == 0


def test_without_a_key_there_is_no_verdict(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor with one that is too short, nor without a log."""
    monkeypatch.delenv("AUDIT_KEY")
    missing = ran("audit", "verify", log)
    assert (missing.status, "set AUDIT_KEY" in missing.err) == (3, True)
    monkeypatch.setenv("AUDIT_KEY", "short")
    assert ran("audit", "verify", log).status == 3
    monkeypatch.setenv("AUDIT_KEY", KEY)
    assert ran("audit", "verify", "nothing.jsonl").status == 3


def test_another_key_finds_a_broken_log(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the key counts."""
    monkeypatch.setenv("AUDIT_KEY", "x" * 32)
    assert ran("audit", "verify", log).status == 1
