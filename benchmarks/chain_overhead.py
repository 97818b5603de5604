"""Microseconds that the middleware chain adds to a call, layer by layer, over an adapter that does nothing.

Each row holds the layers of the rows above it and one more, built from the innermost outwards. The whole chain is a
service's own: beyond those layers it makes the call's context, and it may have layers that are not listed. The verb's
work before the chain, above all encoding the record to JSON values, is told apart.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import Any

import anyio
from _measure import Rounds, Target, arguments, interleave, per_call, report

from agent_persistence import (
    AsyncPersistenceService,
    AuditEvent,
    Next,
    RetryPolicy,
    TablePolicy,
)
from agent_persistence.backends.backend import Backend, Capabilities
from agent_persistence.backends.base import CAPABILITIES
from agent_persistence.context import CallContext
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Operation, Read, Result, Write
from agent_persistence.pipeline.audit.layer import Audit
from agent_persistence.pipeline.chain import Layer, Rest, as_layer, compose
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.pipeline.guard.layer import Guard
from agent_persistence.pipeline.retry.layer import Retry
from agent_persistence.pipeline.timing import Timing
from agent_persistence.policy.identity import OWN
from agent_persistence.policy.retry import RetryBudget
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema_registry import Schema, default_schema

TARGET_US = 15.0
CALLS = 300
LEAD = {
    "email": "j.grossmann@molkerei-tannheim.example",
    "first_name": "Jürgen",
    "last_name": "Großmann",
    "company": "Molkerei Tannheim eG",
    "status": "qualified",
    "score": 0.83,
}
KEY = "95ead0bf-4624-47a9-a9fe-6ea1aca6311f"
STORED = {"id": KEY, **LEAD, "created_at": "2026-03-02T07:10:33+00:00"}


class NoOpAdapter(Backend):
    """Answers the same row to every write and read, at once."""

    identity = OWN
    capabilities = Capabilities(dict.fromkeys(CAPABILITIES, True), row_cap=inf)

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        return Result(STORED)

    async def aclose(self) -> None:
        """Nothing was opened."""


async def pass_on(operation: Operation, call_next: Next) -> Result:
    return await call_next(operation)


def ignore(event: AuditEvent) -> None:
    """The audit hook."""


def _retry(schema: Schema) -> Retry:
    return Retry(
        RetryBudget(RetryPolicy().budget),
        ClientKeys(schema),
        TablePolicy.default().read,
        clock=time.monotonic,
        random=random.random,
        sleep=anyio.sleep,
    )


def chains(adapter: Any) -> dict[str, Rest]:
    """Every chain from the dispatch alone up to all layers, by the layer that was added last."""
    schema = default_schema()
    guard = Guard(TablePolicy.default(), schema)
    outwards: list[tuple[str, Layer]] = [
        ("+ retry", _retry(schema)),
        ("+ guard", guard),
        ("+ a middleware that passes on", as_layer(pass_on)),
        ("+ guard again", guard),
        ("+ audit, one no-op hook", Audit((ignore,), schema.primary_key, schema)),
        ("+ timing and metrics", Timing(Metrics(), log=False)),
    ]
    chain = dispatch_to(adapter, time.monotonic)
    found = {"+ dispatch and deadline": chain}
    for name, layer in outwards:
        chain = found[name] = compose([layer], chain)
    return found


def cases(verb: str) -> dict[str, Callable[[], Awaitable[object]]]:
    adapter: Any = NoOpAdapter()
    service = AsyncPersistenceService(adapter, middleware=[pass_on], audit=ignore, metrics=Metrics(), log=False)
    writes = verb == "write"
    operation: Operation = Write("leads", LEAD) if writes else Read("leads", KEY)
    context = CallContext(deadline=time.monotonic() + 3600)
    return {
        "the adapter alone": partial(adapter.execute, operation, context),
        **{name: partial(chain, operation, context) for name, chain in chains(adapter).items()},
        "+ context made = whole chain": partial(service._invoke, operation),
        f"+ encoding = service.{verb}(…)": partial(service.write, "leads", LEAD)
        if writes
        else partial(service.read, "leads", KEY),
    }


def table(verb: str, found: Mapping[str, Rounds]) -> list[str]:
    lines = [f"{verb:<40} {'us':>8} {'added':>8} {'least':>8}"]
    before_us = 0.0
    for name, rounds in found.items():
        us = rounds.median * 1e6
        lines.append(f"  {name:<38} {us:8.2f} {us - before_us:8.2f} {rounds.least * 1e6:8.2f}")
        before_us = us
    return [*lines, ""]


async def main(rounds: int, as_json: bool) -> None:
    found = {}
    for verb in ("write", "read"):
        timed = {name: partial(per_call, call, CALLS) for name, call in cases(verb).items()}
        found[verb] = await interleave(timed, rounds=rounds)
    whole = next(name for name in found["write"] if name.endswith("whole chain"))
    report(
        [line for verb, measured in found.items() for line in table(verb, measured)],
        [Target(f"whole chain, {verb}", m[whole].median * 1e6, TARGET_US, " us") for verb, m in found.items()],
        {verb: {name: case.summary() for name, case in measured.items()} for verb, measured in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=60)
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    options = parser.parse_args()
    if options.backend == "trio":
        anyio.run(main, options.rounds, options.json, backend="trio")
    else:  # as applications do it; anyio.run would spare anyio the search for the loop's name
        asyncio.run(main(options.rounds, options.json))
