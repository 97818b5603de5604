"""Peak memory of 10,000 callers that wait for a connection, above that of an idle service.

Each transport in a process of its own, against a socket that accepts and never answers: twenty connections are busy,
all other callers wait in line. What is told is the resident set, once all wait, less what it was before.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from _measure import Target, arguments, report
from throughput import KEY, service

from agent_persistence import RetryPolicy

CALLERS: Final = 10_000
TARGET_MB: Final = 150.0
PATIENT: Final = RetryPolicy(attempts=1, attempt_s=600, read_deadline_s=600)


def resident_mb() -> float:
    """What the process holds now; where the system does not tell, the most it ever held."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


async def waiting_mb(transport: str) -> float:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        patient = service(f"http://127.0.0.1:{listener.getsockname()[1]}", transport).with_options(retry=PATIENT)
        before_mb = resident_mb()
        calls = [asyncio.create_task(patient.read("leads", KEY)) for _ in range(CALLERS)]
        for _ in range(10):
            await asyncio.sleep(0.1)
        most_mb = resident_mb()
        if any(call.done() for call in calls):
            raise RuntimeError("a caller did not wait")
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return most_mb - before_mb


def in_a_process(transport: str) -> float:
    command = [sys.executable, __file__, "--transport", transport]
    told: float = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return told


def main(rounds: int, as_json: bool) -> None:
    found: dict[str, Any] = {name: [in_a_process(name) for _ in range(rounds)] for name in ("httpx", "httptools")}
    table = [f"{name:<10} {max(mb):6.1f} MB, {max(mb) * 1000 / CALLERS:.1f} KB a caller" for name, mb in found.items()]
    targets = [Target(f"{CALLERS:,} waiting, {name}", max(mb), TARGET_MB, " MB") for name, mb in found.items()]
    report(table, targets, found, as_json=as_json)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--transport", help="measure this one in this process, and print megabytes")
    options = parser.parse_args()
    if options.transport:
        print(asyncio.run(waiting_mb(options.transport)))
    else:
        main(options.rounds, options.json)
