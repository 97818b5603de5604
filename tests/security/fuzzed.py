"""A service that strangers call, while everything that leaves is written down and judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeAlias, TypeVar

from hypothesis import Phase, given, settings, strategies as st

from agent_persistence import PersistenceError
from agent_persistence.service import AsyncPersistenceService
from tests.differential.examples import examples
from tests.security.wire_model import LeakError

Sent = TypeVar("Sent")
Call: TypeAlias = tuple[str, tuple[Any, ...], bool]
"""Verb, positional arguments, and whether it goes through a façade."""

SEARCH = settings(max_examples=5000, deadline=None, database=None, phases=[Phase.generate])


class Fuzzed(Generic[Sent]):
    """The service, and counts of what became of the calls. `left` is what has left, which `judge` looks at."""

    def __init__(
        self,
        service: AsyncPersistenceService,
        called: Callable[[AsyncPersistenceService, Call], Coroutine[Any, Any, Any]],
        left: list[Sent],
        judge: Callable[[Sent], None],
    ) -> None:
        self.service = service
        self.sent = self.refused = 0
        self._called = called
        self._left = left
        self._judge = judge
        self._loop = asyncio.Runner()

    @contextmanager
    def running(self) -> Iterator[Fuzzed[Sent]]:
        with self._loop:
            yield self
        print(f"{self.sent} calls were sent, {self.refused} refused")

    def attack(self, call: Call) -> None:
        """LeakError if what leaves, or what comes back, is more than the policy allows."""
        self._left.clear()
        try:
            told = self._loop.run(self._called(self.service, call))
        except PersistenceError:
            self.refused += 1
        else:
            if call[1][0] == "leads" and "secret" in repr(told):
                raise LeakError(f"came back: {told!r}")
        self.sent += bool(self._left)
        for each in self._left:
            self._judge(each)

    def leaks(self, call: Call) -> bool:
        """Whether the attack succeeds; one that fails in another way does not."""
        try:
            self.attack(call)
        except LeakError:
            return True
        except Exception:
            return False
        return False

    def share_sent(self, calls: st.SearchStrategy[Call]) -> float:
        """The share of such calls of which something leaves."""
        made, sent = 0, 0

        @given(call=calls)
        @examples(200)
        def attack(call: Call) -> None:
            nonlocal made, sent
            made += 1
            before = self.sent
            self.attack(call)
            sent += self.sent - before

        attack()
        print(f"{sent} of {made} calls were sent")
        return sent / made
