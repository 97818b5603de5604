"""The options, which two of them mean something together, and services that are made with them."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    Operation,
    PersistenceAdapter,
    Result,
    Spool,
    SupabaseAdapter,
    TablePolicy,
    service as service_module,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.dispatch import dispatch_to
from agent_persistence.policy import BUSINESS_TABLES
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.records import Record
from agent_persistence.redaction import Redaction, allow, redact
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema_registry import Schema, default_schema
from tests.pairs.script import FUNCTION, Caller, Canonical, script
from tests.server import LocalServer

Options: TypeAlias = frozenset[str]
Transcript: TypeAlias = dict[str, Any]

ADAPTERS: Final = ("memory", "postgrest", "postgres")
AXES: Final[dict[str, tuple[str, ...]]] = {
    "transport": ("httptools",),
    "identity": ("as_user", "callable"),
    "retry": ("retry=False", "a fault in each call"),
    "cache": ("cache",),
    "coalesce": ("coalesce",),
    "tenant": ("tenant",),
    "masking": ("masks",),
    "validation": ("schema",),
    "typed": ("typed",),
    "bounds": ("with_options",),
    "client keys": ("client_keys", "client_keys=False"),
    "rows": ("policy.rows",),
    "spool": ("spool",),
}
"""What each option may be besides its default."""

MEANINGLESS: Final[dict[tuple[str, str], str]] = {
    ("memory", "httptools"): "nothing is sent",
    ("postgres", "httptools"): "PostgreSQL's protocol is not HTTP",
    ("memory", "callable"): "the store in memory knows no users",
}


def pairs(adapter: str) -> Iterator[Options]:
    """Every two options of different axes, but those that mean nothing over the adapter."""
    levels = [(axis, level) for axis in AXES for level in meaningful(adapter, axis)]
    yield from (frozenset({a, b}) for (axis, a), (other, b) in combinations(levels, 2) if axis != other)


def meaningful(adapter: str, axis: str) -> list[str]:
    """What the option may be over the adapter, besides its default."""
    return [level for level in AXES[axis] if (adapter, level) not in MEANINGLESS]


def covering(adapter: str) -> Iterator[Options]:
    """A few sets with an option of every axis, in which every pair is together once at least."""
    uncovered = set(pairs(adapter))
    while uncovered:
        options: Options = min(uncovered, key=sorted)
        for axis in AXES:
            levels = meaningful(adapter, axis)
            if levels and options.isdisjoint(levels):
                options |= {max(levels, key=partial(_gain, options, uncovered))}
        uncovered -= {frozenset(pair) for pair in combinations(options, 2)}
        yield options


def _gain(options: Options, uncovered: set[Options], level: str) -> int:
    return sum(frozenset({level, option}) in uncovered for option in options)


def sets(adapter: str) -> list[Options]:
    """The sets of options that are run: in memory every pair by itself, over a server those that cover them."""
    alone = [frozenset({level}) for axis in AXES for level in meaningful(adapter, axis)]
    return [*alone, *pairs(adapter)] if adapter == "memory" else [frozenset(), *covering(adapter)]


CLIENTS: Final = ("11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002")
DOMAINS: Final = ("one.example", "two.example")
ROW: Final = {"last_name": "Row"}
"""What policy.rows says of leads; the script looks at no last name."""
ROLE: Final = "service_role"
POLICY: Final = partial(
    TablePolicy, read=BUSINESS_TABLES, write=BUSINESS_TABLES - {"clients"}, delete={"leads"}, call={FUNCTION}
)
UNIQUE: Final = (("email", "client_id"), ("email", "last_name"), ("email", "last_name", "client_id"))
"""By what leads are merged within a tenant, within the rows of a policy, and within both."""
SHARED: Final = BUSINESS_TABLES - {"leads", "campaigns"} | {FUNCTION}


def reference_schema() -> Schema:
    """The eight tables, whose leads may be merged within a tenant and within the rows of a policy."""
    tables = default_schema().tables
    leads = tables["leads"]
    return Schema({**tables, "leads": replace(leads, unique=(*leads.unique, *UNIQUE))})


@dataclass(frozen=True)
class Stage:
    """Where a script may run: with a server, or in memory where there is none."""

    adapter: str
    server: LocalServer | None = None

    def make(self, options: Options) -> Any:
        """The adapter, empty but for two clients once `seed` has run."""
        if self.server is None:
            return InMemoryAdapter(schema=reference_schema(), functions={FUNCTION: _doubled})
        if self.adapter == "postgres":
            claims: Any = {"claims": lambda: {"role": ROLE}} if "callable" in options else {"role": ROLE}
            return PostgresAdapter(self.server.database_url, **claims)
        asked: Any = {"access_token": partial(self.server.token, ROLE)} if "callable" in options else {}
        transport: Any = "httptools" if "httptools" in options else "httpx"
        return SupabaseAdapter(self.server.url, self.server.service_key, transport=transport, **asked)

    def user(self, options: Options) -> dict[str, Any]:
        """What `as_user` takes here."""
        if "as_user" not in options:
            return {}
        if self.adapter == "postgrest" and self.server is not None:
            return {"access_token": self.server.token(ROLE)}
        return {"claims": {"role": ROLE}} if self.adapter == "postgres" else {"actor": "ada"}


def settings(options: Options) -> dict[str, Any]:
    """The arguments of the service."""
    masks = Redaction({"leads": {"phone": redact()}}, unknown=allow())
    keys = {"campaigns": "id", "leads": "id", "conversations": "id", "sequences": None}
    chosen: dict[str, dict[str, Any]] = {
        "retry=False": {"retry": False},
        "cache": {"cache": True},
        "coalesce": {"coalesce": True},
        "masks": {"mask_reads": masks, "mask_writes": masks},
        "schema": {"schema": reference_schema()},
        "client_keys": {"client_keys": keys},
        "spool": {"spool": Spool(Path(tempfile.gettempdir()) / f"no-write-waits-{uuid4()}")},
        "client_keys=False": {"client_keys": False},
        "tenant": {"tenant": TenantScope(CLIENTS[0], column="client_id", shared=SHARED)},
    }
    policy = POLICY(rows={"leads": ROW}) if "policy.rows" in options else POLICY()
    given: dict[str, Any] = {"policy": policy, "random": lambda: 0.0, "sleep": _no_pause}
    for option in options & chosen.keys():
        given |= chosen[option]
    return given


def _doubled(word: str) -> str:
    return word * 2


async def _no_pause(_: float) -> None:
    await anyio.lowlevel.checkpoint()


class Faulty:
    """The end of the chain, where each call that differs from those before fails once: by turns it is not sent, or
    its answer is lost where the call can be sent again."""

    def __init__(self, inner: Rest) -> None:
        self._inner = inner
        self._met: set[str] = set()

    async def __call__(self, operation: Operation, context: CallContext) -> Result:
        call = repr(operation)
        if call in self._met:
            return await self._inner(operation, context)
        self._met.add(call)
        is_safe = not operation.writes or getattr(operation, "generated_key", None) is not None
        if len(self._met) % 2 or not is_safe:
            raise AdapterError("the server is busy", state=FailureState.RETRYABLE)
        await self._inner(operation, context)
        raise AdapterError("the connection broke", state=FailureState.AMBIGUOUS)


@asynccontextmanager
async def opened(
    stage: Stage, options: Options, change: Callable[[AsyncPersistenceService], None] = lambda service: None
) -> AsyncIterator[list[Caller]]:
    """Those who run the script: one caller, or the callers of two tenants over one service."""
    with pytest.MonkeyPatch.context() as patch:
        if "a fault in each call" in options:
            patch.setattr(service_module, "dispatch_to", lambda *given: Faulty(dispatch_to(*given)))
        service = AsyncPersistenceService(stage.make(options), owns_adapter=True, **settings(options))
    change(service)
    async with service:
        await seed(stage, service, options)
        view = service.with_options(deadline_s=60) if "with_options" in options else service
        user = stage.user(options)
        yield [
            Caller(
                view.as_user(**user, **tenant) if user or tenant else view, client, domain, is_typed="typed" in options
            )
            for tenant, client, domain in zip(tenants(options), CLIENTS, DOMAINS, strict=False)
        ]


def tenants(options: Options) -> list[dict[str, Any]]:
    """What `as_user` takes for each caller: one without a tenant of its own, or two of different tenants.

    A view for a user has none of the adapter's callable, so that with one there is the tenant of the service alone.
    """
    return [{"tenant": client} for client in CLIENTS] if "tenant" in options and "callable" not in options else [{}]


async def seed(stage: Stage, service: AsyncPersistenceService, options: Options) -> None:
    """Two clients, and a lead wherever none of the callers may see one."""
    adapter: PersistenceAdapter = service._adapter if stage.server is None else stage.make(options - {"callable"})
    try:
        await adapter.batch_write("clients", [{"id": client, "name": "The client"} for client in CLIENTS])
        await adapter.batch_write("leads", list(unseen(options)))
    finally:
        if stage.server is not None:
            await adapter.aclose()


def unseen(options: Options) -> Iterator[Record]:
    """Leads beyond the policy's rows, and of a tenant who is no caller."""
    lead = {"status": "open", "score": 3}
    if "policy.rows" in options:
        for client, domain in zip(CLIENTS, DOMAINS, strict=True):
            yield {**lead, "client_id": client, "email": f"beyond@{domain}"}
    if {"tenant", "callable"} <= options:
        yield {**lead, **ROW, "client_id": CLIENTS[1], "email": f"another@{DOMAINS[1]}"}


async def transcripts(callers: list[Caller]) -> list[Transcript]:
    """What the script gave each of the callers, who do every step at the same time."""
    runs = [script(caller) for caller in callers]
    canonical = [Canonical(caller) for caller in callers]
    found: list[Transcript] = [{} for _ in callers]
    while True:
        try:
            steps = await together([partial(anext, run) for run in runs])
        except StopAsyncIteration:
            return found
        for transcript, form, (step, given) in zip(found, canonical, steps, strict=True):
            transcript[step] = form(given)
