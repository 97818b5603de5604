"""The control: a client that sends a write again without a key. A judge that finds no duplicate of it is blind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import anyio

from agent_persistence import AdapterError, OutcomeUnknownError, SupabaseAdapter
from agent_persistence.exceptions import FailureState
from tests.faults.lane import ATTEMPT_S, POLICY_UNDER_FAULTS, Lane
from tests.faults.proxy import Proxy
from tests.faults.verbs import Client, Verb

BLIND_VERBS: Final = ("write", "batch_write")
"""Verbs whose rows have no key but the one that the server makes."""


class Blind:
    """Every verb of the adapter, tried again after whatever did not say that it was rejected."""

    def __init__(self, adapter: SupabaseAdapter, proxy: Proxy, attempt_s: float) -> None:
        self._adapter = adapter
        self._proxy = proxy
        self._attempt_s = attempt_s

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: object) -> Any:
            for _ in range(POLICY_UNDER_FAULTS.attempts):
                try:
                    with anyio.fail_after(self._attempt_s):
                        return await getattr(self._adapter, verb)(*arguments)
                except (AdapterError, TimeoutError) as error:
                    if isinstance(error, AdapterError) and error.state is FailureState.REJECTED:
                        raise
                await self._proxy.next_attempt()
            raise OutcomeUnknownError(f"{verb} was tried {POLICY_UNDER_FAULTS.attempts} times")

        return call


def blind(lane: Lane, verb: Verb, attempt_s: float = ATTEMPT_S) -> Client:
    return cast("Client", Blind(lane.adapter, lane.proxy, attempt_s))
