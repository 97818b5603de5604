"""`spool`: what waits is shown, applied, retried and dropped from a terminal; `doctor` says that it is there."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_persistence import AsyncPersistenceService, RetryPolicy, Spool, SupabaseAdapter, TablePolicy, is_spooled
from agent_persistence.presets.crm import BUSINESS_TABLES
from tests.cli.program import ran
from tests.server import LocalServer
from tests.spool.stage import Switched, made

SECRET = "SENTINELKEPT"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool with two writes that wait and one that was set aside."""
    path = tmp_path / "agent.spool"

    async def fill() -> None:
        adapter = Switched()
        async with made(path, adapter) as service:
            await service.write("leads", {"email": SECRET})
            adapter.fate = "down"
            await service.write("leads", {"email": SECRET})
            adapter.fate = "up"
            await service.flush_spool()
            adapter.fate = "down"
            await service.write("leads", {"email": f"{SECRET}@x.io"})
            await service.batch_write("conversations", [{"subject": SECRET}, {"subject": SECRET}])

    anyio.run(fill)
    monkeypatch.setenv("PERSIST_SPOOL", str(path))
    return path


def document(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(*arguments, "--json").out)
    return found


def test_status_counts(kept: Path) -> None:
    """By table; the exit status says that something was set aside."""
    done = ran("spool", "status")
    assert done.status == 1
    assert [line.strip() for line in done.out.splitlines()][1:4] == ["conversations: 1", "leads: 1", "1 set aside"]
    assert document("spool", "status", "--file", kept)["waiting"] == 2


def test_show_has_no_value_unless_asked(kept: Path) -> None:
    """Verbs, tables and reasons alone."""
    waiting, refused = ran("spool", "show"), ran("spool", "show", "--refused")
    told = [line.split("  ")[2].partition(",")[0] for line in waiting.out.splitlines()]
    assert told == ["write on leads: 1 rows", "batch_write on conversations: 2 rows"]
    assert "ConflictError" in refused.out
    assert SECRET not in waiting.said + refused.said + json.dumps(document("spool", "show", "1", "2"))
    assert SECRET in ran("spool", "show", "--values").out
    (one,) = document("spool", "show", "2", "--values")["writes"]
    assert one["body"]["records"][0]["email"] == f"{SECRET}@x.io"


def test_retry_and_drop(kept: Path) -> None:
    """By number, or all that were set aside; something must be named."""
    assert ran("spool", "drop").status == 3
    assert ran("spool", "drop", "1", "--refused").status == 3
    assert document("spool", "retry")["retried"] == 1
    assert document("spool", "status")["waiting"] == 3
    assert document("spool", "drop", "1", "2")["dropped"] == 2
    assert document("spool", "drop", "--refused")["dropped"] == 0
    assert ran("spool", "status").status == 0


@pytest.mark.parametrize("command", ["show", "flush", "retry", "drop"])
def test_one_that_is_not_there_is_said_to_be_missing(command: str, tmp_path: Path) -> None:
    """And is not made."""
    done = ran("spool", command, *(["--refused"] if command == "drop" else []), "--file", tmp_path / "none")
    assert done.status == 3
    assert "there is no spool" in done.err
    assert "no spool is named" in ran("spool", "status").err
    assert list(tmp_path.iterdir()) == []


def test_nothing_waits_where_nothing_was_ever_kept(tmp_path: Path) -> None:
    """Which is how things should be, so that whoever watches it is not alarmed."""
    done = ran("spool", "status", "--file", tmp_path / "none")
    assert (done.status, done.out.splitlines()[0]) == (0, "0 waiting")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_write_that_is_not_there_is_said_to_be_missing(command: str, kept: Path) -> None:
    """By the exit status, too."""
    done = ran("spool", command, "999")
    assert done.status == 1
    assert "1 of the writes named are not" in done.err


def test_flush_applies_what_waits(project: LocalServer, tmp_path: Path) -> None:
    """By the policy of the file, before the real server; what it refuses is set aside, and can be retried."""
    path = tmp_path / "agent.spool"

    async def keep() -> None:
        adapter = SupabaseAdapter(project.url, project.service_key)

        async def unreachable(*_: object) -> Any:
            raise ConnectionRefusedError

        policy = TablePolicy(read=BUSINESS_TABLES, write=BUSINESS_TABLES)
        service = AsyncPersistenceService(
            adapter, policy=policy, spool=Spool(path), retry=RetryPolicy(attempts=1), owns_adapter=True
        )
        adapter._send = unreachable  # type: ignore[assignment, method-assign]
        async with service:
            assert is_spooled(await service.write("leads", {"email": "a@x.io"}))
            assert is_spooled(await service.write("clients", {"name": "n"}))

    anyio.run(keep)
    done = ran("spool", "flush", "--file", path)
    assert (done.status, done.out.strip()) == (1, "1 applied, 1 set aside, 0 waiting")
    assert [row["email"] for row in project.execute("select email from leads")] == ["a@x.io"]
    policy = tmp_path / "policy.toml"
    policy.write_text('read = ["clients"]\nwrite = ["clients"]\n')
    assert document("spool", "retry", "--file", path)["retried"] == 1
    assert ran("spool", "flush", "--file", path, "--policy", policy).status == 0
    assert len(project.execute("select id from clients")) == 1


def test_a_command_keeps_no_write_by_itself(kept: Path, rows: Path) -> None:
    """PERSIST_SPOOL is of agents; a query applies nothing."""
    before = kept.read_bytes()
    assert ran("query", "leads", "--kind", "memory", "--rows", rows).status == 0
    assert kept.read_bytes() == before


def spool_rows() -> list[tuple[str, str]]:
    checks = document("doctor", "--kind", "memory")["checks"]
    return [(one["level"], one["message"]) for one in checks if one["area"] == "Spool"]


def test_doctor_says_what_waits(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said where none is configured."""
    assert spool_rows() == [("note", "2 writes wait, and 1 were set aside")]
    ran("spool", "drop", "1")
    assert spool_rows() == [("note", "2 writes wait")]
    ran("spool", "drop", "2", "3")
    assert spool_rows() == [("ok", "nothing waits")]
    kept.chmod(0o644)
    assert [level for level, _ in spool_rows()] == ["problem"]
    monkeypatch.setenv("PERSIST_SPOOL", str(kept.parent / "missing" / "spool"))
    assert spool_rows() == [("problem", "the folder does not exist, so that no write can be kept")]
    monkeypatch.delenv("PERSIST_SPOOL")
    assert spool_rows() == []
