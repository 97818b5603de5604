"""How many Python functions one call runs through, from the verb to the request and back, whole stack on.

Counted by `sys.setprofile`, so that the figures are exact and the same on every machine. The transport is one that
answers at once: what it would run is not in the figures. `asyncio`, `anyio` and the standard library count too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from _measure import Target, arguments, report

import agent_persistence
from agent_persistence import AsyncPersistenceService, AuditEvent, SupabaseAdapter, gte
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.metrics import Metrics

HERE = str(Path(agent_persistence.__file__).parent)
LEAD = {"email": "j.grossmann@molkerei-tannheim.example", "company": "Molkerei Tannheim eG", "score": 0.83}
KEY = "95ead0bf-4624-47a9-a9fe-6ea1aca6311f"
ROW = {"id": KEY, **LEAD, "status": "new"}
TARGETS = {"query": 150, "write": 80}
JSON = {"content-type": "application/json", "content-range": "0-0/1"}
FOUND = Response(200, JSON, json.dumps([ROW]).encode())
CANNED = {__file__, json.__file__, json.encoder.__file__, json.decoder.__file__}
"""What belongs to the transport of this benchmark is not counted."""


class Canned:
    """A transport that answers every request with the same row at once."""

    async def send(self, request: Request) -> Response:
        response: Response = await self.ask(request, lambda response: response)
        return response

    async def ask(self, request: Request, parse: Callable[[Response], Any]) -> Any:
        return parse(
            Response(201, JSON, json.dumps([{**ROW, **json.loads(request.body)}]).encode()) if request.body else FOUND
        )

    async def aclose(self) -> None:
        """Nothing was opened."""


def ignore(event: AuditEvent) -> None:
    """The audit hook."""


async def counted(call: Callable[[], Awaitable[object]]) -> Counter[CodeType]:
    """The functions that the call runs through, each as often as it begins."""
    await call()  # what is learnt once is not counted
    found: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename not in (
            __file__,
            json.__file__,
            json.encoder.__file__,
            json.decoder.__file__,
        ):
            found[frame.f_code] += 1

    sys.setprofile(count)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return found


async def main(as_json: bool, profile: bool) -> None:
    # persistence-guard: allow AP001 a transport that answers at once stands in for the network
    adapter = SupabaseAdapter("https://project.supabase.co", "sb_secret_YmFyYmF6_5e6f7a8b")
    adapter._http = Canned()
    service = AsyncPersistenceService(adapter, audit=ignore, metrics=Metrics(), log=False)
    cases: dict[str, Callable[[], Awaitable[object]]] = {
        "query": lambda: service.query("leads", {"status": "new", "score": gte(0.5)}, 20, "email"),
        "write": lambda: service.write("leads", LEAD),
        "read": lambda: service.read("leads", KEY),
    }
    lines, targets, figures = [], [], {}
    for verb, call in cases.items():
        found = await counted(call)
        ours = sum(times for code, times in found.items() if code.co_filename.startswith(HERE))
        figures[verb] = {"functions": found.total(), "of this package": ours}
        lines.append(f"{verb:<8} {found.total():5} functions, {ours:5} of this package")
        if verb in TARGETS:
            targets.append(Target(f"functions, {verb}", found.total(), TARGETS[verb], ""))
        if profile:
            lines += [f"    {times:4} {code.co_qualname}" for code, times in found.most_common()]
    report(lines, targets, figures, as_json=as_json)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--profile", action="store_true", help="list the functions, and how often each begins")
    options = parser.parse_args()
    asyncio.run(main(options.json, options.profile))
