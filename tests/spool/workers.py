"""Processes that write and flush, to be killed: one imports everything and forks them, which takes milliseconds.

`python -m tests.spool.workers` reads one JSON object a line: {"do": "write" | "flush", ...} forks, and {"reap": pid}
waits; each is answered by a line.
"""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import Any, Final

import anyio

from agent_persistence import (
    AsyncPersistenceService,
    PersistenceError,
    PostgresAdapter,
    RetryPolicy,
    Spool,
    SupabaseAdapter,
    TablePolicy,
    is_spooled,
)

TABLES: Final = frozenset({"leads", "conversations", "inquiries"})
POLICY: Final = TablePolicy(read=TABLES, write=TABLES)
RETRY: Final = RetryPolicy(
    attempts=2, base_s=0.002, cap_s=0.01, attempt_s=2.0, read_deadline_s=4.0, write_deadline_s=4.0
)
MANY: Final = 10**6
A_WRITER: Final = 24
"""How much a writer writes before it waits for its end."""


def service_of(told: dict[str, Any], path: str) -> AsyncPersistenceService:
    """A service as every worker has it."""
    adapter: Any = (
        PostgresAdapter(told["url"], role="service_role")
        if told["backend"] == "postgres"
        else SupabaseAdapter(told["url"], told["key"])
    )
    return AsyncPersistenceService(
        adapter, policy=POLICY, retry=RETRY, ledger=True, spool=Spool(path, max_rows=MANY), owns_adapter=True
    )


async def one(service: AsyncPersistenceService, kind: str, tag: str) -> bool:
    """Write what belongs to the tag; whether it was kept on disk."""
    match kind:
        case "keyed":
            return is_spooled(await service.write("leads", {"email": f"{tag}@keyed.x"}))
        case "batch":
            return is_spooled(await service.batch_write("conversations", [{"subject": tag}, {"subject": tag}]))
        case "keyless":
            return is_spooled(await service.write("inquiries", {"email": "keyless", "body": tag}))
        case _:
            unit = service.unit_of_work()
            lead = unit.upsert("leads", {"email": f"{tag}@unit.x"}, on_conflict=["email"])
            unit.write("inquiries", {"email": "unit", "body": tag})
            unit.update("leads", {"notes": tag}, {"id": lead["id"]}, expect=1)
            return (await unit.commit()).spooled


KINDS: Final = ("keyed", "batch", "keyless", "unit")


def tags(first: int) -> Iterator[tuple[str, str]]:
    for number in range(first, first + A_WRITER):
        yield KINDS[number % len(KINDS)], f"{number:09d}"


async def write(told: dict[str, Any]) -> None:
    """Write until killed; what was acknowledged is in the journal before the next begins."""
    journal = os.open(told["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with service_of(told, told["spool"]) as service:
        for kind, tag in tags(told["first"]):
            try:
                how = "spooled" if await one(service, kind, tag) else "stored"
            except PersistenceError as error:
                how = type(error).__name__
            os.write(journal, f"{kind} {tag} {how}\n".encode())
        await anyio.sleep_forever()


async def flush(told: dict[str, Any]) -> None:
    """Flush again and again until killed."""
    async with service_of(told, told["spool"]) as service:
        while True:
            await service.flush_spool()
            await anyio.sleep(0.001)


async def warmed_up() -> None:
    """Everything is imported that a worker uses."""
    nowhere = {"key": "sb_secret_nobody", "url": "http://127.0.0.1:9"}
    for told in ({**nowhere, "backend": "supabase"}, {"backend": "postgres", "url": "postgresql://a:b@127.0.0.1:9/c"}):
        with tempfile.TemporaryDirectory() as folder:
            async with service_of(told, f"{folder}/spool") as service:
                for kind in KINDS:
                    await one(service, kind, "warm")


def main() -> None:
    anyio.run(warmed_up)
    for line in sys.stdin:
        told = json.loads(line)
        if "reap" in told:
            _, status = os.waitpid(told["reap"], 0)
            print(status, flush=True)
            continue
        child = os.fork()
        if child == 0:
            try:
                anyio.run(write if told["do"] == "write" else flush, told)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
