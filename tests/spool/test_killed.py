"""Writers, flushes and servers that are killed at random moments lose and double nothing, by what SQL finds."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.server import running_server
from tests.spool.killing import killed
from tests.units.conftest import install

KILLS = 150


@pytest.mark.parametrize("backend", ["postgres", "supabase"])
def test_nothing_is_lost_or_doubled_by_kills(backend: str, tmp_path: Path) -> None:
    """Units are there whole, nothing overtook what was acknowledged before it, and nothing was set aside.

    The server is one of its own: a killed backend of PostgreSQL takes the others with it.
    """
    with running_server() as server:
        install(server)
        scores = anyio.run(killed, server, backend, KILLS, 1, tmp_path)
    assert scores.holds, str(scores)
    assert scores.kills["client"] > KILLS / 4
    assert scores.kills["flush"] > KILLS / 5
    assert scores.kills["server"] > 0
    assert scores.told["spooled"] > KILLS / 2, str(scores)
