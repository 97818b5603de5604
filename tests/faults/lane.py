"""Runs cases: each lane is one adapter before one proxy, used for one case after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import anyio

from agent_persistence import AsyncPersistenceService, PersistenceError, RetryPolicy, SupabaseAdapter
from agent_persistence.metrics import Metrics
from agent_persistence.query.records import Row
from tests.faults.cases import Case
from tests.faults.house import MOST_OF_A_KIND, SLOTS, FullHouse, fill
from tests.faults.judge import Ended, Finding, Scores, end_of, judged, told_columns
from tests.faults.proxy import Proxy, Upstream
from tests.faults.stacks import HTTPX, Stack
from tests.faults.verbs import ANOTHER, EVERY, INSERT_ONLY, NEXT_WRITE, OLD, POLICY, VERBS, Client, Verb

POLICY_UNDER_FAULTS: Final = RetryPolicy(
    base_s=0.001, cap_s=0.005, attempt_s=0.25, read_deadline_s=1.2, write_deadline_s=1.2
)
DEADLINE_S: Final = POLICY_UNDER_FAULTS.write_deadline_s
ATTEMPT_S: Final = POLICY_UNDER_FAULTS.attempt_s
PATIENT_POLICY: Final = replace(POLICY_UNDER_FAULTS, attempts=8, read_deadline_s=10.0, write_deadline_s=10.0)
"""For cases that must be acknowledged however busy the machine is."""
POLICY_AFTERWARDS: Final = RetryPolicy(attempt_s=20.0, read_deadline_s=60.0)
HANG_S: Final = 60.0
API_KEY: Final = "sb_secret_ZmF1bHRz_1a2b3c4d"


class Store(Protocol):
    """Where the rows are, seen past every proxy."""

    async def rows(self, table: str) -> list[Row]: ...

    async def reset(self, table: str, rows: list[Row], *, insert_only: bool = False) -> None: ...


def service(adapter: SupabaseAdapter, verb: Verb, retry: RetryPolicy, **options: Any) -> AsyncPersistenceService:
    """The service under test."""
    return AsyncPersistenceService(
        adapter,
        policy=INSERT_ONLY if verb.insert_only else POLICY,
        retry=retry,
        metrics=Metrics(),
        log=False,
        row_cap=1000,
        clock=anyio.current_time,
        **options,
    )


MakeClient: TypeAlias = "Callable[[Lane, Verb], Client]"


def under(policy: RetryPolicy) -> MakeClient:
    """The service under faults. Between two attempts it sleeps, which is when the proxy prepares the next fault."""

    def make_client(lane: Lane, verb: Verb) -> Client:
        async def sleep(pause_s: float) -> None:
            await lane.proxy.next_attempt()
            await asyncio.sleep(pause_s)

        retry = replace(policy, last_write_wins=not verb.cautious)
        return service(lane.adapter, verb, retry, sleep=sleep, coalesce=lane.stack.coalesce)

    return make_client


protocol: Final = under(POLICY_UNDER_FAULTS)
patient: Final = under(PATIENT_POLICY)


class Lane:
    """One adapter before one proxy before one store; where it is timed, what its calls take is judged too."""

    def __init__(
        self,
        proxy: Proxy,
        store: Store,
        adapter: SupabaseAdapter,
        stack: Stack,
        make_client: MakeClient,
        timed: bool,
    ) -> None:
        self.proxy = proxy
        self.store = store
        self.adapter = adapter
        self.stack = stack
        self._make_client = make_client
        self._deadline_s = DEADLINE_S if timed else None
        self._most_at_once = 1

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        upstream: Upstream,
        store: Store,
        *,
        stack: Stack = HTTPX,
        key: str = API_KEY,
        make_client: MakeClient = protocol,
        timed: bool = False,
    ) -> AsyncIterator[Lane]:
        async with Proxy.before(upstream) as proxy:
            adapter = stack.adapter(proxy.named_url, key)
            try:
                yield cls(proxy, store, adapter, stack, make_client, timed)
            finally:
                await adapter.aclose()

    async def sizes(self, verb: Verb) -> tuple[int, int]:
        """The bytes of the verb's request and response, which it must get without a fault."""
        await self._prepare(verb)
        with contextlib.suppress(PersistenceError):
            await verb.call(self._make_client(self, verb))
        return self.proxy.sizes

    async def run(self, case: Case, scores: Scores) -> None:
        """Run the case and the call after it, and judge them."""
        verb = EVERY[case.verb]
        await self._prepare(verb)
        await self.proxy.arm(*case.faults)
        strays = self.proxy.strays
        ended = await self._ended(verb)
        findings = list(judged(case, ended, self._deadline_s))
        if self.proxy.strays > strays:
            findings.append(Finding(case, "wrong", "the other host got a request"))
        told = await self._next_calls(verb, outlasted=any(fault.outlasts for fault in case.faults))
        if told is not None:
            findings.append(Finding(case, "leaked", f"the next call: {told}"))
        scores.add(case, end_of(case, ended), findings)

    async def _prepare(self, verb: Verb) -> None:
        await self.store.reset(verb.table, list(verb.seed), insert_only=verb.insert_only)

    async def _ended(self, verb: Verb) -> Ended:
        client = self._make_client(self, verb)
        value, error = None, None
        start_s = anyio.current_time()
        try:
            with anyio.fail_after(HANG_S):
                value = await verb.call(client)
        except Exception as raised:  # whatever it is, it is judged
            error = raised
        elapsed_s = anyio.current_time() - start_s
        await self.proxy.arm()
        await self.proxy.settled()
        return Ended(await self.store.rows(verb.table), elapsed_s, value, error)

    async def _next_calls(self, verb: Verb, *, outlasted: bool) -> str | None:
        """What is wrong with calls without a fault on the same adapter, and with its connections; None if nothing.

        A fault that outlasts its case may meet what comes next on a connection, be it a read or a write, so that both
        follow, of the kind of the case first. So many calls at once as it made may have left as many connections for
        what reads, and for what writes.
        """
        self._most_at_once = max(self._most_at_once, len(verb.each), 1)
        row = ANOTHER if outlasted else OLD
        await self.store.reset("conversations", [row])
        read, write = partial(self._next_read, row), self._next_write
        calls: list[Callable[[], Awaitable[str | None]]] = [read]
        if outlasted:
            calls = [read, write] if verb.kind == "read" else [write, read]
        try:
            with anyio.fail_after(HANG_S):
                for call in calls:
                    told = await call()
                    if told is not None:
                        return told
        except Exception as raised:
            return repr(raised)
        finally:
            await self.proxy.quiet()
        return await self.more_connections_than(2 * self._most_at_once)

    async def _next_read(self, row: Row) -> str | None:
        found = await service(self.adapter, VERBS["read"], POLICY_AFTERWARDS).read("conversations", row["id"])
        return None if found is not None and row.items() <= found.items() else f"it read {found!r}"

    async def _next_write(self) -> str | None:
        row = await NEXT_WRITE.call(service(self.adapter, NEXT_WRITE, POLICY_AFTERWARDS))
        rows = await self.store.rows(NEXT_WRITE.table)
        is_right = NEXT_WRITE.effect(rows) == 1 and NEXT_WRITE.right(told_columns(NEXT_WRITE.table, row), rows)
        return None if is_right else f"it wrote {row!r}, rows {rows}"

    async def full_house(self) -> str | None:
        """What is wrong if as many calls as there are slots do not run at the same time; None if nothing.

        Neither reads nor writes alone get every slot, so that it is done twice.
        """
        await self._prepare(VERBS["read"])
        for reads in (MOST_OF_A_KIND, SLOTS - MOST_OF_A_KIND):
            told = await self._full_house(reads)
            if told is not None:
                return told
        return None

    async def _full_house(self, reads: int) -> str | None:
        house = FullHouse(self.proxy.upstream)
        self.proxy.upstream = house
        try:
            await fill(self.adapter, reads)
        except (TimeoutError, BaseExceptionGroup) as raised:
            return f"{house.inside} of {SLOTS} slots work: {raised!r}"
        finally:
            self.proxy.upstream = house.upstream
            house.full.set()
        return None

    async def closed(self) -> str | None:
        """What is left after the adapter was closed; None if nothing."""
        await self.adapter.aclose()
        return await self.more_connections_than(0)

    async def more_connections_than(self, connections: int) -> str | None:
        """What is wrong if it does not come down to so many connections; None if it does."""
        try:
            await self.proxy.settled(connections)
        except TimeoutError:
            return f"{self.proxy.connections} connections are open instead of {connections}"
        return None
