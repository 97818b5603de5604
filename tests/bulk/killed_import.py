"""An import that kills itself: `python -m tests.bulk.killed_import URL KEY DIRECTORY BYTES PAUSE_S OPTIONS`.

URL is that of a REST interface or of a database. DIRECTORY holds `source.csv`, and gets the journal and the rejects.
PAUSE_S after the journal has so many BYTES the process ends by SIGKILL; with 0 it is left alone. OPTIONS are those of
`bulk_import`, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agent_persistence import AsyncPersistenceService, PersistenceAdapter, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.bulk import bulk_import


def die(journal: Path, size: int, pause_s: float) -> None:
    while not journal.exists() or journal.stat().st_size < size:
        time.sleep(0.0002)
    time.sleep(pause_s)
    os.kill(os.getpid(), signal.SIGKILL)


async def run(url: str, key: str, directory: Path, options: dict[str, Any]) -> None:
    # persistence-guard: allow AP001 what is tested is below the factory
    adapter: PersistenceAdapter = SupabaseAdapter(url, key) if url.startswith("http") else PostgresAdapter(url)
    async with AsyncPersistenceService(adapter, owns_adapter=True) as service:
        journal, rejects = directory / "journal", directory / "rejects.csv"
        print(await bulk_import(service, source=directory / "source.csv", resume=journal, rejects=rejects, **options))


if __name__ == "__main__":
    url, key, directory, size, pause_s, options = sys.argv[1:]
    if int(size):
        told = Path(directory) / "journal", int(size), float(pause_s)
        threading.Thread(target=die, args=told, daemon=True).start()
    asyncio.run(run(url, key, Path(directory), json.loads(options)))
