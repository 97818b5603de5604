"""Sends the rows of several calls together, where they come while a request is under way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import anyio

from agent_persistence.client.verbs import AllVerbs
from agent_persistence.exceptions import BackendUnavailableError
from agent_persistence.ext._langgraph.parts import Part
from agent_persistence.ext._tables.langgraph import PARTS as TABLE
from agent_persistence.policy.identity import Identity
from agent_persistence.query.records import NULL
from agent_persistence.runtime.background import in_background
from agent_persistence.runtime.per_loop import PerLoop

ROWS_A_REQUEST: Final = 500
CHARS_A_REQUEST: Final = 2**20

Queues: TypeAlias = dict[Identity, "_Queue"]


def fits_a_request(parts: Sequence[Part]) -> bool:
    return len(parts) <= ROWS_A_REQUEST and sum(len(part["value"]) for part in parts) <= CHARS_A_REQUEST


class Outbox:
    """Inserts parts: a lone call at once, and what comes while its request is under way by one request when it is back.

    A step of a graph with ten tasks so takes two requests in place of eleven. Each call's parts are stored whole or
    not at all, and each caller gets the own error: what is refused together is sent singly. Only calls of one identity
    share a request. A caller that is cancelled before its parts have left leaves; the others do not notice.
    """

    def __init__(self, agent: AllVerbs) -> None:
        self._agent = agent
        self._here: PerLoop[Queues] = PerLoop(dict)

    async def insert(self, parts: Sequence[Part]) -> None:
        """All parts are stored, or none. ConflictError where one is there already."""
        view = await self._agent.pinned()
        identity, queues = await view._identify(), self._here.get()
        if (queue := queues.get(identity)) is not None:
            await queue.served(parts)
            return
        queue = queues[identity] = _Queue()
        try:
            await view.bulk_write(TABLE, parts)
        finally:
            if queue.waiting:
                in_background(partial(_serve, queues, identity, view))
            else:
                del queues[identity]


class _Seat:
    """One call that waits: `taken` once its parts have gone into a request."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.taken = False
        self.error: Exception | None = None
        self.settled = anyio.Event()

    def settle(self, error: Exception | None) -> None:
        self.error = error
        self.settled.set()


class _Queue:
    """The calls of one identity that wait while a request of theirs is under way."""

    def __init__(self) -> None:
        self.waiting: list[_Seat] = []

    async def served(self, parts: Sequence[Part]) -> None:
        seat = _Seat(parts)
        self.waiting.append(seat)
        try:
            await seat.settled.wait()
        finally:
            if not seat.taken:
                self.waiting.remove(seat)
        if seat.error is not None:
            raise seat.error

    def take(self) -> list[_Seat]:
        """The first of those who wait, as many as fit into one request, and at least one."""
        parts: list[Part] = []
        taken: list[_Seat] = []
        for seat in self.waiting:
            parts += seat.parts
            if taken and not fits_a_request(parts):
                break
            seat.taken = True
            taken.append(seat)
        del self.waiting[: len(taken)]
        return taken


async def _serve(queues: Queues, identity: Identity, view: AllVerbs) -> None:
    """Send what waits, one request after another, until nobody waits any more."""
    queue = queues[identity]
    seats: list[_Seat] = []
    try:
        while queue.waiting:
            seats = queue.take()
            await _sent(seats, view)
    finally:
        del queues[identity]
        for seat in (*seats, *queue.waiting):
            if not seat.settled.is_set():  # the event loop is ending
                seat.taken = True
                seat.settle(BackendUnavailableError("the event loop ended before the answer came", state="ambiguous"))
        queue.waiting.clear()


async def _sent(seats: Sequence[_Seat], view: AllVerbs) -> None:
    """Settle every seat, each with the own error."""
    if len(seats) > 1 and await _inserted([part for seat in seats for part in seat.parts], view) is None:
        for seat in seats:
            seat.settle(None)
        return
    for seat in seats:
        seat.settle(await _inserted(seat.parts, view))


async def _inserted(parts: Sequence[Part], view: AllVerbs) -> Exception | None:
    """None, or why the parts were not stored."""
    try:
        await view.bulk_write(TABLE, _alike(parts))
    except Exception as error:  # raised by the caller that waits for it
        return error
    return None


def _alike(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The parts with the same columns."""
    columns = dict.fromkeys(column for part in parts for column in part)
    return [{**dict.fromkeys(columns, NULL), **part} for part in parts]
