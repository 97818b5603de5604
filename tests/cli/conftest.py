"""What the tests of the commands share: a folder of their own, no variables, and rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server import LocalServer

LEADS: list[dict[str, Any]] = [
    {"id": f"00000000-0000-0000-0000-00000000000{number}", "email": email, "status": status, "score": score}
    for number, (email, status, score) in enumerate(
        [("ada@example.org", "new", 0.9), ("bob@example.org", "won", 0.5), ("cy@example.net", "new", None)], 1
    )
]


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's is read."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DATABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "AUDIT_KEY", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of three leads for --rows."""
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"leads": LEADS}), encoding="utf-8")
    return path


@pytest.fixture
def project(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """The real server, with empty tables, as the environment's project."""
    monkeypatch.setenv("SUPABASE_URL", server.url)
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", server.service_key)
    return server
